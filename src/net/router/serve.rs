//! What happens to a flow after it was opened: packets in, bytes both ways, packets out, and its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::{Action, MOST_POOLED, Router, State, UDP_IDLE, open};
use crate::audit::Event;
use crate::net::flow::{How, Upstream};
use crate::net::packet::{Packet, Tcp};
use crate::net::reply;
use crate::net::stack::{Stack, Transmit};
use crate::net::table::{FlowId, Key};

impl Router {
    /// A packet of a flow that exists.
    pub(super) fn continue_tcp(
        &mut self,
        now: Instant,
        id: FlowId,
        packet: &Packet<'_>,
        tcp: &Tcp,
        out: &mut dyn Transmit,
    ) {
        let Some((key, mut entry)) = self.table.take(id) else { return };
        let kept = match &mut entry.state {
            // The guest's kernel asks again while npxc still dials; anything else ends the attempt.
            State::Opening { .. } => tcp.opens || !tcp.resets,
            State::Silent(_) => tcp.opens,
            State::Relay(flow) => isolate(|| flow.stack.ingest(now, packet.bytes, out)),
            State::Resolver(resolving) => isolate(|| resolving.stack.ingest(now, packet.bytes, out)),
            State::Datagrams { .. } => true,
        };
        let failed = !kept && matches!(entry.state, State::Relay(_) | State::Resolver(_));
        self.table.put(id, entry);
        if kept {
            self.table.mark(id);
        } else if failed {
            self.fail(now, id, &key, packet, tcp, out);
        } else {
            self.end(now, id, How::ResetByGuest);
        }
    }

    /// Moves a flow's bytes, sends its packets, and ends it when it is over. Without an upstream only the
    /// guest's side moves; without a log nothing does, and the flow ends.
    pub fn service(
        &mut self,
        now: Instant,
        id: FlowId,
        upstream: Option<&mut dyn Upstream>,
        out: &mut dyn Transmit,
    ) {
        let Some((key, mut entry)) = self.table.take(id) else { return };
        let mut refusal = None;
        let mut messages = Vec::new();
        let mut ended = None;
        let mut wake = None;
        let recorded = self.journal.healthy();
        let sound = match &mut entry.state {
            State::Relay(flow) => isolate(|| {
                if !recorded {
                    flow.abort(How::Refused);
                } else if let Some(upstream) = upstream {
                    refusal = flow.pump(now, upstream).refusal;
                }
                refusal = refusal.take().or(flow.expire(now).refusal);
                flow.stack.egress(now, out);
                ended = flow.ended();
                wake = earlier(flow.stack.poll_at(now), flow.deadline());
            }),
            State::Resolver(resolving) => isolate(|| {
                messages = resolving.pump();
                resolving.stack.egress(now, out);
                ended = resolving.ended();
                wake = resolving.stack.poll_at(now);
            }),
            State::Datagrams { .. } if !recorded => {
                ended = Some(How::Refused);
                true
            }
            State::Datagrams { last, .. } => {
                let idle = *last + UDP_IDLE;
                (ended, wake) = if idle <= now { (Some(How::Idle), None) } else { (None, Some(idle)) };
                true
            }
            State::Silent(until) => {
                (ended, wake) = if *until <= now { (Some(How::Idle), None) } else { (None, Some(*until)) };
                true
            }
            State::Opening { .. } => true,
        };
        let name = entry.name.clone();
        self.table.put(id, entry);
        if let Some((why, sniffed)) = refusal {
            self.deny_flow(key.protocol.to_string(), key.guest, key.remote, name, &why, sniffed);
            self.actions.push_back(Action::Release(id, How::Refused));
        }
        if !messages.is_empty() {
            // What is left to do when they are dealt with, perhaps without an answer: the guest may have closed its end already.
            self.table.mark(id);
        }
        for message in messages {
            self.question_by_tcp(now, id, &message);
        }
        if !sound {
            return self.end(now, id, How::InternalError);
        }
        match ended {
            Some(how) => self.end(now, id, how),
            None => self.table.schedule(id, wake),
        }
    }

    /// A datagram from a UDP flow's upstream.
    pub fn datagram(&mut self, now: Instant, id: FlowId, payload: &[u8], out: &mut dyn Transmit) {
        let Some((key, mut entry)) = self.table.take(id) else { return };
        if let State::Datagrams { last, down, .. } = &mut entry.state
            && self.journal.healthy()
        {
            *last = now;
            *down += payload.len() as u64;
            reply::datagram(key.remote, key.guest, payload, out);
        }
        self.table.put(id, entry);
    }

    /// The upstream of a UDP flow said that nothing listens there.
    pub fn datagram_refused(&mut self, now: Instant, id: FlowId) {
        self.end(now, id, How::ResetByPeer);
    }

    /// Removes a flow and writes how it ended.
    pub(super) fn end(&mut self, now: Instant, id: FlowId, how: How) {
        let Some((_, Some(entry))) = self.table.remove(id) else { return };
        let (bytes_up, bytes_down, (detected, sniffed)) = match &entry.state {
            State::Relay(flow) => (flow.bytes_up, flow.bytes_down, flow.seen()),
            State::Datagrams { up, down, queue: None, .. } => (*up, *down, ("other", None)),
            State::Opening { .. } => {
                self.opening -= 1;
                return self.actions.push_back(Action::Release(id, how));
            }
            State::Resolver(_) | State::Silent(_) | State::Datagrams { .. } => {
                self.actions.push_back(Action::Release(id, how));
                return self.recycle(entry.state, how);
            }
        };
        self.journal.record(Event::FlowClose {
            flow: entry.number,
            bytes_up,
            bytes_down,
            duration_ms: open::millis(now, entry.opened),
            detected: detected.to_owned(),
            sniffed: sniffed.map(str::to_owned),
            how: how.as_str().to_owned(),
            hint: None,
        });
        self.actions.push_back(Action::Release(id, how));
        self.recycle(entry.state, how);
    }

    /// A stack for a new flow: one that was used before, or a new one. The more flows there are, the smaller.
    pub(super) fn stack(&mut self) -> Box<Stack> {
        let wanted = buffer_for(self.table.len());
        while let Some(stack) = self.pool.pop() {
            if stack.buffer() == wanted {
                return stack;
            }
        }
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Box::new(Stack::new(self.link, wanted, self.epoch, self.seed))
    }

    fn recycle(&mut self, state: State, how: How) {
        let mut stack = match state {
            State::Relay(flow) => flow.stack,
            State::Resolver(resolving) => resolving.stack,
            State::Opening { .. } | State::Silent(_) | State::Datagrams { .. } => return,
        };
        // A stack that failed once is not trusted again.
        if how != How::InternalError && self.pool.len() < MOST_POOLED {
            stack.recycle();
            self.pool.push(stack);
        }
    }

    fn fail(
        &mut self,
        now: Instant,
        id: FlowId,
        key: &Key,
        packet: &Packet<'_>,
        tcp: &Tcp,
        out: &mut dyn Transmit,
    ) {
        self.reached("flows ended by an internal error", key.remote.to_string());
        reply::reset(packet, tcp, out);
        self.end(now, id, How::InternalError);
    }
}

/// Bytes of buffer each way for one more flow beside `flows`. 256 KiB carries the full rate, 128 KiB nearly, and
/// a thousand idle flows must not slow down the one that is busy; 129 x 512 KiB + 972 x 256 KiB + 2995 x 32 KiB is
/// 401 MiB at the very most.
fn buffer_for(flows: usize) -> usize {
    match flows {
        0..=128 => 256 * 1024,
        129..=1100 => 128 * 1024,
        _ => 16 * 1024,
    }
}

/// Runs one flow's work. False if it panicked: sequence arithmetic in a TCP stack can fail on hostile input, and
/// that costs the flow, not the session.
pub(super) fn isolate(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_ok()
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
