//! What a file has besides its content and its mode: access control lists and other extended attributes (xattr(7)).

use std::fs::File;
use std::io;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The kernel's own bound of a list of names, and of a value, bytes.
const MOST: usize = 64 << 10;
const ACL: &[u8] = b"system.posix_acl_access";
/// The system's, for the file and not for one content of it; the others of their kind may give a program rights.
const LABELS: [&[u8]; 2] = [b"security.selinux", b"security.SMACK64"];

/// Gives `to` what `from` has, and takes a list of its directory's away that `from` has not. An error when something that
/// users set themselves cannot be given.
pub(super) fn carry(from: &File, to: &File) -> io::Result<()> {
    let mut names = vec![0; MOST];
    let length = match flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    names.truncate(length);
    let names = || names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut value = vec![0; MOST];
    for name in names().filter(|name| is_carried(name)) {
        let given = match fgetxattr(from, name, &mut value[..]) {
            Ok(length) => fsetxattr(to, name, &value[..length], XattrFlags::empty()),
            Err(Errno::NODATA) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = given
            && is_users(name)
        {
            return Err(error.into());
        }
    }
    if names().any(|name| name == ACL) {
        return Ok(());
    }
    match fremovexattr(to, ACL) {
        Err(error) if cfg!(target_os = "linux") && ![Errno::NODATA, Errno::NOTSUP].contains(&error) => {
            Err(error.into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_carried(name: &[u8]) -> bool {
    is_users(name) || LABELS.contains(&name) || !cfg!(target_os = "linux")
}

/// Whether users set it, and miss it.
fn is_users(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == ACL
}
