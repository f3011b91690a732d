//! A directory of the host's that the guest may write to and that stays as it is: overlayfs, mounted in the sandbox's own
//! user namespace.
//!
//! From the top: what the guest writes, the same directories again with modes that let their owner write, the host's
//! directory. What the guest writes goes to a tmpfs of the sandbox's own, which ends with it, or to where npxc says.
//! Layers are named by descriptors (`/proc/self/fd/N`): what was checked is what is mounted, a path needs no escapes,
//! and the guest's mount table tells nothing about the host.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};

use super::{STAGE, tree};
use crate::spec::{Bind, Layer};

/// Names below a place for layers.
const UPPER: &str = "upper";
const WORK: &str = "work";
const LOWER: &str = "lower";
/// How long a place's lock is waited for: a sandbox whose npxc was killed has it for about a second.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A mounted layer.
pub(super) struct Layered {
    /// The mount, attached nowhere yet.
    pub(super) mount: OwnedFd,
    /// The host's directory that was covered: its device and inode.
    pub(super) identity: (u64, u64),
    /// What the guest writes, for npxc to look at afterwards; `None` where npxc said where it goes.
    pub(super) written: Option<OwnedFd>,
    /// The lock on where npxc said it goes. npxc has one of its own, which ends when npxc is killed, and that is before the
    /// sandbox does.
    pub(super) lock: Option<OwnedFd>,
    /// Why it does not go where npxc said.
    pub(super) refused: Option<io::Error>,
}

/// Mounts `bind` with `layer` over it. `size` bounds what the guest can write, where npxc does not say where it goes.
pub(super) fn mount(bind: &Bind, layer: &Layer, size: u64) -> io::Result<Layered> {
    let lower = directory(&bind.host)?;
    let stat = rustix::fs::fstat(&lower)?;
    let directories = directory(&layer.directories)?;
    let lowers = [&directories, &lower];
    let identity = (stat.st_dev, stat.st_ino);
    // Not every file system can hold a layer: one of the network's cannot, nor can another overlay.
    let refused = match layer.kept.as_ref().map(|kept| on_disk(&lowers, kept)) {
        Some(Ok((mount, lock))) => {
            return Ok(Layered { mount, identity, written: None, lock: Some(lock), refused: None });
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    let (mount, written) = on_tmpfs(&lowers, size)?;
    Ok(Layered { mount, identity, written: Some(written), lock: None, refused })
}

/// Whether a layer can be mounted here at all.
pub(super) fn probe() -> io::Result<()> {
    on_tmpfs(&[], 1 << 20).map(drop)
}

fn on_disk(lowers: &[&OwnedFd], kept: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::open(kept, flags, Mode::empty())?;
    lock(&place, LOCK_WAIT)?;
    let mount = overlay(lowers, &below(&place, UPPER)?, &below(&place, WORK)?)?;
    Ok((mount, place))
}

/// Takes the lock on a place. The kernel's own waiting has no end, and whoever has the lock may be stopped.
fn lock(place: &OwnedFd, wait: Duration) -> io::Result<()> {
    let deadline = Instant::now() + wait;
    loop {
        match rustix::fs::flock(place, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let wait = wait.as_secs();
                return Err(io::Error::other(format!("another sandbox has used it for {wait} seconds")));
            }
            other => return Ok(other?),
        }
    }
}

/// The kernel takes layers only from what is mounted in this namespace: the tmpfs stands on the stage meanwhile. Without
/// `lowers` they are an empty directory.
fn on_tmpfs(lowers: &[&OwnedFd], size: u64) -> io::Result<(OwnedFd, OwnedFd)> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let place = tree::tmpfs(size, "0755", attributes)?;
    rustix::mount::move_mount(&place, "", CWD, STAGE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let mounted = (|| {
        for name in [UPPER, WORK, LOWER] {
            rustix::fs::mkdirat(&place, name, Mode::from_raw_mode(0o755))?;
        }
        let empty = below(&place, LOWER)?;
        let lowers = if lowers.is_empty() { &[&empty] } else { lowers };
        let mount = overlay(lowers, &below(&place, UPPER)?, &below(&place, WORK)?)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok((mount, rustix::fs::openat(&place, UPPER, flags, Mode::empty())?))
    })();
    rustix::mount::unmount(STAGE, UnmountFlags::DETACH)?;
    mounted
}

fn overlay(lowers: &[&OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> io::Result<OwnedFd> {
    let name = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
    let lowers: Vec<String> = lowers.iter().map(|layer| name(layer)).collect();
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Without privileges the kernel's notes on the layers stand in the user's extended attributes; that also turns off
    // what would follow such notes elsewhere (`redirect_dir`, `metacopy`).
    rustix::mount::fsconfig_set_flag(context.as_fd(), "userxattr")?;
    let (upper, work) = (name(upper), name(work));
    let options = [
        // The directory below may be another one next time.
        ("index", "off"),
        ("xino", "off"),
        ("lowerdir", &lowers.join(":")),
        ("upperdir", &upper),
        ("workdir", &work),
    ];
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

fn below(place: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(place, name, DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_lock_that_is_never_given_up_is_not_waited_for_without_end() {
        let place = std::env::temp_dir().join(format!("npxc-layer-lock-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let open = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&place, flags, Mode::empty()).unwrap()
        };
        let (first, second) = (open(), open());
        lock(&first, Duration::ZERO).unwrap();
        // On another thread, so that waiting without end fails instead of hanging.
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || done.send(lock(&second, Duration::from_millis(50)).is_err()));
        assert!(result.recv_timeout(Duration::from_mins(1)).unwrap());
        drop(first);
        lock(&open(), LOCK_WAIT).unwrap();
        std::fs::remove_dir(&place).unwrap();
    }
}
