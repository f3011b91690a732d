//! A connection to the proxy, until it has connected what it was asked for ([`crate::net::proxy::handshake`]).
//!
//! What the proxy says is looked at where it is and read only as far as it is the proxy's: what follows belongs to the flow.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;

use crate::net::proxy::handshake::MOST_REPLY;
use crate::net::proxy::{Fault, Handshake, Progress};

/// How long a proxy may take: longer than one waits for its own destination (squid: one minute).
const PATIENCE: Duration = Duration::from_secs(90);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Asking {
    socket: TcpStream,
    address: SocketAddr,
    handshake: Handshake,
    unsent: Vec<u8>,
    ended: bool,
    deadline: Instant,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The proxy has not answered yet.
    Waiting,
    /// The connection is the flow's.
    Ready,
    /// The proxy did not connect.
    Failed(Fault),
}

impl Asking {
    pub(super) fn new(now: Instant, address: SocketAddr, socket: TcpStream, handshake: Handshake) -> Self {
        // Best effort, as for flows.
        let _ = socket.set_nodelay(true);
        let unsent = handshake.start();
        Self { socket, address, handshake, unsent, ended: false, deadline: now + PATIENCE }
    }

    /// When it has taken too long.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The proxy's address, and the connection.
    pub(super) fn into_parts(self) -> (SocketAddr, TcpStream) {
        (self.address, self.socket)
    }

    /// Notes what epoll said, and goes on.
    pub(super) fn ready(&mut self, event: &Event) -> Answer {
        self.ended |= event.is_read_closed() || event.is_error();
        self.advance()
    }

    /// Sends and receives as far as it goes now.
    pub(super) fn advance(&mut self) -> Answer {
        self.try_to_advance().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Answer::Waiting,
            _ => Answer::Failed(Fault::Closed),
        })
    }

    fn try_to_advance(&mut self) -> io::Result<Answer> {
        loop {
            while !self.unsent.is_empty() {
                let count = (&self.socket).write(&self.unsent)?;
                self.unsent.drain(..count);
            }
            let mut seen = [0; MOST_REPLY];
            let count = self.socket.peek(&mut seen)?;
            if count == 0 {
                return Ok(Answer::Failed(Fault::Closed));
            }
            match self.handshake.receive(&seen[..count]) {
                Progress::NeedMore if self.ended => return Ok(Answer::Failed(Fault::Closed)),
                // Another edge comes with more.
                Progress::NeedMore => return Ok(Answer::Waiting),
                Progress::Next(used, message) => {
                    self.take(used)?;
                    self.unsent = message;
                }
                Progress::Ready(used) => {
                    self.take(used)?;
                    return Ok(Answer::Ready);
                }
                Progress::Failed(fault) => return Ok(Answer::Failed(fault)),
            }
        }
    }

    /// Reads what was looked at: it is there.
    fn take(&mut self, count: usize) -> io::Result<()> {
        (&self.socket).read_exact(&mut vec![0; count])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
