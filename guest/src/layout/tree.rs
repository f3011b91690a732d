//! Mounts as descriptors: taken from the host first, changed while detached, attached last, so that nothing is
//! ever visible with more rights than it ends up with.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::sys;

/// Read-only, and neither devices nor setuid.
pub(super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | READ_WRITE;
/// Neither devices nor setuid.
pub(super) const READ_WRITE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// A single device file.
pub(super) const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// A detached copy of what the host has at `path`, with everything mounted below it.
pub(super) fn copy(path: &Path, attributes: u64) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, path, flags)?;
    sys::set_mount_attributes(tree.as_fd(), attributes, true)?;
    Ok(tree)
}

/// A new file system that is mounted nowhere yet.
pub(super) fn create(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A tmpfs of at most `size` bytes.
pub(super) fn tmpfs(size: u64, mode: &str, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    /// A file per 4 KiB, like ext4 has it, but enough for an empty-file-heavy install on a small one.
    const LEAST_FILES: u64 = 1 << 16;
    let files = (size / 4096).max(LEAST_FILES).to_string();
    create("tmpfs", &[("size", &size.to_string()), ("nr_inodes", &files), ("mode", mode)], attributes)
}

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// The new root while it is built. All paths are absolute paths inside, resolved in it: a symbolic link in what
/// was mounted leads nowhere else.
pub(super) struct Root {
    root: OwnedFd,
    /// Device numbers of the file systems made here: only in those files and directories are made.
    own: Vec<u64>,
}

impl Root {
    pub(super) fn new(root: OwnedFd) -> io::Result<Self> {
        let device = rustix::fs::fstat(&root)?.st_dev;
        Ok(Self { root, own: vec![device] })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve)
    }

    /// The directory `path`, made if it is missing.
    pub(super) fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {
                let (parent, name) = self.parent(path)?;
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                Ok(self.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?)
            }
            other => Ok(other?),
        }
    }

    /// The directory that `path` lies in, on a file system made here, and its last component.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = self.directory(parent)?;
        if !self.own.contains(&rustix::fs::fstat(&directory)?.st_dev) {
            return Err(io::Error::other("would have to be created in a directory of the host"));
        }
        Ok((directory, name))
    }

    /// Attaches a detached mount at `path`.
    pub(super) fn attach(&self, tree: &OwnedFd, path: &Path, kind: Kind) -> io::Result<()> {
        let target = match kind {
            Kind::Directory => self.directory(path)?,
            Kind::File => match self.open(path, OFlags::PATH, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.write(path, &[], 0o644)?;
                    self.open(path, OFlags::PATH, Mode::empty())?
                }
                other => other?,
            },
        };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", &target, "", flags)?;
        Ok(())
    }

    /// Attaches a file system made here, in which files and directories may be made.
    pub(super) fn attach_own(&mut self, tree: &OwnedFd, path: &Path) -> io::Result<()> {
        self.attach(tree, path, Kind::Directory)?;
        self.own.push(rustix::fs::fstat(tree)?.st_dev);
        Ok(())
    }

    /// Writes a file on a file system made here.
    pub(super) fn write(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode))?;
        // The name itself may be a mount point: what was opened is what counts.
        if !self.own.contains(&rustix::fs::fstat(&file)?.st_dev) {
            return Err(io::Error::other("is a file of the host"));
        }
        io::Write::write_all(&mut fs::File::from(file), content)
    }

    /// Makes a symbolic link on a file system made here.
    pub(super) fn symlink(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::symlinkat(target, parent, name)?)
    }

    /// Makes everything that was made here so far in the root file system itself unchangeable.
    pub(super) fn seal(&self) -> io::Result<()> {
        sys::set_mount_attributes(self.root.as_fd(), READ_ONLY, false)
    }
}

/// Whether the detached mount's root is a directory.
pub(super) fn kind(tree: &OwnedFd) -> io::Result<Kind> {
    let stat = rustix::fs::statat(tree, "", AtFlags::EMPTY_PATH)?;
    let directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(if directory { Kind::Directory } else { Kind::File })
}

/// `path` without `.`; `None` if it is relative or has `..`.
pub(super) fn normal(path: &Path) -> Option<PathBuf> {
    let normal = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    (path.is_absolute() && normal).then(|| path.components().collect())
}
