//! The bodies of the fuzz targets, in one place: `fuzz_targets/*.rs` feeds them from libFuzzer, `tests/fuzz.rs`
//! replays the committed corpora through the same functions with a stable toolchain.
//!
//! A body takes any bytes and panics when a promise is broken. To add one: a function and a row in [`TARGETS`]
//! here, five lines in `fuzz_targets/NAME.rs`, a `[[bin]]` in `Cargo.toml`, and seeds in `corpus/NAME/`. Seeds
//! have names in words (`ipv6-net`); files named by a hash are a run's own and are not committed.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use npxc::net::dns::{
    Addresses, LookupKind, LookupOutcome, Options, Origin, Reaction, Responder, TcpFraming, Transport,
};
use npxc::net::flow::Upstream;
use npxc::net::packet::Packet;
use npxc::net::pins::{Pins, is_ours};
use npxc::net::router::{self, Action, DialError, Journal, Router};
use npxc::net::sniff::{Expected, Guard, MAX_HELD, Step};
use npxc::net::stack::{LinkProperties, Offload, Transmit};
use npxc::package::{PackageName, PackageSpec};
use npxc::policy::{Destination, HostName, Policy, PolicySpec, Protocol, Request, Rule};

/// A body under the name of its binary and its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub(crate) const TARGETS: &[Target] = &[
    ("rule", rule),
    ("hostname", hostname),
    ("spec", spec),
    ("tls", tls),
    ("http", http),
    ("dns", dns),
    ("packets", packets),
];

/// Rules: no text panics; an accepted one prints as a rule that is equal; an error points into the text.
pub(crate) fn rule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(error) = Rule::parse_list(text) {
        assert!(error.column() >= 1);
        let _ = (error.to_string(), error.pointer());
    }
    match text.parse::<Rule>() {
        Ok(rule) => {
            let canonical = rule.to_string();
            let again: Rule = canonical.parse().expect("the canonical form parses");
            assert_eq!(again, rule);
            assert_eq!(again.to_string(), canonical, "canonical twice is canonical once");
            assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Err(error) => {
            assert!(error.column() <= text.chars().count() + 1, "{error}");
            assert!(!error.to_string().chars().any(char::is_control));
            assert!(!error.pointer().replacen('\n', "", 1).chars().any(char::is_control));
        }
    }
}

/// Names: no text panics; an accepted one is canonical, is not an address, and equals its other spellings; what
/// is allowed by that one rule is that name and nothing else.
pub(crate) fn hostname(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let name = match text.parse::<HostName>() {
        Ok(name) => name,
        Err(error) => {
            assert!(
                HostName::from_ascii(text).is_err(),
                "the strict form takes no more than the lenient one"
            );
            assert!(!error.to_string().chars().any(char::is_control));
            return;
        }
    };
    let canonical = name.as_str();
    assert!(canonical.len() <= 253 && !canonical.ends_with('.'));
    assert!(canonical.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')));
    assert!(canonical.parse::<std::net::IpAddr>().is_err());
    for spelling in [canonical.to_owned(), canonical.to_ascii_uppercase(), format!("{canonical}.")] {
        assert_eq!(HostName::from_ascii(&spelling).as_ref(), Ok(&name));
    }
    let Ok(rule) = canonical.parse::<Rule>() else {
        assert_eq!(canonical, "localhost", "the one name that is no rule");
        return;
    };
    let policy = Policy::new(PolicySpec {
        mode: npxc::policy::Mode::Allowlist,
        allow: vec![rule],
        ..PolicySpec::default()
    })
    .expect("one rule is a policy");
    let permitted = |name: HostName| {
        let request = Request { protocol: Protocol::Tcp, destination: Destination::Name(name), port: 443 };
        policy.decide(&request).permit().is_ok()
    };
    assert!(permitted(name.clone()));
    for other in [format!("evil{canonical}"), format!("a.{canonical}"), format!("{canonical}.evil")] {
        if let Ok(other) = other.parse::<HostName>() {
            assert!(!permitted(other));
        }
    }
}

/// Package specs: no text panics; an accepted one prints as a spec that prints the same, is no option to npm, and
/// its name is one component of a path that no other name shares.
pub(crate) fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let spec = match text.parse::<PackageSpec>() {
        Ok(spec) => spec,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control));
            let _ = error.hint();
            return;
        }
    };
    let canonical = spec.to_string();
    assert!(!canonical.starts_with('-') && !canonical.chars().any(char::is_control));
    let again: PackageSpec = canonical.parse().expect("what is written is read");
    assert_eq!(again.to_string(), canonical);
    assert_eq!(again.name(), spec.name());
    if let Some(name) = spec.name() {
        let component = name.path_component();
        assert!(component.len() <= 214 && !component.contains('/') && !component.starts_with('.'));
        assert_eq!(component, component.to_ascii_lowercase());
        // The component of one name is never another name, except where it is that name itself.
        if let Ok(other) = component.parse::<PackageName>() {
            assert_eq!(&other, name);
        }
    }
}

/// Stands between what the guest and what the server says in a flow's transcript; the guest begins.
const TURN: &[u8] = b"\n<<<\n";

/// What a guard made of a transcript.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sent: Vec<u8>,
    denied: Option<&'static str>,
    open: bool,
    held: usize,
}

/// Plays a transcript through a guard in pieces, as the router does.
fn play(transcript: &[u8], expected: &Expected, piece: usize) -> Seen {
    let mut guard = Guard::new(expected.clone(), 80);
    let (mut held, mut sent, mut denied) = (Vec::new(), Vec::new(), None);
    let mut rest = transcript;
    let mut guest = true;
    loop {
        let end = rest.windows(TURN.len()).position(|window| window == TURN);
        for bytes in rest[..end.unwrap_or(rest.len())].chunks(piece) {
            if guest {
                held.extend_from_slice(bytes);
            } else {
                guard.inbound(bytes);
            }
            while !held.is_empty() {
                match guard.outbound(&held) {
                    Step::Forward(count) => {
                        assert!(count > 0 && count <= held.len() && denied.is_none());
                        sent.extend(held.drain(..count));
                    }
                    Step::NeedMore => {
                        assert!(denied.is_none() && !guard.is_open());
                        assert!(held.len() < MAX_HELD || guard.overflow(held.len()).is_none());
                        break;
                    }
                    Step::Deny(refusal) => {
                        assert!(!refusal.reason.to_string().chars().any(char::is_control));
                        denied = Some(refusal.reason.code());
                        break;
                    }
                }
            }
        }
        let Some(end) = end else { break };
        rest = &rest[end + TURN.len()..];
        guest = !guest;
    }
    let held = if denied.is_some() { 0 } else { held.len() };
    Seen { sent, denied, open: guard.is_open(), held }
}

/// A transcript gives the same verdict in whatever pieces it comes.
fn same_in_pieces(transcript: &[u8]) -> Seen {
    let name = |text: &str| HostName::from_ascii(text).expect("a name");
    let own = Expected::Name(name("example.com"));
    let any = Expected::AnyOf(vec![name("example.com"), name("b.example")]);
    for expected in [&own, &any, &Expected::Unnamed] {
        let whole = play(transcript, expected, usize::MAX);
        for piece in [1, 3, 64] {
            assert_eq!(play(transcript, expected, piece), whole, "in pieces of {piece}");
        }
    }
    play(transcript, &own, usize::MAX)
}

/// TLS: any cut, one verdict; no record that plainly holds a hello for another name is let go.
pub(crate) fn tls(data: &[u8]) {
    let seen = same_in_pieces(data);
    assert!(!names_evil(&seen.sent), "a hello for another name was let go");
}

/// A second, careless reader of a hello in one record: whether its server name is `evil.test`.
fn names_evil(stream: &[u8]) -> bool {
    let read = || -> Option<bool> {
        let length = usize::from(u16::from_be_bytes([*stream.get(3)?, *stream.get(4)?]));
        let record = stream.get(..5 + length)?;
        if record.get(..2)? != [0x16, 3] || record.get(5..7)? != [1, 0] {
            return None;
        }
        let mut at = 5 + 4 + 2 + 32;
        at += 1 + usize::from(*record.get(at)?);
        at += 2 + usize::from(u16::from_be_bytes([*record.get(at)?, *record.get(at + 1)?]));
        at += 1 + usize::from(*record.get(at)?);
        at += 2;
        loop {
            let head = record.get(at..at + 4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            if head[..2] == [0, 0] {
                return Some(record.get(at + 9..at + 4 + length)? == b"evil.test");
            }
            at += 4 + length;
        }
    };
    read().unwrap_or(false)
}

/// HTTP: any cut, one verdict; what goes starts with what was said, and a first request for another host does not.
pub(crate) fn http(data: &[u8]) {
    let seen = same_in_pieces(data);
    if let Some(request) = seen.sent.strip_prefix(b"GET / HTTP/1.1\r\nHost: ") {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let name = line.strip_suffix(b":80").unwrap_or(line).trim_ascii();
        let name = name.strip_suffix(b".").unwrap_or(name);
        assert!(name.eq_ignore_ascii_case(b"example.com"), "{}", line.escape_ascii());
    }
}

/// DNS: a stream of framed messages, each asked over UDP and TCP. Every answer can be read, carries the question's
/// number, and hands out nothing but npxc's own addresses or the guest's loopback.
pub(crate) fn dns(data: &[u8]) {
    let split = |piece: usize| {
        let mut framing = TcpFraming::new();
        let mut messages = Vec::new();
        for mut input in data.chunks(piece) {
            while let Some(message) = framing.next(&mut input) {
                messages.push(message);
            }
        }
        messages
    };
    let messages = split(1);
    assert_eq!(split(7), messages);
    let policy = Policy::new(PolicySpec {
        mode: npxc::policy::Mode::Allowlist,
        allow: vec!["example.com".parse().expect("a rule"), "*.wild.example".parse().expect("a rule")],
        ..PolicySpec::default()
    })
    .expect("a policy");
    let mut pins = Pins::new();
    let mut responder = Responder::new(Options { ipv6: true, addresses: Addresses::Virtual });
    let mut now = Instant::now();
    for (index, message) in messages.iter().chain([&data.to_vec()]).enumerate() {
        for transport in [Transport::Udp, Transport::Tcp] {
            now += Duration::from_millis(10);
            let origin = Origin(index as u64);
            let answers = match responder.query(now, origin, transport, message, &policy, &mut pins) {
                Reaction::Answer(answer) => vec![(origin, answer)],
                Reaction::Lookup(id, lookup) => {
                    let name = lookup.name.as_str();
                    assert!(
                        name.ends_with("example.com") || name.ends_with(".wild.example"),
                        "{name} leaves"
                    );
                    let outcome = match lookup.kind {
                        LookupKind::Address => LookupOutcome::Addresses(Vec::new()),
                        LookupKind::Records(_) => LookupOutcome::NoRecords,
                    };
                    responder.answered(now, id, outcome, &mut pins)
                }
                Reaction::Wait | Reaction::Drop => Vec::new(),
            };
            for (_, answer) in answers {
                check_answer(message, &answer, transport);
            }
        }
        while let Some(event) = responder.poll_event() {
            let _ = format!("{event:?}");
        }
    }
    responder.finish();
}

fn check_answer(question: &[u8], answer: &[u8], transport: Transport) {
    assert!(transport == Transport::Tcp || answer.len() <= 1232);
    assert_eq!(answer[..2], question[..2]);
    let read = Message::from_vec(answer).expect("an answer can be read");
    for record in &read.answers {
        if let Some(address) = record.data.ip_addr() {
            assert!(is_ours(address) || address.is_loopback(), "{address} was handed out");
        }
    }
    assert!(read.metadata.response_code != ResponseCode::NoError || read.queries.len() == 1);
}

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
