//! The log's thread: takes what waits, gives each line its number, its time and its hash, and goes on in another file where one
//! is full.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Mirror;
use crate::audit::error::ROOM;
use crate::audit::escape::bounded_json;
use crate::audit::file::{Files, Sink};
use crate::audit::queue::Queue;
use crate::audit::signature::Key;
use crate::audit::throttle::Throttle;
use crate::audit::{Event, chain};
use crate::exit::is_full;

/// Written in pieces of this size while a batch is long: one system call per some 200 lines.
const PIECE: usize = 64 << 10;

/// How often counted denials are written while they keep coming.
const SUMMARY: Duration = Duration::from_secs(1);

/// Room for what is around an event in a line, and for the line that closes a file.
const AROUND: u64 = 4 << 10;

/// Where the log goes on when a file has no room for more.
pub(super) struct Rotation {
    pub(super) files: Files,
    /// Bytes of a file.
    pub(super) most: u64,
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) sink: Box<dyn Sink>,
    pub(super) path: PathBuf,
    pub(super) session: String,
    pub(super) key: Option<Key>,
    pub(super) rotation: Option<Rotation>,
    pub(super) mirror: Option<Box<dyn Mirror>>,
    /// Brings the file before to the disk.
    pub(super) closing: Option<JoinHandle<io::Result<()>>>,
    pub(super) prev: String,
    pub(super) seq: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) throttle: Throttle,
    /// DNS answers counted instead of written.
    pub(super) answers: u64,
}

impl Writer {
    /// Writes what comes until the log is closed; what went wrong, which is said aloud as well.
    pub(super) fn run(&mut self) -> Result<(), String> {
        // Also when this thread panics: without it nothing is written, so nothing may be allowed.
        let _fail = FailOnDrop(Arc::clone(&self.queue));
        let result = self.write_all().and_then(|()| self.closed()).and_then(|()| self.sink.sync());
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
        if let Some(denial) = event.denial() {
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
        let room = json.len() as u64 + AROUND;
        // A file, and a session that goes on in one, begin with a line of the session's own.
        let full = self.rotation.as_ref().is_some_and(|Rotation { files, most }| {
            files.size > 0 && files.size.saturating_add(room) > *most
        });
        if full && self.seq > 0 {
            self.rotate(time)?;
        }
        self.append(time, event, &json);
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Closes this file, and goes on in the next one.
    fn rotate(&mut self, time: Timestamp) -> io::Result<()> {
        // Whatever becomes of the next one.
        self.flush()?;
        let Some(rotation) = &mut self.rotation else { return Ok(()) };
        let (file, next) = rotation.files.next()?;
        let event = Event::LogRotate { next };
        self.append(time, &event, &bounded_json(&serde_json::to_string(&event)?));
        self.flush()?;
        let mut closed = std::mem::replace(&mut self.sink, Box::new(file));
        if let Some(rotation) = &mut self.rotation {
            rotation.files.size = 0;
        }
        // That takes a while, and events come meanwhile.
        self.closed()?;
        let sync =
            std::thread::Builder::new().name("npxc-audit-sync".to_owned()).spawn(move || closed.sync())?;
        self.closing = Some(sync);
        Ok(())
    }

    /// Waits until the file before is on disk.
    fn closed(&mut self) -> io::Result<()> {
        match self.closing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("its thread stopped")),
        }
    }

    fn append(&mut self, time: Timestamp, event: &Event, json: &str) {
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
        if matches!(event, Event::SessionEnd { .. } | Event::LogRotate { .. }) {
            line = chain::seal(&line, self.key.as_ref());
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.record(time, &self.session, event);
        }
        self.prev = chain::hash(line.as_bytes());
        self.seq += 1;
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        if let Some(rotation) = &mut self.rotation {
            rotation.files.size += line.len() as u64 + 1;
        }
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
