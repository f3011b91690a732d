//! Events on their way from the datapath to the writer's thread: bounded, in order, never waited for.
//!
//! The queue is filled in tiers, so that a flood of denials cannot keep a flow from being allowed, and flows that
//! were allowed can always report their end. What is over a denial's tier is counted, exactly, in a [`Tally`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Event;
use super::writer::{Totals, Unavailable};

/// Events that can wait for the disk: about 4 MiB, some 10 ms of writing.
pub(super) const CAPACITY: usize = 8192;

/// Denials wait in the first half only.
const DENIALS: usize = CAPACITY / 2;

/// Allowed flows and answers wait in the first three quarters; the rest is for their ends.
const ALLOWS: usize = CAPACITY / 4 * 3;

/// How long the writer lets events gather once there is one. Waking it for each line costs the datapath more than
/// the line itself; whoever reads along does not notice.
const GATHER: Duration = Duration::from_millis(5);

/// Kinds of denials counted separately. Protocols and reasons are few; a guest that sends every IP protocol
/// number ends in the last row.
const KINDS: usize = 256;

/// Denials that are counted instead of written, by protocol and reason.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<(String, String), (u64, String)>);

impl Tally {
    pub(super) fn add(&mut self, protocol: &str, code: &str, count: u64, example: &str) {
        let mut key = (protocol.to_owned(), code.to_owned());
        if self.0.len() >= KINDS && !self.0.contains_key(&key) {
            key = ("other".to_owned(), "other".to_owned());
        }
        self.0.entry(key).or_insert_with(|| (0, example.to_owned())).0 += count;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn absorb(&mut self, other: Self) {
        for ((protocol, code), (count, example)) in other.0 {
            self.add(&protocol, &code, count, &example);
        }
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|((protocol, code), (count, example))| {
            Event::FlowDenySummary { count, protocol, code, example }
        })
    }
}

/// What the writer takes out in one go.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) events: Vec<(Timestamp, Event)>,
    pub(super) uncounted: Tally,
    /// Events that had to be left out although they are no denials.
    pub(super) lost: u64,
    /// Nothing will follow.
    pub(super) closed: bool,
}

/// Shared by all recorders and the writer.
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    /// The first batch is written, or never will be.
    begun: Condvar,
    healthy: AtomicBool,
}

#[derive(Default)]
struct State {
    batch: Batch,
    totals: Totals,
    taken: bool,
    written: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            begun: Condvar::new(),
            healthy: AtomicBool::new(true),
        }
    }

    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// From now on every [`push`](Self::push) fails.
    pub(super) fn fail(&self) {
        let _state = self.lock();
        self.healthy.store(false, Ordering::Release);
        self.begun.notify_all();
    }

    /// Waits until what was pushed first is written. False if it cannot be.
    pub(super) fn begun(&self) -> bool {
        let mut state = self.lock();
        while !state.written && self.healthy() {
            state = self.begun.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.healthy()
    }

    pub(super) fn totals(&self) -> Totals {
        self.lock().totals
    }

    pub(super) fn push(&self, event: Event) -> Result<(), Unavailable> {
        let mut state = self.lock();
        let counted = counted(&event);
        if let Some((_, _, count, _)) = &counted {
            // Whether the log takes it or not.
            state.totals.denied += count;
        }
        if !self.healthy() || state.batch.closed {
            return Err(Unavailable);
        }
        let waiting = state.batch.events.len();
        if let Some((protocol, code, count, example)) = counted {
            if waiting >= DENIALS {
                state.batch.uncounted.add(protocol, code, count, &example);
                return Ok(());
            }
        } else {
            let allows = matches!(event, Event::FlowOpen { .. } | Event::Dns { .. });
            if waiting >= if allows { ALLOWS } else { CAPACITY } {
                state.batch.lost += u64::from(!allows);
                return Err(Unavailable);
            }
            state.totals.allowed += u64::from(matches!(event, Event::FlowOpen { .. }));
        }
        state.batch.events.push((Timestamp::now(), event));
        let first = state.batch.events.len() == 1;
        // Woken while the lock is held, the writer would only wait for it.
        drop(state);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Everything that waits; waits itself, at most `most` where given, when that is nothing. What was taken before is
    /// written by now.
    pub(super) fn take(&self, most: Option<Duration>) -> Batch {
        let mut state = self.lock();
        if state.taken && !state.written {
            state.written = true;
            self.begun.notify_all();
        }
        while state.batch.events.is_empty() && !state.batch.closed {
            if let Some(most) = most {
                state = self.filled.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0;
                break;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // A session waits for its first line.
        if !state.batch.closed && state.taken {
            state = self.filled.wait_timeout(state, GATHER).unwrap_or_else(PoisonError::into_inner).0;
        }
        let closed = state.batch.closed;
        let batch = std::mem::take(&mut state.batch);
        state.batch.closed = closed;
        state.taken = true;
        batch
    }

    /// `last` is the last event, whatever waits before it.
    pub(super) fn close(&self, last: Option<Event>) {
        let mut state = self.lock();
        if !state.batch.closed {
            state.batch.events.extend(last.map(|event| (Timestamp::now(), event)));
            state.batch.closed = true;
        }
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protocol, code, number and an example of the denials that an event stands for.
fn counted(event: &Event) -> Option<(&str, &str, u64, Cow<'_, str>)> {
    if let Event::FlowDenySummary { count, protocol, code, example } = event {
        return Some((protocol, code, *count, example.into()));
    }
    let denial = event.denial()?;
    Some((denial.protocol, denial.code, 1, denial.destination.into()))
}
