//! What may be shared: the working directory, and what is mounted anyway.
//!
//! `/`, the home directory and what holds it are no scope: a client that starts npxc there shares nothing until `--cwd` or
//! `--mount` says what.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::Ground;
use super::beneath::{self, Links, OpenError, Opened, OpenedDirectory};
use crate::paths::{absolute, tidy};
use crate::runtime::Mount;

/// Directories of the guest's own system; what a client names there, the guest has its own of.
const SYSTEM: [&str; 11] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt"];
/// Directories of the guest's own that it may write to.
const PRIVATE: [&str; 3] = ["/tmp", "/var/tmp", "/home/user"];

/// Where a path of the client is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// In a mount; the guest's path of it.
    Inside(PathBuf),
    /// The guest's own, or a path that only the guest knows.
    Guest,
    /// In the scope.
    Scope {
        /// Its root, as the client calls it.
        directory: PathBuf,
        /// Relative to it.
        below: PathBuf,
    },
    /// Neither.
    Outside,
}

/// The scope.
#[derive(Debug)]
pub struct Scope {
    cwd: PathBuf,
    home: PathBuf,
    /// The working directory, as it is called and as it really is.
    root: Option<(PathBuf, PathBuf, OwnedFd)>,
    mounts: Vec<Mount>,
    /// Where relative paths lead inside the guest, when a mount has the working directory.
    starts_inside: bool,
    own: Vec<PathBuf>,
}

impl Scope {
    /// The scope of a session that starts in the ground's directory. `starts_inside` when that is mounted, so that the
    /// guest starts there as well.
    pub fn new(ground: Ground, mounts: &[Mount], starts_inside: bool) -> Self {
        let Ground { cwd, home, own } = ground;
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let real_cwd = real(&cwd);
        let too_wide = real(&home).starts_with(&real_cwd) || real_cwd == Path::new("/");
        let root = (!too_wide).then(|| beneath::directory(&real_cwd).ok()).flatten();
        Self {
            root: root.map(|root| (cwd.clone(), real_cwd, root)),
            own: own.iter().map(|path| real(path)).collect(),
            cwd,
            home,
            mounts: mounts.to_vec(),
            starts_inside,
        }
    }

    /// The working directory.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Whether files of the working directory can be shared.
    pub fn is_open(&self) -> bool {
        self.root.is_some()
    }

    /// A path as the client wrote it, absolute.
    pub fn absolute(&self, written: &str) -> PathBuf {
        absolute(written, &self.cwd, &self.home)
    }

    /// Where an absolute path is. `relative` when it was not written so.
    pub fn place(&self, path: &Path, relative: bool) -> Place {
        // By name, or by where it really is: only a name for the guest comes of it, which sees the mount anyway.
        let by_name = self.mounted(path);
        let mounted = by_name.or_else(|| self.mounted(&path.canonicalize().ok()?));
        if let Some(guest) = mounted {
            return if relative && self.starts_inside { Place::Guest } else { Place::Inside(guest) };
        }
        if !relative && self.mounts.iter().any(|mount| path.starts_with(&mount.guest)) {
            return Place::Guest;
        }
        if let Some((called, real, _)) = &self.root {
            for directory in [called, real] {
                if let Ok(below) = path.strip_prefix(directory) {
                    return Place::Scope { directory: directory.clone(), below: tidy(below) };
                }
            }
        }
        if leads_anywhere(path) {
            return Place::Outside;
        }
        if SYSTEM.iter().any(|system| path.starts_with(system)) { Place::Guest } else { Place::Outside }
    }

    /// The scope's root.
    pub(super) fn root(&self) -> Result<&OwnedFd, OpenError> {
        self.root.as_ref().map(|(_, _, fd)| fd).ok_or(OpenError::Leaves)
    }

    /// Opens a file that [`place`](Self::place) found in the scope.
    pub(super) fn open(&self, below: &Path) -> Result<Opened, OpenError> {
        beneath::open_file(self.root()?, below, Links::Inside)
    }

    /// Opens a directory that [`place`](Self::place) found in the scope.
    pub(super) fn open_directory(&self, below: &Path) -> Result<OpenedDirectory, OpenError> {
        beneath::open_directory(self.root()?, below, Links::Inside)
    }

    /// Where a path is below the root; `path` is one without links.
    pub(super) fn below_root(&self, path: &Path) -> Option<PathBuf> {
        let (_, real, _) = self.root.as_ref()?;
        path.strip_prefix(real).ok().map(Path::to_owned)
    }

    /// Whether what is really at `path` is npxc's own: its configuration, its store, its logs. What cannot be told counts
    /// as its own.
    pub(super) fn is_own(&self, path: Option<&Path>) -> bool {
        path.is_none_or(|path| self.own.iter().any(|own| path.starts_with(own)))
    }

    fn mounted(&self, path: &Path) -> Option<PathBuf> {
        let inside = self.mounts.iter().filter(|mount| path.starts_with(&mount.host));
        let mount = inside.max_by_key(|mount| mount.host.components().count())?;
        let below = path.strip_prefix(&mount.host).ok()?;
        Some(if below == Path::new("") { mount.guest.clone() } else { mount.guest.join(below) })
    }
}

/// Whether a path goes through a process's root or working directory: what the client means by it is no file of `/proc`.
fn leads_anywhere(path: &Path) -> bool {
    path.strip_prefix("/proc").is_ok_and(|below| below.iter().any(|part| part == "root" || part == "cwd"))
}

/// Whether the guest has a directory of its own there.
pub(super) fn is_private(path: &Path) -> bool {
    PRIVATE.iter().any(|private| path.starts_with(private))
}

/// Whether a path that is not there looks as if it meant this machine: what it starts with is there.
pub(super) fn is_plausible(path: &Path) -> bool {
    let top = path.components().nth(1).map(|part| Path::new("/").join(part));
    !is_private(path) && top.is_some_and(|top| top != path && top.is_dir())
}
