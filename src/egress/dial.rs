//! The race between a name's addresses: Happy Eyeballs (RFC 8305) over what the policy admitted, or where the proxy is.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::net::router::DialError;

/// Connection Attempt Delay (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses tried at most; a name with more has a problem that more attempts do not solve.
const MOST_ATTEMPTS: usize = 8;

/// One flow's attempts to connect.
#[derive(Debug)]
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    running: Vec<(Token, SocketAddr, TcpStream)>,
    next: Option<Instant>,
    error: DialError,
}

/// How a race stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Still running; call again at that time, if there is one.
    Running(Option<Instant>),
    /// Every address failed; the last error that says most.
    Lost(DialError),
}

impl Race {
    /// Between a destination's admitted addresses, or the proxy's.
    pub(super) fn new(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        Self { waiting: interleave(addresses), running: Vec::new(), next: None, error: DialError::TimedOut }
    }

    /// Tokens of the sockets that still run.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.running.iter().map(|(token, ..)| *token)
    }

    /// Starts what is due. `token` makes the token for a new socket.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        registry: &Registry,
        mut token: impl FnMut() -> Token,
    ) -> Standing {
        while self.running.is_empty() || self.next.is_some_and(|next| next <= now) {
            let Some(address) = self.waiting.pop_front() else {
                self.next = None;
                break;
            };
            let mut started = TcpStream::connect(address);
            let token = token();
            if let Ok(socket) = &mut started
                && let Err(error) = registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
            {
                started = Err(error);
            }
            match started {
                Ok(socket) => {
                    self.running.push((token, address, socket));
                    self.next = (!self.waiting.is_empty()).then_some(now + ATTEMPT_DELAY);
                }
                Err(error) => self.failed(&error),
            }
        }
        if self.running.is_empty() { Standing::Lost(self.error) } else { Standing::Running(self.next) }
    }

    /// epoll said something about one of the sockets.
    pub(super) fn ready(&mut self, token: Token) -> Option<(SocketAddr, TcpStream)> {
        let at = self.running.iter().position(|(running, ..)| *running == token)?;
        let (_, address, socket) = &self.running[at];
        let address = *address;
        match socket.take_error() {
            Ok(None) if socket.peer_addr().is_ok() => {
                let (_, _, socket) = self.running.swap_remove(at);
                return Some((address, socket));
            }
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                self.running.swap_remove(at);
                self.failed(&error);
                // The next address does not have to wait for its turn.
                self.next = None;
            }
        }
        None
    }

    fn failed(&mut self, error: &io::Error) {
        let kind = classify(error);
        // Refused says most: something answered.
        if self.error != DialError::Refused {
            self.error = kind;
        }
    }
}

/// The guest-visible meaning of a failed `connect(2)`.
pub(super) fn classify(error: &io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => DialError::Refused,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => DialError::NetworkUnreachable,
        io::ErrorKind::HostUnreachable | io::ErrorKind::PermissionDenied => DialError::HostUnreachable,
        io::ErrorKind::TimedOut => DialError::TimedOut,
        _ => DialError::Exhausted,
    }
}

/// Alternates the families, starting with the first address's (RFC 8305, section 4).
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.collect();
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut same, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::new();
    while order.len() < MOST_ATTEMPTS && (!same.is_empty() || !other.is_empty()) {
        order.extend(same.pop_front());
        order.extend(other.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_from_the_first() {
        let parse = |text: &str| text.parse::<SocketAddr>().ok();
        let given = ["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"];
        let order = interleave(given.into_iter().filter_map(parse));
        let expected = ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1", "192.0.2.3:1"];
        assert_eq!(order, expected.into_iter().filter_map(parse).collect::<VecDeque<_>>());
    }
}
