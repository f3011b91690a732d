//! Writes events to the log, in order, from a thread of its own ([`lines`]).
//!
//! Events come in through any number of [`Recorder`]s, which never wait: a denial that finds no room is counted
//! and summarized, anything else is refused with [`Unavailable`], so that the caller denies what it cannot
//! record. A disk that fails makes the log unavailable for good; the file then ends with its last whole line.

mod lines;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use uuid::Uuid;

use self::lines::{Rotation, Writer};
use super::Event;
use super::error::AuditError;
use super::file::{Opened, Sink, Target};
use super::queue::Queue;
use super::signature::Key;
use super::throttle::Throttle;

/// What a log is like beside what is in it.
#[derive(Default)]
pub struct Options {
    /// Who signs its last line, and that of each file.
    pub key: Option<Key>,
    /// Most bytes of a file, but for a single line that is longer; without it, it has one file.
    pub max_size: Option<u64>,
    /// Who else gets what is written.
    pub mirror: Option<Box<dyn Mirror>>,
}

/// Gets each event that is written, from the log's own thread. It may not wait; when it is dropped, for a moment.
pub trait Mirror: Send {
    /// An event of this session.
    fn record(&mut self, time: Timestamp, session: &str, event: &Event);
}

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

    /// The same of the session's first event, and waits until it is in the file: what runs before that might do something
    /// that a full disk has no room for.
    ///
    /// # Errors
    /// [`Unavailable`], as above, and when it cannot be written.
    pub fn begin(&self, event: Event) -> Result<(), Unavailable> {
        self.record(event)?;
        if self.0.begun() { Ok(()) } else { Err(Unavailable) }
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
        Self::with(target, session, Options::default())
    }

    /// The same with options.
    pub fn with(target: &Target, session: Uuid, options: Options) -> Result<(Self, Recorder), AuditError> {
        let Opened { file, path, prev, files } = target.open(session, Timestamp::now())?;
        let rotation = Rotation { files, most: options.max_size.unwrap_or(u64::MAX) };
        let (key, mirror) = (options.key, options.mirror);
        Self::start(Box::new(file), path, prev, session, key, (Some(rotation), mirror))
    }

    /// Where it is written: the file in which it begins.
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
        (rotation, mirror): (Option<Rotation>, Option<Box<dyn Mirror>>),
    ) -> Result<(Self, Recorder), AuditError> {
        let queue = Arc::new(Queue::new());
        let mut writer = Writer {
            queue: Arc::clone(&queue),
            sink,
            path: path.clone(),
            session: session.to_string(),
            key,
            rotation,
            mirror,
            closing: None,
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

#[cfg(test)]
mod tests;
