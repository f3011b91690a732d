//! The directories of a package's folder in the store, with copies of its data files: they lie between it and what the
//! guest writes.
//!
//! In the store nothing may be written, so that nothing is by accident, and a guest without capabilities could not make a
//! file in a directory of mode 0555. A merged directory has the mode of the topmost one, so these, with mode 0755, let it.
//! For a file that the package came with, settings for example, it takes a copy with another mode; small ones that are no code
//! have one. The store stays as it is. All this is made once, because large packages have thousands of directories.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{lock_file, open_directory, private, stamp};
use crate::package::tree;

/// Largest file that is copied: settings, lists and small databases.
const MOST_OF_ONE: u64 = 1 << 20;
/// All copies of one folder together, bytes and files: a package of nothing but data is not doubled.
const MOST_BYTES: u64 = 16 << 20;
const MOST_FILES: usize = 1000;
/// What files end with that programs write to.
const DATA: [&str; 14] = [
    "json", "jsonl", "ndjson", "yaml", "yml", "toml", "ini", "env", "csv", "tsv", "txt", "db", "sqlite",
    "sqlite3",
];
/// The directories.
const TREE: &str = "tree";
/// A file with the folder's path.
const OVER: &str = "over";

/// The directories of one folder, which nobody removes while this lives.
#[derive(Debug)]
pub(super) struct Folders {
    path: PathBuf,
    _held: File,
}

impl Folders {
    /// Those of `folder`, below `parent`; made if they are not there, and then those of folders that have gone are removed.
    pub(super) fn of(parent: &Path, folder: &Path) -> io::Result<Self> {
        let name = stamp(folder)?;
        let path = parent.join(&name);
        if let Some(held) = hold(&path)? {
            return Ok(Self { path, _held: held });
        }
        private(parent)?;
        let gate = lock_file(parent.join("lock"))?;
        flock(&gate, FlockOperation::LockExclusive)?;
        if let Some(held) = hold(&path)? {
            return Ok(Self { path, _held: held });
        }
        sweep(parent, &name);
        let fresh = parent.join(".fresh");
        if fs::symlink_metadata(&fresh).is_ok() {
            remove(&fresh)?;
        }
        private(&fresh)?;
        repeat(folder, &fresh.join(TREE))?;
        fs::write(fresh.join(OVER), folder.as_os_str().as_encoded_bytes())?;
        fs::rename(&fresh, &path)?;
        let held = hold(&path)?.ok_or(io::ErrorKind::ResourceBusy)?;
        Ok(Self { path, _held: held })
    }

    /// The directory that lies over the folder.
    pub(super) fn path(&self) -> PathBuf {
        self.path.join(TREE)
    }
}

/// Opens finished directories and keeps them from being removed.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let held = match open_directory(path) {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(flock(&held, FlockOperation::NonBlockingLockShared).is_ok().then_some(held))
}

/// Makes every directory of `from` again below `to`, and copies its data files.
fn repeat(from: &Path, to: &Path) -> io::Result<()> {
    let mut pending = vec![(from.to_owned(), to.to_owned(), true)];
    let (mut files, mut bytes) = (MOST_FILES, MOST_BYTES);
    while let Some((from, to, own)) = pending.pop() {
        DirBuilder::new().mode(0o755).create(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let copy = to.join(entry.file_name());
            // Of a link itself.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push((entry.path(), copy, own && entry.file_name() != "node_modules"));
            } else if kind.is_file() && own && files > 0 && is_data(&entry.path()) {
                let metadata = entry.metadata()?;
                if metadata.len() > MOST_OF_ONE.min(bytes) {
                    continue;
                }
                (files, bytes) = (files - 1, bytes - metadata.len());
                fs::copy(entry.path(), &copy)?;
                fs::set_permissions(&copy, Permissions::from_mode(metadata.mode() & 0o777 | 0o200))?;
            }
        }
    }
    Ok(())
}

/// Whether a package may mean to write to a file that it came with. Code is not copied.
fn is_data(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    DATA.iter().any(|data| extension.eq_ignore_ascii_case(data)) && !path.ends_with("package.json")
}

/// Removes what belongs to folders that are gone or were replaced, unless a session still has it. Failures are left to the
/// next one.
fn sweep(parent: &Path, but: &str) {
    for found in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = found.path();
        if found.file_name() == but || !found.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let current = fs::read(path.join(OVER)).ok().and_then(|bytes| {
            use std::os::unix::ffi::OsStringExt;
            stamp(Path::new(&std::ffi::OsString::from_vec(bytes))).ok()
        });
        if current.is_some_and(|current| found.file_name() == current.as_str()) {
            continue;
        }
        if let Ok(held) = open_directory(&path)
            && flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = remove(&path);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    tree::remove(path).map_err(|error| io::Error::other(error.to_string()))
}
