//! A WireGuard link: the kernel's where it has one, else boringtun between a TUN and a socket outside.
//!
//! The kernel moves packets by itself: once it has shaken hands this process ends, and no process's memory has the keys
//! any more. The socket outside goes to process 1, which does nothing with it but keep the network that the engine
//! made: the kernel's own socket is there, and does not keep it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use npxc_link::wg::{Keys, Tunnel};
use npxc_link::{pump, udp};

use super::{Maker, Order, Word, handed_over, move_into, own};
use crate::confine::Identity;
use crate::container::wireguard::{self, Device, GLANCE};
use crate::netlink::Socket;
use crate::spec::Wireguard;
use crate::step::{At, Failure, Step};
use crate::wire::Channel;

/// From process 1's first order to the container's end.
pub(super) fn keep(wireguard: Wireguard, identity: Identity, parent: &mut Channel) -> Result<(), Failure> {
    let outer = socket(wireguard.endpoint)?;
    // The buffers are large only with the capability that is dropped below; and then nothing can change them.
    udp::prepare(&outer).at(Step::Tunnel, "UDP socket")?;
    let Some(namespace) = handed_over(parent, &Order::Enter)? else { return Ok(()) };
    let made = wireguard::create(namespace.as_fd(), Socket::open)?;
    move_into(&namespace)?;
    drop(namespace);
    match made {
        Ok(family) => {
            let socket = Socket::open(Some(rustix::net::netlink::GENERIC))
                .map_err(|error| error.at(Step::Tunnel, "netlink"))?;
            entrust(Device::new(socket, family, wireguard), &outer, parent)
        }
        Err(why) => {
            say(parent, &Word::Wireguard(Maker::Keeper(why)))?;
            carry(wireguard, outer, identity, parent)
        }
    }
}

/// The kernel moves the packets.
fn entrust(mut device: Device, outer: &UdpSocket, parent: &mut Channel) -> Result<(), Failure> {
    device.configure()?;
    say(parent, &Word::Wireguard(Maker::Kernel))?;
    device.shake_hands(|| std::thread::sleep(GLANCE))?;
    parent.send(&Word::Established, &[outer.as_fd()]).at(Step::Tunnel, "first process")
}

/// This process moves the packets.
fn carry(
    wireguard: Wireguard,
    outer: UdpSocket,
    identity: Identity,
    parent: &mut Channel,
) -> Result<(), Failure> {
    let Some(tun) = handed_over(parent, &Order::Carry)? else { return Ok(()) };
    let tunnel = tunnel_of(&wireguard);
    let mtu = wireguard.mtu;
    drop(wireguard);
    own::confine(identity)?;
    let established = || {
        let _ = parent.send(&Word::Established, &[]);
    };
    pump::run(tun, outer, tunnel, mtu, established).at(Step::Tunnel, "moving packets")
}

fn say(parent: &Channel, word: &Word) -> Result<(), Failure> {
    parent.send(word, &[]).at(Step::Tunnel, "first process")
}

fn tunnel_of(Wireguard { private, peer_public, preshared, .. }: &Wireguard) -> Tunnel {
    let keys = Keys { private: *private, peer_public: *peer_public, preshared: *preshared };
    Tunnel::new(&keys, None)
}

/// The outer socket, in the network namespace that the engine made.
fn socket(endpoint: SocketAddr) -> Result<UdpSocket, Failure> {
    let any = match endpoint {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).at(Step::Tunnel, "UDP socket")?;
    socket.connect(endpoint).at(Step::Tunnel, format!("UDP socket to {endpoint}"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::container::wireguard::tests::greeted;

    #[test]
    fn what_the_kernel_carries_leaves_the_outer_socket_to_process_1() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut first, mut parent) = (Channel::new(ours.into()), Channel::new(theirs.into()));
        let outer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = outer.local_addr().unwrap();
        entrust(greeted(), &outer, &mut parent).unwrap();
        drop((outer, parent));
        assert!(matches!(first.receive().unwrap(), Some(Word::Wireguard(Maker::Kernel))));
        assert!(matches!(first.receive().unwrap(), Some(Word::Established)));
        let held = UdpSocket::from(first.take_descriptor().unwrap());
        assert_eq!(held.local_addr().unwrap(), address);
        assert!(first.receive::<Word>().unwrap().is_none());
    }
}
