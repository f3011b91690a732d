//! Everything in a directory, within bounds. No link is followed; what it leads to is the caller's to judge.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, readlinkat, statat};

use super::beneath::{self, Links, OpenError};

/// Files and directories of a tree: enough for a folder of documents or a small project without its dependencies.
pub(super) const MOST_ENTRIES: usize = 2000;
/// Bytes of a tree.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// Directories inside each other.
const MOST_DEPTH: usize = 32;

/// Something in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A link, and what it says.
    Link(PathBuf),
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Relative to it, each directory before what is in it.
    pub(super) entries: Vec<(PathBuf, Kind)>,
    /// What is none of these, or cannot be read, and why.
    pub(super) left: Vec<(PathBuf, &'static str)>,
    /// There is more than the bounds let through.
    pub(super) is_cut: bool,
}

/// Reads the tree below `root`; directories for which `skips` says so, by where they really are, are not looked into.
pub(super) fn walk(root: &OwnedFd, skips: &dyn Fn(Option<&Path>) -> bool) -> io::Result<Tree> {
    let mut tree = Tree::default();
    let mut bytes = 0;
    let mut directories = vec![PathBuf::new()];
    while let Some(at) = directories.pop() {
        let opened = match beneath::open_directory(root, &at, Links::No) {
            Ok(opened) => opened,
            Err(OpenError::System(error)) if at == Path::new("") => return Err(error),
            // It was another thing a moment ago.
            Err(_) => {
                tree.left.push((at, "cannot be read"));
                continue;
            }
        };
        if skips(opened.path.as_deref()) {
            continue;
        }
        if at != Path::new("") {
            tree.entries.push((at.clone(), Kind::Directory));
        }
        let (mut names, mut deeper) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&opened.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if tree.entries.len() + directories.len() + names.len() >= MOST_ENTRIES {
                tree.is_cut = true;
                return Ok(tree);
            }
            names.push(name.to_owned());
        }
        names.sort();
        for name in names {
            let below = at.join(&name);
            let Ok(stat) = statat(&opened.fd, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    bytes += u64::try_from(stat.st_size).unwrap_or(0);
                    tree.entries.push((below, Kind::File));
                }
                FileType::Directory if at.components().count() + 1 >= MOST_DEPTH => {
                    tree.is_cut = true;
                    return Ok(tree);
                }
                FileType::Directory => deeper.push(below),
                FileType::Symlink => match readlinkat(&opened.fd, &name, Vec::new()) {
                    Ok(target) => {
                        let target = OsStr::from_bytes(target.to_bytes()).into();
                        tree.entries.push((below, Kind::Link(target)));
                    }
                    Err(_) => tree.left.push((below, "cannot be read")),
                },
                _ => tree.left.push((below, "is neither a file nor a directory")),
            }
        }
        if bytes > MOST_BYTES {
            tree.is_cut = true;
            return Ok(tree);
        }
        directories.extend(deeper.into_iter().rev());
    }
    Ok(tree)
}
