//! What the directory of a session in a container is made with, whichever engine has the container. What is in it, and
//! who may see that, is the engine's own room's.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Makes the directory that all sessions' are in, for this user alone. Also where it was there before: files in it are
/// for whoever a container maps, and nobody else.
pub(super) fn private(root: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    fs::set_permissions(root, Permissions::from_mode(0o700))
}

/// Refuses a socket's path of more than `longest` bytes: the system would, too, but not say why.
pub(super) fn socket_fits(path: &Path, longest: usize) -> io::Result<()> {
    if path.as_os_str().len() > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, "the path is too long for a socket"));
    }
    Ok(())
}

/// A socket that listens, non-blocking; who may connect is `mode`'s.
pub(super) fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Writes a new file, with `mode` whatever the umask is.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))
}
