//! Both directions of path B as streams: bytes in, messages looked at on the way, bytes out. The shell around `frame` and
//! `translate`; `proxy` has a thread for each direction.
//!
//! Until the client has sent a JSON-RPC message nothing is held and nothing looked at in the other direction, and a line of
//! the client's is held only as far as is needed to see whether it is one: any other program's stdio goes straight through.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{Piece, Splitter};
use super::translate::{Answer, Due, Files, MOST_ASKED, Outcome, Translator};
use crate::patient::Patient;

/// How much of a line is held to tell a JSON-RPC message from anything else, as long as there was none.
const FIRST_LINE: usize = 4096;

/// Errors that wait for the end of the server's line, bytes: some thousand. Whoever leaves a line open for longer than that has
/// written a prompt, or has stopped; waiting any longer could be for what the client sends next.
const MOST_WAITING: usize = 1 << 20;

/// Whether a line is a JSON-RPC message.
fn speaks_json_rpc(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), Some(b'{' | b'[')) && has(line, b"\"jsonrpc\"")
}

/// Whether a line that begins so may be one: some clients write what they are at the end.
fn may_speak_json_rpc(start: &[u8]) -> bool {
    speaks_json_rpc(start) || has(start, b"\"method\"")
}

fn has(bytes: &[u8], key: &[u8]) -> bool {
    memchr::memmem::find(bytes, key).is_some()
}

/// What the two directions share.
pub(super) struct Wire {
    /// The client speaks JSON-RPC.
    spoken: AtomicBool,
    translator: Mutex<Translator>,
    /// Asked when no lock is held: copying takes its time.
    files: Box<dyn Files>,
    client: Mutex<Client>,
}

/// The client's end: the server's bytes, and npxc's errors between its lines.
#[derive(Debug)]
struct Client {
    out: Patient<File>,
    at_line_start: bool,
    /// npxc's lines, as long as the server is in the middle of one.
    waiting: Vec<u8>,
    /// Nothing more comes from the server.
    ended: bool,
}

impl Wire {
    pub(super) fn new(translator: Translator, files: Box<dyn Files>, out: File) -> Arc<Self> {
        let client = Client { out: Patient(out), at_line_start: true, waiting: Vec::new(), ended: false };
        Arc::new(Self {
            spoken: AtomicBool::new(false),
            translator: Mutex::new(translator),
            files,
            client: Mutex::new(client),
        })
    }

    fn translator(&self) -> MutexGuard<'_, Translator> {
        self.translator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn write(&mut self, bytes: &[u8], ends_line: bool) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at_line_start = ends_line;
        if self.at_line_start { self.between(&[]) } else { Ok(()) }
    }

    /// Writes lines of npxc's own, when the server is not in the middle of one. A line whose end does not come is ended.
    fn between(&mut self, lines: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(lines);
        if self.waiting.is_empty() {
            return Ok(());
        }
        if !self.at_line_start && (self.ended || self.waiting.len() > MOST_WAITING) {
            self.out.write_all(b"\n")?;
            self.at_line_start = true;
        }
        if self.at_line_start {
            self.out.write_all(&std::mem::take(&mut self.waiting))?;
        }
        Ok(())
    }

    /// The server has written all it will.
    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        self.between(&[])
    }
}

/// From the client to the guest.
pub(super) struct Inward {
    wire: Arc<Wire>,
    splitter: Splitter,
    to: File,
}

impl Inward {
    pub(super) fn new(wire: &Arc<Wire>, to: File) -> Self {
        Self { wire: Arc::clone(wire), splitter: Splitter::default(), to }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { wire, splitter, to } = self;
        let mut give = |piece: Piece<'_>| forward(wire, to, piece);
        splitter.push(bytes, &mut || true, &mut give)?;
        let held = splitter.held();
        if held.len() > FIRST_LINE && !wire.spoken.load(Ordering::Relaxed) && !may_speak_json_rpc(held) {
            splitter.let_go(&mut give)?;
        }
        Ok(())
    }

    /// The message that is held, when it is long; what is read into it goes to [`appended`](Self::appended).
    pub(super) fn continuation(&mut self, size: usize) -> Option<&mut Vec<u8>> {
        self.splitter.continuation(size)
    }

    pub(super) fn appended(&mut self, before: usize) -> io::Result<()> {
        let Self { wire, splitter, to } = self;
        splitter.appended(before, &mut || true, &mut |piece| forward(wire, to, piece))
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        let Self { wire, splitter, to } = self;
        splitter.end(&mut |piece| forward(wire, to, piece))
    }

    /// Whether the client speaks JSON-RPC: it has sent a message.
    pub(super) fn is_spoken(&self) -> bool {
        self.wire.spoken.load(Ordering::Relaxed)
    }
}

fn forward(wire: &Wire, to: &mut File, piece: Piece<'_>) -> io::Result<()> {
    let (line, plain) = match piece {
        Piece::Through(bytes, _) => return to.write_all(bytes),
        Piece::Message(line, plain) => (line, plain),
    };
    if !wire.spoken.load(Ordering::Relaxed) {
        if !speaks_json_rpc(line) {
            return to.write_all(line);
        }
        wire.spoken.store(true, Ordering::Relaxed);
    }
    let call = wire.translator().client_knowing(line, plain);
    let Some(call) = call else { return to.write_all(line) };
    // Copying takes its time; the server's messages go on meanwhile.
    let answers: Vec<Answer> = call.named().map(|named| wire.files.share(named)).collect();
    let (outcome, hints) = {
        let mut translator = wire.translator();
        (translator.answered(line, &call, answers), translator.hints())
    };
    for hint in hints {
        wire.files.say(&hint);
    }
    match outcome {
        Outcome::Forward => to.write_all(line),
        Outcome::Changed(line) => to.write_all(&line),
        Outcome::Reply(reply) => {
            // Nobody reads it: the thread that forwards stdout says so to the session.
            let _ = wire.client().between(&reply);
            Ok(())
        }
        Outcome::Both { line, reply } => {
            let _ = wire.client().between(&reply);
            to.write_all(&line)
        }
    }
}

/// From the guest to the client.
pub(super) struct Outward {
    wire: Arc<Wire>,
    splitter: Splitter,
}

impl Outward {
    pub(super) fn new(wire: &Arc<Wire>) -> Self {
        Self { wire: Arc::clone(wire), splitter: Splitter::default() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { wire, splitter } = self;
        let mut give = |piece: Piece<'_>| backward(wire, piece);
        splitter.push(bytes, &mut || wire.spoken.load(Ordering::Relaxed), &mut give)?;
        // A long line is held only for what may be in it.
        if splitter.held().len() > MOST_ASKED {
            let mut translator = wire.translator();
            if !translator.watches_server() {
                translator.let_go();
                drop(translator);
                splitter.let_go(&mut give)?;
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        let Self { wire, splitter } = self;
        splitter.end(&mut |piece| backward(wire, piece))?;
        wire.client().end()
    }
}

fn backward(wire: &Wire, piece: Piece<'_>) -> io::Result<()> {
    match piece {
        Piece::Through(bytes, ends_line) => wire.client().write(bytes, ends_line),
        Piece::Message(line, _) => {
            let (heard, hints) = {
                let mut translator = wire.translator();
                (translator.heard(line), translator.hints())
            };
            for hint in hints {
                wire.files.say(&hint);
            }
            // What the calls wrote that this line answers comes before the line.
            let collect = |due: &Due| due.instead(line, &wire.files.collect(&due.writes));
            let errors = heard.due.iter().filter_map(collect).collect();
            let changed = heard.instead(line, errors);
            wire.client().write(changed.as_deref().unwrap_or(line), line.ends_with(b"\n"))
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
