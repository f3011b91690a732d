//! The kernel's own WireGuard, where it has one: asked for by netlink (`linux/wireguard.h`, `linux/rtnetlink.h`).
//!
//! The kernel sends a tunnel's datagrams in the network namespace where its interface was asked for, whatever
//! namespace that interface is in. So it is asked for in the engine's network and made in the workload's, where it is
//! configured: [`create`] in the one, [`Device`] in the other. Both need `NET_ADMIN`, as does whoever wants to read the
//! keys again.

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::net::Protocol;

use crate::netlink::{self, Malformed, Request, Socket};
use crate::network;
use crate::spec::Wireguard;
use crate::step::{Failure, Step};

/// Name of the interface, whoever makes it.
pub(super) const NAME: &CStr = c"wg0";
/// How often the handshake is looked at: it needs milliseconds.
pub(super) const GLANCE: Duration = Duration::from_millis(10);
/// Glances before the handshake is tried again: half a second, as with [`npxc_link::pump`]. The kernel by itself would
/// wait for five.
const GLANCES: usize = 50;
/// The most that can be asked for, seconds. A peer with a keepalive is greeted as soon as the interface is up, which is
/// what it is for; npxc's end keeps nothing alive either.
const KEEPALIVE: u16 = u16::MAX;

/// Names of the family and of the kind of interface.
const WIREGUARD: &[u8] = b"wireguard";

/// Numbers of `linux/if_link.h`.
mod link {
    pub(super) const NAME: u16 = 3;
    pub(super) const INFO: u16 = 18;
    pub(super) const NAMESPACE: u16 = 28;
    pub(super) const INFO_KIND: u16 = 1;
}

/// Numbers of `linux/genetlink.h`.
mod control {
    pub(super) const FAMILY: u16 = 0x10;
    pub(super) const GET: u8 = 3;
    pub(super) const VERSION: u8 = 1;
    pub(super) const ID: u16 = 1;
    pub(super) const NAME: u16 = 2;
    /// Length of `struct genlmsghdr`.
    pub(super) const HEADER: usize = 4;
}

/// Numbers of `linux/wireguard.h`.
mod device {
    pub(super) const GET: u8 = 0;
    pub(super) const SET: u8 = 1;
    pub(super) const VERSION: u8 = 1;
    pub(super) const NAME: u16 = 2;
    pub(super) const PRIVATE_KEY: u16 = 3;
    pub(super) const FLAGS: u16 = 5;
    pub(super) const PEERS: u16 = 8;
    pub(super) const REPLACE_PEERS: u32 = 1;
}

/// The same.
mod peer {
    pub(super) const PUBLIC_KEY: u16 = 1;
    pub(super) const PRESHARED_KEY: u16 = 2;
    pub(super) const FLAGS: u16 = 3;
    pub(super) const ENDPOINT: u16 = 4;
    pub(super) const KEEPALIVE: u16 = 5;
    pub(super) const LAST_HANDSHAKE: u16 = 6;
    pub(super) const ALLOWED: u16 = 9;
    pub(super) const REPLACE_ALLOWED: u32 = 2;
}

/// The same.
mod allowed {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const ADDRESS: u16 = 2;
    pub(super) const LENGTH: u16 = 3;
}

/// What the kernel calls WireGuard today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family(u16);

/// Makes the interface in `namespace`, for a tunnel out of this process's own; or says why the kernel cannot.
/// `open` opens a netlink socket of a family, which is [`Socket::open`].
pub(super) fn create(
    namespace: BorrowedFd<'_>,
    mut open: impl FnMut(Option<Protocol>) -> Result<Socket, netlink::Error>,
) -> Result<Result<Family, String>, Failure> {
    let generic = open(Some(rustix::net::netlink::GENERIC));
    let family = generic.and_then(|mut generic| family(&mut generic));
    let outcome = family.map_err(|error| ("WireGuard's family", error)).and_then(|family| {
        let made = open(None).and_then(|mut route| route.ask(new_link(namespace), |_, _| Ok(())));
        made.map(|()| family).map_err(|error| ("WireGuard's interface", error))
    });
    match outcome {
        Ok(family) => Ok(Ok(family)),
        Err((what, error)) if error.errno().is_some_and(|errno| WITHOUT.contains(&errno)) => {
            Ok(Err(format!("{what}: {error}")))
        }
        Err((what, error)) => Err(error.at(Step::Tunnel, what)),
    }
}

/// What a kernel answers that has no WireGuard, or none for this container: unknown, not for this user namespace, kept
/// away by a seccomp filter or a security module.
const WITHOUT: [i32; 8] = [
    libc::EOPNOTSUPP,
    libc::ENOENT,
    libc::ENODEV,
    libc::EPERM,
    libc::EACCES,
    libc::ENOSYS,
    libc::EAFNOSUPPORT,
    libc::EPROTONOSUPPORT,
];

/// The interface, configured in the network namespace that it is in. Knows the keys as long as it may need them.
pub(super) struct Device {
    socket: Socket,
    family: Family,
    wireguard: Wireguard,
}

impl Device {
    /// `socket` has been opened in the interface's network namespace.
    pub(super) fn new(socket: Socket, family: Family, wireguard: Wireguard) -> Self {
        Self { socket, family, wireguard }
    }

    /// Gives it its keys and its only peer, to which it has never spoken then. If it is up, it does now.
    pub(super) fn configure(&mut self) -> Result<(), Failure> {
        self.socket
            .ask(set_device(self.family, &self.wireguard), |_, _| Ok(()))
            .map_err(|error| error.at(Step::Tunnel, "configuring WireGuard's interface"))
    }

    /// Waits for the first handshake, however long that takes: process 1 is who loses patience. `pause` lets
    /// [`GLANCE`] pass.
    pub(super) fn shake_hands(&mut self, mut pause: impl FnMut()) -> Result<(), Failure> {
        loop {
            for _ in 0..GLANCES {
                if self.has_shaken_hands()? {
                    return Ok(());
                }
                pause();
            }
            self.configure()?;
        }
    }

    fn has_shaken_hands(&mut self) -> Result<bool, Failure> {
        let (Family(family), mut shaken) = (self.family, false);
        self.socket
            .ask(get_device(self.family), |kind, body| {
                shaken |= kind == family && handshake_in(body)?;
                Ok(())
            })
            .map_err(|error| error.at(Step::Handshake, "reading WireGuard's interface"))?;
        Ok(shaken)
    }
}

fn family(generic: &mut Socket) -> Result<Family, netlink::Error> {
    let mut found = None;
    generic.ask(get_family(), |kind, body| {
        if kind == control::FAMILY {
            let attributes = body.get(control::HEADER..).ok_or(Malformed)?;
            let id = netlink::attribute(attributes, control::ID)?.ok_or(Malformed)?;
            found = Some(Family(u16::from_ne_bytes(id.try_into().map_err(|_| Malformed)?)));
        }
        Ok(())
    })?;
    found.ok_or_else(|| Malformed.into())
}

/// Whether a peer in an answer to [`get_device`] has ever completed a handshake: a time since 1970, seconds and
/// nanoseconds, eight bytes each.
fn handshake_in(body: &[u8]) -> Result<bool, Malformed> {
    let attributes = body.get(control::HEADER..).ok_or(Malformed)?;
    let Some(peers) = netlink::attribute(attributes, device::PEERS)? else { return Ok(false) };
    let mut shaken = false;
    for peer in netlink::attributes(peers) {
        let (_, peer) = peer?;
        if let Some(time) = netlink::attribute(peer, peer::LAST_HANDSHAKE)? {
            let time: &[u8; 16] = time.try_into().map_err(|_| Malformed)?;
            shaken |= *time != [0; 16];
        }
    }
    Ok(shaken)
}

fn get_family() -> Request {
    Request::new(control::FAMILY, netlink::ACK)
        .head(&[control::GET, control::VERSION, 0, 0])
        .attribute(control::NAME, b"wireguard\0")
}

fn new_link(namespace: BorrowedFd<'_>) -> Request {
    Request::new(libc::RTM_NEWLINK, netlink::ACK | netlink::CREATE)
        .head(&network::interface(0))
        .attribute(link::NAMESPACE, &namespace.as_raw_fd().to_ne_bytes())
        .attribute(link::NAME, NAME.to_bytes_with_nul())
        .nest(link::INFO, |info| info.attribute(link::INFO_KIND, WIREGUARD))
}

fn get_device(Family(family): Family) -> Request {
    Request::new(family, netlink::ACK | netlink::DUMP)
        .head(&[device::GET, device::VERSION, 0, 0])
        .attribute(device::NAME, NAME.to_bytes_with_nul())
}

/// One peer, which is npxc, for everything. It replaces itself with each request: what the kernel remembers of it, as
/// when it was last spoken to, is forgotten.
fn set_device(Family(family): Family, wireguard: &Wireguard) -> Request {
    Request::new(family, netlink::ACK)
        .head(&[device::SET, device::VERSION, 0, 0])
        .attribute(device::NAME, NAME.to_bytes_with_nul())
        .attribute(device::PRIVATE_KEY, &wireguard.private)
        .attribute(device::FLAGS, &device::REPLACE_PEERS.to_ne_bytes())
        .nest(device::PEERS, |peers| {
            peers.nest(0, |npxc| {
                npxc.attribute(peer::PUBLIC_KEY, &wireguard.peer_public)
                    .attribute(peer::PRESHARED_KEY, &wireguard.preshared)
                    .attribute(peer::ENDPOINT, &socket_address(wireguard.endpoint))
                    .attribute(peer::KEEPALIVE, &KEEPALIVE.to_ne_bytes())
                    .attribute(peer::FLAGS, &peer::REPLACE_ALLOWED.to_ne_bytes())
                    .nest(peer::ALLOWED, |all| {
                        everything(
                            everything(all, Ipv4Addr::UNSPECIFIED.into()),
                            Ipv6Addr::UNSPECIFIED.into(),
                        )
                    })
            })
        })
}

/// All addresses of one family.
fn everything(list: Request, unspecified: IpAddr) -> Request {
    list.nest(0, |range| match unspecified {
        IpAddr::V4(address) => range
            .attribute(allowed::FAMILY, &family_number(libc::AF_INET))
            .attribute(allowed::ADDRESS, &address.octets())
            .attribute(allowed::LENGTH, &[0]),
        IpAddr::V6(address) => range
            .attribute(allowed::FAMILY, &family_number(libc::AF_INET6))
            .attribute(allowed::ADDRESS, &address.octets())
            .attribute(allowed::LENGTH, &[0]),
    })
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn socket_address(address: SocketAddr) -> Vec<u8> {
    match address {
        SocketAddr::V4(address) => [
            &family_number(libc::AF_INET)[..],
            &address.port().to_be_bytes(),
            &address.ip().octets(),
            &[0; 8],
        ]
        .concat(),
        SocketAddr::V6(address) => [
            &family_number(libc::AF_INET6)[..],
            &address.port().to_be_bytes(),
            &address.flowinfo().to_be_bytes(),
            &address.ip().octets(),
            &address.scope_id().to_ne_bytes(),
        ]
        .concat(),
    }
}

fn family_number(family: i32) -> [u8; 2] {
    u16::try_from(family).unwrap_or(0).to_ne_bytes()
}
