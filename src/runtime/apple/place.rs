//! The directory of one session: its two sockets, the guest's program, and a lock that says whether its npxc lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::runtime::{RuntimeError, directory};

/// In front of every session's id: directory, container and network are called so.
pub(super) const PREFIX: &str = "npxc-";
/// Locked for as long as the session's npxc lives; the system unlocks it, however that ends. Engines' sessions beside
/// these have none.
const LOCK: &str = "lock";
/// The longest path of a unix socket on macOS (unix(4)).
const LONGEST_SOCKET: usize = 103;
/// Directories that are looked at for leftovers.
const MOST: usize = 1000;

/// One of a session's sockets, which are relayed into the virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// Specification, orders and reports.
    Control,
    /// The TUN's packets.
    Link,
}

impl Socket {
    /// Its file's name; neither is longer than [`Socket::Control`]'s.
    fn file(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Link => "link",
        }
    }

    /// Its name in errors.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Control => "the control socket",
            Self::Link => "the link's socket",
        }
    }
}

/// A session's directory; dropping it removes it.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    _owner: File,
}

impl Place {
    /// Makes the directory below `root`, which is made as well and belongs to this user alone: whoever may open a
    /// socket in it is this user.
    pub(super) fn create(root: &Path, name: &str) -> Result<Self, RuntimeError> {
        let make = || {
            directory::private(root)?;
            let path = root.join(name);
            directory::socket_fits(&path.join(Socket::Control.file()), LONGEST_SOCKET)?;
            DirBuilder::new().mode(0o700).create(&path)?;
            let owner = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(LOCK))?;
            owner.try_lock()?;
            DirBuilder::new().mode(0o755).create(path.join("bin"))?;
            Ok(Self { path, _owner: owner })
        };
        make().map_err(RuntimeError::io("the session's directory"))
    }

    /// A socket that listens already: the relay asks for that before the container starts.
    pub(super) fn listen(&self, socket: Socket) -> Result<(UnixListener, PathBuf), RuntimeError> {
        let path = self.path.join(socket.file());
        let listener = directory::listen(&path, 0o600).map_err(RuntimeError::io(socket.title()))?;
        Ok((listener, path))
    }

    /// Writes the guest's program; the directory that it is in, called `guest`.
    pub(super) fn program(&self, binary: &[u8]) -> Result<PathBuf, RuntimeError> {
        let bin = self.path.join("bin");
        directory::write(&bin.join("guest"), binary, 0o755)
            .map_err(RuntimeError::io("writing the guest's program"))?;
        Ok(bin)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The directories below `root` whose npxc is no more, with their names.
pub(super) fn dead(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten().take(MOST) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // One without a lock is just being made.
        let Ok(owner) = File::open(entry.path().join(LOCK)) else { continue };
        if name.starts_with(PREFIX) && owner.try_lock().is_ok() {
            found.push((name, entry.path()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_is_alive_until_it_is_dropped_and_dead_when_nobody_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::create(root.path(), "npxc-7").unwrap();
        let (_listener, control) = place.listen(Socket::Control).unwrap();
        assert!(control.exists() && place.program(b"ELF").unwrap().join("guest").is_file());
        assert!(dead(root.path()).is_empty());
        let left = root.path().join("npxc-8");
        fs::create_dir(&left).unwrap();
        assert!(dead(root.path()).is_empty(), "just being made");
        fs::write(left.join(LOCK), "").unwrap();
        assert_eq!(dead(root.path()), [("npxc-8".to_owned(), left)]);
        drop(place);
        assert!(!root.path().join("npxc-7").exists());
    }
}
