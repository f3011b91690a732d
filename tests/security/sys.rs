//! The system calls of the harness: a network of the test's own, and another user for the program under test.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Puts the calling thread, and what it starts from now on, into a network of its own. There every address, of
/// any kind, is this machine's, and nothing leads out: whatever npxc dials arrives at the test, and `lo` counts it.
pub(super) fn seal() -> io::Result<()> {
    // SAFETY: only this thread's network namespace changes; no descriptor is affected.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    up()?;
    route(libc::AF_INET)?;
    route(libc::AF_INET6)
}

fn up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: ifreq is plain data, all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is a valid ifreq that outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

/// `ip route add local default dev lo table main` (rtnetlink(7)).
fn route(family: i32) -> io::Result<()> {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
    const RTM_NEWROUTE: u16 = 24;
    const LENGTH: u32 = 16 + 12 + 8;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_ACK) as u16;
    let message = [
        LENGTH.to_ne_bytes().as_slice(),
        &RTM_NEWROUTE.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &[0; 8],
        // struct rtmsg: family, prefix lengths, tos, table, protocol, scope, type, flags.
        &[
            family as u8,
            0,
            0,
            0,
            // Not the table of local addresses: networks that an engine makes here are nearer.
            libc::RT_TABLE_MAIN,
            libc::RTPROT_BOOT,
            libc::RT_SCOPE_HOST,
            libc::RTN_LOCAL,
        ],
        &[0; 4],
        // The interface: lo is always the first.
        &8_u16.to_ne_bytes(),
        &libc::RTA_OIF.to_ne_bytes(),
        &1_u32.to_ne_bytes(),
    ]
    .concat();
    let netlink =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::send(&netlink, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 512];
    let (_, length) = rustix::net::recv(&netlink, &mut answer, RecvFlags::empty())?;
    let code = answer
        .get(16..20)
        .filter(|_| length >= 20)
        .map_or(0, |code| i32::from_ne_bytes(code.try_into().unwrap_or_default()));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// What is changed for the program under test between fork and exec; all of it undone by nothing but its end.
#[derive(Default)]
pub(super) struct Setup {
    /// Files of the host replaced for this program only: content, place.
    pub(super) binds: Vec<(CString, CString)>,
    /// Another user and group, without any supplementary ones.
    pub(super) identity: Option<(u32, u32)>,
    /// Ignores the signal for a file that grows too large.
    pub(super) no_signal: bool,
    /// Descriptors of the test's that it inherits.
    pub(super) inherited: Vec<OwnedFd>,
}

impl Setup {
    /// Shows `place` with the content of `file`.
    pub(super) fn bind(&mut self, file: &Path, place: &str) {
        use std::os::unix::ffi::OsStrExt;
        let string = |bytes: &[u8]| CString::new(bytes).unwrap();
        self.binds.push((string(file.as_os_str().as_bytes()), string(place.as_bytes())));
    }

    pub(super) fn apply(self, command: &mut Command) {
        let own_mounts = !self.binds.is_empty();
        let work = move || {
            // SAFETY: system calls on prepared, valid arguments, nothing is allocated after the fork.
            unsafe {
                if own_mounts {
                    let nothing = std::ptr::null();
                    check(libc::unshare(libc::CLONE_NEWNS))?;
                    let private = libc::MS_REC | libc::MS_PRIVATE;
                    check(libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast()))?;
                    for (file, place) in &self.binds {
                        let none = std::ptr::null();
                        check(libc::mount(file.as_ptr(), place.as_ptr(), none, libc::MS_BIND, none.cast()))?;
                    }
                }
                if self.no_signal {
                    libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                }
                for descriptor in &self.inherited {
                    check(libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0))?;
                }
                if let Some((user, group)) = self.identity {
                    check(libc::setgroups(0, std::ptr::null()))?;
                    check(libc::setresgid(group, group, group))?;
                    check(libc::setresuid(user, user, user))?;
                }
            }
            Ok(())
        };
        // SAFETY: the closure only makes system calls.
        unsafe { command.pre_exec(work) };
    }
}

/// Makes a character device.
pub(super) fn device(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
    // The umask has taken some of it.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

/// Calls `work` when the process exits in order.
pub(super) fn at_exit(work: extern "C" fn()) {
    // SAFETY: the function is a plain extern "C" function without arguments.
    unsafe { libc::atexit(work) };
}

#[allow(dead_code, reason = "keeps the size of the request honest")]
const _: () = assert!(size_of::<libc::ifreq>() >= 32);
