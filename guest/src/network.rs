//! The guest's network: a loopback interface and one TUN, whose other end npxc holds.

use std::ffi::CStr;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::netlink::{self, Request};
use crate::spec::{GATEWAY_V4, GATEWAY_V6, GUEST_V4, GUEST_V6, Ready};
use crate::step::{At, Failure, Step};
use crate::sys::link;

/// Name of the interface inside, where npxc holds its other end.
pub(crate) const NAME: &CStr = c"npxc0";
/// Packets the kernel holds for npxc; a burst of a full TCP window of small packets must not be dropped.
const QUEUE: u32 = 2048;
/// Length of `struct virtio_net_hdr` without the number of buffers.
const VNET_HEADER: i32 = 10;
/// The link's netmask, /30: the guest and npxc.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 252);

/// The TUN and what is known about it.
pub(crate) struct Link {
    pub(crate) tun: OwnedFd,
    pub(crate) vnet_hdr: bool,
    pub(crate) offload: bool,
}

fn socket(family: AddressFamily) -> Result<OwnedFd, rustix::io::Errno> {
    rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

/// Brings `lo` up.
pub(crate) fn loopback() -> Result<(), Failure> {
    let socket = socket(AddressFamily::INET).at(Step::Loopback, "socket")?;
    link::interface_up(socket.as_fd(), c"lo").at(Step::Loopback, "lo")
}

/// Creates the TUN. Needs the host's `/dev`.
pub(crate) fn create(name: &CStr) -> Result<Link, Failure> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tun = rustix::fs::open("/dev/net/tun", flags, Mode::empty()).at(Step::TunOpen, "/dev/net/tun")?;
    let plain = libc::IFF_TUN | libc::IFF_NO_PI;
    link::create_tun(tun.as_fd(), name, plain | libc::IFF_VNET_HDR).at(Step::TunCreate, "TUNSETIFF")?;
    link::set_vnet_header_length(tun.as_fd(), VNET_HEADER).at(Step::TunCreate, "TUNSETVNETHDRSZ")?;
    let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let offload = link::set_offload(tun.as_fd(), offload).is_ok();
    Ok(Link { tun, vnet_hdr: true, offload })
}

/// Addresses and routes. `proc` is a procfs of this network namespace's processes, writable if possible. `mtu` is the
/// largest packet, bytes.
pub(crate) fn configure(name: &CStr, mtu: u16, proc: &Path, ready: &mut Ready) -> Result<(), Failure> {
    let v4 = socket(AddressFamily::INET).at(Step::Addresses, "socket")?;
    let at = |result: std::io::Result<()>, what: &str| result.at(Step::Addresses, what);
    at(link::set_mtu(v4.as_fd(), name, mtu), "MTU")?;
    // Only a buffer: without it the kernel holds 500 packets.
    let _ = adjust(v4.as_fd(), name, |request| request.attribute(libc::IFLA_TXQLEN, &QUEUE.to_ne_bytes()));
    // Written by procfs, too, below, but that is read-only in most containers.
    let _ = adjust(v4.as_fd(), name, no_link_local);
    at(link::set_address_v4(v4.as_fd(), name, GUEST_V4, MASK), "IPv4 address")?;

    // Before the interface is up, so that nothing is sent that npxc would have to throw away, and so that the
    // address can be used at once: no duplicate address detection, no router solicitation, no link-local.
    let conf = proc.join("sys/net/ipv6/conf").join(name.to_string_lossy().as_ref());
    for (name, value) in [
        ("disable_ipv6", "0"),
        ("accept_dad", "0"),
        ("dad_transmits", "0"),
        ("accept_ra", "0"),
        ("autoconf", "0"),
    ]
    .into_iter()
    .chain([("router_solicitations", "0"), ("addr_gen_mode", "1")])
    {
        let _ = fs::write(conf.join(name), value);
    }
    at(link::interface_up(v4.as_fd(), name), "up")?;
    at(link::default_route_v4(v4.as_fd(), name, GATEWAY_V4), "IPv4 default route")?;

    match configure_v6(name) {
        Ok(()) => ready.ipv6 = true,
        Err(error) => ready.warnings.push(format!("the sandbox has no IPv6: {error}")),
    }
    Ok(())
}

fn configure_v6(name: &CStr) -> std::io::Result<()> {
    let v6 = socket(AddressFamily::INET6)?;
    let index = link::interface_index(v6.as_fd(), name)?;
    link::set_address_v6(v6.as_fd(), index, GUEST_V6, 64)?;
    link::default_route_v6(v6.as_fd(), index, GATEWAY_V6)
}

/// No IPv6 address but ours: nothing to solicit routers from.
fn no_link_local(request: Request) -> Request {
    /// `IFLA_INET6_ADDR_GEN_MODE`.
    const MODE: u16 = 8;
    /// `IN6_ADDR_GEN_MODE_NONE`.
    const NONE: u8 = 1;
    let family = libc::AF_INET6.try_into().unwrap_or(0);
    request
        .nest(libc::IFLA_AF_SPEC, |request| request.nest(family, |request| request.attribute(MODE, &[NONE])))
}

/// Changes an interface by netlink (rtnetlink(7)): what has no ioctl, or one for the host's root only.
fn adjust(
    socket: BorrowedFd<'_>,
    name: &CStr,
    attributes: impl FnOnce(Request) -> Request,
) -> Result<(), netlink::Error> {
    let index = link::interface_index(socket, name)?;
    let request = Request::new(libc::RTM_NEWLINK, netlink::ACK).head(&interface(index));
    netlink::Socket::open(None)?.ask(attributes(request), |_, _| Ok(()))
}

/// `struct ifinfomsg`: family and type, index, flags, change.
pub(crate) fn interface(index: i32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes
}
