//! The process that reads the specification, and keeps the keys if there are any: process 1 is given the
//! specification without them, so that no memory of it or of the workload has ever held them.
//!
//! It is forked while the container's network namespace is still the one that the engine made, and opens there what
//! leads out ([`tunnel`], [`stream`]). Then it moves into the network namespace that process 1 has made (nothing but its
//! socket stays outside), becomes a user of its own without a capability, and does its work until it or the container
//! ends; only if the kernel does all of it, it ends before the workload starts. The workload cannot signal or trace it, whatever its user; if it could, it would only end its own session.
//!
//! Here is what both processes say to each other, and process 1's end of it.

mod own;
mod stream;
mod tunnel;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use super::machine;
use crate::enter;
use crate::spec::{Container, ContainerLink, Place, Spec, Wireguard};
use crate::step::{At, Failure, Step};
use crate::sys;
use crate::wire::Channel;

/// How long the first handshake may take. It needs milliseconds; a lost packet is sent again after half a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// From the keeper to process 1.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The specification, without keys; the workload's descriptors beside it, unless it is a machine's.
    Specification(Box<Spec>),
    /// npxc has gone.
    Gone,
    /// Whose WireGuard it is.
    Wireguard(Maker),
    /// The handshake is complete. With the kernel's WireGuard the outer socket is beside it, and nothing left to do.
    Established,
    /// It cannot go on.
    Failed(Failure),
}

/// Who makes WireGuard's interface.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Maker {
    /// The kernel: it is there.
    Kernel,
    /// The keeper, for which process 1 has to make a TUN; and why the kernel cannot.
    Keeper(String),
}

/// From process 1 to the keeper; a descriptor travels beside it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    /// Move into this network namespace.
    Enter,
    /// Move the packets of this TUN.
    Carry,
}

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
            Word::Wireguard(_) | Word::Established => Err(unexpected()),
        }
    }

    /// There are no keys to keep: waits for its end.
    pub(super) fn dismiss(self) {
        drop(self.channel);
        let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(self.pid), WaitOptions::empty()));
    }

    /// The kernel has the keys, and has shaken hands: waits for its end. What it leaves keeps the outer network.
    pub(super) fn retire(mut self) -> Result<OwnedFd, Failure> {
        let outer = self.channel.take_descriptor().ok_or_else(unexpected)?;
        self.dismiss();
        Ok(outer)
    }

    /// Hands over the network namespace that this process is in.
    pub(super) fn enter(&mut self) -> Result<(), Failure> {
        let namespace = std::fs::File::open("/proc/self/ns/net").at(Step::Tunnel, "/proc/self/ns/net")?;
        self.order(&Order::Enter, namespace.as_fd());
        Ok(())
    }

    /// Who makes the interface of WireGuard in the network namespace that was handed over.
    pub(super) fn maker(&mut self) -> Result<Maker, Failure> {
        match self.word()? {
            Word::Wireguard(maker) => Ok(maker),
            Word::Failed(failure) => Err(failure),
            Word::Specification(_) | Word::Gone | Word::Established => Err(unexpected()),
        }
    }

    /// Hands over the TUN.
    pub(super) fn carry(&mut self, tun: &OwnedFd) {
        self.order(&Order::Carry, tun.as_fd());
    }

    fn order(&mut self, order: &Order, descriptor: BorrowedFd<'_>) {
        // If it has ended, it has said why.
        let _ = self.channel.send(order, &[descriptor]);
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
                    Word::Specification(_) | Word::Gone | Word::Wireguard(_) => Err(unexpected()),
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
            Some((Outer::Wireguard(std::mem::replace(wireguard, without)), own::identity(*user)))
        }
        Place::Container(Container { link: ContainerLink::Stream(stream), user, .. }) => {
            Some((Outer::Stream(stream::connect(&stream.socket)?), own::identity(*user)))
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
        Some((Outer::Wireguard(wireguard), identity)) => tunnel::keep(wireguard, identity, parent),
        Some((Outer::Stream(stream), identity)) => stream::keep(stream, identity, parent),
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

/// Waits for what process 1 hands over; `None` if it has ended.
fn handed_over(parent: &mut Channel, what: &Order) -> Result<Option<OwnedFd>, Failure> {
    let order: Option<Order> = parent.receive().at(Step::Tunnel, "first process")?;
    Ok(parent.take_descriptor().filter(|_| order.as_ref() == Some(what)))
}

/// Moves into a network namespace.
fn move_into(namespace: &OwnedFd) -> Result<(), Failure> {
    let network = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), network).at(Step::Tunnel, "setns")
}
