//! The `ioctl`s of network interfaces and of the TUN, and an option of netlink's sockets.

use std::ffi::CStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

// The constants and the parameter have different types in different C libraries.
const SET_FLAGS: libc::Ioctl = libc::SIOCSIFFLAGS as libc::Ioctl;
const SET_ADDRESS: libc::Ioctl = libc::SIOCSIFADDR as libc::Ioctl;
const SET_NETMASK: libc::Ioctl = libc::SIOCSIFNETMASK as libc::Ioctl;
const SET_MTU: libc::Ioctl = libc::SIOCSIFMTU as libc::Ioctl;
const GET_INDEX: libc::Ioctl = libc::SIOCGIFINDEX as libc::Ioctl;
const ADD_ROUTE: libc::Ioctl = libc::SIOCADDRT as libc::Ioctl;

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
    interface_ioctl(socket, SET_FLAGS, &mut InterfaceRequest::new(name, &flags.to_ne_bytes()))
}

/// IPv4 address and netmask of an interface.
pub(crate) fn set_address_v4(
    socket: BorrowedFd<'_>,
    name: &CStr,
    address: Ipv4Addr,
    mask: Ipv4Addr,
) -> io::Result<()> {
    interface_ioctl(socket, SET_ADDRESS, &mut InterfaceRequest::new(name, &socket_address(address)))?;
    interface_ioctl(socket, SET_NETMASK, &mut InterfaceRequest::new(name, &socket_address(mask)))
}

/// MTU of an interface, bytes.
pub(crate) fn set_mtu(socket: BorrowedFd<'_>, name: &CStr, mtu: u16) -> io::Result<()> {
    interface_ioctl(socket, SET_MTU, &mut InterfaceRequest::new(name, &i32::from(mtu).to_ne_bytes()))
}

/// Index of an interface.
pub(crate) fn interface_index(socket: BorrowedFd<'_>, name: &CStr) -> io::Result<i32> {
    let mut request = InterfaceRequest::new(name, &[]);
    interface_ioctl(socket, GET_INDEX, &mut request)?;
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
    check(libc::c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), ADD_ROUTE, &raw const route) }))?;
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
    check(libc::c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), SET_ADDRESS, &raw const request) }))?;
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
    check(libc::c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), ADD_ROUTE, &raw const route) }))?;
    Ok(())
}

/// Has the kernel say in words why it refuses what it is asked over a netlink socket.
pub(crate) fn explain_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    let (on, length): (libc::c_int, _) = (1, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the value is an int that outlives the call.
    check(libc::c_long::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            length,
        )
    }))?;
    Ok(())
}
