//! The kernel's own interfaces, other processes, the terminal, more namespaces.
#![allow(unsafe_code)]

use super::{Attempts, call, number};

/// Kernel interfaces with a history.
pub(super) fn kernel(seen: &mut Attempts) {
    let zero = [0_u64; 32];
    let pointer = zero.as_ptr() as usize;
    for (what, number, arguments) in [
        ("io_uring", libc::SYS_io_uring_setup, vec![8, pointer]),
        ("add key", libc::SYS_add_key, vec![pointer, pointer, pointer, 1, 0xffff_ffff]),
        ("request key", libc::SYS_request_key, vec![pointer, pointer, 0, 0]),
        ("keyctl", libc::SYS_keyctl, vec![0, 0xffff_fffd]),
        ("bpf", libc::SYS_bpf, vec![0, pointer, 64]),
        ("perf", libc::SYS_perf_event_open, vec![pointer, 0, 0xffff_ffff, 0xffff_ffff]),
        ("userfaultfd", libc::SYS_userfaultfd, vec![0]),
        ("syslog", libc::SYS_syslog, vec![3, pointer, 8]),
        ("open by handle", libc::SYS_open_by_handle_at, vec![3, pointer, 0]),
        ("name to handle", libc::SYS_name_to_handle_at, vec![3, pointer, pointer, pointer, 0]),
        ("fanotify", libc::SYS_fanotify_init, vec![0, 0]),
        ("kexec", libc::SYS_kexec_load, vec![0, 0, 0, 0]),
        ("module", libc::SYS_init_module, vec![pointer, 8, pointer]),
        ("reboot", libc::SYS_reboot, vec![0, 0, 0]),
        ("set time", libc::SYS_clock_settime, vec![0, pointer]),
        ("host name", libc::SYS_sethostname, vec![pointer, 1]),
        ("swap", libc::SYS_swapon, vec![pointer, 0]),
        ("quota", libc::SYS_quotactl, vec![0, pointer, 0, 0]),
        ("account", libc::SYS_acct, vec![0]),
        // Newer than what the filter was made for.
        ("unknown", 9999, vec![]),
    ] {
        seen.note(what, call(number, &arguments));
    }
    seen.note("set uid 0", call(libc::SYS_setuid, &[0]));
    seen.note("set gid 0", call(libc::SYS_setgid, &[0]));
    let device = c"/tmp/device";
    let made = call(
        libc::SYS_mknodat,
        &[number(libc::AT_FDCWD).wrapping_neg(), device.as_ptr() as usize, 0o020_666, 0x0103],
    );
    seen.note("device", made);
    become_setuid(seen);
    seen.note("personality", call(libc::SYS_personality, &[0x0040_0000]));
}

/// Every call that can give a file the rights of its owner, past what a language's library offers.
fn become_setuid(seen: &mut Attempts) {
    const FCHMODAT2: i64 = 452;
    std::fs::write("/tmp/plain", "").unwrap();
    let here = number(libc::AT_FDCWD).wrapping_neg();
    let (plain, fresh, directory) = (c"/tmp/plain", c"/tmp/fresh", c"/tmp");
    let [plain, fresh, directory] = [plain, fresh, directory].map(|path| path.as_ptr() as usize);
    let file = libc::S_IFREG as usize;
    let nameless = number(libc::O_TMPFILE | libc::O_RDWR);
    // open_how: flags, mode, resolve (openat2(2)).
    let how = [(libc::O_CREAT | libc::O_RDWR) as u64, 0o4755, 0];
    for (what, number, arguments) in [
        ("setuid by fchmodat", libc::SYS_fchmodat, vec![here, plain, 0o4755]),
        ("setgid by fchmodat2", FCHMODAT2, vec![here, plain, 0o2755, 0]),
        ("setuid by mknodat", libc::SYS_mknodat, vec![here, fresh, file | 0o4755, 0]),
        ("setgid without a name", libc::SYS_openat, vec![here, directory, nameless, 0o2755]),
        ("setuid by openat2", libc::SYS_openat2, vec![here, fresh, how.as_ptr() as usize, 24]),
        #[cfg(target_arch = "x86_64")]
        ("setuid by chmod", libc::SYS_chmod, vec![plain, 0o4755]),
        #[cfg(target_arch = "x86_64")]
        ("setuid by creat", libc::SYS_creat, vec![fresh, 0o4755]),
        #[cfg(target_arch = "x86_64")]
        ("setuid by mknod", libc::SYS_mknod, vec![fresh, file | 0o4755, 0]),
    ] {
        seen.note(what, call(number, &arguments));
    }
    // The same without the bits: what is refused above is refused for them.
    let plainly = [
        call(libc::SYS_fchmodat, &[here, plain, 0o755]),
        call(libc::SYS_mknodat, &[here, c"/tmp/other".as_ptr() as usize, file | 0o755, 0]),
        call(libc::SYS_openat, &[here, directory, nameless, 0o755]),
    ];
    assert!(plainly.iter().all(|result| *result >= 0), "{plainly:?}");
}

/// Other processes: pid 1 is npxc's own code, inside.
pub(super) fn processes(seen: &mut Attempts) {
    let zero = [0_u64; 32];
    let pointer = zero.as_ptr() as usize;
    // What would keep pid 1 from seeing the end of a session: its limits, its turn on the processor.
    let idle = 5;
    for (what, number, arguments) in [
        ("limit init", libc::SYS_prlimit64, vec![1, libc::RLIMIT_NOFILE as usize, pointer, 0]),
        ("limit init's memory", libc::SYS_prlimit64, vec![1, libc::RLIMIT_AS as usize, pointer, 0]),
        ("schedule init", libc::SYS_sched_setscheduler, vec![1, idle, pointer]),
        ("parameters of init", libc::SYS_sched_setparam, vec![1, pointer]),
        ("attributes of init", libc::SYS_sched_setattr, vec![1, pointer, 0]),
        ("affinity of init", libc::SYS_sched_setaffinity, vec![1, 8, pointer]),
        ("nice init", libc::SYS_setpriority, vec![0, 1, 19]),
        ("nice its group", libc::SYS_setpriority, vec![1, 1, 19]),
        ("nice its user", libc::SYS_setpriority, vec![2, 0, 19]),
        ("idle init", libc::SYS_ioprio_set, vec![1, 1, 3 << 13]),
        ("idle its user", libc::SYS_ioprio_set, vec![3, 0, 3 << 13]),
    ] {
        seen.note(what, call(number, &arguments));
    }
    // Its own parent (node) and pid 1.
    // SAFETY: no arguments.
    let parent = unsafe { libc::getppid() };
    for (whom, pid) in [("init", 1_usize), ("parent", number(parent))] {
        seen.note(&format!("attach to {whom}"), call(libc::SYS_ptrace, &[16, pid, 0, 0]));
        seen.note(&format!("seize {whom}"), call(libc::SYS_ptrace, &[0x4206, pid, 0, 0]));
        seen.note(
            &format!("read {whom}"),
            call(libc::SYS_process_vm_readv, &[pid, pointer, 1, pointer, 1, 0]),
        );
        seen.note(
            &format!("write {whom}"),
            call(libc::SYS_process_vm_writev, &[pid, pointer, 1, pointer, 1, 0]),
        );
        let handle = call(libc::SYS_pidfd_open, &[pid, 0]);
        seen.note(
            &format!("descriptor of {whom}"),
            call(libc::SYS_pidfd_getfd, &[handle.cast_unsigned() as usize, 0, 0]),
        );
    }
    for file in ["mem", "environ", "maps", "fd", "root", "cwd", "exe", "ns/net", "ns/user"] {
        let path = format!("/proc/1/{file}");
        let seen_there = if file == "fd" {
            // Their numbers may be seen, what is behind them not.
            (0..16)
                .map(|fd| std::fs::File::open(format!("{path}/{fd}")).map(|_| ()))
                .find(Result::is_ok)
                .unwrap_or_else(|| std::fs::File::open(format!("{path}/0")).map(|_| ()))
        } else if file.starts_with("ns/") || ["root", "cwd", "exe"].contains(&file) {
            std::fs::read_link(&path).map(|_| ())
        } else {
            std::fs::read(&path).map(|_| ())
        };
        seen.0.insert(
            format!("look at {file}"),
            seen_there.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned()),
        );
    }
    // A signal to pid 1 is the one that it has no handler for: nothing happens.
    // SAFETY: plain numbers.
    unsafe {
        libc::kill(1, libc::SIGKILL);
        libc::kill(1, libc::SIGSTOP);
    }
}

/// The terminal of whoever started npxc.
pub(super) fn terminal(seen: &mut Attempts) {
    let letter = b'x';
    for fd in 0..3 {
        seen.note(
            &format!("type into {fd}"),
            call(libc::SYS_ioctl, &[fd, libc::TIOCSTI as usize, (&raw const letter) as usize]),
        );
        seen.note(
            &format!("paste into {fd}"),
            call(libc::SYS_ioctl, &[fd, libc::TIOCLINUX as usize, (&raw const letter) as usize]),
        );
        // The upper half of the argument does not count, neither for the kernel nor for the filter.
        let disguised = libc::TIOCSTI as usize | 1 << 40;
        seen.note(
            &format!("disguised {fd}"),
            call(libc::SYS_ioctl, &[fd, disguised, (&raw const letter) as usize]),
        );
    }
    let tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").map(|_| ());
    seen.0.insert(
        "/dev/tty".to_owned(),
        tty.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned()),
    );
}

/// More namespaces, more mounts, more privileges.
pub(super) fn namespaces(seen: &mut Attempts) {
    for (what, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("network", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
        ("time", 0x80),
    ] {
        seen.note(&format!("unshare {what}"), call(libc::SYS_unshare, &[number(flag)]));
        // Which `clone` cannot make.
        if what == "time" {
            continue;
        }
        let child = call(libc::SYS_clone, &[number(flag | libc::SIGCHLD), 0, 0, 0, 0]);
        if child == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        seen.note(&format!("clone {what}"), child);
    }
    let arguments = [u64::from(libc::CLONE_NEWUSER.unsigned_abs()), 0, 0, 0, 17, 0, 0, 0];
    let child = call(libc::SYS_clone3, &[arguments.as_ptr() as usize, 64]);
    if child == 0 {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    seen.note("clone3", child);
    let root = c"/".as_ptr() as usize;
    let tmpfs = c"tmpfs".as_ptr() as usize;
    let tmp = c"/tmp".as_ptr() as usize;
    for (what, number, arguments) in [
        ("mount", libc::SYS_mount, vec![tmpfs, tmp, tmpfs, 0, 0]),
        ("remount", libc::SYS_mount, vec![0, root, 0, libc::MS_REMOUNT as usize, 0]),
        ("umount", libc::SYS_umount2, vec![c"/proc".as_ptr() as usize, 2]),
        ("pivot", libc::SYS_pivot_root, vec![tmp, tmp]),
        ("chroot", libc::SYS_chroot, vec![tmp]),
        ("fsopen", libc::SYS_fsopen, vec![tmpfs, 0]),
        ("open tree", libc::SYS_open_tree, vec![100, root, 1]),
        ("setns", libc::SYS_setns, vec![3, 0]),
    ] {
        seen.note(what, call(number, &arguments));
    }
    // CAP_* in any set, by the kernel's own word.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        seen.0.insert(name.to_owned(), value.unwrap_or("?").to_owned());
    }
}
