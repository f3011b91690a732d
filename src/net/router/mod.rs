//! The router: every packet of the guest ends here, and only what the policy permits is dialled again.
//!
//! Sans-IO. A shell feeds it and carries out what it asks for, in this order, as often as it likes:
//!
//! 1. [`Router::receive`] for packets, [`Router::resolved`], [`Router::connected`], [`Router::dial_failed`],
//!    [`Router::datagram`] and [`Router::publish`] for what the outside answers, [`Router::wake`] for time;
//! 2. [`Router::poll_action`] until it is empty;
//! 3. [`Router::next_marked`] and, for each flow it names, [`Router::service`], until it is empty.
//!
//! A flow goes through three visible steps: `open` asks the policy and dials with its permit, `flow` watches
//! what the guest says first, `Flow::pump` forwards. The guest is hostile: whatever one packet or one flow
//! does, the others go on.

mod entry;
mod journal;
mod judge;
mod open;
mod proxied;
mod questions;
mod revise;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::dns::{Lookup, LookupId, Responder};
use super::flow::How;
use super::packet::{Malformed, Packet, Tcp, Transport};
use super::pins::Pins;
use super::proxy::{Fault, Handshake, Proxying};
use super::reply::{self, Unreachable};
use super::stack::{LinkProperties, Stack, Transmit};
use super::table::{FlowId, Key, Table};
use crate::policy::{DenyReason, Dialable, Policy, Protocol};

use self::entry::{Entry, Question, State, Way};
pub use self::journal::Journal;
pub use npxc_guest::spec::{GATEWAY_V4, GATEWAY_V6, GUEST_V4, GUEST_V6};

/// Flows at most, whatever the configuration says: ten times what a busy browser opens.
pub const MOST_FLOWS: usize = 4096;
/// Connections being resolved or dialled at most; a SYN beyond it is dropped and comes again after a second.
const MOST_OPENING: usize = 512;
/// Those of them that go to one address: one that does not answer must not take every place for minutes.
const MOST_OPENING_TO_ONE: usize = MOST_OPENING / 4;
/// How long an idle UDP flow is kept (RFC 4787, REQ-5: at least two minutes).
const UDP_IDLE: Duration = Duration::from_mins(3);
/// Datagrams kept while a UDP flow's name is resolved.
const UDP_QUEUE: usize = 16;
/// How long a connection that could not be opened swallows the guest's repeated SYNs, where the honest answer
/// is silence.
const TOMBSTONE: Duration = Duration::from_secs(130);
/// Stacks kept for the next flows: what a burst of short connections uses, and at most 16 MiB.
const MOST_POOLED: usize = 32;
/// How often the resolver's own bookkeeping runs.
const TICK: Duration = Duration::from_secs(5);
/// DNS questions, over UDP and TCP together, whose answers are awaited; one beyond it gets no answer.
const MOST_QUESTIONS: usize = 1024;

/// What the router needs to know at the start.
pub struct Options {
    /// What may be reached.
    pub policy: Policy,
    /// The guest's resolver.
    pub responder: Responder,
    /// The addresses it hands out.
    pub pins: Pins,
    /// Where verdicts go.
    pub journal: Box<dyn Journal>,
    /// The proxy that connections go through, where there is one.
    pub proxy: Option<Proxying>,
    /// What the link can do.
    pub link: LinkProperties,
    /// Flows at most; the shell's descriptors bound it.
    pub flows: usize,
    /// The zero of every flow's clock.
    pub epoch: Instant,
    /// Makes sequence numbers unpredictable.
    pub seed: u64,
}

/// What the shell has to do.
#[derive(Debug)]
pub enum Action {
    /// Resolve a name and answer with [`Router::resolved`].
    Lookup(Token, Lookup),
    /// Connect to the first of these that answers, then [`Router::connected`] or [`Router::dial_failed`].
    Dial(FlowId, Vec<Dialable>),
    /// Connect to the first of these addresses of the proxy, ask it for the connection and answer likewise.
    Tunnel(FlowId, Vec<SocketAddr>, Box<Handshake>),
    /// Open a UDP socket towards this address and forward with [`Router::datagram`] what it receives.
    Associate(FlowId, Dialable),
    /// Send a datagram on a UDP flow's socket.
    Send(FlowId, Vec<u8>),
    /// Forget a flow's upstream; with a reset if that is how the guest left.
    Release(FlowId, How),
}

/// Whom a resolved name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// A question of the guest's.
    Question(LookupId),
    /// A flow that is being opened.
    Flow(FlowId),
    /// The proxy itself, for a flow that is being opened.
    Proxy(FlowId),
}

/// Why an allowed connection could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialError {
    /// The port is closed: the guest gets a reset.
    Refused,
    /// No way to the network.
    NetworkUnreachable,
    /// No way to the host.
    HostUnreachable,
    /// No answer: the guest gets none either.
    TimedOut,
    /// npxc itself could not (no descriptors, no memory).
    Exhausted,
    /// The proxy did not: the guest gets a reset.
    Proxy(Fault),
}

impl DialError {
    /// What the user can do about it, where that is known.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Proxy(fault) => Some(fault.hint()),
            Self::Refused
            | Self::NetworkUnreachable
            | Self::HostUnreachable
            | Self::TimedOut
            | Self::Exhausted => None,
        }
    }
}

/// The words of the audit log.
impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused => f.write_str("refused by peer"),
            Self::NetworkUnreachable => f.write_str("network unreachable"),
            Self::HostUnreachable => f.write_str("host unreachable"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Exhausted => f.write_str("npxc is out of sockets"),
            Self::Proxy(fault) => fault.fmt(f),
        }
    }
}

/// See the [module](self).
pub struct Router {
    policy: Policy,
    responder: Responder,
    pins: Pins,
    journal: Box<dyn Journal>,
    proxy: Option<Proxying>,
    link: LinkProperties,
    most_flows: usize,
    epoch: Instant,
    seed: u64,
    table: Table<Entry>,
    opening: usize,
    #[allow(clippy::vec_box)] // a stack moves between a flow and the pool; only its pointer should
    pool: Vec<Box<Stack>>,
    actions: VecDeque<Action>,
    questions: HashMap<u64, Question>,
    next_question: u64,
    next_flow: u64,
    next_port: u16,
    ticked: Option<Instant>,
    /// The log has failed, and every flow was told.
    cut_off: bool,
    dropped: HashMap<Malformed, u64>,
    reached: HashMap<&'static str, (u64, String)>,
    forged: u64,
    forged_recorded: u64,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("flows", &self.table.len()).finish_non_exhaustive()
    }
}

impl Router {
    /// A router without flows.
    pub fn new(options: Options) -> Self {
        Self {
            policy: options.policy,
            responder: options.responder,
            pins: options.pins,
            journal: options.journal,
            proxy: options.proxy,
            link: options.link,
            most_flows: options.flows.min(MOST_FLOWS),
            epoch: options.epoch,
            seed: options.seed,
            table: Table::default(),
            opening: 0,
            pool: Vec::new(),
            actions: VecDeque::new(),
            questions: HashMap::new(),
            next_question: 0,
            next_flow: 1,
            next_port: FIRST_PORT,
            ticked: None,
            cut_off: false,
            dropped: HashMap::new(),
            reached: HashMap::new(),
            forged: 0,
            forged_recorded: 0,
        }
    }

    /// Takes one packet of the guest. `checksummed` says that the link vouches for its transport checksum.
    pub fn receive(&mut self, now: Instant, bytes: &[u8], checksummed: bool, out: &mut dyn Transmit) {
        let packet = match Packet::parse(bytes, checksummed) {
            Ok(packet) => packet,
            Err(why) => return self.drop_malformed(why),
        };
        if matches!(packet.transport, Transport::Upkeep) {
            return;
        }
        if packet.source != IpAddr::V4(GUEST_V4) && packet.source != IpAddr::V6(GUEST_V6) {
            // Link-local sources are the guest's kernel talking about the link itself.
            if !packet.destination.is_multicast() {
                self.forged += 1;
                // The first is said at once, the rest when their number has doubled, and when the session ends.
                if self.forged.is_power_of_two() {
                    self.record_forged(&packet.source.to_string());
                }
            }
            return;
        }
        match packet.transport {
            Transport::Tcp(tcp) => self.receive_tcp(now, &packet, &tcp, out),
            Transport::Udp { destination_port: 53, payload, .. } if is_unicast(packet.destination) => {
                self.question_by_udp(now, &packet, payload, out);
            }
            Transport::Udp { payload, .. } => self.receive_udp(now, &packet, payload, out),
            Transport::Echo(message) if is_gateway(packet.destination) => {
                reply::echo(&packet, message, out);
            }
            Transport::Echo(_) | Transport::Icmp => {
                self.deny(&packet, None, &DenyReason::IcmpNotAllowed, None);
                reply::unreachable(&packet, Unreachable::Prohibited, gateway(&packet), out);
            }
            Transport::Other(number) => {
                self.deny(&packet, None, &DenyReason::ProtocolNotAllowed { number }, None);
                reply::unreachable(&packet, Unreachable::Prohibited, gateway(&packet), out);
            }
            Transport::Upkeep => {}
        }
    }

    /// Something for the shell to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Notes that a flow's upstream can be read or written again.
    pub fn mark(&mut self, id: FlowId) {
        self.table.mark(id);
    }

    /// A flow that [`Router::service`] has to be called for.
    pub fn next_marked(&mut self) -> Option<FlowId> {
        self.table.next_marked()
    }

    /// When [`Router::wake`] has to be called.
    pub fn next_timer(&self) -> Option<Instant> {
        let owed = self.ticked.filter(|_| self.responder.owes()).map(|ticked| ticked + TICK);
        [self.table.next_timer(), owed].into_iter().flatten().min()
    }

    /// Marks the flows whose time has come; all of them, once the log has failed.
    pub fn wake(&mut self, now: Instant) {
        self.table.wake(now);
        if !self.cut_off && !self.journal.healthy() {
            // What the log does not hold must not happen: that goes for open flows, too. It stays so for good.
            self.cut_off = true;
            for id in self.table.ids() {
                self.table.mark(id);
            }
        }
        if self.ticked.is_none_or(|ticked| now.saturating_duration_since(ticked) >= TICK) {
            self.ticked = Some(now);
            self.responder.tick(now);
            self.record_questions();
            self.record_reached();
        }
    }

    /// Flows that exist now.
    pub fn flows(&self) -> usize {
        self.table.len()
    }

    /// Ends every flow and writes what was only counted.
    pub fn finish(&mut self, now: Instant) {
        for id in self.table.ids() {
            self.end(now, id, How::SessionEnded);
        }
        for (why, count) in std::mem::take(&mut self.dropped).into_iter().filter(|(_, count)| *count > 0) {
            self.limit("malformed packets dropped", &why.to_string(), count);
        }
        self.record_forged("the last ones");
        self.record_reached();
        self.responder.finish();
        self.record_questions();
    }

    fn receive_tcp(&mut self, now: Instant, packet: &Packet<'_>, tcp: &Tcp, out: &mut dyn Transmit) {
        let key = key_of(Protocol::Tcp, packet);
        if !is_unicast(packet.destination) {
            // TCP has no multicast (RFC 9293, section 3.9.2.3): neither a connection nor a question.
            let why = DenyReason::MulticastNotAllowed { address: packet.destination };
            return self.deny(packet, None, &why, None);
        }
        match self.table.find(&key) {
            Some(id) => self.continue_tcp(now, id, packet, tcp, out),
            None if !tcp.opens => reply::reset(packet, tcp, out),
            None if tcp.destination_port == 53 => self.open_resolver(now, key, packet, out),
            None => self.open_tcp(now, key, packet, tcp, out),
        }
    }

    fn receive_udp(&mut self, now: Instant, packet: &Packet<'_>, payload: &[u8], out: &mut dyn Transmit) {
        let key = key_of(Protocol::Udp, packet);
        let Some(id) = self.table.find(&key) else { return self.open_udp(now, key, packet, payload, out) };
        if let Some(Entry { state: State::Datagrams { queue, last, up, .. }, .. }) = self.table.get_mut(id) {
            *last = now;
            match queue {
                // The flow ends in the next round.
                _ if !self.journal.healthy() => {}
                Some(queue) if queue.len() < UDP_QUEUE => queue.push(payload.to_vec()),
                Some(_) => {}
                None => {
                    *up += payload.len() as u64;
                    self.actions.push_back(Action::Send(id, payload.to_vec()));
                }
            }
        }
    }
}

fn is_unicast(address: IpAddr) -> bool {
    !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn is_gateway(address: IpAddr) -> bool {
    address == IpAddr::V4(GATEWAY_V4) || address == IpAddr::V6(GATEWAY_V6)
}

/// npxc's own address in the packet's family.
fn gateway(packet: &Packet<'_>) -> IpAddr {
    if packet.source.is_ipv4() { GATEWAY_V4.into() } else { GATEWAY_V6.into() }
}

/// First port of published connections as the guest sees them (RFC 6335, section 6).
const FIRST_PORT: u16 = 49_152;

fn key_of(protocol: Protocol, packet: &Packet<'_>) -> Key {
    Key { protocol, guest: packet.source_end(), remote: packet.destination_end() }
}
