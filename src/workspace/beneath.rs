//! Opens what is below a directory, whatever happens to the names on the way meanwhile.
//!
//! On Linux the kernel keeps the walk below the directory (openat2, `RESOLVE_BENEATH`) and gives a handle that reads
//! nothing; only when that is a regular file or a directory, the same handle is opened for reading. Elsewhere every part of the path is
//! opened from the one before, and no link is followed. A FIFO or a device is never opened for reading, so nothing blocks.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};

/// A regular file, open for reading.
#[derive(Debug)]
pub struct Opened {
    /// At its start.
    pub file: File,
    /// What it was when it was opened.
    pub stat: Stat,
    /// Where it really is, if the system says.
    pub path: Option<PathBuf>,
}

/// A directory, open for reading.
#[derive(Debug)]
pub struct OpenedDirectory {
    /// The directory.
    pub fd: OwnedFd,
    /// Where it really is, if the system says.
    pub path: Option<PathBuf>,
}

/// Whether links on the way are followed, as long as they stay below the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are, where the system can keep the walk below the directory.
    Inside,
    /// None is.
    No,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A link, or `..`, leads out of the directory; or there is a link where none is followed.
    #[error("leads out of the directory")]
    Leaves,
    /// It is a directory.
    #[error("is a directory")]
    Directory,
    /// It is a FIFO, a socket, a device; or a file where a directory was wanted.
    #[error("is not a regular file")]
    Special,
    /// The system's word.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl OpenError {
    /// Whether nothing is there.
    pub fn is_missing(&self) -> bool {
        let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        matches!(self, Self::System(error) if missing.contains(&error.kind()))
    }
}

/// A directory to open files below.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens `below`, a relative path of a regular file, below `root`.
pub fn open_file(root: &OwnedFd, below: &Path, links: Links) -> Result<Opened, OpenError> {
    if below == Path::new("") {
        return Err(OpenError::Directory);
    }
    let (handle, stat) = system::find(root, below, links)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(OpenError::Directory),
        _ => return Err(OpenError::Special),
    }
    let path = system::real_path(&handle);
    Ok(Opened { file: system::readable(&handle, OFlags::empty())?.into(), stat, path })
}

/// Opens `below`, a relative path of a directory, below `root`; the empty one is `root` itself.
pub fn open_directory(root: &OwnedFd, below: &Path, links: Links) -> Result<OpenedDirectory, OpenError> {
    let below = if below == Path::new("") { Path::new(".") } else { below };
    let (handle, stat) = system::find(root, below, links)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(OpenError::Special);
    }
    let path = system::real_path(&handle);
    Ok(OpenedDirectory { fd: system::readable(&handle, OFlags::DIRECTORY)?, path })
}

/// Whether what is `below` is there and stays below `root`, all links followed.
pub fn leads_inside(root: &OwnedFd, below: &Path) -> bool {
    system::find(root, below, Links::Inside).is_ok()
}

/// How a handle is opened.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::AsRawFd;

    use rustix::fs::{ResolveFlags, openat2};
    use rustix::io::Errno;

    use super::{Links, Mode, OFlags, OpenError, OwnedFd, Path, PathBuf, READ, Stat, fstat, io, open};

    /// The kernel gives up when names change while it walks; then it is asked again.
    const TRIES: usize = 64;

    /// A handle that reads nothing, and what it is.
    pub(super) fn find(root: &OwnedFd, below: &Path, links: Links) -> Result<(OwnedFd, Stat), OpenError> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if links == Links::No {
            resolve |= ResolveFlags::NO_SYMLINKS;
            flags |= OFlags::NOFOLLOW;
        }
        let mut tries = 0;
        let handle = loop {
            match openat2(root, below, flags, Mode::empty(), resolve) {
                Ok(handle) => break handle,
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
                Err(Errno::XDEV | Errno::LOOP) => return Err(OpenError::Leaves),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        };
        let stat = fstat(&handle).map_err(io::Error::from)?;
        Ok((handle, stat))
    }

    fn name(handle: &OwnedFd) -> String {
        format!("/proc/self/fd/{}", handle.as_raw_fd())
    }

    pub(super) fn readable(handle: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(open(name(handle), READ | flags, Mode::empty())?)
    }

    pub(super) fn real_path(handle: &OwnedFd) -> Option<PathBuf> {
        std::fs::read_link(name(handle)).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Component;

    use rustix::fs::{AtFlags, openat, statat};
    use rustix::io::Errno;

    use super::{FileType, Links, Mode, OFlags, OpenError, OwnedFd, Path, PathBuf, READ, Stat, fstat, io};

    /// The file or directory, open already: anything else is not opened.
    pub(super) fn find(root: &OwnedFd, below: &Path, _: Links) -> Result<(OwnedFd, Stat), OpenError> {
        let fails = |error: Errno| match error {
            Errno::LOOP => OpenError::Leaves,
            other => OpenError::System(other.into()),
        };
        let mut at = rustix::io::dup(root).map_err(io::Error::from)?;
        let mut parts = below.components().filter(|part| *part != Component::CurDir).peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { return Err(OpenError::Leaves) };
            let stat = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fails)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::Symlink => return Err(OpenError::Leaves),
                FileType::RegularFile if parts.peek().is_none() => {}
                FileType::RegularFile => return Err(io::Error::from(Errno::NOTDIR).into()),
                _ => return Err(OpenError::Special),
            }
            at = openat(&at, name, READ | OFlags::NOFOLLOW, Mode::empty()).map_err(fails)?;
        }
        let stat = fstat(&at).map_err(io::Error::from)?;
        Ok((at, stat))
    }

    pub(super) fn readable(handle: &OwnedFd, _: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::io::dup(handle)?)
    }

    #[cfg(target_vendor = "apple")]
    pub(super) fn real_path(handle: &OwnedFd) -> Option<PathBuf> {
        rustix::fs::getpath(handle).ok()?.into_string().ok().map(PathBuf::from)
    }

    #[cfg(not(target_vendor = "apple"))]
    pub(super) fn real_path(_: &OwnedFd) -> Option<PathBuf> {
        None
    }
}
