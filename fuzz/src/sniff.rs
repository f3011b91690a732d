//! Targets of what a guest says first, TLS and HTTP: transcripts of both sides, in pieces.

use npxc::net::sniff::{Expected, Guard, MAX_HELD, Step};
use npxc::policy::HostName;

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
