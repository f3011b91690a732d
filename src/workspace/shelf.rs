//! The copies that a guest sees: a directory of the session's own, mounted read-only, or so that the guest may write to it.
//!
//! A copy shares its blocks with the file where the file system can (reflink), never its inode: what the guest holds open
//! is not the user's file. One that has changed is copied again and put in its place by a rename. Directories stand as
//! they do on the host, below a number for the directory that they are in.
//!
//! Where the guest may write it can rename and replace everything, so nothing is reached by its path: directories are
//! held open, every step down follows no link, and what is put there is made elsewhere first.
//! A directory that npxc was killed in is removed by the next one: its lock is free then.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Uid, fchown, flock, fstat, mkdirat, openat,
    readlinkat, renameat, statat, symlinkat, unlinkat,
};

use super::beneath::{self, Links, OpenError, Opened};
use super::journal::Journal;
use super::stamp::{self, Digest, Seen, Stamp};
use super::{journal, sweep};
use crate::audit::Unavailable;
use crate::runtime::Access;

/// Largest file that is copied, bytes: documents and small databases; what is larger is better mounted.
pub(super) const MOST_OF_ONE: u64 = 512 << 20;
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
    /// The log did not take it.
    #[error(transparent)]
    Unrecorded(#[from] Unavailable),
    /// The system's word.
    #[error("cannot be copied: {0}")]
    System(#[from] io::Error),
}

/// Keeps a session's copies. Dropping it removes them, whoever still has the [`Shelf`]: a thread that waits for a
/// client may never let it go.
#[derive(Debug)]
pub struct Lease {
    directory: PathBuf,
    /// Holds the lock.
    #[cfg_attr(not(test), allow(dead_code))]
    lock: File,
}

/// One session's copies.
#[derive(Debug)]
pub struct Shelf {
    directory: PathBuf,
    access: Access,
    owner: Option<(u32, u32)>,
    /// Files are counted and not copied.
    dry: bool,
    /// What is beside a file of the host's.
    pub(super) journal: Journal,
    places: Vec<(String, OwnedFd)>,
    sizes: HashMap<(usize, PathBuf), u64>,
    bytes: u64,
}

/// A copy that was made.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) bytes: u64,
    /// Where the guest may write.
    pub(super) digest: Option<Digest>,
    /// The copy's own.
    pub(super) seen: Option<Seen>,
}

impl Shelf {
    /// A new one below `parent`, which is npxc's own; those that nobody uses any more are removed.
    /// Where the guest may write, copies belong to `owner`, if that is not npxc's own user.
    pub fn new(
        parent: &Path,
        name: &str,
        access: Access,
        owner: Option<(u32, u32)>,
    ) -> io::Result<(Lease, Self)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let gate = lock_file(&parent.join("lock"))?;
        flock(&gate, FlockOperation::LockExclusive)?;
        let mut dead = Vec::new();
        for entry in fs::read_dir(parent)?.flatten() {
            let Ok(lock) = File::open(entry.path().join("lock")) else {
                // Its npxc was killed before or after the lock was there: whoever makes one holds the gate.
                let _ = fs::remove_dir(entry.path());
                continue;
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                dead.push((entry.path(), lock));
            }
        }
        let directory = parent.join(name);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let lock = lock_file(&directory.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        // Others need not wait for what follows. A guest of a killed npxc may live for a moment more: what it changes
        // meanwhile is its own copies only.
        drop(gate);
        for (directory, _lock) in dead {
            journal::clear(&directory);
            remove(&directory);
        }
        let files = directory.join("files");
        fs::create_dir(&files)?;
        fs::set_permissions(&files, Permissions::from_mode(0o755))?;
        let lease = Lease { directory: directory.clone(), lock };
        let owner = owner.filter(|_| access == Access::ReadWrite);
        let (places, sizes) = (Vec::new(), HashMap::new());
        let journal = Journal::new(&directory);
        Ok((lease, Self { directory, access, owner, dry: false, journal, places, sizes, bytes: 0 }))
    }

    /// One that says what it would do: files are counted and not copied, and none is recorded.
    #[must_use]
    pub fn dry(self) -> Self {
        Self { dry: true, ..self }
    }

    /// The directory that the guest sees.
    pub fn visible(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// What the guest may do with the copies.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The number of a directory of the client's.
    pub(super) fn place(&mut self, directory: &str) -> io::Result<usize> {
        if let Some(at) = self.places.iter().position(|(known, _)| known == directory) {
            return Ok(at + 1);
        }
        let number = self.places.len() + 1;
        // Nothing is in the place of a number that was not given out, unless the guest made it: then this fails.
        let files = beneath::directory(&self.visible())?;
        let made = self.make_directory(&files, Path::new(&number.to_string()))?;
        self.places.push((directory.to_owned(), made));
        Ok(number)
    }

    /// The client's directory of a number.
    pub(super) fn directory_of(&self, place: usize) -> Option<&str> {
        self.places.get(place.checked_sub(1)?).map(|(directory, _)| directory.as_str())
    }

    /// The directory of a number.
    pub(super) fn root(&self, place: usize) -> io::Result<&OwnedFd> {
        let found = place.checked_sub(1).and_then(|at| self.places.get(at));
        found.map(|(_, fd)| fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether a regular file is there.
    pub(super) fn has(&self, place: usize, below: &Path) -> bool {
        self.open(place, below).is_ok()
    }

    /// Opens a copy, following no link.
    pub(super) fn open(&self, place: usize, below: &Path) -> Result<Opened, OpenError> {
        beneath::open_file(self.root(place)?, below, Links::No)
    }

    /// Copies a file in place of what is there. `record` hears its size, in bytes, when it is copied and the guest does not
    /// see it yet; without its consent it stays so.
    pub(super) fn put(
        &mut self,
        place: usize,
        below: &Path,
        opened: Opened,
        record: impl FnOnce(u64) -> Result<(), Unavailable>,
    ) -> Result<Put, ShelfError> {
        let size = u64::try_from(opened.stat.st_size).unwrap_or(u64::MAX);
        if size > MOST_OF_ONE {
            return Err(ShelfError::TooLarge);
        }
        let key = (place, below.to_owned());
        let before = self.sizes.get(&key).copied();
        let freed = before.unwrap_or(0);
        if self.bytes - freed + size > MOST_BYTES || (before.is_none() && self.sizes.len() >= MOST_FILES) {
            return Err(ShelfError::Full);
        }
        if self.dry {
            self.bytes = self.bytes - freed + size;
            self.sizes.insert(key, size);
            return Ok(Put { bytes: size, digest: None, seen: None });
        }
        let name = below.file_name().ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
        let parent = self.make_parents(place, below)?;
        // Beside the directory that the guest sees: it sees whole files only.
        let fresh = self.directory.join("fresh");
        let put = self.copy(opened.file, &fresh, MOST_OF_ONE).and_then(|(file, bytes, digest)| {
            record(bytes)?;
            let before = fstat(&file).map_err(io::Error::from)?;
            renameat(CWD, &fresh, &parent, name).map_err(io::Error::from)?;
            let after = fstat(&file).map_err(io::Error::from)?;
            let same = Stamp::of(&before).is_moved(&Stamp::of(&after));
            Ok(Put { bytes, digest, seen: same.then(|| Seen::of(&after)) })
        });
        let put = put.inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        self.bytes = self.bytes - freed + put.bytes;
        self.sizes.insert(key, put.bytes);
        Ok(put)
    }

    /// Copies what is there; where the guest may write, its digest is taken on the way.
    fn copy(&self, mut from: File, to: &Path, most: u64) -> Result<(File, u64, Option<Digest>), ShelfError> {
        let bounded = |error: io::Error| match error.kind() {
            io::ErrorKind::FileTooLarge => ShelfError::TooLarge,
            _ => ShelfError::System(error),
        };
        let mut options = OpenOptions::new();
        let mut fresh = options.create(true).truncate(true).read(true).write(true).mode(0o600).open(to)?;
        let writable = self.access == Access::ReadWrite;
        let (copied, digest) = match reflink(&fresh, &from) {
            Ok(()) => {
                let size = fresh.metadata()?.len();
                let digest =
                    if writable { Some(stamp::digest(&fresh, most).map_err(bounded)?) } else { None };
                (size, digest)
            }
            Err(_) if writable => {
                let (copied, digest) = stamp::copy(&mut from, &mut fresh, most).map_err(bounded)?;
                (copied, Some(digest))
            }
            // The standard library has the kernel copy.
            Err(_) => (io::copy(&mut io::Read::take(from, most + 1), &mut fresh)?, None),
        };
        if copied > most {
            return Err(ShelfError::TooLarge);
        }
        fresh.set_permissions(Permissions::from_mode(if writable { 0o644 } else { 0o444 }))?;
        self.give(&fresh)?;
        Ok((fresh, copied, digest))
    }

    fn give(&self, fd: impl std::os::fd::AsFd) -> io::Result<()> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        Ok(fchown(fd, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
    }

    /// The directory that `below` is in, made if it has to be.
    pub(super) fn make_parents(&self, place: usize, below: &Path) -> io::Result<OwnedFd> {
        self.make_directories(place, below.parent().unwrap_or(Path::new("")))
    }

    /// The directory `below`, made if it has to be.
    pub(super) fn make_directories(&self, place: usize, below: &Path) -> io::Result<OwnedFd> {
        let mut at = rustix::io::dup(self.root(place)?)?;
        for part in below.components() {
            let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
            at = self.make_directory(&at, Path::new(name))?;
        }
        Ok(at)
    }

    /// A directory that another user can read: in a container the package may be one.
    fn make_directory(&self, at: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(at, name, flags, Mode::empty());
        match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let made = open()?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                self.give(&made)?;
                Ok(made)
            }
            Err(rustix::io::Errno::EXIST) => Ok(open()?),
            Err(error) => Err(error.into()),
        }
    }

    /// Repeats a link that leads to something in the same tree; one that says something else is replaced. What the guest has
    /// made itself under that name stays.
    pub(super) fn link(&self, place: usize, below: &Path, target: &Path) -> io::Result<()> {
        let name = below.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.make_parents(place, below)?;
        match readlinkat(&parent, name, Vec::new()) {
            Ok(there) if there.to_bytes() == target.as_os_str().as_bytes() => return Ok(()),
            Err(rustix::io::Errno::INVAL) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let fresh = self.directory.join("fresh");
        symlinkat(target, CWD, &fresh)?;
        Ok(renameat(CWD, &fresh, &parent, name).inspect_err(|_| drop(fs::remove_file(&fresh)))?)
    }

    /// Takes a link away that is not there any more.
    pub(super) fn unlink(&self, place: usize, below: &Path) {
        self.take_away(place, below, FileType::Symlink);
    }

    /// Takes a directory away that is not there any more, if nothing is in it.
    pub(super) fn remove_directory(&self, place: usize, below: &Path) {
        self.take_away(place, below, FileType::Directory);
    }

    /// Takes a copy away that has no file any more.
    pub(super) fn remove(&mut self, place: usize, below: &Path) {
        // One that the guest has made itself was not counted.
        self.bytes -= self.sizes.remove(&(place, below.to_owned())).unwrap_or(0);
        self.take_away(place, below, FileType::RegularFile);
    }

    /// Takes away what is there, if it is of that kind.
    fn take_away(&self, place: usize, below: &Path, kind: FileType) {
        let (Ok(root), Some(name)) = (self.root(place), below.file_name()) else { return };
        let parent = below.parent().unwrap_or(Path::new(""));
        let Ok(parent) = beneath::open_directory(root, parent, Links::No) else { return };
        let is_it = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == kind;
        if statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_it) {
            let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // What the guest has taken away itself is gone.
            let _ = unlinkat(&parent.fd, name, flags);
        }
    }
}

#[cfg(test)]
impl Lease {
    /// Lets the lock go as a killed npxc does.
    pub(super) fn abandon(self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
        std::mem::forget(self);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

/// Removes a session's directory. What cannot be removed is tried again by the next npxc, while its lock is still in it.
fn remove(directory: &Path) {
    let _ = sweep::remove(directory, "lock");
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(target_os = "linux")]
fn reflink(to: &File, from: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

#[cfg(not(target_os = "linux"))]
fn reflink(_: &File, _: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn copies_belong_to_the_guest_s_user_where_that_is_another_one() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("from"), "text").unwrap();
        fs::set_permissions(directory.path().join("from"), Permissions::from_mode(0o600)).unwrap();
        let root = beneath::directory(directory.path()).unwrap();
        for (name, access, owner, mode) in
            [("r", Access::ReadOnly, 0, 0o444), ("w", Access::ReadWrite, 4242, 0o644)]
        {
            let parent = directory.path().join("shared");
            let (_lease, mut shelf) = Shelf::new(&parent, name, access, Some((4242, 4242))).unwrap();
            let place = shelf.place("/x").unwrap();
            let opened = beneath::open_file(&root, Path::new("from"), Links::No).unwrap();
            shelf.put(place, Path::new("sub/from"), opened, |_| Ok(())).unwrap();
            let stat = |below: &str| rustix::fs::stat(shelf.visible().join(below)).unwrap();
            for (below, mode) in [("1", 0o755), ("1/sub", 0o755), ("1/sub/from", mode)] {
                assert_eq!((stat(below).st_uid, stat(below).st_gid), (owner, owner), "{access:?} {below}");
                assert_eq!(stat(below).st_mode & 0o777, mode, "{access:?} {below}");
            }
        }
    }

    #[test]
    fn a_file_that_grows_while_it_is_copied_is_too_large() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("from");
        fs::write(&from, "12345").unwrap();
        for (name, access) in [("r", Access::ReadOnly), ("w", Access::ReadWrite)] {
            let (_lease, shelf) = Shelf::new(&directory.path().join("shared"), name, access, None).unwrap();
            let copy = |most| shelf.copy(File::open(&from).unwrap(), &shelf.directory.join("fresh"), most);
            assert!(matches!(copy(4), Err(ShelfError::TooLarge)), "{access:?}");
            assert_eq!(copy(5).unwrap().1, 5, "{access:?}");
        }
    }
}
