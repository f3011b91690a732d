//! What can be reached by an interface's name or number, whatever the routes say.
#![allow(unsafe_code)]

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

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
    let mut asked = Vec::new();
    for address in targets.iter().map(|target| target.to.ip()).collect::<std::collections::BTreeSet<_>>() {
        if let Ok(socket) = ping(address) {
            asked.push((format!("ping {address}"), socket));
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
            let Ok(socket) = datagram(*to, &payload, number) else { continue };
            asked.push((format!("udp {to} by interface {number}"), socket));
        }
    }
    // All of them at once, and a quarter of a second for the first answer that should not come.
    let until = std::time::Instant::now() + std::time::Duration::from_millis(250);
    while std::time::Instant::now() < until {
        for (what, socket) in &asked {
            let mut answer = [0; 2048];
            if let Ok((length, from)) = socket.recv_from(&mut answer)
                && !(from.port() == 53 && is_refusal(&answer))
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

/// Whether it is npxc's answer to a question of these: that there is no such name. It can come late, when the socket that asked
/// is closed and another one has its port.
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

/// Sends a datagram by the interface of this number (`IP_PKTINFO`, or the scope of an address); 0 leaves it to the
/// routes.
fn datagram(to: SocketAddr, payload: &[u8], interface: u32) -> std::io::Result<UdpSocket> {
    match to {
        SocketAddr::V6(mut to) => {
            let socket = UdpSocket::bind("[::]:0")?;
            socket.set_nonblocking(true)?;
            to.set_scope_id(interface);
            socket.send_to(payload, to)?;
            Ok(socket)
        }
        SocketAddr::V4(to) => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_nonblocking(true)?;
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
fn ping(to: std::net::IpAddr) -> std::io::Result<UdpSocket> {
    let to = SocketAddr::new(to, 0);
    let (protocol, kind) = if to.is_ipv4() { (libc::IPPROTO_ICMP, 8) } else { (libc::IPPROTO_ICMPV6, 128) };
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(protocol.into()))?;
    socket.set_nonblocking(true)?;
    socket.send_to(&[kind, 0, 0, 0, 0, 0, 0, 1, b'd', b'a', b't', b'a'], &to.into())?;
    Ok(socket.into())
}
