//! Reading a configuration file, and replacing it in one step: by a rename, with its mode and owner, and not when somebody else
//! changed it meanwhile. A link is followed, and what it leads to is replaced.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use super::value::{Fault, place};

/// Largest file that is read. Claude Code keeps histories in its own, of some megabytes.
const MOST_BYTES: u64 = 16 << 20;
/// Most copies of a file.
const MOST_BACKUPS: u32 = 100;
/// Most directories that a `*` in a path is tried with.
const MOST_DIRECTORIES: usize = 100;

/// A file as it was read.
#[derive(Debug)]
pub struct Original {
    /// Where it really is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    metadata: Metadata,
}

/// Why a file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a directory, a device, or larger than any configuration.
    #[error("{} is {what}", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Its text is not what it should be.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// Somebody else wrote it between reading and replacing.
    #[error("{} was changed by another program meanwhile; it was left as it is", .0.display())]
    Changed(PathBuf),
}

impl FileError {
    /// A fault of a text with its place.
    pub fn faulty(path: &Path, text: &[u8], fault: Fault) -> Self {
        let (line, column) = place(text, fault.at);
        Self::Faulty { path: path.to_owned(), line, column, what: fault.what }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "run npxc as the user who may write this file and its directory (chmod u+w, if that is you)",
            ),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("another program makes this file: change it there, npxc wrap --dry-run shows how")
            }
            Self::Io { source, .. } if source.kind() != io::ErrorKind::NotFound => None,
            Self::Io { .. } | Self::NotOne { .. } => {
                Some("name the client's configuration file: npxc wrap FILE")
            }
            Self::Faulty { .. } => Some("nothing was changed; correct the file at that place and try again"),
            Self::Changed(_) => Some("close the client, which may write this file itself, and try again"),
        }
    }
}

/// Reads a file, following links.
///
/// # Errors
/// [`FileError`]; [`is_missing`] tells when it is not there.
pub fn read(named: &Path) -> Result<Original, FileError> {
    let io = |doing| move |source| FileError::Io { doing, path: named.to_owned(), source };
    let path = fs::canonicalize(named).map_err(io("open"))?;
    let metadata = fs::metadata(&path).map_err(io("open"))?;
    let not_one = |what| FileError::NotOne { path: named.to_owned(), what };
    if !metadata.is_file() {
        return Err(not_one(if metadata.is_dir() { "a directory" } else { "no regular file" }));
    }
    if metadata.len() > MOST_BYTES {
        return Err(not_one("larger than any configuration (16 MiB)"));
    }
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(io("open"))?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(io("read"))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Original { path, text, metadata }),
        Err(error) => {
            let fault = Fault::new(error.utf8_error().valid_up_to(), "this is not UTF-8");
            Err(FileError::faulty(named, error.as_bytes(), fault))
        }
    }
}

/// Whether the file is simply not there.
pub fn is_missing(error: &FileError) -> bool {
    matches!(error, FileError::Io { source, .. } if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// The paths that a path with `*` in it stands for, in order.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        if part == Component::Normal("*".as_ref()) {
            let below = paths.iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
            let mut found: Vec<_> = below.filter_map(|entry| Some(entry.ok()?.path())).collect();
            found.sort();
            found.truncate(MOST_DIRECTORIES);
            paths = found;
        } else {
            for path in &mut paths {
                path.push(part);
            }
        }
    }
    paths
}

impl Original {
    /// Writes a copy below `directory`, which is made where it is missing, under a name that nothing has. It is for its owner
    /// alone, whoever may read the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn back_up(&self, directory: &Path) -> Result<PathBuf, FileError> {
        let failed = |path: PathBuf, source| FileError::Io { doing: "write the copy", path, source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failed(directory.to_owned(), error))?;
        for number in 1..=MOST_BACKUPS {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            let path = directory.join(name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(mut file) => {
                    return match file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all()) {
                        Ok(()) => Ok(path),
                        Err(source) => {
                            let _ = fs::remove_file(&path);
                            Err(failed(path, source))
                        }
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed(path, source)),
            }
        }
        Err(failed(directory.to_owned(), io::Error::other("there are a hundred copies already")))
    }

    /// Whether the file still is what was read.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub fn unchanged(&self) -> Result<(), FileError> {
        let io = |source| FileError::Io { doing: "read", path: self.path.clone(), source };
        let now = fs::symlink_metadata(&self.path).map_err(io)?;
        let same = (now.dev(), now.ino()) == (self.metadata.dev(), self.metadata.ino());
        if !same || fs::read(&self.path).map_err(io)? != self.text.as_bytes() {
            return Err(FileError::Changed(self.path.clone()));
        }
        Ok(())
    }

    /// Puts `text` in the file's place.
    ///
    /// # Errors
    /// It cannot be written, or the file is not what was read any more.
    pub fn replace(&self, text: &str) -> Result<(), FileError> {
        let io = |source| FileError::Io { doing: "write", path: self.path.clone(), source };
        // A rename does not ask whether the file itself may be written.
        OpenOptions::new().write(true).open(&self.path).map_err(io)?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let mut new = tempfile::Builder::new().prefix(".npxc-").tempfile_in(directory).map_err(io)?;
        self.dress(new.as_file()).map_err(io)?;
        new.write_all(text.as_bytes()).map_err(io)?;
        new.as_file().sync_all().map_err(io)?;
        self.unchanged()?;
        new.persist(&self.path).map_err(|error| io(error.error))?;
        // The rename has happened; that it lasts is all that is left to ask for.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// Gives a file this one's owner and mode.
    fn dress(&self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (self.metadata.uid(), self.metadata.gid()) {
            std::os::unix::fs::fchown(file, Some(self.metadata.uid()), Some(self.metadata.gid()))?;
        }
        file.set_permissions(self.metadata.permissions())
    }
}
