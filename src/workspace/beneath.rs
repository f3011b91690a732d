//! Opens a regular file below a directory, whatever happens to the names on the way meanwhile.
//!
//! On Linux the kernel keeps the walk below the directory (openat2, `RESOLVE_BENEATH`) and gives a handle that reads
//! nothing; only when that is a regular file, the same handle is opened for reading. Elsewhere every part of the path is opened from
//! the one before, and no link is followed. A FIFO or a device is never opened for reading, so nothing blocks.

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

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A link, or `..`, leads out of the directory.
    #[error("leads out of the directory")]
    Leaves,
    /// It is a directory.
    #[error("is a directory")]
    Directory,
    /// It is a FIFO, a socket, a device.
    #[error("is not a regular file")]
    Special,
    /// The system's word.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A directory to open files below.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn regular(stat: &Stat) -> Result<(), OpenError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(OpenError::Directory),
        _ => Err(OpenError::Special),
    }
}

/// Opens `below`, a relative path, below `root`.
#[cfg(target_os = "linux")]
pub fn open_file(root: &OwnedFd, below: &Path) -> Result<Opened, OpenError> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{ResolveFlags, openat2};
    use rustix::io::Errno;

    /// The kernel gives up when names change while it walks; then it is asked again.
    const TRIES: usize = 64;

    if below == Path::new("") {
        return Err(OpenError::Directory);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    let handle = loop {
        match openat2(root, below, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(handle) => break handle,
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            Err(Errno::XDEV | Errno::LOOP) => return Err(OpenError::Leaves),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    };
    let stat = fstat(&handle).map_err(io::Error::from)?;
    regular(&stat)?;
    let name = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(&name, flags, Mode::empty()).map_err(io::Error::from)?;
    Ok(Opened { file: file.into(), stat, path: std::fs::read_link(name).ok() })
}

/// Opens `below`, a relative path, below `root`.
#[cfg(not(target_os = "linux"))]
pub fn open_file(root: &OwnedFd, below: &Path) -> Result<Opened, OpenError> {
    use std::path::Component;

    use rustix::fs::openat;
    use rustix::io::Errno;

    let mut at = rustix::io::dup(root).map_err(io::Error::from)?;
    let mut parts = below.components().peekable();
    let fails = |error: Errno| match error {
        Errno::LOOP => OpenError::Leaves,
        other => OpenError::System(other.into()),
    };
    let common = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(OpenError::Leaves) };
        if parts.peek().is_some() {
            at = openat(&at, name, common | OFlags::DIRECTORY, Mode::empty()).map_err(fails)?;
            continue;
        }
        let stat = rustix::fs::statat(&at, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_err(fails)?;
        regular(&stat)?;
        let file = openat(&at, name, common, Mode::empty()).map_err(fails)?;
        let stat = fstat(&file).map_err(io::Error::from)?;
        regular(&stat)?;
        let path = real_path(&file);
        return Ok(Opened { file: file.into(), stat, path });
    }
    Err(OpenError::Directory)
}

#[cfg(all(not(target_os = "linux"), target_vendor = "apple"))]
fn real_path(file: &OwnedFd) -> Option<PathBuf> {
    rustix::fs::getpath(file).ok()?.into_string().ok().map(PathBuf::from)
}

#[cfg(all(not(target_os = "linux"), not(target_vendor = "apple")))]
fn real_path(_: &OwnedFd) -> Option<PathBuf> {
    None
}
