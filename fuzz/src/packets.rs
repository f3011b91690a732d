//! The target of a guest's packets: a router with a scripted outside.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use npxc::net::dns::{Addresses, LookupOutcome, Options, Responder};
use npxc::net::flow::Upstream;
use npxc::net::packet::Packet;
use npxc::net::pins::Pins;
use npxc::net::router::{self, Action, DialError, Journal, Router};
use npxc::net::stack::{LinkProperties, Offload, Transmit};
use npxc::policy::{Policy, PolicySpec};

/// Packets of a guest: a control byte, a length (two octets, big-endian) and the packet, repeated. Nothing panics,
/// nothing but what the rules name is dialled, and everything sent to the guest is well formed and for the guest.
pub(crate) fn packets(data: &[u8]) {
    let mut now = Instant::now();
    let policy = Policy::new(PolicySpec {
        mode: npxc::policy::Mode::Allowlist,
        allow: ["example.com", "udp://203.0.113.7:53000"].map(|rule| rule.parse().expect("a rule")).to_vec(),
        ..PolicySpec::default()
    })
    .expect("a policy");
    let mut router = Router::new(router::Options {
        policy,
        proxy: None,
        responder: Responder::new(Options { ipv6: true, addresses: Addresses::Virtual }),
        pins: Pins::new(),
        journal: Box::new(Forgetful),
        link: LinkProperties { mtu: 1500, offload: false, lossy: false },
        flows: 16,
        epoch: now,
        seed: 1,
    });
    let mut wire = Wire(Vec::new());
    let mut far = HashMap::new();
    let mut rest = data;
    while let [control, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (packet, after) = tail.split_at(length);
        rest = after;
        let mut packet = packet.to_vec();
        if control & 1 != 0 {
            fix_header(&mut packet);
        }
        if control & 2 != 0 {
            now += Duration::from_secs(1);
        }
        router.receive(now, &packet, control & 4 == 0, &mut wire);
        router.wake(now);
        carry_out(&mut router, &mut far, control & 8 != 0, now, &mut wire);
        assert!(router.flows() <= 16 + 64, "{} flows", router.flows());
    }
    router.finish(now);
}

fn carry_out(
    router: &mut Router,
    far: &mut HashMap<npxc::net::table::FlowId, Echo>,
    fails: bool,
    now: Instant,
    wire: &mut Wire,
) {
    loop {
        while let Some(action) = router.poll_action() {
            match action {
                Action::Lookup(token, lookup) => {
                    assert_eq!(lookup.name.as_str(), "example.com");
                    let addresses = vec!["203.0.113.9".parse().expect("an address")];
                    router.resolved(now, token, LookupOutcome::Addresses(addresses), wire);
                }
                Action::Dial(id, _) if fails => router.dial_failed(now, id, DialError::Refused, wire),
                Action::Dial(id, candidates) => {
                    let address = candidates[0].socket_addr();
                    assert_eq!(address.ip().to_string(), "203.0.113.9");
                    far.insert(id, Echo(Vec::new()));
                    router.connected(now, id, address, wire);
                }
                Action::Tunnel(..) => panic!("there is no proxy"),
                Action::Associate(id, address) => {
                    let address = address.socket_addr();
                    assert_eq!(address.to_string(), "203.0.113.7:53000");
                    router.connected(now, id, address, wire);
                }
                Action::Send(id, datagram) => router.datagram(now, id, &datagram, wire),
                Action::Release(id, _) => drop(far.remove(&id)),
            }
        }
        let Some(id) = router.next_marked() else { return };
        let upstream = far.get_mut(&id).map(|echo| echo as &mut dyn Upstream);
        router.service(now, id, upstream, wire);
    }
}

/// Makes an IPv4 header's checksum right, which a fuzzer does not guess.
fn fix_header(packet: &mut [u8]) {
    if packet.len() < 20 || packet[0] != 0x45 {
        return;
    }
    packet[10..12].fill(0);
    let words = packet[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Says back what it hears.
struct Echo(Vec<u8>);

impl Upstream for Echo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks what the guest is sent.
struct Wire(Vec<u8>);

impl Transmit for Wire {
    fn buffer(&mut self, length: usize) -> &mut [u8] {
        self.0.resize(length, 0);
        &mut self.0
    }

    fn send(&mut self, length: usize, offload: Offload) {
        assert_eq!(offload, Offload::None);
        let packet = Packet::parse(&self.0[..length], false).expect("well formed");
        let guest = [router::GUEST_V4.into(), std::net::IpAddr::from(router::GUEST_V6)];
        assert!(guest.contains(&packet.destination), "{} is not the guest", packet.destination);
    }
}

struct Forgetful;

impl Journal for Forgetful {
    fn record(&mut self, _: npxc::audit::Event) -> bool {
        true
    }

    fn healthy(&self) -> bool {
        true
    }
}
