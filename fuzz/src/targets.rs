//! The bodies of the fuzz targets, in one place: `fuzz_targets/*.rs` feeds them from libFuzzer, `tests/fuzz.rs`
//! replays the committed corpora through the same functions with a stable toolchain.
//!
//! A body takes any bytes and panics when a promise is broken. To add one: a function and a row in [`TARGETS`]
//! here, five lines in `fuzz_targets/NAME.rs`, a `[[bin]]` in `Cargo.toml`, and seeds in `corpus/NAME/`. Seeds
//! have names in words (`ipv6-net`); files named by a hash are a run's own and are not committed.

use npxc::package::{PackageName, PackageSpec};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use npxc::net::dns::{
    Addresses, LookupKind, LookupOutcome, Options, Origin, Reaction, Responder, TcpFraming, Transport,
};
use npxc::net::pins::{Pins, is_ours};
use npxc::net::sniff::{Expected, Guard, MAX_HELD, Step};
use npxc::policy::{Destination, HostName, Policy, PolicySpec, Protocol, Request, Rule};

/// A body under the name of its binary and its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub(crate) const TARGETS: &[Target] =
    &[("rule", rule), ("hostname", hostname), ("spec", spec), ("tls", tls), ("http", http), ("dns", dns)];

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
