//! What can be reached by an interface's name or number, whatever the routes say.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::super::harness::sealed;
use super::Attempts;
use super::network::interfaces;

/// Somewhere that must not be reached.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug)]
pub(crate) struct Target {
    pub(crate) to: SocketAddr,
    /// Sent over UDP, in hexadecimal digits.
    pub(crate) payload: String,
}

/// Numbers of interfaces that are tried, whether they exist or not.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=40;

/// Every way to a destination that an interface's name or number opens: what is on the link of an interface is
/// reached without any route.
pub(super) fn reach(seen: &mut Attempts) {
    let targets: Vec<Target> = serde_json::from_str(&std::env::var("HOSTILE_TARGETS").unwrap()).unwrap();
    let mut devices = interfaces();
    seen.0.insert("interfaces".to_owned(), devices.join(" "));
    devices.extend(["eth0", "tap0", "podman0"].map(str::to_owned));
    let ports = targets.iter().map(|target| target.to.port()).collect();
    // With each socket, the resolver that it asked: npxc's answer to that question is expected there, and nowhere else.
    let mut asked = Vec::new();
    for address in targets.iter().map(|target| target.to.ip()).collect::<BTreeSet<_>>() {
        if let Ok(socket) = ping(address) {
            asked.push((format!("ping {address}"), None, socket));
        }
    }
    for Target { to, payload } in &targets {
        // At port 53 npxc answers itself, whatever the address; its word for a name that it does not know is no.
        for device in [None].into_iter().chain(devices.iter().map(Some)).filter(|_| to.port() != 53) {
            let what = format!("tcp {to} by {}", device.map_or("the routes", String::as_str));
            let result = connect(*to, device.map(String::as_bytes));
            seen.0.insert(what, result.map_or_else(|error| error.to_string(), |()| "done".to_owned()));
        }
        let payload: Vec<u8> = (0..payload.len() / 2)
            .map(|at| u8::from_str_radix(&payload[2 * at..][..2], 16).unwrap())
            .collect();
        for number in [0].into_iter().chain(NUMBERS) {
            let Ok(socket) = datagram(*to, &payload, number, &ports) else { continue };
            let resolver = (to.port() == 53).then_some(*to);
            asked.push((format!("udp {to} by interface {number}"), resolver, socket));
        }
    }
    // All of them at once, and a quarter of a second for the first answer that should not come.
    let until = std::time::Instant::now() + std::time::Duration::from_millis(250);
    while std::time::Instant::now() < until {
        for (what, resolver, socket) in &asked {
            let mut answer = [0; 2048];
            if let Ok((length, from)) = socket.recv_from(&mut answer)
                && !(*resolver == Some(from) && is_refusal(&answer))
            {
                let here = socket.local_addr().map_or(0, |own| own.port());
                seen.0.insert(
                    what.clone(),
                    format!("answered by {from} at {here}: {:02x?}", &answer[..length.min(64)]),
                );
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Whether it is npxc's answer to a question of these: that there is no such name.
fn is_refusal(answer: &[u8]) -> bool {
    answer.starts_with(&[0x4e, 0x58]) && answer[2] & 0x80 != 0 && answer[3] & 15 == 3
}

fn connect(to: SocketAddr, device: Option<&[u8]>) -> std::io::Result<()> {
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if let Some(device) = device {
        // SAFETY: the name lives as long as the call.
        let set = unsafe {
            let length = device.len() as u32;
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_BINDTODEVICE,
                device.as_ptr().cast(),
                length,
            )
        };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    socket.connect_timeout(&to.into(), std::time::Duration::from_millis(500))
}

/// A socket whose own port is none of these, the targets'. What is sent by number 1, lo, comes back on it, and Linux gives it to
/// whoever in this network namespace has the port that it went to, whatever the address: it would look like an answer.
fn bind(any: IpAddr, ports: &BTreeSet<u16>) -> std::io::Result<UdpSocket> {
    loop {
        let socket = UdpSocket::bind((any, 0))?;
        if !ports.contains(&socket.local_addr()?.port()) {
            socket.set_nonblocking(true)?;
            return Ok(socket);
        }
    }
}

/// Sends a datagram by the interface of this number (`IP_PKTINFO`, or the scope of an address); 0 leaves it to the
/// routes.
fn datagram(
    to: SocketAddr,
    payload: &[u8],
    interface: u32,
    ports: &BTreeSet<u16>,
) -> std::io::Result<UdpSocket> {
    match to {
        SocketAddr::V6(mut to) => {
            let socket = bind(Ipv6Addr::UNSPECIFIED.into(), ports)?;
            to.set_scope_id(interface);
            socket.send_to(payload, to)?;
            Ok(socket)
        }
        SocketAddr::V4(to) => {
            let socket = bind(Ipv4Addr::UNSPECIFIED.into(), ports)?;
            // SAFETY: plain data, all zero is valid.
            let mut info: libc::in_pktinfo = unsafe { std::mem::zeroed() };
            info.ipi_ifindex = interface.cast_signed();
            let mut control = [0_u64; 8];
            let address = socket2::SockAddr::from(SocketAddr::V4(to));
            let mut data =
                libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
            // SAFETY: plain data, all zero is valid.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_name = address.as_ptr().cast_mut().cast();
            message.msg_namelen = address.len();
            message.msg_iov = &raw mut data;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            // SAFETY: the control buffer is aligned, and larger than one header with its data.
            let sent = unsafe {
                message.msg_controllen = libc::CMSG_SPACE(size_of_val(&info) as u32) as usize;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::IPPROTO_IP;
                (*header).cmsg_type = libc::IP_PKTINFO;
                (*header).cmsg_len = libc::CMSG_LEN(size_of_val(&info) as u32) as usize;
                std::ptr::copy_nonoverlapping(&raw const info, libc::CMSG_DATA(header).cast(), 1);
                libc::sendmsg(socket.as_raw_fd(), &raw const message, 0)
            };
            if sent < 0 { Err(std::io::Error::last_os_error()) } else { Ok(socket) }
        }
    }
}

/// Sends an echo request, where the engine lets this group.
fn ping(to: IpAddr) -> std::io::Result<UdpSocket> {
    let to = SocketAddr::new(to, 0);
    let (protocol, kind) = if to.is_ipv4() { (libc::IPPROTO_ICMP, 8) } else { (libc::IPPROTO_ICMPV6, 128) };
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(protocol.into()))?;
    socket.set_nonblocking(true)?;
    socket.send_to(&[kind, 0, 0, 0, 0, 0, 0, 1, b'd', b'a', b't', b'a'], &to.into())?;
    Ok(socket.into())
}

#[test]
fn what_goes_out_by_lo_is_not_taken_for_an_answer() {
    if !sealed() {
        return;
    }
    // This thread's own: two ports to choose from, and one of them is the target's.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
    let ports = BTreeSet::from([40_000]);
    for _ in 0..32 {
        let socket = datagram("192.0.2.7:40000".parse().unwrap(), b"anybody?", 1, &ports).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 40_001);
        assert_eq!(socket.recv(&mut [0; 64]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
