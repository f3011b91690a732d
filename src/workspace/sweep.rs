//! Removes a tree that a guest may still change while it is removed.
//!
//! Every step goes by a name in a directory that is held open, and follows no link; what is nested is first moved up, so
//! that neither its depth nor the length of a path is a limit.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};

/// Rounds; each moves everything one directory up.
const MOST_ROUNDS: usize = 1 << 20;
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `root`, a directory of npxc's own, with what is in it; the file `last` in it goes when all else is gone. What
/// is in one of its directories is moved within that one only: a guest may still live that sees just this one.
pub(super) fn remove(root: &Path, last: &str) -> io::Result<()> {
    let top = rustix::fs::open(root, OFlags::RDONLY | DIRECTORY, Mode::empty())?;
    let mut result = Ok(());
    for (name, is_directory) in list(&top)? {
        if name.to_bytes() == last.as_bytes() {
            continue;
        }
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let emptied = if is_directory { enter(&top, &name).and_then(|inner| empty(&inner)) } else { Ok(()) };
        result = result.and(emptied).and(unlinkat(&top, name.as_c_str(), flags).map_err(io::Error::from));
    }
    result?;
    match unlinkat(&top, last, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => fs::remove_dir(root),
        Err(error) => Err(error.into()),
    }
}

fn empty(top: &OwnedFd) -> io::Result<()> {
    // No guest foresees a name that something is moved to, and has it ready.
    let prefix = format!(".{}-", uuid::Uuid::new_v4().simple());
    let mut moved = 0_u64;
    for _ in 0..MOST_ROUNDS {
        let names = list(top)?;
        if names.is_empty() {
            return Ok(());
        }
        let mut done = false;
        for (name, is_directory) in &names {
            done |= if *is_directory {
                lift(top, name, &prefix, &mut moved)
            } else {
                unlinkat(top, name.as_c_str(), AtFlags::empty()).is_ok()
            };
        }
        if !done {
            break;
        }
    }
    Err(io::ErrorKind::DirectoryNotEmpty.into())
}

/// Removes the directory `name` and its files, after its directories were moved beside it; whether anything was done.
fn lift(top: &OwnedFd, name: &CStr, prefix: &str, moved: &mut u64) -> bool {
    let mut done = false;
    let inside = enter(top, name).and_then(|directory| Ok((list(&directory)?, directory)));
    if let Ok((names, directory)) = inside {
        for (inner, is_directory) in names {
            done |= if is_directory {
                // To move a directory writes its `..`, which needs permission on it.
                let _ = enter(&directory, &inner);
                *moved += 1;
                let fresh = format!("{prefix}{moved}");
                renameat(&directory, inner.as_c_str(), top, fresh.as_str()).is_ok()
            } else {
                unlinkat(&directory, inner.as_c_str(), AtFlags::empty()).is_ok()
            };
        }
    }
    unlinkat(top, name, AtFlags::REMOVEDIR).is_ok() || done
}

/// Opens a directory; the guest may have taken the permission away.
#[cfg(target_os = "linux")]
fn enter(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    // A handle that reads nothing is had without permission, and its name in /proc leads to it and nothing else.
    let handle = openat(parent, name, OFlags::PATH | DIRECTORY, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmod(path.as_str(), Mode::RWXU)?;
    Ok(rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a directory; the guest may have taken the permission away.
#[cfg(not(target_os = "linux"))]
fn enter(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(openat(parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty())?)
}

/// The names in a directory, and which of them are directories.
fn list(directory: &OwnedFd) -> io::Result<Vec<(CString, bool)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            kind => kind,
        };
        names.push((name.to_owned(), kind == FileType::Directory));
    }
    Ok(names)
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
