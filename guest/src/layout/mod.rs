//! The file system that the workload sees.
//!
//! Two phases, because the new root has to be attached somewhere and then hides what was there: [`collect`]
//! takes everything that comes from the host as detached mounts, [`build`] puts the new root together.
//! The host's file system is not changed.

mod etc;
mod layer;
mod proc;
mod tree;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};

use self::tree::{Kind, Root};
use crate::network;
use crate::spec::{HOME, MTU, Purpose, Ready, Spec};
use crate::step::{At, Failure, Step};

/// Where the new root is attached before it becomes the root: exists on every host, and is taken before.
const STAGE: &str = "/usr";
/// What a system's programs are made of. A symbolic link is repeated, a directory is bound read-only.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/lib32",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
];
/// Devices that hold no state of the host: name and device number.
const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];
/// The root file system holds mount points and a small `/etc`; 16 MiB leave room for files handed in.
const ROOT_SIZE: u64 = 16 << 20;
/// Why a mount is refused that is not what npxc looked at.
const REPLACED: &str = "was replaced by something else while the sandbox was started";

/// Something of the host on its way into the sandbox.
enum Piece {
    Tree(OwnedFd, Kind),
    Link(PathBuf),
}

/// Everything from the host, detached.
pub(crate) struct Collected {
    system: Vec<(PathBuf, Piece)>,
    etc: Vec<(PathBuf, Piece)>,
    devices: Vec<(PathBuf, OwnedFd)>,
    mounts: Vec<(PathBuf, OwnedFd, Kind)>,
    /// What the guest writes into a layer of the sandbox's own.
    pub(crate) written: Option<OwnedFd>,
    /// Held as long as the sandbox stands.
    _lock: Option<OwnedFd>,
    warnings: Vec<String>,
}

/// Takes what comes from the host.
pub(crate) fn collect(spec: &Spec) -> Result<Collected, Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).at(Step::Root, "making mounts private")?;
    let mut system = Vec::new();
    for path in SYSTEM.map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::read_link(path).at(Step::System, path.display().to_string())?;
                system.push((path.into(), Piece::Link(target)));
            }
            Ok(metadata) if metadata.is_dir() => {
                let tree = tree::copy(path, tree::READ_ONLY).at(Step::System, path.display().to_string())?;
                system.push((path.into(), Piece::Tree(tree, Kind::Directory)));
            }
            Ok(_) | Err(_) => {}
        }
    }
    let mut devices = Vec::new();
    for (name, major, minor) in DEVICES {
        let path = Path::new("/dev").join(name);
        let device = || path.display().to_string();
        let metadata = fs::metadata(&path).at(Step::Dev, device())?;
        if !metadata.file_type().is_char_device() || metadata.rdev() != rustix::fs::makedev(major, minor) {
            let error = std::io::Error::other("is not the device of that name");
            return Err(Failure::new(Step::Dev, device(), &error));
        }
        let copied = tree::copy(&path, tree::DEVICE).at(Step::Dev, device())?;
        devices.push((path, copied));
    }
    let (mut mounts, mut written, mut lock, mut warnings) = (Vec::new(), None, None, Vec::new());
    if spec.purpose == Purpose::Check
        && let Err(error) = layer::probe()
    {
        warnings.push(no_layer(&error));
    }
    for bind in &spec.mounts {
        let detail = || format!("{} at {}", bind.host.display(), bind.guest.display());
        let refuse = |why: &str| Failure::new(Step::Mounts, detail(), &std::io::Error::other(why.to_owned()));
        let guest = tree::normal(&bind.guest)
            .ok_or_else(|| refuse("the path inside has to be absolute, without .."))?;
        let layered = bind.layer.as_ref().map(|layer| layer::mount(bind, layer, spec.scratch));
        if let Some(Ok(layered)) = layered {
            if layered.identity != bind.identity {
                return Err(refuse(REPLACED));
            }
            mounts.push((guest, layered.mount, Kind::Directory));
            (written, lock) = (layered.written, layered.lock);
            if let Some(error) = layered.refused {
                warnings.push(format!(
                    "what the package writes into its own folder is not kept: npxc's data directory is on a \
                     file system that cannot hold it ({error}); XDG_DATA_HOME on another one can"
                ));
            }
            continue;
        }
        if let Some(Err(error)) = layered {
            warnings.push(no_layer(&error));
        }
        let attributes = if bind.writable { tree::READ_WRITE } else { tree::READ_ONLY };
        let copied = tree::copy(&bind.host, attributes).at(Step::Mounts, detail())?;
        let stat = rustix::fs::fstat(&copied).at(Step::Mounts, detail())?;
        if (stat.st_dev, stat.st_ino) != bind.identity {
            return Err(refuse(REPLACED));
        }
        let kind = tree::kind(&copied).at(Step::Mounts, detail())?;
        mounts.push((guest, copied, kind));
    }
    Ok(Collected { system, etc: etc::collect()?, devices, mounts, written, _lock: lock, warnings })
}

fn no_layer(error: &std::io::Error) -> String {
    format!("a package cannot write into its own folder: the kernel mounts no overlay here ({error})")
}

/// Builds the root, brings the link up on the way (that takes the new procfs), and moves in.
pub(crate) fn build(
    spec: &Spec,
    collected: &Collected,
    link: bool,
    ready: &mut Ready,
) -> Result<(), Failure> {
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tmpfs = |size, mode, attributes, step, path: &str| tree::tmpfs(size, mode, attributes).at(step, path);

    let top = tmpfs(ROOT_SIZE, "0755", plain, Step::Root, "tmpfs")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&top, "", rustix::fs::CWD, STAGE, flags).at(Step::Root, STAGE)?;
    let mut root = Root::new(top).at(Step::Root, STAGE)?;

    place(&root, &collected.system, Step::System)?;

    let proc = proc::create().at(Step::Proc, "procfs")?;
    root.attach(&proc, Path::new("/proc"), Kind::Directory).at(Step::Proc, "/proc")?;
    let inside = Path::new(STAGE).join("proc");
    proc::limit_user_namespace(&inside);
    if link {
        network::configure(network::NAME, MTU, &inside, ready)?;
    }
    proc::close(&root, &proc, &inside).at(Step::Proc, "/proc")?;

    etc::write(&root, ready.ipv6)?;
    place(&root, &collected.etc, Step::Etc)?;

    let dev = tmpfs(1 << 20, "0755", plain | MountAttrFlags::MOUNT_ATTR_NOEXEC, Step::Dev, "/dev")?;
    root.attach_own(&dev, Path::new("/dev")).at(Step::Dev, "/dev")?;
    for (path, device) in &collected.devices {
        root.attach(device, path, Kind::File).at(Step::Dev, path.display().to_string())?;
    }
    build_dev(&mut root, spec.scratch).at(Step::Dev, "/dev")?;
    // Like the root, /dev is complete now; /dev/shm and /dev/pts are mounts of their own.
    crate::sys::set_mount_attributes(dev.as_fd(), tree::READ_ONLY, false).at(Step::Dev, "/dev")?;

    for (path, mode) in [("/tmp", "1777"), (HOME, "0700")] {
        let scratch = tmpfs(spec.scratch, mode, plain, Step::Scratch, path)?;
        root.attach_own(&scratch, Path::new(path)).at(Step::Scratch, path)?;
    }
    for path in ["/var", "/run", "/sys", "/opt", "/mnt", "/srv"] {
        root.directory(Path::new(path)).at(Step::Root, path)?;
    }
    for (path, target) in [("/var/tmp", "/tmp"), ("/var/run", "/run")] {
        root.symlink(Path::new(path), Path::new(target)).at(Step::Root, path)?;
    }

    ready.warnings.extend(collected.warnings.iter().cloned());
    for (guest, tree, kind) in &collected.mounts {
        root.attach(tree, guest, *kind).at(Step::Mounts, guest.display().to_string())?;
    }
    for (path, content) in &spec.files {
        let path = Path::new(path);
        let mode = if path.starts_with(HOME) { 0o600 } else { 0o644 };
        root.write(path, content, mode).at(Step::Files, path.display().to_string())?;
    }
    root.seal().at(Step::Root, "read-only root")?;
    enter(&root)
}

fn place(root: &Root, pieces: &[(PathBuf, Piece)], step: Step) -> Result<(), Failure> {
    for (path, piece) in pieces {
        match piece {
            Piece::Tree(tree, kind) => root.attach(tree, path, *kind),
            Piece::Link(target) => root.symlink(path, target),
        }
        .at(step, path.display().to_string())?;
    }
    Ok(())
}

fn build_dev(root: &mut Root, scratch: u64) -> std::io::Result<()> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    for (path, target) in links {
        root.symlink(Path::new(path), Path::new(target))?;
    }
    let pts = tree::create("devpts", &[("ptmxmode", "0666"), ("mode", "0620")], quiet)?;
    root.attach(&pts, Path::new("/dev/pts"), Kind::Directory)?;
    let shm = tree::tmpfs(scratch, "1777", quiet | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    root.attach_own(&shm, Path::new("/dev/shm"))
}

/// Makes the new root the root, and lets go of the host's.
fn enter(root: &Root) -> Result<(), Failure> {
    rustix::process::fchdir(root.as_fd()).at(Step::Pivot, "chdir")?;
    rustix::process::pivot_root(".", ".").at(Step::Pivot, "pivot_root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at(Step::Pivot, "umount")?;
    rustix::process::chdir("/").at(Step::Pivot, "chdir")
}
