//! Changes to the network that the sandbox stands on.
#![allow(unsafe_code)]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::{Attempts, call, number};

/// Changing the network that the sandbox stands on.
pub(super) fn network(seen: &mut Attempts) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let fd = number(socket.as_raw_fd());
    // SAFETY: ifreq is plain data, all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let link = interfaces().into_iter().find(|name| name != "lo").unwrap();
    for (to, from) in request.ifr_name.iter_mut().zip(link.as_bytes()) {
        *to = from.cast_signed();
    }
    let pointer = (&raw const request) as usize;
    for (what, command) in [
        ("interface down", libc::SIOCSIFFLAGS as usize),
        ("address", libc::SIOCSIFADDR as usize),
        ("mtu", libc::SIOCSIFMTU as usize),
        ("rename", 0x8923),
        ("promiscuous", libc::SIOCSIFFLAGS as usize),
        ("delete route", libc::SIOCDELRT as usize),
        ("add route", libc::SIOCADDRT as usize),
    ] {
        seen.note(what, call(libc::SYS_ioctl, &[fd, command, pointer]));
    }
    // rtnetlink: RTM_DELLINK, RTM_NEWLINK, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWRULE.
    for (what, kind) in
        [("dellink", 17_u16), ("newlink", 16), ("delroute", 25), ("newaddr", 20), ("newrule", 32)]
    {
        let code = rtnetlink(kind);
        seen.0.insert(
            format!("netlink {what}"),
            if code == -libc::EPERM { "EPERM".to_owned() } else { code.to_string() },
        );
    }
    for (what, option) in [("transparent", libc::IP_TRANSPARENT), ("header included", libc::IP_HDRINCL)] {
        let one = 1_i32;
        let result = call(
            libc::SYS_setsockopt,
            &[fd, number(libc::IPPROTO_IP), number(option), (&raw const one) as usize, 4],
        );
        seen.note(what, result);
    }
    for path in ["/dev/net/tun", "/sys/class/net", "/proc/sys/net/ipv4/ip_forward", "/proc/1/ns/net"] {
        let opened = std::fs::OpenOptions::new().read(true).write(true).open(path).map(|_| 0);
        seen.0.insert(
            format!("open {path}"),
            opened.map_or_else(|error| format!("{:?}", error.kind()), |_| "done".to_owned()),
        );
    }
}

/// The interfaces of this network namespace.
pub(super) fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

/// Takes the link down, as whoever may do so can; and asks for another.
pub(super) fn take_down(seen: &mut Attempts) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for name in interfaces() {
        // SAFETY: ifreq is plain data, all zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
            *to = from.cast_signed();
        }
        let arguments =
            [number(socket.as_raw_fd()), libc::SIOCSIFFLAGS as usize, (&raw const request) as usize];
        seen.note(&format!("{name} down"), call(libc::SYS_ioctl, &arguments));
    }
}

fn rtnetlink(kind: u16) -> i32 {
    // SAFETY: plain numbers; the descriptor is leaked.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE) };
    let mut message = [0_u8; 64];
    message[..4].copy_from_slice(&64_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&5_u16.to_ne_bytes());
    message[16] = libc::AF_INET as u8;
    message[20] = 2;
    let mut answer = [0_u8; 256];
    // SAFETY: both buffers live as long as the calls.
    let length = unsafe {
        libc::send(fd, message.as_ptr().cast(), message.len(), 0);
        libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    if length < 20 { 1 } else { i32::from_ne_bytes(answer[16..20].try_into().unwrap()) }
}
