//! The system call filters. Several, because one answers with one errno only: what is denied gets EPERM, socket
//! families get EAFNOSUPPORT, and what programs know how to do without gets ENOSYS (`clone3` and `openat2`, whose flags a
//! filter cannot see, and every call newer than this list). Changing `RLIMIT_CORE` seems to work and does
//! nothing: see [`super::limits`].
//!
//! A system call of another architecture (32-bit, x32) kills the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use crate::step::{At, Failure, Step};
use crate::sys;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// The highest system call this list was made for; `removexattrat`. The next, `open_tree_attr`, mounts.
const NEWEST: u32 = 466;
/// The bit that marks an x32 call on x86-64.
const X32: u32 = 0x4000_0000;
/// `ioctl(TIOCSETD)`: line disciplines, a driver zoo that no package needs.
const TIOCSETD: u64 = 0x5423;
/// What an IPv4 or IPv6 socket may speak: the default of its type, ICMP (ping sockets), TCP, UDP.
const PROTOCOLS: [i32; 5] =
    [0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6];
/// `clone` flags that make a namespace. (`CLONE_NEWTIME` exists in `clone3` only.)
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Denied whatever the arguments. Many need a capability that nobody inside has: the list is for the day on
/// which the kernel forgets to ask.
const DENIED: &[i64] = &[
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Kernel interfaces with a history.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    // Pages in a pipe that whoever sent them can still change.
    libc::SYS_vmsplice,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_nfsservctl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Files by handle, past the mount layout.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    174, // create_module
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "aarch64")]
    294, // kexec_file_load
];

/// All that the tunnel's process needs; it opens nothing, starts nothing and reaches nobody but its two descriptors
/// and process 1.
const TUNNEL: &[i64] = &[
    // Packets, and waiting for them.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_fcntl,
    libc::SYS_close,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Memory. Nothing may become executable: see [`tunnel`].
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // The end, and what a panic does on its way.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
];

/// Installs the filter of the tunnel's process.
pub(super) fn install_tunnel() -> Result<(), Failure> {
    put("tunnel", tunnel())
}

/// Installs all filters. The last one may forbid nothing that installing needs, or it would have to be last.
pub(super) fn install() -> Result<(), Failure> {
    for (name, program) in [
        ("denied", denied()),
        ("sockets", sockets()),
        ("setuid", setuid()),
        ("unsupported", unsupported()),
        ("core dumps", core_dumps()),
    ] {
        put(name, program)?;
    }
    sys::install_filter(&unknown()).at(Step::Seccomp, "unknown")
}

fn put(name: &str, program: Compiled) -> Result<(), Failure> {
    let program = program
        .map_err(|error| Failure::new(Step::Seccomp, name, &std::io::Error::other(error.to_string())))?;
    let program: Vec<_> = program
        .iter()
        .map(|instruction| (instruction.code, instruction.jt, instruction.jf, instruction.k))
        .collect();
    sys::install_filter(&program).at(Step::Seccomp, name)
}

type Compiled = Result<BpfProgram, seccompiler::BackendError>;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(rules: Rules, errno: i32) -> Compiled {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCHITECTURE)?.try_into()
}

fn rule(conditions: &[(u8, Length, Compare, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, length, compare, value)| {
            SeccompCondition::new(*argument, length.clone(), compare.clone(), *value)
        })
        .collect::<Result<_, _>>()?;
    SeccompRule::new(conditions)
}

fn denied() -> Compiled {
    let mut rules: Rules = DENIED.iter().map(|number| (*number, Vec::new())).collect();
    let namespaces = NAMESPACES.map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        rule(&[(0, Length::Qword, Compare::MaskedEq(flag), flag)])
    });
    rules.insert(libc::SYS_clone, namespaces.into_iter().collect::<Result<_, _>>()?);
    // The kernel takes the lower 32 bits of a request.
    #[allow(clippy::unnecessary_cast)] // the type differs between C libraries
    let requests = [libc::TIOCSTI as u64, libc::TIOCLINUX as u64, TIOCSETD]
        .map(|request| rule(&[(1, Length::Dword, Compare::Eq, request)]));
    rules.insert(libc::SYS_ioctl, requests.into_iter().collect::<Result<_, _>>()?);
    let personality =
        rule(&[(0, Length::Dword, Compare::Ne, 0), (0, Length::Dword, Compare::Ne, 0xffff_ffff)])?;
    rules.insert(libc::SYS_personality, vec![personality]);
    rules.extend(process_1()?);
    compile(rules, libc::EPERM)
}

/// Process 1 has the workload's user, and these ask for no more than that: a process whose limits or whose turn on the
/// processor others choose can be kept from seeing that the session is over.
fn process_1() -> Result<Rules, seccompiler::BackendError> {
    const IOPRIO_WHO_PROCESS: u64 = 1;
    let is = |argument: u8, value: u64| (argument, Length::Dword, Compare::Eq, value);
    let first = is(0, 1);
    let mut rules = Rules::new();
    for number in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(number, vec![rule(std::slice::from_ref(&first))?]);
    }
    // Limits can still be asked for.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[first, (2, Length::Qword, Compare::Ne, 0)])?]);
    // A process other than this one, but no group and no user: it may be among theirs.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)] // the type differs between C libraries
    let process = libc::PRIO_PROCESS as u64;
    for (number, process) in [(libc::SYS_setpriority, process), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)] {
        let several = rule(&[(0, Length::Dword, Compare::Ne, process)])?;
        rules.insert(number, vec![rule(&[is(0, process), is(1, 1)])?, several]);
    }
    Ok(rules)
}

fn tunnel() -> Compiled {
    let mut rules: Rules = TUNNEL.iter().map(|number| (*number, Vec::new())).collect();
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let data = || rule(&[(2, Length::Dword, Compare::MaskedEq(executable), 0)]);
    #[allow(clippy::unnecessary_cast)] // the type differs between C libraries
    let nonblocking = libc::FIONBIO as u64;
    rules.insert(libc::SYS_ioctl, vec![rule(&[(1, Length::Dword, Compare::Eq, nonblocking)])?]);
    rules.insert(libc::SYS_mmap, vec![data()?]);
    rules.insert(libc::SYS_mprotect, vec![data()?]);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, ARCHITECTURE)?.try_into()
}

fn sockets() -> Compiled {
    let family = |family: i32| u64::from(family.unsigned_abs());
    let unlike = |family: u64| (0, Length::Dword, Compare::Ne, family);
    let families =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|known| unlike(family(known)));
    // NETLINK_ROUTE only: what getifaddrs and `ip` ask for.
    let netlink = [
        (0, Length::Dword, Compare::Eq, family(libc::AF_NETLINK)),
        (2, Length::Dword, Compare::Ne, family(libc::NETLINK_ROUTE)),
    ];
    let pairs = [unlike(family(libc::AF_UNIX))];
    let mut sockets = vec![rule(&families)?, rule(&netlink)?];
    for inet in [libc::AF_INET, libc::AF_INET6] {
        // The protocol: others would make the host's kernel load a module on the guest's word.
        let mut strange = vec![(0, Length::Dword, Compare::Eq, family(inet))];
        strange.extend(PROTOCOLS.map(|known| (2, Length::Dword, Compare::Ne, family(known))));
        sockets.push(rule(&strange)?);
    }
    let rules = BTreeMap::from([(libc::SYS_socket, sockets), (libc::SYS_socketpair, vec![rule(&pairs)?])]);
    compile(rules, libc::EAFNOSUPPORT)
}

/// Nothing becomes set-user-ID or set-group-ID: in a mount that may be written it would be so on the host as well, where
/// others may execute it, with the rights of whoever runs npxc. (A new directory never is: mkdir(2) leaves the bits out.)
fn setuid() -> Compiled {
    const FCHMODAT2: i64 = 452;
    let bits = [libc::S_ISUID, libc::S_ISGID].map(u64::from);
    let with = |argument: u8| bits.map(|bit| rule(&[(argument, Length::Dword, Compare::MaskedEq(bit), bit)]));
    let mut rules = Rules::new();
    for (number, mode) in [
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1),
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (FCHMODAT2, 2),
        (libc::SYS_mknodat, 2),
    ] {
        rules.insert(number, with(mode).into_iter().collect::<Result<_, _>>()?);
    }
    // The mode counts only where a file may be made. The lone bit of O_TMPFILE, without O_DIRECTORY's.
    let made =
        [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY].map(|flag| u64::from(flag.unsigned_abs()));
    for (number, flags) in [
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1),
        (libc::SYS_openat, 2),
    ] {
        let pairs = made.into_iter().flat_map(|flag| bits.map(|bit| (flag, bit)));
        let opens = pairs.map(|(flag, bit)| {
            rule(&[
                (flags, Length::Dword, Compare::MaskedEq(flag), flag),
                (flags + 1, Length::Dword, Compare::MaskedEq(bit), bit),
            ])
        });
        rules.insert(number, opens.collect::<Result<_, _>>()?);
    }
    compile(rules, libc::EPERM)
}

fn unsupported() -> Compiled {
    let numbers = [libc::SYS_clone3, libc::SYS_openat2];
    compile(numbers.map(|number| (number, Vec::new())).into(), libc::ENOSYS)
}

fn core_dumps() -> Compiled {
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, clippy::cast_sign_loss)]
    // the type differs between C libraries
    let core = libc::RLIMIT_CORE as u64;
    let set = rule(&[(1, Length::Dword, Compare::Eq, core), (2, Length::Qword, Compare::Ne, 0)])?;
    let rules = BTreeMap::from([
        (libc::SYS_prlimit64, vec![set]),
        (libc::SYS_setrlimit, vec![rule(&[(0, Length::Dword, Compare::Eq, core)])?]),
    ]);
    compile(rules, 0)
}

/// By hand, since a rule per number cannot say "and everything above": x32 is killed, numbers above
/// [`NEWEST`] do not exist.
fn unknown() -> Vec<(u16, u8, u8, u32)> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    vec![
        (LOAD, 0, 0, 0), // seccomp_data.nr
        (IF_ANY_BIT, 0, 1, X32),
        (RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        (IF_GREATER, 0, 1, NEWEST),
        (RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        (RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}
