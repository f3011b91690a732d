//! Scratch space is made writable for the workload: some engines (runc 1.1) give a tmpfs the mode of the image's
//! directory below it, whatever they were asked for.
//!
//! Only what the engine made for this container may be touched. Links of the image's, in the path or as targets of other
//! mounts, can lead to a directory of the host's instead: so there has to be exactly one mount at the path, of a whole
//! tmpfs, and it is opened without following a link.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Dev, Mode, OFlags};

use crate::spec::HOME;

/// What scratch space has everywhere else.
const MODE: Mode = Mode::from_raw_mode(0o1777);

/// Opens what is scratch space to the workload. Anything else is left as it is.
pub(super) fn open() {
    let points = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for path in ["/tmp", HOME] {
        let Some(device) = only_tmpfs(path, &points) else { continue };
        let Ok(directory) = without_links(Path::new(path)) else { continue };
        if rustix::fs::fstat(&directory).is_ok_and(|found| found.st_dev == device) {
            let _ = rustix::fs::fchmod(&directory, MODE);
        }
    }
}

/// The device of the tmpfs at `path`, if that is all that is mounted there and nothing is left out of it
/// (`proc_pid_mountinfo(5)`).
fn only_tmpfs(path: &str, points: &str) -> Option<Dev> {
    let mut found = points.lines().filter(|line| line.split(' ').nth(4) == Some(path));
    let (line, None) = (found.next()?, found.next()) else { return None };
    let (fields, source) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(2);
    let (device, root) = (fields.next()?, fields.next()?);
    let (major, minor) = device.split_once(':')?;
    let whole = root == "/" && source.split(' ').next() == Some("tmpfs");
    whole.then_some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// The directory, for reading; on the way to it nothing has to be readable.
fn without_links(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let step = |at: &OwnedFd, name: &OsStr, how| rustix::fs::openat(at, name, flags | how, Mode::empty());
    let root = rustix::fs::open("/", flags | OFlags::PATH, Mode::empty())?;
    let last = path.components().try_fold(root, |at, component| match component {
        Component::Normal(name) => step(&at, name, OFlags::PATH),
        _ => Ok(at),
    })?;
    step(&last, OsStr::new("."), OFlags::RDONLY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_tmpfs_of_its_own_is_scratch_space() {
        let own = "700 650 0:91 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=16384k,mode=1777\n\
                   701 650 0:92 / /home/user rw,nosuid shared:7 - tmpfs tmpfs rw\n";
        assert_eq!(only_tmpfs("/tmp", own), Some(rustix::fs::makedev(0, 91)));
        assert_eq!(only_tmpfs("/home/user", own), Some(rustix::fs::makedev(0, 92)));
        assert_eq!(only_tmpfs("/home", own), None);
        // A mount of the host's over it; a part of the host's tmpfs; no tmpfs at all.
        let over = format!("{own}702 700 0:30 / /tmp rw - tmpfs tmpfs rw\n");
        assert_eq!(only_tmpfs("/tmp", &over), None);
        assert_eq!(only_tmpfs("/tmp", "1 2 0:30 /project /tmp rw - tmpfs tmpfs rw\n"), None);
        assert_eq!(only_tmpfs("/tmp", "1 2 8:1 / /tmp rw - ext4 /dev/sda1 rw\n"), None);
    }

    #[test]
    fn no_link_is_followed() {
        assert!(without_links(Path::new("/proc/sys/kernel")).is_ok());
        // Both lead to a directory.
        for link in ["/proc/self", "/proc/self/fd"] {
            assert!(Path::new(link).is_dir() && without_links(Path::new(link)).is_err(), "{link}");
        }
    }
}
