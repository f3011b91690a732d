//! npxc's UDP socket: bound to the gateway address of the session's network, and so out of reach for everything but
//! that network and the host itself.
//!
//! Rootless podman has its networks in a network namespace of its own, so a helper (`npxc __bind ADDRESS [NEIGHBOUR]`) is
//! started there by `podman unshare --rootless-netns`; it binds to the first, asks the kernel how large a packet
//! to the second may be, and passes the descriptor back over its standard input.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use npxc_guest::wire::Channel;
use serde::{Deserialize, Serialize};

use super::network::Subnet;
use super::patience;
use crate::runtime::RuntimeError;
use crate::runtime::command::{Client, essence, gather};

/// The first argument that makes this program the helper.
const MARK: &str = "__bind";
/// How long the helper may take: podman opens its store and enters the namespace.
const PATIENCE: Duration = Duration::from_secs(15);
/// What WireGuard adds to a packet over IPv6 (40 + 8 + 32 bytes); over IPv4 it is 20 less, which is left alone so that
/// one size fits both.
const OVERHEAD: u32 = 80;
/// The MTU of a network in which nobody else has an address to ask the kernel about: Ethernet's, and every bridge's
/// that nobody changed.
const USUAL: u32 = 1500;
/// The least MTU that IPv6 takes (RFC 8200, section 5).
const LEAST: u32 = 1280;

/// A bound socket, and what its network carries.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: UdpSocket,
    pub(super) address: SocketAddr,
    /// Largest packet in a tunnel over it, bytes.
    pub(super) mtu: u16,
}

/// The helper's answer; the descriptor travels beside it.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// MTU of the network.
    Bound(u32),
    Failed(String),
}

/// Binds to the gateway's address in this network namespace.
pub(super) fn here(subnet: Subnet) -> Result<Bound, RuntimeError> {
    let bound =
        bind(subnet.gateway, subnet.neighbour()).map_err(RuntimeError::io("binding to the gateway"))?;
    finish(bound.0, bound.1)
}

/// Binds to the gateway's address in rootless podman's network namespace. `program` is an npxc.
pub(super) fn rootless(client: &Client, program: &Path, subnet: Subnet) -> Result<Bound, RuntimeError> {
    let fail = RuntimeError::io("the helper in podman's network namespace");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(fail)?;
    ours.set_read_timeout(Some(PATIENCE)).map_err(RuntimeError::io("socket timeout"))?;
    let mut words =
        vec!["unshare".into(), "--rootless-netns".into(), program.as_os_str().to_owned(), MARK.into()];
    words.push(subnet.gateway.to_string().into());
    words.extend(subnet.neighbour().map(|neighbour| neighbour.to_string().into()));
    let mut command = client.command(&words);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| client.not_started(source))?;
    // The command holds the helper's end of the socket.
    drop(command);
    let stderr = gather(child.stderr.take());
    let mut channel = Channel::new(ours.into());
    let answer = channel.receive::<Answer>();
    let _ = child.kill();
    let _ = child.wait();
    match answer {
        Ok(Some(Answer::Bound(mtu))) => {
            let socket = channel.take_descriptor().ok_or(RuntimeError::Lost(": it sent no socket"))?;
            finish(socket.into(), mtu)
        }
        Ok(Some(Answer::Failed(why))) => Err(client.failed(&words, why)),
        Ok(None) => Err(client.failed(&words, essence(&stderr.finish(patience::LAST_WORDS)))),
        Err(source) => Err(RuntimeError::io("the helper in podman's network namespace")(source)),
    }
}

fn finish(socket: UdpSocket, underlay: u32) -> Result<Bound, RuntimeError> {
    let fail = || RuntimeError::io("the link's socket");
    socket.set_nonblocking(true).map_err(fail())?;
    let address = socket.local_addr().map_err(fail())?;
    let most = u16::MAX - OVERHEAD as u16;
    let mtu = underlay.saturating_sub(OVERHEAD).max(LEAST);
    Ok(Bound { socket, address, mtu: u16::try_from(mtu).unwrap_or(most).min(most) })
}

/// Binds, and asks the kernel how large a packet to the neighbour may be.
fn bind(gateway: IpAddr, neighbour: Option<IpAddr>) -> io::Result<(UdpSocket, u32)> {
    let socket = UdpSocket::bind((gateway, 0))?;
    let mtu = neighbour.map(|neighbour| path_mtu(gateway, neighbour)).transpose()?;
    Ok((socket, mtu.unwrap_or(USUAL)))
}

fn path_mtu(gateway: IpAddr, neighbour: IpAddr) -> io::Result<u32> {
    let probe = UdpSocket::bind((gateway, 0))?;
    // Sends nothing: it only looks the route up. Any port.
    probe.connect((neighbour, 9))?;
    let mtu = match gateway {
        IpAddr::V4(_) => rustix::net::sockopt::ip_mtu(&probe),
        IpAddr::V6(_) => rustix::net::sockopt::ipv6_mtu(&probe),
    };
    Ok(mtu?)
}

/// Becomes the helper if this process was started as one; then it never returns. Called first thing in `main`.
pub fn dispatch() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().is_some_and(|argument| argument == MARK) {
        let (gateway, neighbour) = (arguments.next(), arguments.next());
        std::process::exit(helper(gateway.as_deref(), neighbour.as_deref()));
    }
}

fn helper(gateway: Option<&str>, neighbour: Option<&str>) -> i32 {
    let Ok(stdin) = std::io::stdin().as_fd().try_clone_to_owned() else { return 2 };
    let channel = Channel::new(stdin);
    let bound = match (gateway.and_then(|text| text.parse().ok()), neighbour.map(str::parse).transpose()) {
        (Some(gateway), Ok(neighbour)) => bind(gateway, neighbour).map_err(|error| error.to_string()),
        _ => return 2,
    };
    let sent = match bound {
        Ok((socket, mtu)) => channel.send(&Answer::Bound(mtu), &[socket.as_fd()]),
        Err(why) => channel.send(&Answer::Failed(why), &[]),
    };
    i32::from(sent.is_err())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_socket_is_bound_to_one_address_and_knows_its_mtu() {
        let subnet = Subnet { net: "127.0.0.0/8".parse().unwrap(), gateway: "127.0.0.1".parse().unwrap() };
        let bound = here(subnet).unwrap();
        assert_eq!(bound.address.ip(), subnet.gateway);
        assert_ne!(bound.address.port(), 0);
        // Loopback has 65536; the largest that is left of a 16-bit number.
        assert_eq!(bound.mtu, 65_455);
        assert!(
            here(Subnet { net: "192.0.2.0/24".parse().unwrap(), gateway: "192.0.2.77".parse().unwrap() })
                .is_err()
        );
    }

    #[test]
    fn an_answer_carries_the_socket_beside_it() {
        let answer = Answer::Bound(1500);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (socket, _) = bind("127.0.0.1".parse().unwrap(), None).unwrap();
        Channel::new(theirs.into()).send(&answer, &[socket.as_fd()]).unwrap();
        let mut channel = Channel::new(ours.into());
        assert!(matches!(channel.receive::<Answer>(), Ok(Some(Answer::Bound(1500)))));
        let received = finish(channel.take_descriptor().unwrap().into(), 1500).unwrap();
        assert_eq!((received.address, received.mtu), (socket.local_addr().unwrap(), 1420));
    }
}
