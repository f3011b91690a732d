//! `/proc`: a new procfs that shows the sandbox's processes only, read-only, with everything masked that only
//! the host's root may read. When npxc is run by root, the guest's processes have root's uid on the host, and
//! file modes alone would protect nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::tree::{self, Kind, Root};
use crate::sys;

/// Masked although anyone may read them: they tell about the host's hardware, disks, kernel or load, not about the
/// sandbox. All that the OCI runtimes mask by default, and more; what node's `os` module reads stays (`cpuinfo`,
/// `loadavg`, `meminfo`, `stat`, `uptime`, `version`).
const MASKED: [&str; 34] = [
    "acpi",
    "asound",
    "buddyinfo",
    "bus",
    "cmdline",
    "config.gz",
    "consoles",
    "diskstats",
    "driver",
    "dynamic_debug",
    "fs",
    "interrupts",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "latency_stats",
    "locks",
    "mdstat",
    "modules",
    "mtrr",
    "partitions",
    "pressure",
    "sched_debug",
    "schedstat",
    "scsi",
    "softirqs",
    "swaps",
    "timer_list",
    "timer_stats",
    "zoneinfo",
];
/// Tells two sandboxes that they are on one machine, and a package which one.
const BOOT_ID: &str = "sys/kernel/random/boot_id";
/// Another value at every reading: what stands in for [`BOOT_ID`], so that its readers find what they can parse.
const UUID: &str = "sys/kernel/random/uuid";

/// A procfs that is mounted nowhere yet.
pub(super) fn create() -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    tree::create("proc", &[], attributes)
}

/// Limits of the new user namespace. No user namespaces inside this one, whatever seccomp thinks; and of what is
/// counted for the host's user too (`user_namespaces(7)`) only a share, so that the host's programs keep theirs.
/// Best effort: an older kernel lacks some.
pub(super) fn limit_user_namespace(proc: &Path) {
    let limits = proc.join("sys/user");
    let _ = fs::write(limits.join("max_user_namespaces"), "0");
    for (name, host) in [
        ("max_inotify_instances", "sys/fs/inotify/max_user_instances"),
        ("max_inotify_watches", "sys/fs/inotify/max_user_watches"),
    ] {
        let total = fs::read_to_string(proc.join(host)).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(total) = total {
            let _ = fs::write(limits.join(name), (total / 2).to_string());
        }
    }
}

/// Masks what has to be masked and makes the rest read-only. `inside` is where `proc` is attached now.
pub(super) fn close(root: &Root, proc: &OwnedFd, inside: &Path) -> io::Result<()> {
    let empty = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    for entry in fs::read_dir(inside)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(text) = name.to_str() else { continue };
        if text.bytes().all(|byte| byte.is_ascii_digit()) || text == "self" || text == "thread-self" {
            continue;
        }
        let metadata = entry.metadata()?;
        // Write-only files (sysrq-trigger) are covered by the read-only mount: better EROFS than a mask that
        // swallows what is written.
        let mode = metadata.permissions().mode();
        let secret = mode & 0o004 == 0 && mode & 0o444 != 0;
        if metadata.is_symlink() || !(secret || MASKED.contains(&text)) {
            continue;
        }
        let path = Path::new("/proc").join(text);
        if metadata.is_dir() {
            root.attach(
                &tree::create("tmpfs", &[("size", "4096"), ("mode", "0555")], empty)?,
                &path,
                Kind::Directory,
            )?;
        } else {
            root.attach(&tree::copy(Path::new("/dev/null"), tree::DEVICE)?, &path, Kind::File)?;
        }
    }
    if inside.join(BOOT_ID).exists() {
        let stand_in = tree::copy(&inside.join(UUID), tree::READ_ONLY)?;
        root.attach(&stand_in, &Path::new("/proc").join(BOOT_ID), Kind::File)?;
    }
    sys::set_mount_attributes(proc.as_fd(), tree::READ_ONLY, false)
}
