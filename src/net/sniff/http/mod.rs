//! Follows HTTP/1 from the guest and judges every request head: the first, those after it on the same connection
//! (keep-alive, pipelining), until the server confirms an `Upgrade` with 101.
//!
//! Input is the guest's stream from a request line on; output is how much of it may go. Heads are held until they
//! are whole and judged, bodies are counted and pass unseen. What a lenient server could take for the start of
//! another request has either been judged or is refused: RFC 9112 is applied strictly, without its leniencies.
//! What a proxy *behind* the server makes of other fields (`X-Forwarded-Host`, `Forwarded`) is out of reach.

mod body;
mod head;
mod line;
mod reply;

use super::claims::Claims;
use crate::policy::DenyReason;
use body::{Body, Walk};

pub(super) use line::{Line, LineReader};
pub(super) use reply::forbidden;

/// Bytes of one request head. Large cookies and tokens make 16 KiB, which is where most servers stop.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// One connection's requests.
#[derive(Debug)]
pub(super) struct Watch {
    state: State,
    /// Requests whose head was judged.
    requests: u64,
    upgrade: bool,
}

#[derive(Debug)]
enum State {
    /// Between requests, or in a head; so many bytes of it were searched for its end.
    Head(usize),
    Body(Body),
    /// The request asked for another protocol; nothing more goes until the server has answered. Holds what has
    /// come of its status line.
    Asked(Vec<u8>),
    /// The server switched protocols.
    Switched,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head(0),
            requests: 0,
            upgrade: false,
        }
    }

    /// How many of `bytes` may go, 0 if more has to be seen. `bytes` starts at the first that may not go yet.
    pub(super) fn outbound(&mut self, bytes: &[u8], claims: &mut Claims) -> Result<usize, DenyReason> {
        let mut at = 0;
        loop {
            match self.step(&bytes[at..], claims) {
                Ok(0) => return Ok(at),
                Ok(step) => at += step,
                // What was judged before may go; the verdict is the same when it is asked for again.
                Err(_) if at > 0 => return Ok(at),
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Sees the server's bytes, each once and in order.
    pub(super) fn inbound(&mut self, bytes: &[u8]) {
        const SWITCHING: &[u8] = b"HTTP/1.1 101";
        if let State::Asked(seen) = &mut self.state {
            seen.extend(bytes.iter().take(SWITCHING.len() - seen.len()));
            if seen == SWITCHING {
                self.state = State::Switched;
            } else if !SWITCHING.starts_with(seen) {
                self.state = State::Head(0);
            }
        }
    }

    /// The server switched to another protocol: there are no more requests to look at.
    pub(super) fn is_switched(&self) -> bool {
        matches!(self.state, State::Switched)
    }

    /// Nothing can go before the server has answered; what the guest sends meanwhile stays where it is.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Asked(_))
    }

    /// Whether the server is not in the middle of an answer, so that a reply of ours would be read as one.
    pub(super) fn may_reply(&self) -> bool {
        self.requests == 0
    }

    fn step(&mut self, bytes: &[u8], claims: &mut Claims) -> Result<usize, DenyReason> {
        match &mut self.state {
            State::Switched => Ok(bytes.len()),
            State::Asked(_) => Ok(0),
            State::Head(scanned) => {
                if *scanned == 0 {
                    let empty = bytes
                        .iter()
                        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                        .count();
                    if empty > 0 {
                        return Ok(empty);
                    }
                }
                let Some(length) = end_of_head(bytes, scanned) else {
                    return if bytes.len() > MAX_HEAD {
                        Err(DenyReason::SniffTooLarge { limit: MAX_HEAD })
                    } else {
                        Ok(0)
                    };
                };
                if length > MAX_HEAD {
                    return Err(DenyReason::SniffTooLarge { limit: MAX_HEAD });
                }
                let head = head::judge(&bytes[..length], claims)?;
                self.upgrade = head.upgrade && self.requests == 0;
                self.requests += 1;
                self.enter(Body::new(head.body));
                Ok(length)
            }
            State::Body(body) => match body.walk(bytes) {
                Walk::Pass(step) => Ok(step),
                Walk::End(step) => {
                    self.enter(Body::Length(0));
                    Ok(step)
                }
                Walk::Malformed(what) => Err(DenyReason::MalformedHttp { what }),
            },
        }
    }

    fn enter(&mut self, body: Body) {
        self.state = match body {
            Body::Length(0) if self.upgrade => State::Asked(Vec::new()),
            Body::Length(0) => State::Head(0),
            body => State::Body(body),
        };
    }
}

/// Length of the head in front, empty line included, however the lines end; whether they end as they must is
/// judged later. `scanned` remembers where to go on.
fn end_of_head(bytes: &[u8], scanned: &mut usize) -> Option<usize> {
    let start = scanned.saturating_sub(2);
    let window = &bytes[..bytes.len().min(MAX_HEAD + 1)];
    for (index, byte) in window.iter().enumerate().skip(start) {
        if *byte == b'\n' {
            match window[index + 1..] {
                [b'\n', ..] => return Some(index + 2),
                [b'\r', b'\n', ..] => return Some(index + 3),
                _ => {}
            }
        }
    }
    *scanned = window.len();
    None
}

#[cfg(test)]
mod tests;
