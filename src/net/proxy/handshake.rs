//! Asks a proxy for a connection: HTTP CONNECT (RFC 9110, section 9.3.6) with Basic authentication (RFC 7617), or SOCKS5
//! (RFC 1928) with a user name and password (RFC 1929).
//!
//! The caller sends what [`Handshake::start`] gives, and shows [`Handshake::receive`] the unread bytes of the connection
//! from their beginning, as often as more arrive. What is told to be taken is read; bytes behind it belong to the connection
//! (a server that speaks first), and are never asked for.

use std::fmt;
use std::net::IpAddr;

use super::address::{Credentials, Proxy, Scheme};
use super::fault::Fault;
use crate::policy::{Destination, Tunnel};

/// Longest reply that is looked at, interim ones counted, bytes. Squid's pages of refusal come behind the head.
pub const MOST_REPLY: usize = 16 * 1024;
/// Fields of a reply's head; those of proxies have some ten.
const MOST_FIELDS: usize = 100;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

/// A connection that is being asked for.
#[derive(Clone)]
pub struct Handshake {
    tunnel: Tunnel,
    credentials: Option<Credentials>,
    stage: Stage,
}

/// What is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Method,
    Authentication,
    Reply,
}

/// What came of the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// More has to arrive.
    NeedMore,
    /// So many bytes are used up; this is sent next.
    Next(usize, Vec<u8>),
    /// So many bytes are used up, and the connection stands.
    Ready(usize),
    /// It does not.
    Failed(Fault),
}

impl Handshake {
    /// Asks `proxy` for `tunnel`.
    pub fn new(proxy: &Proxy, tunnel: Tunnel) -> Self {
        let stage = match proxy.scheme {
            Scheme::Http => Stage::Head,
            Scheme::Socks5 | Scheme::Socks5h => Stage::Method,
        };
        Self { tunnel, credentials: proxy.credentials.clone(), stage }
    }

    /// The address that the proxy is asked for, where it is not asked for a name.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        match self.tunnel.destination() {
            Destination::Address(address) => Some((*address, self.tunnel.port()).into()),
            Destination::Name(_) => None,
        }
    }

    /// What is sent first.
    pub fn start(&self) -> Vec<u8> {
        match (self.stage, &self.credentials) {
            (Stage::Head, _) => self.connect_request(),
            (Stage::Method | Stage::Authentication | Stage::Reply, None) => {
                vec![VERSION, 1, NO_AUTHENTICATION]
            }
            (Stage::Method | Stage::Authentication | Stage::Reply, Some(_)) => {
                vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD]
            }
        }
    }

    /// Looks at the unread bytes, from the first one.
    pub fn receive(&mut self, bytes: &[u8]) -> Progress {
        match self.stage {
            Stage::Head => head(bytes),
            Stage::Method => self.method(bytes),
            Stage::Authentication => self.authenticated(bytes),
            Stage::Reply => reply(bytes),
        }
    }

    fn connect_request(&self) -> Vec<u8> {
        let authority = format!("{}:{}", self.tunnel.destination(), self.tunnel.port());
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(Credentials { user, password }) = &self.credentials {
            let pair = [user, &b":"[..], password].concat();
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(&base64(&pair));
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// RFC 1928, section 3.
    fn method(&mut self, bytes: &[u8]) -> Progress {
        match (bytes, &self.credentials) {
            ([] | [VERSION], _) => Progress::NeedMore,
            ([VERSION, NO_AUTHENTICATION, ..], _) => {
                self.stage = Stage::Reply;
                Progress::Next(2, self.socks_request())
            }
            ([VERSION, USER_AND_PASSWORD, ..], Some(Credentials { user, password })) => {
                self.stage = Stage::Authentication;
                let mut message = vec![1];
                for part in [user, password] {
                    // At most 255 bytes, or there would be no such credentials.
                    message.push(part.len() as u8);
                    message.extend_from_slice(part);
                }
                Progress::Next(2, message)
            }
            ([VERSION, NONE_ACCEPTABLE, ..], _) => Progress::Failed(Fault::Credentials),
            (_, _) => Progress::Failed(Fault::NotAProxy),
        }
    }

    /// RFC 1929, section 2.
    fn authenticated(&mut self, bytes: &[u8]) -> Progress {
        match bytes {
            [] | [1] => Progress::NeedMore,
            [1, 0, ..] => {
                self.stage = Stage::Reply;
                Progress::Next(2, self.socks_request())
            }
            [1, _, ..] => Progress::Failed(Fault::Credentials),
            [..] => Progress::Failed(Fault::NotAProxy),
        }
    }

    /// RFC 1928, section 4: CONNECT.
    fn socks_request(&self) -> Vec<u8> {
        let mut request = vec![VERSION, 1, 0];
        match self.tunnel.destination() {
            Destination::Address(IpAddr::V4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Destination::Address(IpAddr::V6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            Destination::Name(name) => {
                // A name has 253 bytes at most (RFC 1035, section 2.3.4).
                request.extend([3, name.as_str().len() as u8]);
                request.extend_from_slice(name.as_str().as_bytes());
            }
        }
        request.extend(self.tunnel.port().to_be_bytes());
        request
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("tunnel", &self.tunnel)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// The head of an answer to CONNECT; interim ones go by. A successful one has no body, whatever it says of one.
fn head(bytes: &[u8]) -> Progress {
    let seen = &bytes[..bytes.len().min(MOST_REPLY)];
    let mut at = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(&seen[at..]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if seen.len() < MOST_REPLY => return Progress::NeedMore,
            Ok(httparse::Status::Partial) | Err(_) => return Progress::Failed(Fault::NotAProxy),
        };
        at += length;
        match response.code.unwrap_or_default() {
            // Another protocol than the one that was asked for.
            101 => return Progress::Failed(Fault::NotAProxy),
            100..=199 => {}
            200..=299 => return Progress::Ready(at),
            // 401 is what some say instead (tinyproxy).
            401 | 407 => return Progress::Failed(Fault::Credentials),
            status => return Progress::Failed(Fault::Status(status)),
        }
    }
}

/// RFC 1928, section 6.
fn reply(bytes: &[u8]) -> Progress {
    let length = match bytes {
        [] | [VERSION] | [VERSION, 0] | [VERSION, 0, _] | [VERSION, 0, _, 3] => return Progress::NeedMore,
        [VERSION, 0, _, 1, ..] => 4 + 4 + 2,
        [VERSION, 0, _, 4, ..] => 4 + 16 + 2,
        [VERSION, 0, _, 3, length, ..] => 5 + usize::from(*length) + 2,
        [VERSION, 0, ..] => return Progress::Failed(Fault::NotAProxy),
        [VERSION, refusal, ..] => return Progress::Failed(Fault::Reply(*refusal)),
        [..] => return Progress::Failed(Fault::NotAProxy),
    };
    if bytes.len() < length { Progress::NeedMore } else { Progress::Ready(length) }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}
