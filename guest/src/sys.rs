//! The system calls that neither std nor rustix wraps safely. Thin: no policy in here.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `unshare`, while this process has one thread.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: no flag in use (no CLONE_FILES, CLONE_FS) breaks what std relies on, and there is one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// `fork`, while this process has one thread: `None` in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: single-threaded, so the child may use everything that the parent could.
    let pid = unsafe { libc::fork() };
    check(libc::c_long::from(pid))?;
    Ok(Pid::from_raw(pid))
}

/// Ends the process without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; always sound.
    unsafe { libc::_exit(code) }
}

/// Blocks every signal for this process and its children to come.
pub(crate) fn block_signals() -> io::Result<()> {
    // SAFETY: sigset_t is plain data that sigfillset initializes.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        check(libc::c_long::from(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const all,
            std::ptr::null_mut(),
        )))?;
    }
    Ok(())
}

/// A descriptor that becomes readable when a child changes state. Signals have to be blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: sigset_t is plain data; the descriptor is new and owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(descriptor))?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Gives every descriptor from 3 on the close-on-exec flag.
pub(crate) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: changes flags only.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Closes every descriptor from 0 on. Only for a process that does nothing but wait from here on.
pub(crate) fn close_everything() {
    // SAFETY: the caller gives up all its descriptors; none is used afterwards.
    unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
}

/// Makes standard descriptor `target` (0, 1 or 2) a copy of `source`.
pub(crate) fn replace_stdio(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    debug_assert!((0..=2).contains(&target));
    // SAFETY: the target is a standard descriptor, which no owned value stands for.
    check(libc::c_long::from(unsafe { libc::dup2(source.as_raw_fd(), target) }))?;
    Ok(())
}

/// `mount_setattr` on the mount that `tree` stands for, and on all below it if `recursive`.
pub(crate) fn set_mount_attributes(tree: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let attributes = Attributes { set, clear: 0, propagation: libc::MS_PRIVATE, userns: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure is the kernel's struct mount_attr, version 0, and outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    })?;
    Ok(())
}

/// Drops every capability from the bounding set.
pub(crate) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: prctl with integer arguments.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            let error = io::Error::last_os_error();
            // The kernel knows no capability of this number: that was all.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Installs one seccomp filter, given as (code, jt, jf, k).
pub(crate) fn install_filter(program: &[(u16, u8, u8, u32)]) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let length = libc::c_ushort::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    // SAFETY: the program is copied by the kernel during the call and outlives it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) })?;
    Ok(())
}

/// What to execute, ready for a process that has just been forked.
pub(crate) struct Exec {
    /// Paths to try, in order.
    pub(crate) candidates: Vec<CString>,
    /// Arguments, the program's name first.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=VALUE`.
    pub(crate) environment: Vec<CString>,
    /// Working directory.
    pub(crate) cwd: CString,
}

/// What a forked child was at when it failed, as the byte it sends.
const CHILD_SETUP: u8 = 0;
const CHILD_CWD: u8 = 1;
const CHILD_EXEC: u8 = 2;

/// Where a workload's start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecFailure {
    Setup,
    WorkingDirectory,
    Exec,
}

/// Starts the workload: own session, its three descriptors and no other, signals as a program expects them.
/// Returns once the program has been executed or could not be.
pub(crate) fn spawn(exec: &Exec, stdio: [OwnedFd; 3]) -> Result<Pid, (ExecFailure, io::Error)> {
    let (failed, fails) = io::pipe().map_err(|error| (ExecFailure::Setup, error))?;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let arguments = pointers(&exec.arguments);
    let environment = pointers(&exec.environment);

    let Some(pid) = fork().map_err(|error| (ExecFailure::Setup, error))? else {
        let (stage, error) = become_workload(exec, &stdio, &arguments, &environment);
        let mut message = [stage, 0, 0, 0, 0];
        message[1..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_le_bytes());
        let _ = rustix::io::write(&fails, &message);
        exit_now(127);
    };
    drop((fails, stdio));
    let mut message = [0; 5];
    match rustix::io::retry_on_intr(|| rustix::io::read(&failed, &mut message)) {
        Ok(5) => {
            let [stage, errno @ ..] = message;
            let stage = match stage {
                CHILD_CWD => ExecFailure::WorkingDirectory,
                CHILD_EXEC => ExecFailure::Exec,
                _ => ExecFailure::Setup,
            };
            Err((stage, io::Error::from_raw_os_error(i32::from_le_bytes(errno))))
        }
        Ok(_) => Ok(pid),
        Err(error) => Err((ExecFailure::Setup, error.into())),
    }
}

/// In the forked child: returns only if something failed.
fn become_workload(
    exec: &Exec,
    stdio: &[OwnedFd; 3],
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) -> (u8, io::Error) {
    let setup = || -> io::Result<()> {
        rustix::process::setsid()?;
        for (target, source) in (0..).zip(stdio) {
            replace_stdio(source.as_fd(), target)?;
        }
        close_on_exec_from_3()?;
        // SAFETY: signal dispositions and mask of this process, set to what a fresh program expects.
        unsafe {
            for signal in 1..=libc::SIGRTMAX() {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }
        Ok(())
    };
    if let Err(error) = setup() {
        return (CHILD_SETUP, error);
    }
    if let Err(error) = rustix::process::chdir(exec.cwd.as_c_str()) {
        return (CHILD_CWD, error.into());
    }
    let mut worst = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in &exec.candidates {
        // SAFETY: all pointers are to NUL-terminated strings in arrays that end with a null pointer.
        unsafe { libc::execve(candidate.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            worst = error;
        }
    }
    (CHILD_EXEC, worst)
}

/// `struct ifreq`: the name and a union of at most 24 bytes.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    value: [u8; 24],
}

impl InterfaceRequest {
    fn new(name: &CStr, value: &[u8]) -> Self {
        let mut request = Self { name: [0; libc::IFNAMSIZ], value: [0; 24] };
        let bytes = name.to_bytes();
        request.name[..bytes.len()].copy_from_slice(bytes);
        request.value[..value.len()].copy_from_slice(value);
        request
    }
}

fn interface_ioctl(fd: BorrowedFd<'_>, code: libc::Ioctl, request: &mut InterfaceRequest) -> io::Result<()> {
    // SAFETY: the request is at least as large as struct ifreq (40 bytes on 64-bit) and outlives the call.
    check(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), code, std::ptr::from_mut(request)) }))?;
    Ok(())
}

/// Creates the TUN interface on an open `/dev/net/tun`.
pub(crate) fn create_tun(tun: BorrowedFd<'_>, name: &CStr, flags: i32) -> io::Result<()> {
    let flags = u16::try_from(flags).unwrap_or(0);
    interface_ioctl(tun, libc::TUNSETIFF, &mut InterfaceRequest::new(name, &flags.to_ne_bytes()))
}

/// Length of the `virtio_net_hdr` in front of each packet.
pub(crate) fn set_vnet_header_length(tun: BorrowedFd<'_>, length: i32) -> io::Result<()> {
    // SAFETY: the argument is a pointer to an int that outlives the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length)
    }))?;
    Ok(())
}

/// What the reader of the TUN can take off the kernel's hands.
pub(crate) fn set_offload(tun: BorrowedFd<'_>, offload: u32) -> io::Result<()> {
    // SAFETY: the argument is the value itself.
    check(libc::c_long::from(unsafe {
        libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offload))
    }))?;
    Ok(())
}

fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

/// Brings an interface up.
pub(crate) fn interface_up(socket: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as u16;
    interface_ioctl(socket, libc::SIOCSIFFLAGS, &mut InterfaceRequest::new(name, &flags.to_ne_bytes()))
}

/// IPv4 address and netmask of an interface.
pub(crate) fn set_address_v4(
    socket: BorrowedFd<'_>,
    name: &CStr,
    address: Ipv4Addr,
    mask: Ipv4Addr,
) -> io::Result<()> {
    interface_ioctl(socket, libc::SIOCSIFADDR, &mut InterfaceRequest::new(name, &socket_address(address)))?;
    interface_ioctl(socket, libc::SIOCSIFNETMASK, &mut InterfaceRequest::new(name, &socket_address(mask)))
}

/// MTU of an interface, bytes.
pub(crate) fn set_mtu(socket: BorrowedFd<'_>, name: &CStr, mtu: u16) -> io::Result<()> {
    interface_ioctl(socket, libc::SIOCSIFMTU, &mut InterfaceRequest::new(name, &i32::from(mtu).to_ne_bytes()))
}

/// Index of an interface.
pub(crate) fn interface_index(socket: BorrowedFd<'_>, name: &CStr) -> io::Result<i32> {
    let mut request = InterfaceRequest::new(name, &[]);
    interface_ioctl(socket, libc::SIOCGIFINDEX, &mut request)?;
    let [a, b, c, d, ..] = request.value;
    Ok(i32::from_ne_bytes([a, b, c, d]))
}

/// IPv4 default route.
pub(crate) fn default_route_v4(socket: BorrowedFd<'_>, name: &CStr, gateway: Ipv4Addr) -> io::Result<()> {
    let sockaddr = |address| {
        // SAFETY: sockaddr and the 16 bytes have the same size and no invalid values.
        unsafe { std::mem::transmute::<[u8; 16], libc::sockaddr>(socket_address(address)) }
    };
    // SAFETY: rtentry is plain data for which zero is valid.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = sockaddr(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    route.rt_dev = name.as_ptr().cast_mut();
    // SAFETY: the kernel only reads the structure and the name it points to; both outlive the call.
    check(libc::c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw const route) }))?;
    Ok(())
}

/// IPv6 address of an interface; `socket` is an IPv6 socket.
pub(crate) fn set_address_v6(
    socket: BorrowedFd<'_>,
    index: i32,
    address: Ipv6Addr,
    prefix: u32,
) -> io::Result<()> {
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr { s6_addr: address.octets() },
        ifr6_prefixlen: prefix,
        ifr6_ifindex: index,
    };
    // SAFETY: the kernel only reads the structure, which outlives the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request)
    }))?;
    Ok(())
}

/// IPv6 default route; `socket` is an IPv6 socket.
pub(crate) fn default_route_v6(socket: BorrowedFd<'_>, index: i32, gateway: Ipv6Addr) -> io::Result<()> {
    /// `struct in6_rtmsg` of `linux/ipv6_route.h`.
    #[repr(C)]
    struct Message {
        destination: [u8; 16],
        source: [u8; 16],
        gateway: [u8; 16],
        kind: u32,
        destination_length: u16,
        source_length: u16,
        metric: u32,
        info: libc::c_ulong,
        flags: u32,
        index: i32,
    }
    let route = Message {
        destination: [0; 16],
        source: [0; 16],
        gateway: gateway.octets(),
        kind: 0,
        destination_length: 0,
        source_length: 0,
        metric: 1024,
        info: 0,
        flags: u32::from(libc::RTF_UP | libc::RTF_GATEWAY),
        index,
    };
    // SAFETY: the kernel only reads the structure, which outlives the call.
    check(libc::c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw const route) }))?;
    Ok(())
}

/// Sends a signal to every process of this pid namespace but this one, which is process 1.
pub(crate) fn signal_everyone(signal: i32) {
    // SAFETY: kill with integer arguments; as process 1 of its namespace this reaches nothing outside.
    unsafe { libc::kill(-1, signal) };
}
