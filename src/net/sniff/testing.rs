//! Shared by the tests of this room: a router in miniature, and hellos made to measure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Expected, Guard, MAX_HELD, Step};
use crate::policy::HostName;

pub(super) fn name(text: &str) -> HostName {
    HostName::from_ascii(text).unwrap()
}

pub(super) fn expect(text: &str) -> Expected {
    Expected::Name(name(text))
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Bytes that were let go.
    pub(super) sent: Vec<u8>,
    /// Code and sentence of the denial.
    pub(super) denied: Option<(&'static str, String)>,
    pub(super) reply: Option<String>,
    pub(super) detected: &'static str,
    pub(super) sniffed: Option<String>,
}

impl Ended {
    pub(super) fn code(&self) -> Option<&'static str> {
        self.denied.as_ref().map(|(code, _)| *code)
    }
}

/// Holds what may not go yet, as the router does.
pub(super) struct Router {
    pub(super) guard: Guard,
    held: Vec<u8>,
    sent: Vec<u8>,
    denied: Option<(&'static str, String)>,
    reply: Option<String>,
}

impl Router {
    pub(super) fn new(expected: Expected, port: u16) -> Self {
        Self { guard: Guard::new(expected, port), held: vec![], sent: vec![], denied: None, reply: None }
    }

    pub(super) fn guest(&mut self, bytes: &[u8]) -> &mut Self {
        self.held.extend_from_slice(bytes);
        self.pump()
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> &mut Self {
        self.guard.inbound(bytes);
        self.pump()
    }

    fn pump(&mut self) -> &mut Self {
        while !self.held.is_empty() {
            match self.guard.outbound(&self.held) {
                Step::Forward(n) => {
                    assert!(n > 0 && n <= self.held.len());
                    assert!(self.denied.is_none(), "nothing goes after a denial");
                    self.sent.extend(self.held.drain(..n));
                }
                Step::NeedMore => break,
                Step::Deny(refusal) => {
                    self.denied = Some((refusal.reason.code(), refusal.reason.to_string()));
                    self.reply = refusal.reply.map(|reply| String::from_utf8(reply).unwrap());
                    break;
                }
            }
        }
        self
    }

    pub(super) fn end(&self) -> Ended {
        Ended {
            sent: self.sent.clone(),
            denied: self.denied.clone(),
            reply: self.reply.clone(),
            detected: self.guard.detected().as_str(),
            sniffed: self.guard.sniffed().map(str::to_owned),
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }
}

/// Runs a whole stream in pieces of `piece` bytes.
pub(super) fn run_in(expected: &Expected, port: u16, stream: &[u8], piece: usize) -> Ended {
    let mut router = Router::new(expected.clone(), port);
    for piece in stream.chunks(piece.max(1)) {
        router.guest(piece);
        assert!(router.denied.is_some() || router.held() < MAX_HELD + piece.len());
    }
    router.end()
}

/// Runs a stream whole, byte by byte, and cut in every two where it is short; all have to agree.
pub(super) fn run(expected: &Expected, port: u16, stream: &[u8]) -> Ended {
    let whole = run_in(expected, port, stream, usize::MAX);
    for piece in [1, 2, 3, 5, 7, 64, 1399] {
        assert_eq!(run_in(expected, port, stream, piece), whole, "in pieces of {piece}");
    }
    for cut in (0..stream.len()).take(2000) {
        let mut router = Router::new(expected.clone(), port);
        assert_eq!(router.guest(&stream[..cut]).guest(&stream[cut..]).end(), whole, "cut at {cut}");
    }
    whole
}

/// One TLS record.
pub(super) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 1];
    record.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    record.extend_from_slice(body);
    record
}

/// A handshake message.
pub(super) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// A vector with a 16-bit length.
pub(super) fn vector16(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// An extension.
pub(super) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(body)].concat()
}

/// The `server_name` extension with one host name.
pub(super) fn sni(host: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0], &vector16(host)[..]].concat()))
}

/// The handshake message `ClientHello` with these extensions.
pub(super) fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0x5a; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 1, 1, 0]);
    body.extend_from_slice(&vector16(extensions));
    handshake(1, &body)
}
