//! The process that reads the specification, and keeps the keys if there are any: process 1 is given the
//! specification without them, so that no memory of it or of the workload has ever held them.
//!
//! It is forked while the container's network namespace is still the one that the engine made. For a WireGuard link it
//! opens the tunnel's outer socket there, then gets the TUN of the new network namespace, moves into that namespace
//! itself (nothing but its socket stays outside), becomes a user of its own without a capability, and moves packets
//! until it or the container ends. For a link over a stream it connects to npxc's second socket instead, and moves the
//! same packets as they are. The workload cannot signal or trace it, whatever its user; if it could, it would
//! only end its own session.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use npxc_link::wg::{Keys, Tunnel};
use npxc_link::{pump, relay, udp};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use super::machine;
use crate::confine::{self, Identity};
use crate::enter;
use crate::spec::{Container, ContainerLink, Place, Spec, Wireguard};
use crate::step::{At, Failure, Step};
use crate::sys;
use crate::wire::Channel;

/// User and group of the tunnel's process: nobody else's, and inside what rootless engines map (65536 ids).
const OWN_ID: u32 = 64_198;
/// How long the first handshake may take. It needs milliseconds; a lost packet is sent again after half a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// From the keeper to process 1.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The specification, without keys; the workload's descriptors beside it, unless it is a machine's.
    Specification(Box<Spec>),
    /// npxc has gone.
    Gone,
    /// The handshake is complete.
    Established,
    /// It cannot go on.
    Failed(Failure),
}

/// From process 1 to the keeper: the TUN and the network namespace travel beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Open;

/// What came of the handshake.
pub(super) enum Handshake {
    /// The tunnel stands.
    Complete,
    /// npxc has gone.
    Abandoned,
}

/// The process as process 1 sees it.
pub(super) struct Keeper {
    pid: Pid,
    channel: Channel,
}

impl Keeper {
    /// Forks it; it reads the first frame of `control`, which process 1 must not read before.
    pub(super) fn start(control: Channel) -> Result<(Self, Channel), Failure> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .at(Step::Fork, "socketpair")?;
        let Some(pid) = sys::fork().at(Step::Fork, "fork")? else {
            drop(ours);
            let mut channel = Channel::new(theirs);
            if let Err(failure) = keep(control, &mut channel) {
                let _ = channel.send(&Word::Failed(failure), &[]);
            }
            sys::exit_now(0);
        };
        Ok((Self { pid, channel: Channel::new(ours) }, control))
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// The specification without keys; `None` if npxc has gone.
    pub(super) fn specification(&mut self) -> Result<Option<(Spec, [OwnedFd; 3])>, Failure> {
        match self.word()? {
            Word::Specification(spec) => {
                let stdio =
                    if is_machine(&spec) { machine::own_stdio()? } else { enter::stdio(&mut self.channel)? };
                Ok(Some((*spec, stdio)))
            }
            Word::Gone => Ok(None),
            Word::Failed(failure) => Err(failure),
            Word::Established => Err(unexpected()),
        }
    }

    /// There are no keys to keep: waits for its end.
    pub(super) fn dismiss(self) {
        drop(self.channel);
        let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(self.pid), WaitOptions::empty()));
    }

    /// Hands over the TUN, and the network namespace that this process is in.
    pub(super) fn open(&mut self, tun: OwnedFd) -> Result<(), Failure> {
        let namespace = std::fs::File::open("/proc/self/ns/net").at(Step::Tunnel, "/proc/self/ns/net")?;
        // If it has ended, it has said why.
        let _ = self.channel.send(&Open, &[tun.as_fd(), namespace.as_fd()]);
        drop(tun);
        Ok(())
    }

    /// Waits for the first handshake, or the stream; `peer` is who has to answer, in words. `control` is only watched
    /// for its end.
    pub(super) fn handshake(&mut self, control: &Channel, peer: &str) -> Result<Handshake, Failure> {
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            if left.is_zero() {
                let error = rustix::io::Errno::TIMEDOUT.into();
                let detail = format!("no answer from {peer} in {} seconds", PATIENCE.as_secs());
                return Err(Failure::new(Step::Handshake, detail, &error));
            }
            let timeout = Timespec::try_from(left).unwrap_or_default();
            let mut events =
                [PollFd::new(&self.channel, PollFlags::IN), PollFd::new(control, PollFlags::RDHUP)];
            let _ = rustix::event::poll(&mut events, Some(&timeout));
            let [word, gone] = events.map(|event| !event.revents().is_empty());
            if gone {
                return Ok(Handshake::Abandoned);
            }
            if word {
                return match self.word()? {
                    Word::Established => Ok(Handshake::Complete),
                    Word::Failed(failure) => Err(failure),
                    Word::Specification(_) | Word::Gone => Err(unexpected()),
                };
            }
        }
    }

    fn word(&mut self) -> Result<Word, Failure> {
        self.channel.receive().at(Step::Start, "the first process's child")?.ok_or_else(unexpected)
    }
}

fn unexpected() -> Failure {
    let error = std::io::Error::other("ended without a word");
    Failure::new(Step::Start, "the first process's child", &error)
}

/// The keeper's whole life.
fn keep(mut control: Channel, parent: &mut Channel) -> Result<(), Failure> {
    let received: Option<Spec> = control.receive().at(Step::Start, "specification")?;
    let Some(mut spec) = received else {
        let _ = parent.send(&Word::Gone, &[]);
        return Ok(());
    };
    let machine = is_machine(&spec);
    let stdio = if machine { None } else { Some(enter::stdio(&mut control)?) };
    // Process 1 has the lifeline; a second holder would keep it from breaking.
    drop(control);
    let outer = match &mut spec.place {
        Place::Container(Container { link: ContainerLink::Wireguard(wireguard), user, .. }) => {
            let without = wireguard.without_keys();
            Some((Outer::Wireguard(std::mem::replace(wireguard, without)), identity(*user)))
        }
        Place::Container(Container { link: ContainerLink::Stream(stream), user, .. }) => {
            Some((Outer::Stream(connect(&stream.socket)?), identity(*user)))
        }
        Place::Container(Container { link: ContainerLink::Tun, .. }) | Place::Namespaces => None,
    };
    let descriptors: Vec<_> = stdio.iter().flatten().map(AsFd::as_fd).collect();
    parent.send(&Word::Specification(Box::new(spec)), &descriptors).at(Step::Start, "specification")?;
    drop(descriptors);
    drop(stdio);
    if machine {
        // They are the workload's, and end for others when it closes them.
        machine::let_go_of_stdio()?;
    }
    match outer {
        Some((Outer::Wireguard(wireguard), identity)) => tunnel(wireguard, identity, parent),
        Some((Outer::Stream(stream), identity)) => stream_packets(stream, identity, parent),
        None => Ok(()),
    }
}

/// What leads out.
enum Outer {
    Wireguard(Wireguard),
    Stream(UnixStream),
}

fn is_machine(spec: &Spec) -> bool {
    matches!(spec.place, Place::Container(Container { machine: true, .. }))
}

fn connect(path: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(path).at(Step::Tunnel, path.display().to_string())
}

/// Waits for process 1's TUN, and moves into its network namespace; `None` if process 1 has ended.
fn opened(parent: &mut Channel) -> Result<Option<OwnedFd>, Failure> {
    let open: Option<Open> = parent.receive().at(Step::Tunnel, "TUN")?;
    let (Some(Open), Some(tun), Some(namespace)) = (open, parent.take_descriptor(), parent.take_descriptor())
    else {
        return Ok(None);
    };
    let network = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), network).at(Step::Tunnel, "setns")?;
    Ok(Some(tun))
}

/// From the first frame of process 1 to the container's end.
fn tunnel(wireguard: Wireguard, identity: Identity, parent: &mut Channel) -> Result<(), Failure> {
    let outer = socket(wireguard.endpoint)?;
    // The buffers are large only with the capability that is dropped below; and then nothing can change them.
    udp::prepare(&outer).at(Step::Tunnel, "UDP socket")?;
    let Some(tun) = opened(parent)? else { return Ok(()) };
    let tunnel = tunnel_of(&wireguard);
    let mtu = wireguard.mtu;
    drop(wireguard);
    confine_keeper(identity)?;
    let established = || {
        let _ = parent.send(&Word::Established, &[]);
    };
    pump::run(tun, outer, tunnel, mtu, established).at(Step::Tunnel, "moving packets")
}

/// The same for a stream, which stands as soon as it is connected.
fn stream_packets(stream: UnixStream, identity: Identity, parent: &mut Channel) -> Result<(), Failure> {
    let Some(tun) = opened(parent)? else { return Ok(()) };
    confine_keeper(identity)?;
    parent.send(&Word::Established, &[]).at(Step::Tunnel, "first process")?;
    relay::run(tun, stream.into()).at(Step::Tunnel, "moving packets")
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

/// A user of the keeper's own, if the container has one to spare: a rootless engine without subordinate ids has not.
fn identity(workload: u32) -> Identity {
    let own = if workload == OWN_ID { OWN_ID - 1 } else { OWN_ID };
    let known = ["/proc/self/uid_map", "/proc/self/gid_map"]
        .iter()
        .all(|map| std::fs::read_to_string(map).is_ok_and(|map| is_mapped(&map, own)));
    if known { Identity { user: own, group: own } } else { Identity { user: 0, group: 0 } }
}

/// Whether an id is in a map of `user_namespaces(7)`: first inside, first outside, how many.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        match (numbers.next(), numbers.nth(1)) {
            (Some(first), Some(count)) => (first..first + count).contains(&u64::from(id)),
            _ => false,
        }
    })
}

fn confine_keeper(identity: Identity) -> Result<(), Failure> {
    rustix::thread::set_no_new_privs(true).at(Step::Capabilities, "no_new_privs")?;
    confine::capabilities(Some(identity))?;
    confine::tunnel_seccomp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_mapped_when_a_range_holds_it() {
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        assert!(is_mapped(rootless, 0) && is_mapped(rootless, OWN_ID) && is_mapped(rootless, 65_536));
        assert!(!is_mapped(rootless, 65_537));
        assert!(!is_mapped("0 1000 1\n", OWN_ID));
        assert!(is_mapped("0 0 4294967295\n", OWN_ID));
    }
}
