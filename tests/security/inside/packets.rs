//! Sockets and packets that an ordinary program may ask its kernel for.
#![allow(unsafe_code)]

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::{Attempts, call, number};

/// Kinds of sockets that would carry more than TCP and UDP.
pub(super) fn sockets(seen: &mut Attempts) {
    use libc::{AF_INET, AF_INET6, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
    let kinds = [
        ("raw icmp", AF_INET, SOCK_RAW, libc::IPPROTO_ICMP),
        ("raw ip", AF_INET, SOCK_RAW, libc::IPPROTO_RAW),
        ("raw gre", AF_INET, SOCK_RAW, libc::IPPROTO_GRE),
        ("raw icmp 6", AF_INET6, SOCK_RAW, libc::IPPROTO_ICMPV6),
        ("ping", AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP),
        ("ping 6", AF_INET6, SOCK_DGRAM, libc::IPPROTO_ICMPV6),
        ("sctp", AF_INET, SOCK_STREAM, libc::IPPROTO_SCTP),
        ("dccp", AF_INET, 6, libc::IPPROTO_DCCP),
        ("packet", libc::AF_PACKET, SOCK_RAW, 0x0300),
        ("packet datagram", libc::AF_PACKET, SOCK_DGRAM, 0x0300),
        ("vsock", libc::AF_VSOCK, SOCK_STREAM, 0),
        ("bluetooth", libc::AF_BLUETOOTH, SOCK_RAW, 1),
        ("can", libc::AF_CAN, SOCK_RAW, 1),
        ("kernel crypto", libc::AF_ALG, 5, 0),
        ("netfilter", libc::AF_NETLINK, SOCK_RAW, libc::NETLINK_NETFILTER),
        ("uevents", libc::AF_NETLINK, SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
        ("socket diagnosis", libc::AF_NETLINK, SOCK_RAW, libc::NETLINK_SOCK_DIAG),
        ("xdp", libc::AF_XDP, SOCK_RAW, 0),
        ("tipc", libc::AF_TIPC, SOCK_STREAM, 0),
        ("rds", 21, libc::SOCK_SEQPACKET, 0),
    ];
    for (what, family, kind, protocol) in kinds {
        seen.note(what, call(libc::SYS_socket, &[number(family), number(kind), number(protocol)]));
    }
}

/// Packets that an ordinary program can make the kernel send.
pub(super) fn datagrams(seen: &mut Attempts) {
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut note = |what: &str, result: std::io::Result<usize>| {
        seen.0.insert(what.to_owned(), result.map_or_else(|error| error.to_string(), |_| "sent".to_owned()));
    };
    let v4 = UdpSocket::bind("0.0.0.0:0").unwrap();
    let v6 = UdpSocket::bind("[::]:0").unwrap();
    v4.set_broadcast(true).unwrap();
    // Larger than the link: the kernel fragments.
    note("fragments", v4.send_to(&[7; 4000], to("192.0.2.9:9")));
    note("fragments 6", v6.send_to(&[7; 4000], to("[2001:db8::9]:9")));
    note("largest", v4.send_to(&[7; 65_507], to("192.0.2.9:9")));
    for (what, address) in [
        ("broadcast", "255.255.255.255:9"),
        ("broadcast of the link", "198.18.0.3:9"),
        ("multicast dns", "224.0.0.251:5353"),
        ("ssdp", "239.255.255.250:1900"),
    ] {
        note(what, v4.send_to(b"anybody?", to(address)));
    }
    // The only interface that is not lo has number 2 or above; a wrong one fails, and that is noted.
    for scope in 2..6 {
        let group = std::net::SocketAddrV6::new("ff02::fb".parse().unwrap(), 5353, 0, scope);
        note(&format!("multicast dns 6, {scope}"), v6.send_to(b"anybody?", group));
    }
    // IPv4 options: record route, which needs no privilege.
    let option = [7_u8, 7, 4, 0, 0, 0, 0, 0];
    let length = option.len() as u32;
    // SAFETY: the option lives as long as the call.
    let set = unsafe {
        libc::setsockopt(v4.as_raw_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, option.as_ptr().cast(), length)
    };
    note(
        "record route",
        if set == 0 { v4.send_to(b"x", to("192.0.2.9:9")) } else { Err(std::io::Error::last_os_error()) },
    );
    // UDP-Lite is a protocol of its own.
    // SAFETY: plain numbers; the descriptor is used for this and leaked.
    let lite = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE) };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 9_u16.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([192, 0, 2, 9]) },
        sin_zero: [0; 8],
    };
    // SAFETY: buffer and address live as long as the call.
    let sent = unsafe {
        libc::sendto(
            lite,
            b"lite".as_ptr().cast(),
            4,
            0,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    note("udp-lite", if sent < 0 { Err(std::io::Error::last_os_error()) } else { Ok(4) });
    // Forged: addresses that are not the guest's, or its loopback.
    for (what, from, target) in [
        ("forged", "192.0.2.77:0", "192.0.2.9:9"),
        ("forged gateway", "198.18.0.1:0", "192.0.2.9:9"),
        ("forged 6", "[2001:db8::77]:0", "[2001:db8::9]:9"),
        ("from loopback", "127.0.0.1:0", "192.0.2.9:9"),
        ("from loopback 6", "[::1]:0", "[2001:db8::9]:9"),
    ] {
        note(what, freebind(to(from)).and_then(|socket| socket.send_to(b"forged", to(target))));
    }
}

/// A socket bound to an address that nobody here has: `IP_FREEBIND` needs no privilege.
fn freebind(from: SocketAddr) -> std::io::Result<UdpSocket> {
    let v6 = from.is_ipv6();
    let domain = if v6 { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    let one = 1_i32;
    let (level, option) = if v6 { (libc::IPPROTO_IPV6, 78) } else { (libc::IPPROTO_IP, libc::IP_FREEBIND) };
    // SAFETY: the value lives as long as the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const one).cast(), 4) };
    if set != 0 {
        return Err(std::io::Error::last_os_error());
    }
    socket.bind(&from.into())?;
    Ok(socket.into())
}
