//! How lines are chained, and the check that a log is as npxc wrote it. Pure: bytes in, findings out.
//!
//! A line is one JSON object and a line feed. Its last member, `prev`, is the SHA-256 (lower-case hex) of the
//! bytes of the line before it, without the line feed; [`START`] for the first line of a log. `seq` counts from
//! 0 within a session. A file may hold several sessions one after the other; the chain runs through all of them.
//! A line that nothing may follow, `session.end`, has `seal` after `prev`: the hash of itself without `seal`. Where logs are
//! signed it ends with `key` and `signature`, of the [seal](super::signature); `session.start` names the same key. So does
//! `log.rotate`, which closes a [file](super::segments) in the middle of a session: `prev` of the next file's first line is its hash.
//!
//! The chain shows changes, reordering and removals in the middle; a removed tail shows by the missing
//! `session.end`. Someone who may write the file can rewrite all of it: keep a copy where they cannot, or have it signed.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, Read as _};
use std::path::Path;

use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Event;
use super::escape::printable;
use super::segments::number;
use super::signature::{Key, holds};

/// Version of the line format, `v` of every line.
pub const VERSION: u32 = 1;

/// `prev` of the first line of a log.
pub const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Longest line that is read. The writer stays far below: strings are cut at
/// [`MAX_STRING`](super::escape::MAX_STRING), only lists of rules and mounts make a line long.
pub const MAX_LINE: u64 = 4 << 20;

/// Findings that are kept; a file that is no log at all need not be reported line by line.
const MAX_FINDINGS: usize = 20;

/// The hash that the next line carries in `prev`.
pub fn hash(line: &[u8]) -> String {
    Sha256::digest(line).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What every line has beside its event.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Header {
    /// Version of the format.
    pub v: u32,
    /// Number of the line within its session.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// The session that wrote it.
    pub session: String,
    /// Hash of the line before.
    pub prev: String,
    /// Hash of this line without this member and those that follow; only in `session.end` and `log.rotate`.
    pub seal: Option<String>,
    /// Who will sign it, in `session.start`; who has signed it, in `session.end` and `log.rotate`.
    pub key: Option<String>,
    /// The signature.
    pub signature: Option<String>,
}

/// A line, as JSON Schema (draft 2020-12) has it.
pub fn schema() -> Value {
    #[derive(JsonSchema)]
    #[schemars(title = "A line of npxc's audit log")]
    #[allow(dead_code, reason = "only its shape is of use")]
    struct Line {
        #[serde(flatten)]
        header: Header,
        #[serde(flatten)]
        event: Event,
    }
    SchemaGenerator::default().into_root_schema_for::<Line>().into()
}

/// `line` with its own hash, and a key's signature of that, as last members.
pub fn seal(line: &str, key: Option<&Key>) -> String {
    let open = line.strip_suffix('}').unwrap_or(line);
    let seal = hash(line.as_bytes());
    let signed = key.map_or_else(String::new, |key| signed(&key.public(), &key.sign(&seal)));
    format!("{open},\"seal\":\"{seal}\"{signed}}}")
}

fn signed(key: &str, signature: &str) -> String {
    format!(",\"key\":\"{key}\",\"signature\":\"{signature}\"")
}

/// One thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name, where a log has several.
    pub file: Option<String>,
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong, as a sentence.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}, ", printable(file, 300))?;
        }
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Files read.
    pub files: usize,
    /// Lines read.
    pub lines: u64,
    /// Sessions in the log.
    pub sessions: usize,
    /// Hash of the last line: write it down elsewhere, and the whole file can be checked against it.
    pub last: String,
    /// Keys whose signatures hold, of the sessions in order; `None` for one that is not signed.
    pub signed: Vec<Option<String>>,
    /// What is wrong; empty for an untouched, complete log.
    pub findings: Vec<Finding>,
}

/// Checks the chain, the numbering and the closing record of a whole log that is in one file.
pub fn verify(input: impl BufRead) -> io::Result<Verified> {
    let mut check = Check::default();
    check.read(input)?;
    Ok(check.finish())
}

/// Whether a line ends with its own seal, and with a signature of that or none: nothing else, in no other form.
fn is_sealed(line: &[u8], header: &Header) -> bool {
    let Some(seal) = &header.seal else { return false };
    let signed = match (&header.key, &header.signature) {
        (Some(key), Some(signature)) if holds(key, seal, signature) => signed(key, signature),
        (None, None) => String::new(),
        _ => return false,
    };
    let end = format!(",\"seal\":\"{seal}\"{signed}}}");
    let open = line.strip_suffix(end.as_bytes());
    open.is_some_and(|open| hash(&[open, b"}"].concat()) == *seal)
}

/// A check that is under way: the files of a log, one after the other.
#[derive(Default)]
pub(super) struct Check {
    /// Of the whole log.
    lines: u64,
    /// Of this file.
    line: u64,
    file: Option<String>,
    /// The file that the log goes on in, as the line before says.
    next: Option<String>,
    /// Hash of the line before; empty before the first.
    last: String,
    current: Option<(String, u64)>,
    ended: bool,
    /// The key that the session's first line names.
    signer: Option<String>,
    seen: BTreeSet<String>,
    out: Verified,
}

impl Check {
    /// The file in which the log begins is not there.
    pub(super) fn begins_without(&mut self, name: &str) {
        self.find(format!("{name} is missing, in which the log begins"));
    }

    /// From here on it is this file. Somebody may have given all of them another name; their numbers stay.
    pub(super) fn file(&mut self, name: &str) {
        let number = |name: &str| number(Path::new(name)).map(|(_, number)| number);
        match self.next.take() {
            Some(next) if number(&next) == number(name) => {}
            Some(next) => self.find(format!("the log goes on in {next}, which is missing or another log's")),
            None if self.lines > 0 => {
                self.find(format!("{name} is there, and no line says that the log goes on in it"));
            }
            None => {}
        }
        (self.line, self.file) = (0, Some(name.to_owned()));
    }

    /// Checks what comes next.
    pub(super) fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        self.out.files += 1;
        let mut line = Vec::new();
        while self.out.findings.len() < MAX_FINDINGS {
            line.clear();
            let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            (self.line, self.lines) = (self.line + 1, self.lines + 1);
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if read as u64 == MAX_LINE {
                self.find("the line is longer than npxc ever writes");
                break;
            } else {
                self.find("the line is cut off (no line feed at its end)");
            }
            self.check(&line);
        }
        Ok(())
    }

    /// From the last finding that is kept on nothing is read any more, and what would follow from that is none.
    fn find(&mut self, what: impl Into<String>) {
        if self.out.findings.len() >= MAX_FINDINGS {
            return;
        }
        self.out.findings.push(Finding { file: self.file.clone(), line: self.line, what: what.into() });
    }

    fn check(&mut self, line: &[u8]) {
        let expected = if self.lines == 1 { START.to_owned() } else { self.last.clone() };
        self.last = hash(line);
        let parsed = serde_json::from_slice::<Header>(line)
            .and_then(|header| Ok((header, serde_json::from_slice::<Event>(line)?)));
        let (header, event) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                self.find(format!("not a record of npxc's audit log ({error})"));
                return;
            }
        };
        if header.v != VERSION {
            self.find(format!("format version {} is not known to this npxc", header.v));
        }
        if header.prev != expected {
            self.find(if self.lines == 1 {
                "lines before this one are missing (the first line of a log has no line before it)"
            } else {
                "`prev` is not the hash of the line before: that line was changed, or lines were removed, added \
                 or reordered here"
            });
        }
        if let Some(next) = self.next.take() {
            self.find(format!("it follows a line that says that the log goes on in {next}"));
        }
        if matches!(event, Event::SessionEnd { .. } | Event::LogRotate { .. }) {
            if header.key != self.signer {
                self.find("it is not signed with the key that session.start names");
            }
            if is_sealed(line, &header) {
                if matches!(event, Event::SessionEnd { .. }) {
                    self.out.signed.push(header.key.clone());
                }
            } else {
                self.find(
                    "`seal` is not the hash of this line, or not what was signed: the line was changed",
                );
            }
        }
        if matches!(event, Event::SessionStart { .. }) {
            self.signer.clone_from(&header.key);
        }
        self.check_order(&header, &event);
        self.ended = matches!(event, Event::SessionEnd { .. });
        self.current = Some((header.session, header.seq));
        if let Event::LogRotate { next } = event {
            self.next = Some(next);
        }
    }

    fn check_order(&mut self, header: &Header, event: &Event) {
        match self.current.clone() {
            Some((session, seq)) if session == header.session => {
                if header.seq != seq + 1 {
                    self.find(format!("`seq` is {}, expected {}", header.seq, seq + 1));
                }
            }
            before => {
                if before.is_some() && !self.ended {
                    self.find(
                        "the session before has no session.end: npxc was killed, or lines were removed",
                    );
                }
                if header.seq != 0 {
                    self.find(format!("a session begins with `seq` {}, expected 0", header.seq));
                }
                if !matches!(event, Event::SessionStart { .. }) {
                    self.find("a session begins without session.start");
                }
                if !self.seen.insert(header.session.clone()) {
                    self.find("a session that had ended goes on here");
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Verified {
        if let Some(next) = self.next.take() {
            self.find(format!("the log goes on in {next}, which is missing or another log's"));
        } else if self.lines == 0 {
            self.find("the log is empty");
        } else if !self.ended {
            self.find("session.end is missing: npxc still runs, was killed, or lines were removed");
        }
        self.out.lines = self.lines;
        self.out.sessions = self.seen.len();
        self.out.last = self.last;
        self.out
    }
}
