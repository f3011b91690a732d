//! One TCP flow: the guest's connection on one side, an upstream on the other, and the guard that watches what
//! the guest says first.
//!
//! Sans-IO: the upstream is a trait, time is an argument. The router owns flows and decides; a flow moves bytes
//! and says how it ended.

use std::io;
use std::time::{Duration, Instant};

use smoltcp::socket::tcp::State;

use super::dns::TcpFraming;
use super::sniff::{Guard, Step};
use super::stack::Stack;
use crate::policy::DenyReason;

/// The far side of a flow, non-blocking: [`io::ErrorKind::WouldBlock`] means that it will be called again.
pub trait Upstream {
    /// Reads what has arrived; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes what fits.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Says that nothing more will be written (FIN).
    fn finish(&mut self) -> io::Result<()>;
}

/// How long the first bytes of a flow may stay undecided: longer than any real client needs to finish a hello
/// or a request head, short enough that a dripping one does not keep a place.
const UNDECIDED: Duration = Duration::from_secs(20);
/// How long a refused flow may take to read its refusal and close.
const REFUSED: Duration = Duration::from_secs(5);
/// How long a flow that one side has closed may stay silent. Linux drops orphans after 60 s; a half-closed
/// connection that still carries data is left alone.
const HALF_CLOSED: Duration = Duration::from_mins(10);

/// A relayed TCP connection that the guest and its upstream both have.
#[derive(Debug)]
pub struct Flow {
    /// The guest's side.
    pub stack: Box<Stack>,
    /// Payload bytes from the guest.
    pub bytes_up: u64,
    /// Payload bytes to the guest.
    pub bytes_down: u64,
    guard: Option<Guard>,
    guarding: bool,
    /// Bytes that the guard has passed and the upstream has not taken yet.
    cleared: usize,
    scratch: Vec<u8>,
    upstream_ended: bool,
    /// The guest was told so.
    closed: bool,
    finished_upstream: bool,
    refused: bool,
    deadline: Option<Instant>,
    aborted: Option<How>,
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Both sides closed.
    Finished,
    /// The guest reset it.
    ResetByGuest,
    /// The upstream reset it.
    ResetByPeer,
    /// npxc refused what the guest said.
    Refused,
    /// It was half closed and silent for too long.
    Idle,
    /// The policy changed, and no longer allows it.
    Revoked,
    /// The session ended.
    SessionEnded,
    /// The TCP stack failed on it.
    InternalError,
}

impl How {
    /// The words of the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            How::Finished => "finished",
            How::ResetByGuest => "reset by guest",
            How::ResetByPeer => "reset by peer",
            How::Refused => "refused",
            How::Idle => "idle",
            How::Revoked => "no longer allowed",
            How::SessionEnded => "session ended",
            How::InternalError => "internal error",
        }
    }
}

/// What a round of pumping came to.
#[derive(Debug, Default)]
pub struct Pumped {
    /// The guest said something that is not allowed; the flow is on its way out.
    pub refusal: Option<(DenyReason, Option<String>)>,
}

impl Flow {
    /// A flow over `stack`, which already listens or connects. Without a guard nothing the guest says is judged
    /// (a published port, where the guest is the server).
    pub fn new(stack: Box<Stack>, guard: Option<Guard>) -> Self {
        let guarding = guard.as_ref().is_some_and(|guard| !guard.is_open());
        Self {
            stack,
            bytes_up: 0,
            bytes_down: 0,
            guard,
            guarding,
            cleared: 0,
            scratch: Vec::new(),
            upstream_ended: false,
            closed: false,
            finished_upstream: false,
            refused: false,
            deadline: None,
            aborted: None,
        }
    }

    /// What the first bytes were, and the name they claimed, for the audit log.
    pub fn seen(&self) -> (&'static str, Option<&str>) {
        self.guard.as_ref().map_or(("other", None), |guard| (guard.detected().as_str(), guard.sniffed()))
    }

    /// Moves bytes both ways until neither side has any or takes any.
    pub fn pump(&mut self, now: Instant, upstream: &mut dyn Upstream) -> Pumped {
        let mut pumped = Pumped::default();
        if self.refused {
            self.drain();
            return pumped;
        }
        let before = (self.bytes_up, self.bytes_down);
        self.pump_up(now, upstream, &mut pumped);
        if !self.refused {
            self.pump_down(upstream);
            // What the server said may have let go what the guard held.
            if self.guarding && self.stack.tcp().can_recv() {
                self.pump_up(now, upstream, &mut pumped);
            }
        }
        let half_closed = self.upstream_ended || self.finished_upstream;
        if half_closed
            && !self.refused
            && (self.deadline.is_none() || before != (self.bytes_up, self.bytes_down))
        {
            self.deadline = Some(now + HALF_CLOSED);
        }
        pumped
    }

    /// How the flow ended, once it has.
    pub fn ended(&self) -> Option<How> {
        match self.stack.tcp().state() {
            // Reaped at once: the wait would only hold buffers, and the link does not duplicate packets.
            State::TimeWait => Some(self.aborted.unwrap_or(How::Finished)),
            State::Closed => Some(self.aborted.unwrap_or(if self.upstream_ended && self.finished_upstream {
                How::Finished
            } else {
                How::ResetByGuest
            })),
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => None,
        }
    }

    /// When [`Flow::expire`] has to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The deadline has passed: the guest did not finish what it began.
    pub fn expire(&mut self, now: Instant) -> Pumped {
        let mut pumped = Pumped::default();
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return pumped;
        }
        self.deadline = None;
        if self.guarding && !self.refused {
            pumped.refusal = Some((DenyReason::SniffTimeout, None));
            self.abort(How::Refused);
        } else {
            self.abort(if self.refused { How::Refused } else { How::Idle });
        }
        pumped
    }

    /// Resets the guest's side; the reset leaves with the next egress.
    pub fn abort(&mut self, how: How) {
        self.aborted.get_or_insert(how);
        self.stack.tcp_mut().abort();
    }

    fn pump_up(&mut self, now: Instant, upstream: &mut dyn Upstream, pumped: &mut Pumped) {
        while self.stack.tcp().can_recv() {
            let moved = if self.guarding {
                self.guarded(now, upstream, pumped)
            } else {
                self.stack.tcp_mut().recv(|bytes| forward(bytes, bytes.len(), upstream)).unwrap_or(Ok(0))
            };
            match moved {
                Ok(0) => return,
                Ok(count) => self.bytes_up += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What the upstream already sent is still worth delivering; its own reset shows on read.
                Err(_) => return self.lose(upstream),
            }
        }
        if self.guest_closed() && !self.finished_upstream && !self.stack.tcp().can_recv() {
            self.finished_upstream = true;
            if upstream.finish().is_err() {
                self.lose(upstream);
            }
        }
    }

    /// Whether the guest has sent its FIN.
    fn guest_closed(&self) -> bool {
        let state = self.stack.tcp().state();
        matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
    }

    /// Lets the guard look at the bytes before any of them goes on.
    fn guarded(
        &mut self,
        now: Instant,
        upstream: &mut dyn Upstream,
        pumped: &mut Pumped,
    ) -> io::Result<usize> {
        if self.cleared == 0 {
            match self.judge() {
                Step::Forward(count) => {
                    self.deadline = None;
                    self.cleared = count;
                }
                Step::NeedMore => {
                    // Only the guest's own silence counts against it, not the server's.
                    if self.guard.as_ref().is_some_and(Guard::awaits_server) {
                        return Ok(0);
                    }
                    self.deadline.get_or_insert(now + UNDECIDED);
                    return Ok(0);
                }
                Step::Deny(refusal) => {
                    pumped.refusal = Some((refusal.reason, self.seen().1.map(str::to_owned)));
                    self.refuse(now, refusal.reply.as_deref());
                    return Ok(0);
                }
            }
        }
        let cleared = self.cleared;
        let moved = self.stack.tcp_mut().recv(|bytes| forward(bytes, cleared, upstream)).unwrap_or(Ok(0))?;
        self.cleared -= moved;
        if self.cleared == 0 && self.guard.as_ref().is_none_or(Guard::is_open) {
            self.guarding = false;
            self.scratch = Vec::new();
        }
        Ok(moved)
    }

    /// Shows the guard everything that waits, in one piece.
    fn judge(&mut self) -> Step {
        let closed = self.guest_closed();
        let socket = self.stack.tcp_mut();
        let queued = socket.recv_queue();
        let Some(guard) = self.guard.as_mut() else { return Step::Forward(queued) };
        let mut bytes = socket.peek(queued).unwrap_or(&[]);
        if bytes.len() < queued {
            // The ring wraps.
            self.scratch.resize(queued, 0);
            let count = socket.peek_slice(&mut self.scratch).unwrap_or(0);
            bytes = &self.scratch[..count];
        }
        match guard.outbound(bytes) {
            Step::NeedMore if closed => guard.finished(bytes),
            Step::NeedMore if queued == socket.recv_capacity() => {
                guard.overflow(queued).map_or(Step::NeedMore, Step::Deny)
            }
            step => step,
        }
    }

    fn refuse(&mut self, now: Instant, reply: Option<&[u8]>) {
        self.refused = true;
        self.aborted = Some(How::Refused);
        let socket = self.stack.tcp_mut();
        match reply {
            Some(reply) if socket.send_slice(reply).is_ok() => {
                socket.close();
                self.deadline = Some(now + REFUSED);
                self.drain();
            }
            Some(_) | None => socket.abort(),
        }
    }

    /// Reads a refused guest's bytes away, so that it gets to read its refusal.
    fn drain(&mut self) {
        while self.stack.tcp().can_recv() {
            if self.stack.tcp_mut().recv(|bytes| (bytes.len(), ())).is_err() {
                return;
            }
        }
    }

    fn pump_down(&mut self, upstream: &mut dyn Upstream) {
        while !self.upstream_ended && self.stack.tcp().can_send() {
            let guard = self.guard.as_mut().filter(|_| self.guarding);
            let moved = self.stack.tcp_mut().send(|buffer| match upstream.read(buffer) {
                Ok(count) => {
                    if let Some(guard) = guard {
                        guard.inbound(&buffer[..count]);
                    }
                    (count, Ok(count))
                }
                Err(error) => (0, Err(error)),
            });
            match moved {
                Ok(Ok(0)) => {
                    self.upstream_ended = true;
                }
                Ok(Ok(count)) => self.bytes_down += count as u64,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Err(_)) => return self.abort(How::ResetByPeer),
                Err(_) => return,
            }
        }
        if self.upstream_ended && !self.closed {
            self.closed = self.stack.close();
        }
    }

    /// The upstream takes no more bytes: deliver what it still had to say, then end.
    fn lose(&mut self, upstream: &mut dyn Upstream) {
        let mut last = [0; 16 * 1024];
        if let Ok(count) = upstream.read(&mut last)
            && count > 0
            && let Ok(sent) = self.stack.tcp_mut().send_slice(&last[..count])
        {
            self.bytes_down += sent as u64;
        }
        self.abort(How::ResetByPeer);
    }
}

fn forward(bytes: &[u8], most: usize, upstream: &mut dyn Upstream) -> (usize, io::Result<usize>) {
    let part = &bytes[..bytes.len().min(most)];
    if part.is_empty() {
        return (0, Ok(0));
    }
    match upstream.write(part) {
        Ok(count) => (count, Ok(count)),
        Err(error) => (0, Err(error)),
    }
}

/// A connection to the guest's resolver (TCP port 53), which ends in npxc itself.
#[derive(Debug)]
pub struct Resolving {
    /// The guest's side.
    pub stack: Box<Stack>,
    /// Splits the stream into messages.
    pub framing: TcpFraming,
    /// Answers that are not sent yet.
    pub unsent: Vec<u8>,
    /// Questions that are being looked up.
    pub pending: usize,
}
