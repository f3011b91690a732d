//! Writes events to the log, in order, from a thread of its own. The only place that gives a line its number,
//! its time and its hash.
//!
//! Events come in through any number of [`Recorder`]s, which never wait: a denial that finds no room is counted
//! and summarized, anything else is refused with [`Unavailable`], so that the caller denies what it cannot
//! record. A disk that fails makes the log unavailable for good; the file then ends with its last whole line.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::Event;
use super::chain;
use super::error::{AuditError, ROOM};
use super::escape::bounded_json;
use super::file::{Opened, Sink, Target};
use super::queue::{Queue, denial};
use super::signature::Key;
use super::throttle::Throttle;
use crate::exit::is_full;

/// Written in pieces of this size while a batch is long: one system call per some 200 lines.
const PIECE: usize = 64 << 10;

/// How often counted denials are written while they keep coming.
const SUMMARY: Duration = Duration::from_secs(1);

/// The event was not recorded: whatever it would have allowed must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot take this event")]
pub struct Unavailable;

/// What was recorded so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Flows that were opened.
    pub allowed: u64,
    /// Flows and DNS questions that were refused.
    pub denied: u64,
}

/// Takes events from anywhere, never waiting. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Queue>);

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("healthy", &self.healthy()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// One without a log behind it, for what only looks: whatever has to be on record does not happen.
    pub fn none() -> Self {
        let queue = Queue::new();
        queue.fail();
        Self(Arc::new(queue))
    }

    /// Queues one event. Denials are always taken while the log is healthy.
    ///
    /// # Errors
    /// [`Unavailable`] when the log failed, was closed, or has no room: fail closed.
    pub fn record(&self, event: Event) -> Result<(), Unavailable> {
        self.0.push(event)
    }

    /// Whether the log is being written. Never becomes true again.
    pub fn healthy(&self) -> bool {
        self.0.healthy()
    }

    /// Exact counts over all recorders of the log, for `session.end`.
    pub fn totals(&self) -> Totals {
        self.0.totals()
    }
}

/// A log that is being written. Dropping it writes what is queued and closes the file without a `session.end`.
pub struct Log {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Result<(), String>>>,
    path: PathBuf,
}

impl Log {
    /// Opens the log and starts its thread.
    pub fn create(target: &Target, session: Uuid) -> Result<(Self, Recorder), AuditError> {
        Self::signed(target, session, None)
    }

    /// The same; its last line will be signed with the key.
    pub fn signed(target: &Target, session: Uuid, key: Option<Key>) -> Result<(Self, Recorder), AuditError> {
        let Opened { file, path, prev } = target.open(session, Timestamp::now())?;
        Self::start(Box::new(file), path, prev, session, key)
    }

    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything that is queued, then `end` (a [`Event::SessionEnd`]), and waits until it is on disk.
    pub fn finish(mut self, end: Event) -> Result<(), AuditError> {
        self.queue.close(Some(end));
        self.join()
    }

    fn start(
        sink: Box<dyn Sink>,
        path: PathBuf,
        prev: String,
        session: Uuid,
        key: Option<Key>,
    ) -> Result<(Self, Recorder), AuditError> {
        let queue = Arc::new(Queue::new());
        let mut writer = Writer {
            queue: Arc::clone(&queue),
            sink,
            path: path.clone(),
            session: session.to_string(),
            key,
            prev,
            seq: 0,
            buffer: Vec::new(),
            throttle: Throttle::default(),
            answers: 0,
        };
        let thread = std::thread::Builder::new()
            .name("npxc-audit".to_owned())
            .spawn(move || writer.run())
            .map_err(AuditError::Thread)?;
        let recorder = Recorder(Arc::clone(&queue));
        Ok((Self { queue, thread: Some(thread), path }, recorder))
    }

    fn join(&mut self) -> Result<(), AuditError> {
        let result = match self.thread.take().map(JoinHandle::join) {
            None => return Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err("its thread stopped".to_owned()),
        };
        result.map_err(|detail| AuditError::Incomplete { path: self.path.clone(), detail })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.close(None);
        let _ = self.join();
    }
}

/// The thread's state.
struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    path: PathBuf,
    session: String,
    key: Option<Key>,
    prev: String,
    seq: u64,
    buffer: Vec<u8>,
    throttle: Throttle,
    /// DNS answers counted instead of written.
    answers: u64,
}

impl Writer {
    fn run(&mut self) -> Result<(), String> {
        // Also when this thread panics: without it nothing is written, so nothing may be allowed.
        let _fail = FailOnDrop(Arc::clone(&self.queue));
        let result = self.write_all().and_then(|()| self.sink.sync());
        result.map_err(|error| {
            self.queue.fail();
            let mark = crate::voice::mark();
            let hint = if is_full(&error) { format!("{mark}npxc: hint: {ROOM}\n") } else { String::new() };
            // In one write, as all that is said beside a package.
            let said = format!(
                "{mark}npxc: error: the audit log {} cannot be written ({error}): no connection is allowed from now on\n{hint}",
                self.path.display()
            );
            let _ = io::stderr().write_all(said.as_bytes());
            error.to_string()
        })
    }

    fn write_all(&mut self) -> io::Result<()> {
        let mut summarized = Instant::now();
        loop {
            let pending = !self.throttle.tally.is_empty() || self.answers > 0;
            let batch = self.queue.take(pending.then_some(SUMMARY));
            let now = Instant::now();
            self.throttle.refill(now);
            self.throttle.tally.absorb(batch.uncounted);
            let mut events = batch.events;
            // The closing record stays the last line.
            let end = match events.last() {
                Some((_, Event::SessionEnd { .. })) if batch.closed => events.pop(),
                Some(_) | None => None,
            };
            for (time, event) in events {
                self.one(time, &event)?;
            }
            if batch.lost > 0 {
                let detail = "events were left out because the queue was full".to_owned();
                let event = Event::Limit { what: "audit queue".to_owned(), detail, count: batch.lost };
                self.line(Timestamp::now(), &event)?;
            }
            if batch.closed || now.duration_since(summarized) >= SUMMARY {
                self.summarize()?;
                summarized = now;
            }
            if let Some((_, event)) = end {
                self.line(Timestamp::now(), &event)?;
            }
            self.flush()?;
            if batch.closed {
                return Ok(());
            }
        }
    }

    fn one(&mut self, time: Timestamp, event: &Event) -> io::Result<()> {
        if let Some(denial) = denial(event) {
            if !self.throttle.passes(denial.protocol, denial.code, &denial.destination) {
                self.throttle.tally.add(denial.protocol, denial.code, 1, &denial.destination);
                return Ok(());
            }
        } else if let Event::Dns { name, kind, answer, .. } = event
            && !self.throttle.passes(kind, answer, name)
        {
            self.answers += 1;
            return Ok(());
        }
        self.line(time, event)
    }

    fn summarize(&mut self) -> io::Result<()> {
        for event in self.throttle.tally.take() {
            self.line(Timestamp::now(), &event)?;
        }
        if self.answers > 0 {
            let count = std::mem::take(&mut self.answers);
            let detail = "answered questions were counted, not written one by one".to_owned();
            self.line(Timestamp::now(), &Event::Limit { what: "dns".to_owned(), detail, count })?;
        }
        Ok(())
    }

    fn line(&mut self, time: Timestamp, event: &Event) -> io::Result<()> {
        let json = bounded_json(&serde_json::to_string(event)?);
        let members = json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap_or_default();
        let signer = self.key.as_ref().filter(|_| matches!(event, Event::SessionStart { .. }));
        let key = signer.map_or_else(String::new, |key| format!(",\"key\":\"{}\"", key.public()));
        let mut line = format!(
            "{{\"v\":{},\"seq\":{},\"time\":\"{time:.6}\",\"session\":\"{}\",{members}{key},\"prev\":\"{}\"}}",
            chain::VERSION,
            self.seq,
            self.session,
            self.prev
        );
        if matches!(event, Event::SessionEnd { .. }) {
            line = chain::seal(&line, self.key.as_ref());
        }
        self.prev = chain::hash(line.as_bytes());
        self.seq += 1;
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        while done < self.buffer.len() {
            let rest = self.buffer.get(done..).unwrap_or_default();
            let error = match self.sink.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(written) => {
                    done += written;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let written = self.buffer.get(..done).unwrap_or_default();
            let partial = written.iter().rev().take_while(|byte| **byte != b'\n').count();
            if partial > 0 {
                let _ = self.sink.take_back(partial as u64);
            }
            return Err(error);
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Makes the queue refuse everything when the thread ends, however it ends.
struct FailOnDrop(Arc<Queue>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0.fail();
    }
}

#[cfg(test)]
mod tests;
