//! Follows the server's answers, only to know which request one belongs to and whether it is over.
//!
//! Two things depend on it: whether a `101` really answers the request that asked for an `Upgrade` (and is not
//! bytes in the body of an earlier answer), and whether the server declined a body before it came. Where an answer
//! cannot be followed, the thread is *lost*: nothing is concluded from later ones, and requests stay judged.

use std::collections::VecDeque;

use super::MAX_HEAD;
use super::body::{Body, Walk};
use super::end_of_head;
use super::head::{Framing, Head};

/// Requests that wait for an answer at once; further ones are held back. Clients that pipeline use a few.
const MAX_OUTSTANDING: usize = 64;
/// Header lines of one answer.
const MAX_HEADERS: usize = 256;

/// Bytes joined to an unfinished line or head at a time, so that the data behind it is not copied with it.
const JOIN: usize = 1024;

/// The answers of one connection.
#[derive(Debug)]
pub(super) struct Responses {
    awaited: VecDeque<Awaited>,
    state: State,
    /// Bytes of a head or a chunk line that is not whole yet.
    partial: Vec<u8>,
    /// The server said 100 to the newest request.
    continued: bool,
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    bodyless: bool,
    upgrade: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// In or before a head; so much of it was searched for its end.
    Head(usize),
    Body(Body),
    Switched,
    Lost,
}

impl Responses {
    /// `lost`: the server has already sent something that answers nothing.
    pub(super) fn new(lost: bool) -> Self {
        Self {
            awaited: VecDeque::new(),
            state: if lost { State::Lost } else { State::Head(0) },
            partial: Vec::new(),
            continued: false,
        }
    }

    /// A request goes to the server.
    pub(super) fn await_one(&mut self, head: &Head) {
        self.continued = false;
        if self.state != State::Lost {
            self.awaited.push_back(Awaited { bodyless: head.bodyless_response, upgrade: head.upgrade });
        }
    }

    /// As many requests are unanswered as may be.
    pub(super) fn is_full(&self) -> bool {
        self.awaited.len() >= MAX_OUTSTANDING
    }

    /// Every request has a final answer, or at least its head.
    pub(super) fn all_answered(&self) -> bool {
        self.awaited.is_empty()
    }

    /// The server is silent until it gets another request.
    pub(super) fn is_idle(&self) -> bool {
        self.all_answered() && self.partial.is_empty() && self.state == State::Head(0)
    }

    /// The server asked for the body of the newest request.
    pub(super) fn is_continued(&self) -> bool {
        self.continued
    }

    /// The server switched protocols, as the request it answered had asked.
    pub(super) fn is_switched(&self) -> bool {
        self.state == State::Switched
    }

    /// The answers could not be followed.
    pub(super) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Takes the server's next bytes.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::Switched | State::Lost) {
            if self.partial.is_empty() {
                let used = self.step(bytes);
                bytes = &bytes[used..];
                if used == 0 {
                    self.keep(bytes);
                    return;
                }
            } else {
                // A line or head that came in pieces: take a little more until it is whole.
                let before = self.partial.len();
                let take = bytes.len().min(JOIN);
                let mut joined = std::mem::take(&mut self.partial);
                joined.extend_from_slice(&bytes[..take]);
                let used = self.step(&joined);
                if used == 0 {
                    bytes = &bytes[take..];
                    self.keep(&joined);
                    continue;
                }
                // `step` uses nothing before what is missing has come.
                bytes = &bytes[used.saturating_sub(before).min(bytes.len())..];
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Head(_) | State::Body(_)) {
            if bytes.len() > MAX_HEAD {
                self.lose();
            } else {
                self.partial = bytes.to_vec();
            }
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.partial = Vec::new();
        self.awaited = VecDeque::new();
    }

    /// Takes one head, or one step over a body; 0 if it is not whole yet.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::Switched | State::Lost => bytes.len(),
            State::Head(scanned) => match end_of_head(bytes, scanned) {
                None => 0,
                Some(length) => {
                    match self.after_head(&bytes[..length]) {
                        Some(state) => self.state = state,
                        None => self.lose(),
                    }
                    length
                }
            },
            State::Body(body) => match body.walk(bytes) {
                Walk::Pass(length) => length,
                Walk::End(length) => {
                    self.state = State::Head(0);
                    length
                }
                Walk::Malformed(_) => {
                    self.lose();
                    bytes.len()
                }
            },
        }
    }

    /// What follows a head; `None` if that cannot be said.
    fn after_head(&mut self, bytes: &[u8]) -> Option<State> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes).ok()?;
        let code = response.code.filter(|_| parsed.is_complete())?;
        let awaited = *self.awaited.front()?;
        if code == 101 {
            return awaited.upgrade.then_some(State::Switched);
        }
        if code < 200 {
            self.continued |= code == 100 && self.awaited.len() == 1;
            return Some(State::Head(0));
        }
        self.awaited.pop_front();
        if awaited.bodyless || matches!(code, 204 | 304) {
            return Some(State::Head(0));
        }
        let mut length = None;
        let mut encoding = None;
        for header in response.headers.iter() {
            let slot = if header.name.eq_ignore_ascii_case("content-length") {
                &mut length
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                &mut encoding
            } else {
                continue;
            };
            if slot.replace(header.value).is_some() {
                return None;
            }
        }
        let framing = match (encoding, length) {
            (Some(encoding), None) if encoding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
            (None, Some(length)) => Framing::Length(std::str::from_utf8(length).ok()?.parse().ok()?),
            // Until the connection closes: no later answer exists.
            _ => return None,
        };
        Some(match framing {
            Framing::Length(0) => State::Head(0),
            framing => State::Body(Body::new(framing)),
        })
    }
}
