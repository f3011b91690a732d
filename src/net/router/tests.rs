//! The router in virtual time: a guest with a real TCP stack on one side, a scripted outside on the other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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

#[test]
fn an_allowed_address_carries_bytes_both_ways_and_closes_in_order() {
    for address in ["203.0.113.5:443", "[2001:db8::5]:443"] {
        let rule = address.parse::<SocketAddr>().unwrap();
        let mut world = World::new(&[&rule.to_string()]);
        let guest = world.connect(address, 50_000);
        world.settle();
        assert_eq!(world.socket(guest).state(), tcp::State::Established);
        world.socket(guest).send_slice(b"\0hello").unwrap();
        world.settle();
        let (id, far) = world.only_far();
        assert_eq!(far.received, b"\0hello");
        far.to_send.extend(b"world");
        world.router.mark(id);
        world.settle();
        let mut answer = [0; 16];
        let count = world.socket(guest).recv_slice(&mut answer).unwrap();
        assert_eq!(&answer[..count], b"world");
        world.socket(guest).close();
        world.settle();
        let (id, far) = world.only_far();
        assert!(far.finished, "the guest's FIN reaches the far side");
        far.closes = true;
        world.router.mark(id);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.closes(), ["finished"]);
        assert_eq!(world.router.flows(), 0);
    }
}

#[test]
fn an_address_never_handed_out_is_reset_before_it_is_answered() {
    for address in ["203.0.113.5:443", "[2001:db8::5]:443", "198.18.77.7:443"] {
        let mut world = World::new(&["example.com:443"]);
        let guest = world.connect(address, 50_000);
        world.settle();
        assert_eq!(world.socket(guest).state(), tcp::State::Closed);
        assert!(world.dials.is_empty() && world.lookups.is_empty());
        assert_eq!(world.denials().len(), 1);
    }
}

#[test]
fn a_name_is_resolved_again_and_its_address_dialled_not_the_guests() {
    let mut world = World::new(&["example.com:443"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 443).to_string(), 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Established);
    assert_eq!(world.lookups, ["example.com"]);
    assert_eq!(world.dials[0].1, ["203.0.113.9:443".parse().unwrap()]);
}

#[test]
fn a_name_that_resolves_to_a_private_address_is_not_dialled() {
    for private in
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
    {
        let mut world = World::new(&["example.com:443"]);
        world.names.insert("example.com", vec![private.parse().unwrap()]);
        let address = world.virtual_address("example.com");
        let guest = world.connect(&SocketAddr::new(address, 443).to_string(), 50_000);
        world.settle();
        assert_eq!(world.socket(guest).state(), tcp::State::Closed, "{private}");
        assert!(world.dials.is_empty());
        assert_eq!(world.denials()[0].1.as_deref(), Some("--allow-private example.com:443"));
    }
}

#[test]
fn private_ones_among_public_addresses_are_left_out() {
    let mut world = World::new(&["example.com:443"]);
    world.names.insert("example.com", ["10.0.0.1", "203.0.113.9"].map(|text| text.parse().unwrap()).to_vec());
    let address = world.virtual_address("example.com");
    world.connect(&SocketAddr::new(address, 443).to_string(), 50_000);
    world.settle();
    assert_eq!(world.dials[0].1, ["203.0.113.9:443".parse().unwrap()]);
}

#[test]
fn refused_stays_refused_and_silence_stays_silence() {
    let mut world = World::new(&["203.0.113.5:443"]);
    world.dial = |_| Err(DialError::Refused);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert_eq!(world.closes(), ["refused by peer"]);

    let mut world = World::new(&["203.0.113.5:443"]);
    world.dial = |_| Err(DialError::TimedOut);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.socket(guest).state(), tcp::State::SynSent);
    assert_eq!(world.dials.len(), 1, "repeated SYNs are not new attempts");
}

#[test]
fn a_reset_of_the_far_side_reaches_the_guest() {
    let mut world = World::new(&["203.0.113.5:443"]);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    let (id, far) = world.only_far();
    far.resets = true;
    world.router.mark(id);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert_eq!(world.closes(), ["reset by peer"]);
}

#[test]
fn a_reset_of_the_guest_reaches_the_far_side() {
    let mut world = World::new(&["203.0.113.5:443"]);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    world.socket(guest).abort();
    world.settle();
    assert_eq!(world.released.last().unwrap().1, How::ResetByGuest);
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn a_far_side_that_takes_nothing_holds_the_guest_back() {
    let mut world = World::new(&["203.0.113.5:9000"]);
    let guest = world.connect("203.0.113.5:9000", 50_000);
    world.settle();
    world.only_far().1.room = Some(1000);
    let mut sent = 0;
    for _ in 0..100 {
        if world.socket(guest).can_send() {
            sent += world.socket(guest).send_slice(&vec![7; 65_536]).unwrap();
        }
        world.settle();
    }
    assert!(sent < 600_000, "buffers are bounded, {sent} bytes were taken");
    let (id, far) = world.only_far();
    far.room = None;
    world.router.mark(id);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.only_far().1.received.len(), sent);
}

/// What is left when both sides have closed has to wait for the guest's window, and for nothing else.
#[test]
fn a_guest_that_closed_first_gets_the_rest_as_fast_as_it_reads() {
    for length in [0, 1, 60_000, 150_000, 400_000] {
        let mut world = World::new(&["203.0.113.5:9000"]);
        let guest = world.connect("203.0.113.5:9000", 50_000);
        world.settle();
        world.socket(guest).send_slice(b"all of it").unwrap();
        world.socket(guest).close();
        world.settle();
        let (id, far) = world.only_far();
        assert!(far.finished);
        far.to_send = (0..length).map(|at| (at % 251) as u8).collect();
        far.closes = true;
        world.router.mark(id);
        world.settle();
        let (start, mut read) = (world.now, Vec::new());
        while world.socket(guest).may_recv() {
            assert!(world.now - start < Duration::from_millis(500), "{length}: stalls at {}", read.len());
            // It reads in one go what has filled its window, and it is an acknowledgement's delay until the next.
            while world.socket(guest).can_recv() {
                world.socket(guest).recv(|bytes| (bytes.len(), read.extend_from_slice(bytes))).unwrap();
            }
            world.pass(Duration::from_millis(20));
        }
        assert!(read.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        assert_eq!(read.len(), length);
        world.pass(Duration::from_millis(20));
        assert_eq!(world.closes(), ["finished"]);
    }
}

#[test]
fn a_server_name_that_is_not_the_pinned_one_is_refused() {
    let mut world = World::new(&["example.com:80"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
    world.settle();
    world.socket(guest).send_slice(b"GET / HTTP/1.1\r\nHost: evil.example.org\r\n\r\n").unwrap();
    world.settle();
    let mut answer = vec![0; 4096];
    let count = world.socket(guest).recv_slice(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 403 "));
    assert!(world.far.is_empty(), "the upstream is gone with the refusal");
    assert_eq!(world.denials()[0].0, "host-mismatch");
}

#[test]
fn a_request_dripped_forever_is_given_up() {
    let mut world = World::new(&["example.com:80"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
    world.settle();
    world.socket(guest).send_slice(b"GET / HT").unwrap();
    world.pass(Duration::from_secs(30));
    assert_eq!(world.denials()[0].0, "sniff-timeout");
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn last_words_without_a_line_end_are_delivered() {
    for (words, delivered) in
        [("PING", true), ("GET / HTTP/1.1\r\nHost: exa", false), ("\x16\x03\x01", false)]
    {
        let mut world = World::new(&["example.com:80"]);
        let address = world.virtual_address("example.com");
        let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
        world.settle();
        world.socket(guest).send_slice(words.as_bytes()).unwrap();
        world.settle();
        world.socket(guest).close();
        world.settle();
        if delivered {
            let (_, far) = world.only_far();
            assert_eq!((far.received.as_slice(), far.finished), (words.as_bytes(), true));
        } else {
            assert!(world.far.is_empty());
            assert_eq!(world.denials().len(), 1, "{words:?}");
        }
    }
}

#[test]
fn an_upgrade_may_wait_for_its_server() {
    let mut world = World::new(&["example.com:80"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
    world.settle();
    let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly";
    world.socket(guest).send_slice(request).unwrap();
    world.pass(Duration::from_mins(1));
    let (id, far) = world.only_far();
    assert!(far.received.ends_with(b"\r\n\r\n"), "what follows waits for the answer");
    far.to_send.extend(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    world.router.mark(id);
    world.settle();
    assert!(world.only_far().1.received.ends_with(b"early"));
    assert!(world.denials().is_empty());
}

#[test]
fn with_real_addresses_a_rule_about_the_address_still_counts() {
    let mut world = World::new(&["example.com:443", "203.0.113.9:22"]);
    let address: IpAddr = "203.0.113.9".parse().unwrap();
    world.router.pins.pin_real(&"example.com".parse().unwrap(), &[address]).unwrap();
    let by_address = world.connect("203.0.113.9:22", 50_000);
    let by_name = world.connect("203.0.113.9:443", 50_001);
    let neither = world.connect("203.0.113.9:80", 50_002);
    world.settle();
    assert_eq!(world.socket(by_address).state(), tcp::State::Established);
    assert_eq!(world.socket(by_name).state(), tcp::State::Established);
    assert_eq!(world.socket(neither).state(), tcp::State::Closed);
    assert!(world.dials.iter().all(|(_, addresses)| addresses[0].ip() == address));
    // A name on the flow that goes to the address as such is nobody's business.
    world.socket(by_address).send_slice(b"GET / HTTP/1.1\r\nHost: other.example.org\r\n\r\n").unwrap();
    world.settle();
    assert_eq!(world.denials().len(), 1);
}

#[test]
fn a_server_may_speak_first() {
    let mut world = World::new(&["example.com:25"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 25).to_string(), 50_000);
    world.settle();
    let (id, far) = world.only_far();
    far.to_send.extend(b"220 ready\r\n");
    world.router.mark(id);
    world.settle();
    assert_eq!(world.socket(guest).recv_queue(), 11);
}

#[test]
fn without_a_log_nothing_is_allowed() {
    let mut world = World::new(&["203.0.113.5:443"]);
    world.log.0.lock().unwrap().1 = true;
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert!(world.dials.is_empty());
}

#[test]
fn when_the_log_fails_open_flows_end_with_it() {
    let mut world = World::new(&["203.0.113.5", "udp://203.0.113.5", "example.com"]);
    let (busy, idle) = (world.connect("203.0.113.5:25", 50_000), world.connect("203.0.113.5:26", 50_001));
    let datagram = |port: u16| {
        raw_v4(17, 0, &[&[0xc3, 0x50], &port.to_be_bytes()[..], &[0, 12, 0, 0], b"what"].concat())
    };
    world.router.receive(world.now, &datagram(9), true, &mut world.wire);
    world.settle();
    assert_eq!(world.far.len(), 3);
    let associated = world.far.iter().find(|(_, far)| far.received == b"what").map(|(id, _)| *id).unwrap();

    world.log.0.lock().unwrap().1 = true;
    // What comes in the same round as the failure stays, too; and nothing wakes the idle one but that.
    for far in world.far.values_mut() {
        far.to_send.extend(b"unrecorded");
    }
    let ids: Vec<FlowId> = world.far.keys().copied().filter(|id| *id != associated).collect();
    ids.iter().take(1).for_each(|id| world.router.mark(*id));
    world.socket(busy).send_slice(b"unrecorded").unwrap();
    world.router.receive(world.now, &datagram(9), true, &mut world.wire);
    world.router.datagram(world.now, associated, b"unrecorded", &mut world.wire);
    assert!(world.wire.sent.is_empty() && world.router.poll_action().is_none());
    let question = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let header = [&[0xc3, 0x51, 0, 53, 0][..], &[8 + question.len() as u8, 0, 0], question].concat();
    world.router.receive(world.now, &raw_v4(17, 0, &header), true, &mut world.wire);
    let answer = world.wire.sent.pop_front().unwrap();
    assert_eq!(answer[20 + 8 + 3] & 15, 2, "SERVFAIL");
    world.settle();
    for guest in [busy, idle] {
        assert_eq!(world.socket(guest).state(), tcp::State::Closed, "reset");
        assert_eq!(world.socket(guest).recv_queue(), 0);
    }
    assert!(world.lookups.is_empty() && world.far.is_empty() && world.router.flows() == 0);
    assert_eq!(world.released.iter().filter(|(_, how)| *how == How::Refused).count(), 3);
}

#[test]
fn forged_sources_and_malformed_packets_are_dropped() {
    let mut world = World::new(&["203.0.113.5:443"]);
    world.connect("203.0.113.5:443", 50_000);
    let at = smoltcp::time::Instant::ZERO;
    world.guest.poll(at, &mut world.card, &mut world.sockets);
    let syn = world.card.leaving.pop_front().unwrap();
    let checksum = |packet: &mut Vec<u8>| {
        smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    };
    let mut forged = syn.clone();
    forged[15] = 77;
    checksum(&mut forged);
    let mut fragment = syn.clone();
    fragment[6] = 0x20;
    checksum(&mut fragment);
    let mut options = syn.clone();
    options[0] = 0x46;
    let mut wrong_checksum = syn.clone();
    *wrong_checksum.last_mut().unwrap() ^= 1;
    for packet in [forged, fragment, options, wrong_checksum, syn[..30].to_vec(), Vec::new(), vec![0x60; 40]]
    {
        world.router.receive(world.now, &packet, false, &mut world.wire);
    }
    assert!(world.wire.sent.is_empty() && world.router.flows() == 0);
    assert!(world.router.poll_action().is_none());
}

#[test]
fn a_guest_that_lies_costs_nobody_but_itself() {
    let mut world = World::new(&["203.0.113.5:443"]);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    // Every TCP header byte of a real segment, turned to every extreme.
    world.socket(guest).send_slice(&[9; 100]).unwrap();
    let at = smoltcp::time::Instant::ZERO;
    world.guest.poll(at, &mut world.card, &mut world.sockets);
    let segment = world.card.leaving.pop_front().unwrap();
    for position in 20..segment.len().min(60) {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut lie = segment.clone();
            lie[position] = value;
            world.router.receive(world.now, &lie, true, &mut world.wire);
            world.carry_out();
        }
    }
    // Another connection still works.
    let mut other = World::new(&["203.0.113.5:443"]);
    std::mem::swap(&mut other.router, &mut world.router);
    other.connect("203.0.113.5:443", 50_001);
    other.settle();
    assert_eq!(other.dials.len(), 1);
}

#[test]
fn a_flood_of_connections_is_bounded_and_passes() {
    let mut world = World::new(&["203.0.113.0/24"]);
    world.dial = |_| Err(DialError::TimedOut);
    for n in 0..6000_u16 {
        let packet = syn(n);
        world.router.receive(world.now, &packet, false, &mut world.wire);
        world.carry_out();
    }
    assert!(world.router.flows() <= MOST_FLOWS);
    world.wire.sent.clear();
    world.pass(TOMBSTONE + Duration::from_secs(1));
    assert_eq!(world.router.flows(), 0);
    world.dial = |candidates| Ok(candidates[0]);
    let guest = world.connect("203.0.113.5:443", 60_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Established);
}

#[test]
fn tcp_to_a_multicast_address_is_denied_even_on_the_resolvers_port() {
    // Found by fuzzing: a stack cannot have such an address, and refused it with a panic.
    for port in [53, 443] {
        for destination in ["230.18.0.1", "255.255.255.255"] {
            let mut world = World::new(&["0.0.0.0/0"]);
            let packet = syn_to(1, SocketAddr::new(destination.parse().unwrap(), port));
            world.router.receive(world.now, &packet, false, &mut world.wire);
            world.carry_out();
            assert_eq!(world.router.flows(), 0);
            assert_eq!(world.denials()[0].0, "multicast-not-allowed");
        }
    }
}

#[test]
fn questions_to_a_multicast_address_are_denied() {
    // Found by fuzzing: the answer came from that address.
    let mut world = World::new(&["example.com:443"]);
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 0, 2, 224, 0, 0, 251];
    packet.extend([0x14, 0xe9, 0, 53, 0, 20, 0, 0, 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    world.router.receive(world.now, &packet, true, &mut world.wire);
    assert!(world.wire.sent.is_empty());
    assert_eq!(world.denials()[0].0, "multicast-not-allowed");
}

fn syn(n: u16) -> Vec<u8> {
    syn_to(n, "203.0.113.5:443".parse().unwrap())
}

fn syn_to(n: u16, destination: SocketAddr) -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
    let tcp = TcpRepr {
        src_port: 1024 + n,
        dst_port: destination.port(),
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(i32::from(n)),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (from, to): (IpAddress, IpAddress) = (IpAddr::V4(GUEST_V4).into(), destination.ip().into());
    let ip = IpRepr::new(from, to, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet[..], &ChecksumCapabilities::default());
    let mut segment = TcpPacket::new_unchecked(&mut packet[ip.header_len()..]);
    tcp.emit(&mut segment, &from, &to, &ChecksumCapabilities::default());
    packet
}

#[test]
fn published_ports_open_connections_into_the_guest() {
    let mut world = World::new(&[]);
    let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
    let mut server = tcp::Socket::new(buffer(), buffer());
    server.listen(8080).unwrap();
    let server = world.sockets.add(server);
    let id = world.router.publish(world.now, 8080, "127.0.0.1:5555".parse().unwrap()).unwrap();
    let mut far = Far::default();
    far.to_send.extend(b"ping");
    world.far.insert(id, far);
    world.settle();
    world.router.mark(id);
    world.settle();
    assert_eq!(world.socket(server).recv_queue(), 4);
    world.socket(server).send_slice(b"pong").unwrap();
    world.settle();
    assert_eq!(world.far[&id].received, b"pong");
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

fn raw_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(GUEST_V6.octets());
    packet.extend("2001:db8::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

/// What a guest without privileges cannot send, fed to the router all the same (attacks 27 and 28).
#[test]
fn no_other_protocol_fragment_or_extension_header_reaches_anything() {
    // Everything is allowed that a rule can allow.
    let mut world =
        World::new(&["203.0.113.0/24", "udp://203.0.113.0/24", "[2001:db8::/32]", "udp://[2001:db8::/32]"]);
    let tcp = &syn(1)[20..];
    // Header of an extension: next header TCP, length 0, padding; then a real SYN.
    let behind = |first: [u8; 8]| [&first[..], tcp].concat();
    let mut packets = Vec::new();
    for protocol in (0..=255).filter(|number| ![6, 17, 1].contains(number)) {
        packets.push(raw_v4(protocol, 0, tcp));
    }
    for next in (0..=255).filter(|number| ![6, 17, 58].contains(number)) {
        packets.push(raw_v6(next, &behind([6, 0, 1, 4, 0, 0, 0, 0])));
    }
    // Fragments: a first one, one that overlaps its header, a last one, one beyond the end, a whole one with DF and MF.
    for fragment in [0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff, 0x6000] {
        for protocol in [6, 17, 1] {
            packets.push(raw_v4(protocol, fragment, tcp));
        }
    }
    // ICMP that would be heard elsewhere: echo with a payload, redirect, unreachable, router advertisement.
    for kind in [0, 3, 5, 8, 9, 13] {
        let mut message = [&[kind, 0, 0, 0, 0, 1, 0, 1], &[7; 500][..]].concat();
        smoltcp::wire::Icmpv4Packet::new_unchecked(&mut message[..]).fill_checksum();
        packets.push(raw_v4(1, 0, &message));
    }
    for kind in [1, 2, 3, 4, 128, 129, 134, 137] {
        let mut message = [&[kind, 0, 0, 0, 0, 1, 0, 1], &[7; 500][..]].concat();
        let (from, to) = (GUEST_V6, "2001:db8::5".parse().unwrap());
        smoltcp::wire::Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&from, &to);
        packets.push(raw_v6(58, &message));
    }
    // Lengths that lie: shorter and longer than the packet, headers that end behind it.
    for (at, value) in
        [(2, 0xff), (3, 19), (3, 0xff), (0, 0x44), (0, 0x4f), (0, 0x05), (32, 0x10), (32, 0xf0)]
    {
        let mut lie = raw_v4(6, 0, tcp);
        lie[at] = value;
        if at > 0 {
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut lie[..]).fill_checksum();
        }
        packets.push(lie);
    }
    for length in [0_u16, 7, 10, 200] {
        packets.push(raw_v4(17, 0, &[&[4, 0, 0, 9][..], &length.to_be_bytes(), &[0, 0, 1]].concat()));
    }
    for packet in &packets {
        world.router.receive(world.now, packet, true, &mut world.wire);
        assert!(world.router.poll_action().is_none(), "{packet:x?}");
        assert_eq!(world.router.flows(), 0, "{packet:x?}");
    }
    // Denied with a line each, or dropped and counted: no packet is forgotten.
    world.router.finish(world.now);
    let log = world.log.0.lock().unwrap();
    let counted = log.0.iter().map(|event| match event {
        Event::FlowDeny { .. } => 1,
        Event::Limit { count, .. } => *count,
        _ => 0,
    });
    assert_eq!(counted.sum::<u64>(), packets.len() as u64);
}
