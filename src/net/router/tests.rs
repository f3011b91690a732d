//! The router in virtual time: a guest with a real TCP stack on one side, a scripted outside on the other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod flows;
mod guarded;
mod hostile;
mod proxied;
mod recorded;
mod revised;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};

use super::*;
use crate::audit::Event;
use crate::net::dns::{self, LookupOutcome};
use crate::net::flow::Upstream;
use crate::net::proxy::Fault;
use crate::net::stack::Offload;
use crate::policy::{Mode, PolicySpec, Rule};

/// Packets for the guest.
#[derive(Default)]
struct Wire {
    buffer: Vec<u8>,
    sent: VecDeque<Vec<u8>>,
}

impl Transmit for Wire {
    fn buffer(&mut self, length: usize) -> &mut [u8] {
        self.buffer.resize(length, 0);
        &mut self.buffer[..length]
    }

    fn send(&mut self, length: usize, offload: Offload) {
        assert_eq!(offload, Offload::None, "this link offloads nothing");
        self.sent.push_back(self.buffer[..length].to_vec());
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<(Vec<Event>, bool)>>);

impl Journal for Log {
    fn record(&mut self, event: Event) -> bool {
        let mut log = self.0.lock().unwrap();
        log.0.push(event);
        !log.1
    }

    fn healthy(&self) -> bool {
        !self.0.lock().unwrap().1
    }
}

/// A guest's network card: what the router sends it, what it sends the router.
#[derive(Default)]
struct Card {
    arriving: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

struct Arrived(Vec<u8>);
struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived, Leaving<'_>)> {
        Some((Arrived(self.arriving.pop_front()?), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// The far side of one flow.
#[derive(Default)]
struct Far {
    received: Vec<u8>,
    to_send: VecDeque<u8>,
    room: Option<usize>,
    closes: bool,
    resets: bool,
    finished: bool,
}

impl Upstream for Far {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.resets {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.to_send.is_empty() {
            return if self.closes { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = buffer.len().min(self.to_send.len());
        for (byte, sent) in buffer.iter_mut().zip(self.to_send.drain(..count)) {
            *byte = sent;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count =
            self.room.map_or(bytes.len(), |room| bytes.len().min(room.saturating_sub(self.received.len())));
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.received.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
}

struct World {
    now: Instant,
    start: Instant,
    router: Router,
    wire: Wire,
    card: Card,
    guest: Interface,
    sockets: SocketSet<'static>,
    log: Log,
    far: HashMap<FlowId, Far>,
    dials: Vec<(FlowId, Vec<SocketAddr>)>,
    names: HashMap<&'static str, Vec<IpAddr>>,
    dial: fn(&[SocketAddr]) -> Result<SocketAddr, DialError>,
    lookups: Vec<String>,
    /// What the proxy was sent first, for each connection; the addresses in it.
    tunnels: Vec<Vec<u8>>,
    sent_by_address: Vec<SocketAddr>,
    refusal: Option<Fault>,
    released: Vec<(FlowId, How)>,
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl World {
    fn new(allow: &[&str]) -> Self {
        Self::with(PolicySpec { mode: Mode::Allowlist, allow: rules(allow), ..PolicySpec::default() })
    }

    fn with(spec: PolicySpec) -> Self {
        let start = Instant::now();
        let log = Log::default();
        let router = Router::new(Options {
            policy: Policy::new(spec).unwrap(),
            responder: Responder::new(dns::Options::default()),
            proxy: None,
            pins: Pins::new(),
            journal: Box::new(log.clone()),
            link: LinkProperties { mtu: 1500, offload: false, lossy: false },
            flows: MOST_FLOWS,
            epoch: start,
            seed: 1,
        });
        let mut card = Card::default();
        let mut guest =
            Interface::new(Config::new(HardwareAddress::Ip), &mut card, smoltcp::time::Instant::ZERO);
        guest.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddr::V4(GUEST_V4).into(), 30)).unwrap();
            addresses.push(IpCidr::new(IpAddr::V6(GUEST_V6).into(), 64)).unwrap();
        });
        guest.routes_mut().add_default_ipv4_route(GATEWAY_V4).unwrap();
        guest.routes_mut().add_default_ipv6_route(GATEWAY_V6).unwrap();
        Self {
            now: start,
            start,
            router,
            wire: Wire::default(),
            card,
            guest,
            sockets: SocketSet::new(Vec::new()),
            log,
            far: HashMap::new(),
            dials: Vec::new(),
            names: HashMap::from([("example.com", vec!["203.0.113.9".parse().unwrap()])]),
            dial: |candidates| Ok(candidates[0]),
            lookups: Vec::new(),
            tunnels: Vec::new(),
            sent_by_address: Vec::new(),
            refusal: None,
            released: Vec::new(),
        }
    }

    fn connect(&mut self, to: &str, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let remote: SocketAddr = to.parse().unwrap();
        socket.connect(self.guest.context(), IpEndpoint::from(remote), port).unwrap();
        self.sockets.add(socket)
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Runs both sides until nothing moves any more at this moment.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let at = smoltcp::time::Instant::from_micros(
                i64::try_from(self.now.duration_since(self.start).as_micros()).unwrap(),
            );
            self.card.arriving.extend(self.wire.sent.drain(..));
            self.guest.poll(at, &mut self.card, &mut self.sockets);
            let packets: Vec<Vec<u8>> = self.card.leaving.drain(..).collect();
            let quiet = packets.is_empty();
            for packet in packets {
                self.router.receive(self.now, &packet, false, &mut self.wire);
            }
            self.router.wake(self.now);
            let worked = self.carry_out();
            if quiet && !worked && self.wire.sent.is_empty() {
                return;
            }
        }
        panic!("never settles");
    }

    fn carry_out(&mut self) -> bool {
        let mut worked = false;
        loop {
            while let Some(action) = self.router.poll_action() {
                worked = true;
                self.act(action);
            }
            let Some(id) = self.router.next_marked() else { return worked };
            worked = true;
            let far = self.far.get_mut(&id).map(|far| far as &mut dyn Upstream);
            self.router.service(self.now, id, far, &mut self.wire);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Lookup(token, lookup) => {
                self.lookups.push(lookup.name.to_string());
                let outcome = match self.names.get(lookup.name.as_str()) {
                    Some(addresses) => LookupOutcome::Addresses(addresses.clone()),
                    None => LookupOutcome::NotFound,
                };
                self.router.resolved(self.now, token, outcome, &mut self.wire);
            }
            Action::Dial(id, candidates) => {
                let addresses: Vec<SocketAddr> = candidates.iter().map(Dialable::socket_addr).collect();
                let result = (self.dial)(&addresses);
                self.dials.push((id, addresses));
                match result {
                    Ok(address) => {
                        self.far.insert(id, Far::default());
                        self.router.connected(self.now, id, address, &mut self.wire);
                    }
                    Err(error) => self.router.dial_failed(self.now, id, error, &mut self.wire),
                }
            }
            Action::Tunnel(id, proxy, handshake) => {
                self.sent_by_address.extend(handshake.address());
                self.tunnels.push(handshake.start());
                let address = proxy[0];
                self.dials.push((id, proxy));
                if let Some(fault) = self.refusal {
                    return self.router.dial_failed(self.now, id, DialError::Proxy(fault), &mut self.wire);
                }
                self.far.insert(id, Far::default());
                self.router.connected(self.now, id, address, &mut self.wire);
            }
            Action::Associate(id, address) => {
                self.dials.push((id, vec![address.socket_addr()]));
                self.router.connected(self.now, id, address.socket_addr(), &mut self.wire);
            }
            Action::Send(id, datagram) => {
                self.far.entry(id).or_default().received.extend_from_slice(&datagram);
            }
            Action::Release(id, how) => {
                self.far.remove(&id);
                self.released.push((id, how));
            }
        }
    }

    /// Asks the guest's resolver; what it wants to know of the world is answered.
    fn ask(&mut self, question: &[u8]) {
        let length = (8 + question.len()) as u8;
        let datagram = [&[0xc3, 0x51, 0, 53, 0, length, 0, 0][..], question].concat();
        self.router.receive(self.now, &raw_v4(17, 0, &datagram), true, &mut self.wire);
        self.carry_out();
    }

    fn pass(&mut self, time: Duration) {
        // In steps, so that timers of both sides run in order.
        for _ in 0..20 {
            self.now += time / 20;
            self.settle();
        }
    }

    fn virtual_address(&mut self, name: &str) -> IpAddr {
        self.router.pins.v4(&name.parse().unwrap()).unwrap().into()
    }

    fn only_far(&mut self) -> (FlowId, &mut Far) {
        assert_eq!(self.far.len(), 1);
        self.far.iter_mut().next().map(|(id, far)| (*id, far)).unwrap()
    }

    fn denials(&self) -> Vec<(String, Option<String>)> {
        let log = self.log.0.lock().unwrap();
        log.0
            .iter()
            .filter_map(|event| match event {
                Event::FlowDeny { code, hint, .. } => Some((code.clone(), hint.clone())),
                _ => None,
            })
            .collect()
    }

    fn closes(&self) -> Vec<String> {
        let log = self.log.0.lock().unwrap();
        log.0
            .iter()
            .filter_map(|event| match event {
                Event::FlowClose { how, .. } => Some(how.clone()),
                _ => None,
            })
            .collect()
    }
}

/// An IPv4 packet from the guest with this protocol; everything is right but what the test changes.
fn raw_v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    packet.extend(GUEST_V4.octets());
    packet.extend([203, 0, 113, 5]);
    packet.extend(payload);
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    packet
}
