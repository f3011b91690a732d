//! Looks at the first bytes of an allowed TCP flow and refuses it when they claim another name than the one the
//! flow was dialled for (a TLS server name, an HTTP `Host`).
//!
//! Input: the guest's bytes in order, as the router holds them, and the server's bytes as they pass. Output: how
//! many of the guest's bytes may go, or a [`Refusal`]. Pure, incremental and bounded; no I/O, no clock, and no
//! copy of what only passes. It never widens what is reachable, because the destination is fixed before; so a
//! protocol that is neither TLS nor HTTP/1 passes. It decides as early as it can, and looks at the guest's bytes
//! only, so protocols in which the server speaks first never stall.
//!
//! Out of reach, and said so in SECURITY.md: what TLS hides, HTTP/2 without TLS, and TLS that starts in the middle
//! of another protocol (STARTTLS).

mod claims;
mod http;
mod tls;

use crate::policy::{DenyReason, HostName};
use claims::Claims;

/// Bytes at the front of a flow that [`Guard::outbound`] may ask to be held back, at most. A router that can hold
/// less has to treat a full buffer like [`Guard::overflow`].
pub const MAX_HELD: usize = 64 * 1024 + 1;

/// What a flow may claim to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The name its address stands for.
    Name(HostName),
    /// One of the names its address was handed out for (real addresses). The first claim settles which.
    AnyOf(Vec<HostName>),
    /// A bare address that a rule covers: names are logged, not judged.
    Unnamed,
}

/// What the first bytes of a flow were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detected {
    /// Nothing has come yet, or too little to say.
    Nothing,
    /// A TLS `ClientHello`.
    Tls,
    /// An HTTP/1 request.
    Http,
    /// Anything else.
    Other,
}

/// What may happen to the guest's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// The first `n` bytes (never 0, never more than were shown) may go. They must not be shown again, sent or
    /// not; show what follows them, if there is more.
    Forward(usize),
    /// Nothing may go yet: call again with the same bytes and more behind them, or after [`Guard::inbound`].
    NeedMore,
    /// The flow ends here: nothing of these bytes may go, now or later.
    Deny(Refusal),
}

/// Why a flow ends, and what the guest is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the audit log.
    pub reason: DenyReason,
    /// A complete HTTP response for the guest, where it would be read as one.
    pub reply: Option<Vec<u8>>,
}

/// Watches one TCP flow. Call [`outbound`](Guard::outbound) for the guest's bytes and [`inbound`](Guard::inbound)
/// for the server's until [`is_open`](Guard::is_open).
#[derive(Debug)]
pub struct Guard {
    claims: Claims,
    state: State,
    detected: Detected,
    /// The server spoke before the guest was understood.
    greeted: bool,
}

#[derive(Debug)]
enum State {
    Detecting(http::LineReader),
    Hello(tls::HelloReader),
    /// The first hello was judged; the server may still ask for a second.
    Following {
        records: tls::Follow,
        answer: tls::ServerAnswer,
        retry: bool,
    },
    Http(http::Watch),
    Open,
    Denied(Refusal),
}

impl Guard {
    /// Watches a flow that was dialled for `expected` at `port`.
    pub fn new(expected: Expected, port: u16) -> Self {
        Self {
            claims: Claims::new(expected, port),
            state: State::Detecting(http::LineReader::default()),
            detected: Detected::Nothing,
            greeted: false,
        }
    }

    /// Judges the guest's bytes. `bytes` is what [`Step::Forward`] has not let go yet, contiguous and complete from
    /// its first byte on; it only grows at its end. A ring buffer has to be straightened when this says
    /// [`Step::NeedMore`] and more bytes have come than were shown.
    pub fn outbound(&mut self, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return match &self.state {
                State::Denied(refusal) => Step::Deny(refusal.clone()),
                State::Detecting(_)
                | State::Hello(_)
                | State::Following { .. }
                | State::Http(_)
                | State::Open => Step::NeedMore,
            };
        }
        loop {
            let verdict = match &mut self.state {
                State::Open => return Step::Forward(bytes.len()),
                State::Denied(refusal) => return Step::Deny(refusal.clone()),
                State::Detecting(line) => match detect(bytes, line, self.greeted) {
                    Begin::NeedMore => return Step::NeedMore,
                    Begin::Pass(length) => return Step::Forward(length),
                    Begin::As(detected, state) => {
                        self.detected = detected;
                        self.state = state;
                        continue;
                    }
                    Begin::Refuse(detected, reason) => {
                        self.detected = detected;
                        Err(reason)
                    }
                },
                State::Hello(reader) => match reader.read(bytes) {
                    tls::Hello::NeedMore => return Step::NeedMore,
                    tls::Hello::Malformed(what) => Err(DenyReason::MalformedTls { what }),
                    tls::Hello::Complete { length, server_name } => {
                        judge_hello(&mut self.claims, server_name.as_deref()).map(|()| {
                            self.state = State::Following {
                                records: tls::Follow::default(),
                                answer: tls::ServerAnswer::default(),
                                retry: false,
                            };
                            length
                        })
                    }
                },
                State::Following { records, retry, .. } => match records.step(bytes) {
                    tls::Followed::Pass(length) => Ok(length),
                    tls::Followed::Malformed(what) => Err(DenyReason::MalformedTls { what }),
                    tls::Followed::Hello { length, server_name } => {
                        let last = *retry;
                        judge_hello(&mut self.claims, server_name.as_deref()).map(|()| {
                            if last {
                                self.state = State::Open;
                            }
                            length
                        })
                    }
                },
                State::Http(watch) => {
                    let verdict = watch.outbound(bytes, &mut self.claims);
                    if watch.is_switched() {
                        self.state = State::Open;
                    }
                    verdict
                }
            };
            return match verdict {
                Ok(0) => Step::NeedMore,
                Ok(length) => Step::Forward(length),
                Err(reason) => self.deny(reason),
            };
        }
    }

    /// Sees the server's bytes as they pass to the guest: each once, in order, before the guest does. Afterwards
    /// [`outbound`](Guard::outbound) may let bytes go that it held.
    pub fn inbound(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Following { answer, retry, .. } if !*retry => match answer.read(bytes) {
                None => {}
                Some(true) => *retry = true,
                Some(false) => self.state = State::Open,
            },
            State::Http(watch) => {
                watch.inbound(bytes);
                if watch.is_switched() {
                    self.state = State::Open;
                }
            }
            State::Detecting(_) => self.greeted |= !bytes.is_empty(),
            State::Following { .. } | State::Hello(_) | State::Open | State::Denied(_) => {}
        }
    }

    /// The guest's buffer is full and still nothing may go. Refuses the flow, unless it is only waiting for the
    /// server (`None`).
    pub fn overflow(&mut self, held: usize) -> Option<Refusal> {
        if self.awaits_server() {
            return None;
        }
        match self.deny(DenyReason::SniffTooLarge { limit: held }) {
            Step::Deny(refusal) => Some(refusal),
            Step::Forward(_) | Step::NeedMore => None,
        }
    }

    /// The guest has closed its side: `bytes` are its last. What could still have become a request line is none and
    /// passes; a hello or a request head that stops in the middle is refused.
    pub fn finished(&mut self, bytes: &[u8]) -> Step {
        if matches!(self.state, State::Detecting(_)) {
            // Some servers take the end of the stream for the end of the line.
            let mut line = bytes.to_vec();
            line.push(b'\n');
            match http::LineReader::default().read(&line) {
                http::Line::Http => {
                    return self.deny(DenyReason::MalformedHttp { what: "an unfinished request" });
                }
                http::Line::Malformed(what) => return self.deny(DenyReason::MalformedHttp { what }),
                http::Line::NeedMore | http::Line::Empty(_) | http::Line::Other => {
                    self.state = State::Open;
                    self.detected = Detected::Other;
                }
            }
        }
        match self.outbound(bytes) {
            Step::NeedMore if !self.awaits_server() => self.deny(DenyReason::SniffTimeout),
            step => step,
        }
    }

    /// What is held waits for the server, not for the guest: no time limit of the guest's should run. An `Upgrade`
    /// that is not answered yet, or very many requests in a row.
    pub fn awaits_server(&self) -> bool {
        matches!(&self.state, State::Http(watch) if watch.is_waiting())
    }

    /// Nothing is left to look at: both directions may pass without calling again.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// What the first bytes were.
    pub fn detected(&self) -> Detected {
        self.detected
    }

    /// The latest name the guest's bytes claimed: escaped, at most a few hundred characters.
    pub fn sniffed(&self) -> Option<&str> {
        self.claims.sniffed()
    }

    /// The one name this flow goes to: the expected one, or that of several which it claimed.
    pub fn settled(&self) -> Option<&HostName> {
        self.claims.name()
    }

    fn deny(&mut self, reason: DenyReason) -> Step {
        let readable = match &self.state {
            State::Http(watch) => watch.may_reply(),
            State::Detecting(_) => self.detected == Detected::Http,
            State::Hello(_) | State::Following { .. } | State::Open | State::Denied(_) => false,
        };
        let reply = readable.then(|| http::forbidden(&reason));
        let refusal = Refusal { reason, reply };
        self.state = State::Denied(refusal.clone());
        Step::Deny(refusal)
    }
}

impl Detected {
    /// `none`, `tls`, `http` or `other`, for the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Other => "other",
        }
    }
}

/// Where a flow's first bytes lead.
enum Begin {
    NeedMore,
    Pass(usize),
    As(Detected, State),
    Refuse(Detected, DenyReason),
}

fn detect(bytes: &[u8], line: &mut http::LineReader, greeted: bool) -> Begin {
    match tls::looks(bytes) {
        tls::Looks::Unclear => return Begin::NeedMore,
        tls::Looks::Tls => return Begin::As(Detected::Tls, State::Hello(tls::HelloReader::default())),
        tls::Looks::OutOfPlace => {
            let what = "a record that cannot come before the ClientHello";
            return Begin::Refuse(Detected::Tls, DenyReason::MalformedTls { what });
        }
        tls::Looks::Other => {}
    }
    match line.read(bytes) {
        http::Line::NeedMore => Begin::NeedMore,
        http::Line::Empty(length) => Begin::Pass(length),
        http::Line::Http => Begin::As(Detected::Http, State::Http(http::Watch::new(greeted))),
        http::Line::Other => Begin::As(Detected::Other, State::Open),
        http::Line::Malformed(what) => Begin::Refuse(Detected::Http, DenyReason::MalformedHttp { what }),
    }
}

fn judge_hello(claims: &mut Claims, server_name: Option<&[u8]>) -> Result<(), DenyReason> {
    server_name.map_or(Ok(()), |name| claims.server_name(name))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
