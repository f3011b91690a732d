//! From a first packet to an upstream: ask the policy, resolve, dial with the permit, answer the guest as the
//! far side answered npxc.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::judge::{Granted, admit};
use super::proxied::{known, one_of};
use super::serve::isolate;
use super::{
    Action, DialError, Entry, FIRST_PORT, GATEWAY_V4, GUEST_V4, MOST_OPENING, MOST_OPENING_TO_ONE, Router,
    State, TOMBSTONE, Token, UDP_IDLE, Way, gateway,
};
use crate::audit::Event;
use crate::net::dns::{Lookup, LookupKind, LookupOutcome};
use crate::net::flow::{Flow, How};
use crate::net::packet::{Packet, Tcp, Transport};
use crate::net::pins::Pinned;
use crate::net::proxy::Route;
use crate::net::reply::{self, Unreachable};
use crate::net::sniff::Guard;
use crate::net::stack::Transmit;
use crate::net::table::{FlowId, Key};
use crate::policy::{DenyReason, Destination, Dialable, HostName, Permit, Protocol, Tunnel};

/// A SYN is kept while its flow is opened, with its payload if it has one (TCP Fast Open); bytes. A larger one
/// would have come in several packets.
const MOST_SYN: usize = 1500;

impl Router {
    /// A first SYN.
    pub(super) fn open_tcp(
        &mut self,
        now: Instant,
        key: Key,
        packet: &Packet<'_>,
        tcp: &Tcp,
        out: &mut dyn Transmit,
    ) {
        match self.judge(&key) {
            Ok(_)
                if self.opening >= MOST_OPENING
                    || self.opening_to(key.remote.ip()) >= MOST_OPENING_TO_ONE
                    || packet.bytes.len() > MOST_SYN =>
            {
                // No answer: the guest's kernel asks again, and by then there may be room.
                self.reached("connections being opened", key.remote.to_string());
            }
            Ok(granted) => {
                let syn = packet.bytes.to_vec();
                let permit = granted.permit.clone();
                let id = self.insert(
                    now,
                    key,
                    granted.name.clone(),
                    State::Opening { permit, syn, dialled: None, tunnel: None },
                );
                self.opening += 1;
                self.resolve_or_dial(now, id, &key, granted, out);
            }
            Err((name, why)) => {
                self.deny(packet, name, &why, None);
                reply::reset(packet, tcp, out);
            }
        }
    }

    /// A first datagram.
    pub(super) fn open_udp(
        &mut self,
        now: Instant,
        key: Key,
        packet: &Packet<'_>,
        payload: &[u8],
        out: &mut dyn Transmit,
    ) {
        match self.judge(&key) {
            Ok(granted) => {
                let queue = Some(vec![payload.to_vec()]);
                let permit = granted.permit.clone();
                let state = State::Datagrams { permit, queue, last: now, up: payload.len() as u64, down: 0 };
                let id = self.insert(now, key, granted.name.clone(), state);
                self.table.schedule(id, Some(now + UDP_IDLE));
                self.resolve_or_dial(now, id, &key, granted, out);
            }
            Err((name, why)) => {
                self.deny(packet, name, &why, None);
                reply::unreachable(packet, Unreachable::Prohibited, gateway(packet), out);
            }
        }
    }

    /// A name was resolved.
    pub fn resolved(&mut self, now: Instant, token: Token, outcome: LookupOutcome, out: &mut dyn Transmit) {
        let id = match token {
            Token::Question(id) => return self.answered(now, id, outcome, out),
            Token::Proxy(id) => return self.proxy_resolved(now, id, outcome, out),
            Token::Flow(id) => id,
        };
        let Some((key, entry)) = self.table.take(id) else { return };
        let permit = match &entry.state {
            State::Opening { permit, .. } | State::Datagrams { permit, queue: Some(_), .. } => permit.clone(),
            State::Silent(_) | State::Relay(_) | State::Resolver(_) | State::Datagrams { .. } => {
                return self.table.put(id, entry);
            }
        };
        let name = entry.name.clone();
        self.table.put(id, entry);
        // Only names are looked up.
        let Some(name) = name else { return };
        if self.route(permit.destination(), permit.port()) == Route::ByName {
            return match permit.by_name(&known(outcome)) {
                Ok(tunnel) => self.dial_through(now, id, tunnel, out),
                Err(why) => self.refuse_opening(id, &why, out),
            };
        }
        match admit(&permit, &name, outcome) {
            Ok(candidates) => self.dial(now, id, &key, candidates, out),
            Err(why) => self.refuse_opening(id, &why, out),
        }
    }

    /// A flow's upstream stands.
    pub fn connected(&mut self, now: Instant, id: FlowId, dialled: SocketAddr, out: &mut dyn Transmit) {
        let Some((key, mut entry)) = self.table.take(id) else { return };
        match entry.state {
            State::Opening { permit, syn, tunnel, .. } => {
                self.opening -= 1;
                // The rules may have changed since the addresses were chosen.
                if tunnel.is_none()
                    && let Err(why) = permit.admit(dialled.ip())
                {
                    entry.state = State::Opening { permit, syn, dialled: None, tunnel };
                    self.opening += 1;
                    self.table.put(id, entry);
                    return self.refuse_opening(id, &why, out);
                }
                let via = self.via(tunnel.as_ref());
                if !self.record_open(entry.name.as_ref(), entry.number, &key, &permit, (dialled, via)) {
                    entry.state = State::Opening { permit, syn, dialled: None, tunnel };
                    self.opening += 1;
                    self.table.put(id, entry);
                    return self.refuse_opening(id, &DenyReason::AuditUnavailable, out);
                }
                let guard =
                    Guard::new(self.expected(&self.policy, &key, entry.name.as_ref()), key.remote.port());
                let mut stack = self.stack();
                let sound = isolate(|| stack.answer(now, key.remote, &syn, out));
                entry.way = Way::Out(match tunnel.as_ref().map(Tunnel::destination) {
                    None => Some(dialled.ip()),
                    Some(Destination::Address(address)) => Some(*address),
                    Some(Destination::Name(_)) => None,
                });
                entry.state = State::Relay(Box::new(Flow::new(stack, Some(guard))));
                self.table.put(id, entry);
                if sound {
                    self.table.mark(id);
                } else {
                    self.end(now, id, How::InternalError);
                }
            }
            State::Datagrams { permit, queue: Some(queue), last, up, down } => {
                let recorded =
                    self.record_open(entry.name.as_ref(), entry.number, &key, &permit, (dialled, None));
                entry.way = Way::Out(Some(dialled.ip()));
                entry.state = State::Datagrams { permit, queue: None, last, up, down };
                self.table.put(id, entry);
                if !recorded {
                    return self.end(now, id, How::Refused);
                }
                self.actions.extend(queue.into_iter().map(|datagram| Action::Send(id, datagram)));
            }
            state @ (State::Silent(_) | State::Relay(_) | State::Resolver(_) | State::Datagrams { .. }) => {
                entry.state = state;
                self.table.put(id, entry);
            }
        }
    }

    /// A flow's upstream could not be reached. The guest learns it the way npxc did.
    pub fn dial_failed(&mut self, now: Instant, id: FlowId, error: DialError, out: &mut dyn Transmit) {
        let Some((key, mut entry)) = self.table.take(id) else { return };
        let State::Opening { permit, syn, dialled, tunnel } = &entry.state else {
            self.table.put(id, entry);
            return self.end(now, id, How::ResetByPeer);
        };
        let dialled = dialled.unwrap_or(key.remote);
        let via = self.via(tunnel.as_ref());
        self.record_open(entry.name.as_ref(), entry.number, &key, &permit.clone(), (dialled, via));
        self.journal.record(Event::FlowClose {
            flow: entry.number,
            bytes_up: 0,
            bytes_down: 0,
            duration_ms: millis(now, entry.opened),
            detected: "other".to_owned(),
            sniffed: None,
            how: error.to_string(),
            hint: error.hint().map(str::to_owned),
        });
        self.opening -= 1;
        if let Ok(packet) = Packet::parse(syn, true)
            && let Transport::Tcp(tcp) = packet.transport
        {
            match error {
                DialError::Refused | DialError::Proxy(_) => reply::reset(&packet, &tcp, out),
                DialError::NetworkUnreachable => {
                    reply::unreachable(&packet, Unreachable::Network, gateway(&packet), out);
                }
                DialError::HostUnreachable | DialError::Exhausted => {
                    reply::unreachable(&packet, Unreachable::Host, gateway(&packet), out);
                }
                DialError::TimedOut => {
                    entry.state = State::Silent(now + TOMBSTONE);
                    self.table.put(id, entry);
                    return self.table.schedule(id, Some(now + TOMBSTONE));
                }
            }
        }
        self.table.remove(id);
    }

    /// Opens a connection to a published port of the guest. The caller has accepted it and keeps it as the
    /// flow's upstream.
    pub fn publish(&mut self, now: Instant, port: u16, peer: SocketAddr) -> Option<FlowId> {
        if self.table.len() >= self.most_flows || !self.journal.healthy() {
            return None;
        }
        let guest = SocketAddr::new(GUEST_V4.into(), port);
        let key = (0..=u16::MAX - FIRST_PORT).find_map(|_| {
            let remote = SocketAddr::new(GATEWAY_V4.into(), self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            let key = Key { protocol: Protocol::Tcp, guest, remote };
            self.table.find(&key).is_none().then_some(key)
        })?;
        let mut stack = self.stack();
        if !stack.connect(key.remote, guest) {
            return None;
        }
        let id = self.insert(now, key, None, State::Relay(Box::new(Flow::new(stack, None))));
        let event = Event::FlowOpen {
            flow: self.next_flow - 1,
            protocol: Protocol::Tcp.to_string(),
            rule: format!("--publish {port}"),
            name: None,
            source: peer,
            guest_destination: guest,
            dialled: guest,
            via: None,
            observed: None,
            hint: None,
            calls: Vec::new(),
        };
        if !self.journal.record(event) {
            self.table.remove(id);
            return None;
        }
        self.table.mark(id);
        Some(id)
    }

    /// Connections being opened to an address; not counted while there are few at all.
    fn opening_to(&mut self, address: IpAddr) -> usize {
        if self.opening < MOST_OPENING_TO_ONE {
            return 0;
        }
        let opens = |entry: &mut Entry| matches!(entry.state, State::Opening { .. });
        let ids = self.table.ids_to(address);
        ids.into_iter().filter(|&id| self.table.get_mut(id).is_some_and(opens)).count()
    }

    /// Resolves the name anew, or takes the address the guest was given: that one is judged by the same floor,
    /// at the same place as a resolved one.
    fn resolve_or_dial(
        &mut self,
        now: Instant,
        id: FlowId,
        key: &Key,
        granted: Granted,
        out: &mut dyn Transmit,
    ) {
        let handed_out = matches!(self.pins.lookup(key.remote.ip()), Some(Pinned::Virtual(_)));
        match granted.name {
            Some(name) if handed_out => {
                let kind = match self.route(granted.permit.destination(), key.remote.port()) {
                    Route::Direct | Route::ByAddress => LookupKind::Address,
                    Route::ByName => LookupKind::Known,
                };
                self.actions.push_back(Action::Lookup(Token::Flow(id), Lookup { name, kind }));
            }
            Some(_) | None => match granted.permit.admit(key.remote.ip()) {
                Ok(dialable) => self.dial(now, id, key, vec![dialable], out),
                Err(why) => self.refuse_opening(id, &why, out),
            },
        }
    }

    fn dial(
        &mut self,
        now: Instant,
        id: FlowId,
        key: &Key,
        candidates: Vec<Dialable>,
        out: &mut dyn Transmit,
    ) {
        if key.protocol == Protocol::Udp {
            if let Some(first) = candidates.into_iter().next() {
                self.actions.push_back(Action::Associate(id, first));
            }
            return;
        }
        let Some(Entry { state: State::Opening { dialled, permit, .. }, .. }) = self.table.get_mut(id) else {
            return;
        };
        *dialled = candidates.first().map(Dialable::socket_addr);
        let (destination, port) = (permit.destination().clone(), permit.port());
        if self.route(&destination, port) != Route::Direct
            && let Some(tunnel) = one_of(&candidates)
        {
            return self.dial_through(now, id, tunnel, out);
        }
        self.actions.push_back(Action::Dial(id, candidates));
    }

    pub(super) fn refuse_opening(&mut self, id: FlowId, why: &DenyReason, out: &mut dyn Transmit) {
        let Some((key, entry)) = self.table.take(id) else { return };
        let protocol = key.protocol.to_string();
        self.deny_flow(protocol, key.guest, key.remote, entry.name, why, None);
        if let State::Opening { syn, .. } = &entry.state {
            self.opening -= 1;
            if let Ok(packet) = Packet::parse(syn, true)
                && let Transport::Tcp(tcp) = packet.transport
            {
                reply::reset(&packet, &tcp, out);
            }
        }
        self.actions.push_back(Action::Release(id, How::Refused));
        self.table.remove(id);
    }

    fn insert(&mut self, now: Instant, key: Key, name: Option<HostName>, state: State) -> FlowId {
        let number = self.next_flow;
        self.next_flow += 1;
        let way = match state {
            State::Opening { .. } | State::Silent(_) | State::Datagrams { .. } => Way::Out(None),
            State::Relay(_) | State::Resolver(_) => Way::In,
        };
        self.table.insert(key, Entry { number, name, opened: now, way, state })
    }

    fn record_open(
        &mut self,
        name: Option<&HostName>,
        flow: u64,
        key: &Key,
        permit: &Permit,
        (dialled, via): (SocketAddr, Option<String>),
    ) -> bool {
        self.journal.record(Event::FlowOpen {
            flow,
            protocol: key.protocol.to_string(),
            rule: permit.rule().to_owned(),
            name: name.map(ToString::to_string),
            source: key.guest,
            guest_destination: key.remote,
            dialled,
            via,
            observed: permit.observed().map(ToString::to_string),
            hint: permit.observed().and_then(DenyReason::hint),
            calls: Vec::new(),
        })
    }
}

pub(super) fn millis(now: Instant, since: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
}
