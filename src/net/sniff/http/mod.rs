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
mod response;

use super::claims::Claims;
use crate::policy::DenyReason;
use body::{Body, Walk};
use head::Framing;
use response::Responses;

pub(super) use line::{Line, LineReader};
pub(super) use reply::forbidden;

/// Bytes of one request head. Large cookies and tokens make 16 KiB, which is where most servers stop.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// One connection's requests.
#[derive(Debug)]
pub(super) struct Watch {
    state: State,
    responses: Responses,
    /// The current request has an `Upgrade` field.
    upgrade: bool,
    /// The current request has an `Expect` field.
    expect: bool,
}

#[derive(Debug)]
enum State {
    /// Between requests, or in a head; so many bytes of it were searched for its end.
    Head(usize),
    Body(Body),
    /// The request asked for another protocol; nothing more goes until the server has answered it.
    Asked,
    /// The server switched protocols.
    Switched,
    /// The server declined the body of a request: what follows could be that body or another request.
    Declined,
}

impl Watch {
    /// `greeted`: the server has already sent something, so its answers cannot be followed.
    pub(super) fn new(greeted: bool) -> Self {
        Self { state: State::Head(0), responses: Responses::new(greeted), upgrade: false, expect: false }
    }

    /// How many of `bytes` may go, 0 if more has to be seen. `bytes` starts at the first that may not go yet.
    pub(super) fn outbound(&mut self, bytes: &[u8], claims: &mut Claims) -> Result<usize, DenyReason> {
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..], claims) {
                Ok(0) => break,
                Ok(step) => at += step,
                // What was judged before may go; the verdict is the same when it is asked for again.
                Err(_) if at > 0 => break,
                Err(reason) => return Err(reason),
            }
        }
        Ok(at)
    }

    /// Sees the server's bytes, each once and in order.
    pub(super) fn inbound(&mut self, bytes: &[u8]) {
        self.responses.read(bytes);
        match self.state {
            State::Asked => self.ask(),
            State::Body(_)
                if self.expect && self.responses.all_answered() && !self.responses.is_continued() =>
            {
                self.state = State::Declined;
            }
            State::Head(_) | State::Body(_) | State::Switched | State::Declined => {}
        }
    }

    /// The server switched to another protocol: there are no more requests to look at.
    pub(super) fn is_switched(&self) -> bool {
        matches!(self.state, State::Switched)
    }

    /// Nothing can go before the server has answered; what the guest sends meanwhile stays where it is.
    pub(super) fn is_waiting(&self) -> bool {
        match self.state {
            State::Asked => true,
            State::Head(_) => self.responses.is_full(),
            State::Body(_) | State::Switched | State::Declined => false,
        }
    }

    /// Whether the server is not in the middle of an answer, so that a reply of ours would be read as one.
    pub(super) fn may_reply(&self) -> bool {
        self.responses.is_idle()
    }

    fn step(&mut self, bytes: &[u8], claims: &mut Claims) -> Result<usize, DenyReason> {
        match &mut self.state {
            State::Switched => Ok(bytes.len()),
            State::Asked => Ok(0),
            State::Declined => Err(DenyReason::MalformedHttp {
                what: "more follows a request whose body the server declined",
            }),
            State::Head(_) if self.responses.is_full() => Ok(0),
            State::Head(scanned) => {
                if *scanned == 0 {
                    let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                    if empty > 0 {
                        return Ok(empty);
                    }
                }
                match end_of_head(bytes, scanned) {
                    Some(length) if length <= MAX_HEAD => self.head(&bytes[..length], claims),
                    None if bytes.len() <= MAX_HEAD => Ok(0),
                    _ => Err(DenyReason::SniffTooLarge { limit: MAX_HEAD }),
                }
            }
            State::Body(body) => match body.walk(bytes) {
                Walk::Pass(step) => Ok(step),
                Walk::End(step) => {
                    self.after_request();
                    Ok(step)
                }
                Walk::Malformed(what) => Err(DenyReason::MalformedHttp { what }),
            },
        }
    }

    fn head(&mut self, bytes: &[u8], claims: &mut Claims) -> Result<usize, DenyReason> {
        let head = head::judge(bytes, claims)?;
        let empty = head.body == Framing::Length(0);
        if head.expect && !empty && self.responses.is_lost() {
            let what = "Expect after an answer that could not be followed";
            return Err(DenyReason::MalformedHttp { what });
        }
        self.responses.await_one(&head);
        self.upgrade = head.upgrade && !self.responses.is_lost();
        self.expect = head.expect;
        if empty {
            self.after_request();
        } else {
            self.state = State::Body(Body::new(head.body));
        }
        Ok(bytes.len())
    }

    fn after_request(&mut self) {
        if self.upgrade {
            self.state = State::Asked;
            // The answer may have come before the end of the body.
            self.ask();
        } else {
            self.state = State::Head(0);
        }
    }

    /// What the server made of the wish for another protocol, if it has said.
    fn ask(&mut self) {
        if self.responses.is_switched() {
            self.state = State::Switched;
        } else if self.responses.is_lost() || self.responses.all_answered() {
            self.state = State::Head(0);
        }
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
