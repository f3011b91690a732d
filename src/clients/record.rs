//! What `npxc wrap` changed, per file, in npxc's data directory: enough to put it back. No values of variables are in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::change::Kept;
use crate::package::hex;

/// One file's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The file, for people who find the record.
    pub file: String,
    /// Digest of the file with everything put back, as it was when it was last wrapped.
    pub before: String,
    /// Copies of the file as it was, in the order they were made.
    pub backups: Vec<PathBuf>,
    /// Every server that was changed.
    pub servers: Vec<Kept>,
}

/// The digest of a file's bytes.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Where a file's record is; `data` is npxc's data directory, `file` absolute and without links.
pub fn path(data: &Path, file: &Path) -> PathBuf {
    copies(data, file).with_extension("json")
}

/// The directory of a file's copies. They have what the file has, secrets included: beside it they would be where others look,
/// and in a project's history.
pub fn copies(data: &Path, file: &Path) -> PathBuf {
    data.join("wrapped").join(&digest(file.as_os_str().as_bytes())[..32])
}

/// Waits until no other npxc changes a record, or a file that it is of, and keeps them all from it until this is dropped. What
/// was read before has to be compared then: it may be another now.
///
/// # Errors
/// The data directory cannot be written.
pub fn lock(data: &Path) -> io::Result<File> {
    let directory = data.join("wrapped");
    make(&directory)?;
    let path = directory.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(file)
}

/// A directory for its owner alone.
fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

impl Record {
    /// Reads a record. One that is not there is empty: then there is nothing to put back.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            // Taken for none, the next one would be written over it, and what it knows would not come back.
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("it is not as npxc wrote it: {error}"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes it, or removes it when it has neither servers nor copies any more.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if self.servers.is_empty() && self.backups.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        make(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Remembers servers, each in the place of what was known of it.
    pub fn add(&mut self, servers: Vec<Kept>) {
        self.servers.retain(|known| servers.iter().all(|new| new.path != known.path));
        self.servers.extend(servers);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_loses_what_another_adds_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let place = path(dir.path(), Path::new("/home/me/mcp.json"));
        std::thread::scope(|scope| {
            for name in 0..16 {
                let (data, place) = (dir.path(), &place);
                scope.spawn(move || {
                    let _held = lock(data).unwrap();
                    let mut record = Record::read(place).unwrap();
                    let path = vec![name.to_string()];
                    record.add(vec![Kept { path, command: String::new(), head: String::new() }]);
                    record.write(place).unwrap();
                });
            }
        });
        assert_eq!(Record::read(&place).unwrap().servers.len(), 16);
    }

    #[test]
    fn a_damaged_record_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        assert_eq!(Record::read(&path).unwrap().servers.len(), 0);
        fs::write(&path, "{\"servers\": [").unwrap();
        let error = Record::read(&path).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("it is not as npxc wrote it"), "{error}");
    }
}
