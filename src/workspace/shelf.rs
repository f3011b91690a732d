//! The copies that a guest sees, in a directory of the session's own that is mounted read-only.
//!
//! A copy shares its blocks with the file where the file system can (reflink), never its inode: what the guest holds open
//! is not the user's file. One that has changed is copied again and put in its place by a rename. A directory that npxc
//! was killed in is removed by the next one: its lock is free then.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::beneath::Opened;

/// Largest file that is copied, bytes: documents and small databases; what is larger is better mounted.
const MOST_OF_ONE: u64 = 512 << 20;
/// All copies of a session together, bytes.
const MOST_BYTES: u64 = 2 << 30;
/// Copies of a session.
const MOST_FILES: usize = 4096;

/// Why a file was not copied.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// It is larger than [`MOST_OF_ONE`].
    #[error("is larger than {} MiB", MOST_OF_ONE >> 20)]
    TooLarge,
    /// There are too many copies, or they are too large together.
    #[error("is one file too many: a session shares {MOST_FILES} files or {} GiB by their names", MOST_BYTES >> 30)]
    Full,
    /// The system's word.
    #[error("cannot be copied: {0}")]
    System(#[from] io::Error),
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The number of its directory.
    pub place: usize,
    /// Bytes, if it was copied now.
    pub copied: Option<u64>,
}

/// Keeps a session's copies. Dropping it removes them, whoever still has the [`Shelf`]: a thread that waits for a
/// client may never let it go.
#[derive(Debug)]
pub struct Lease {
    directory: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// One session's copies.
#[derive(Debug)]
pub struct Shelf {
    directory: PathBuf,
    places: HashMap<String, usize>,
    files: HashMap<(usize, String), Stamp>,
    bytes: u64,
}

impl Shelf {
    /// A new one below `parent`, which is npxc's own; those that nobody uses any more are removed.
    pub fn new(parent: &Path, name: &str) -> io::Result<(Lease, Self)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let gate = lock_file(&parent.join("lock"))?;
        flock(&gate, FlockOperation::LockExclusive)?;
        for entry in fs::read_dir(parent)?.flatten() {
            let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // What cannot be removed is tried again by the next one.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let directory = parent.join(name);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let lock = lock_file(&directory.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        visible_directory(&directory.join("files"))?;
        drop(gate);
        let lease = Lease { directory: directory.clone(), _lock: lock };
        Ok((lease, Self { directory, places: HashMap::new(), files: HashMap::new(), bytes: 0 }))
    }

    /// The directory that the guest sees.
    pub fn visible(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// Copies a file, unless its copy is as it is.
    pub fn keep(&mut self, directory: &str, name: &str, opened: Opened) -> Result<Kept, ShelfError> {
        let size = u64::try_from(opened.stat.st_size).unwrap_or(u64::MAX);
        let place = self.places.get(directory).copied().unwrap_or(self.places.len() + 1);
        let key = (place, name.to_owned());
        let stamp = Stamp::of(&opened);
        let before = self.files.get(&key);
        if before == Some(&stamp) {
            return Ok(Kept { place, copied: None });
        }
        if size > MOST_OF_ONE {
            return Err(ShelfError::TooLarge);
        }
        let freed = before.map_or(0, |before| u64::try_from(before.size).unwrap_or(0));
        if self.bytes - freed + size > MOST_BYTES || (before.is_none() && self.files.len() >= MOST_FILES) {
            return Err(ShelfError::Full);
        }
        let at = self.visible().join(place.to_string());
        if !self.places.contains_key(directory) {
            visible_directory(&at)?;
            self.places.insert(directory.to_owned(), place);
        }
        // Beside the directory that the guest sees: it sees whole files only.
        let fresh = self.directory.join("fresh");
        let copied = copy(opened.file, &fresh)
            .and_then(|copied| fs::rename(&fresh, at.join(name)).map(|()| copied))
            .inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        self.bytes = self.bytes - freed + copied;
        self.files.insert(key, Stamp { size: i64::try_from(copied).unwrap_or(i64::MAX), ..stamp });
        Ok(Kept { place, copied: Some(copied) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Stamp {
    fn of(opened: &Opened) -> Self {
        let stat = &opened.stat;
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless, clippy::cast_sign_loss)]
        // their types differ by system
        Self {
            inode: (stat.st_dev as u64, stat.st_ino as u64),
            size: stat.st_size as i64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// One that another user can read: in a container the package may be one.
fn visible_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Copies what is there, at most [`MOST_OF_ONE`]; returns the bytes.
fn copy(from: File, to: &Path) -> io::Result<u64> {
    let mut fresh = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(to)?;
    let copied = match reflink(&fresh, &from) {
        Ok(()) => fresh.metadata()?.len(),
        // The standard library has the kernel copy.
        Err(_) => io::copy(&mut from.take(MOST_OF_ONE + 1), &mut fresh)?,
    };
    if copied > MOST_OF_ONE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fresh.set_permissions(Permissions::from_mode(0o444))?;
    Ok(copied)
}

#[cfg(target_os = "linux")]
fn reflink(to: &File, from: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

#[cfg(not(target_os = "linux"))]
fn reflink(_: &File, _: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
