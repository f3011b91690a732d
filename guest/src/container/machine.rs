//! What is different in a virtual machine of its own: the workload's stdio is this process's, files cannot be mounted
//! one by one, `/dev/net/tun` may be missing, and the root is writable until the files are there.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::mount::MountFlags;

use crate::spec::HOME;
use crate::step::{At, Failure, Step};
use crate::sys;

/// Where files are kept that lie over others.
const FILES: &str = "/npxc/files";
/// The TUN's device: in every kernel that has TUN, but not in every `/dev`.
const TUN: &str = "/dev/net/tun";
/// Its numbers (Documentation/networking/tuntap.rst).
const TUN_NUMBERS: (u32, u32) = (10, 200);

/// The workload's stdio, which is this process's own until now.
pub(super) fn own_stdio() -> Result<[OwnedFd; 3], Failure> {
    let own = || -> io::Result<[OwnedFd; 3]> {
        Ok([
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ])
    };
    let own = own().at(Step::Start, "standard input and output")?;
    let_go_of_stdio()?;
    Ok(own)
}

/// Holds the workload's stdio no longer: whoever reads or writes at the other end has to see its end.
pub(super) fn let_go_of_stdio() -> Result<(), Failure> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").at(Step::Start, "/dev/null")?;
    for target in 0..=2 {
        sys::replace_stdio(null.as_fd(), target).at(Step::Start, "/dev/null")?;
    }
    Ok(())
}

/// Makes the TUN's device if it is missing.
pub(super) fn device() -> Result<(), Failure> {
    if Path::new(TUN).exists() {
        return Ok(());
    }
    let _ = DirBuilder::new().mode(0o755).create("/dev/net");
    let (major, minor) = TUN_NUMBERS;
    let number = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(rustix::fs::CWD, TUN, FileType::CharacterDevice, Mode::from_raw_mode(0o600), number)
        .at(Step::TunOpen, "making /dev/net/tun")
}

/// Writes the files, then makes the root read-only.
pub(super) fn furnish(files: &[(OsString, Vec<u8>)]) -> Result<(), Failure> {
    let nothing_odd = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    DirBuilder::new().recursive(true).mode(0o755).create(FILES).at(Step::Files, FILES)?;
    rustix::mount::mount("tmpfs", FILES, "tmpfs", nothing_odd, c"mode=0755").at(Step::Files, FILES)?;
    for (number, (path, content)) in files.iter().enumerate() {
        let path = PathBuf::from(path);
        lay(number, &path, content).at(Step::Files, path.display().to_string())?;
    }
    let sealed = MountFlags::BIND | MountFlags::RDONLY;
    rustix::mount::mount_remount(FILES, sealed | nothing_odd, c"").at(Step::Files, FILES)?;
    rustix::mount::mount_remount("/", sealed, c"").at(Step::Root, "making / read-only")
}

/// A file in the home directory is written there; any other lies over what is there, for which a place is made where
/// there is none.
fn lay(number: usize, path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    if path.starts_with(HOME) {
        return write(path, content);
    }
    let copy = Path::new(FILES).join(number.to_string());
    write(&copy, content)?;
    if fs::symlink_metadata(path).is_err() {
        write(path, &[])?;
    }
    rustix::mount::mount_bind(&copy, path)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount_remount(path, flags | MountFlags::NOEXEC, c"")?)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(content)
}
