//! Paths in messages: the client's become the guest's on the way in, and the client's again on the way out. Sans-IO.
//!
//! # Call order
//! For each message of the client [`Translator::client`]; when it names paths, each of them is put before the workspace
//! ([`Files`]), without this state being held, and [`Translator::answered`] says what goes on: the line as it is, the line with
//! guest paths in it, or an error that goes back to the client. For each line of the server [`Translator::server`].
//!
//! Out of the lines comes what a tool's arguments are: requests for `tools/list` are remembered by id, and their results
//! read. Nothing else is remembered, so that neither `initialize` nor a revision of the protocol matters.

mod back;
mod envelope;
mod pending;
mod refusal;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use self::envelope::{Envelope, keys};
use self::pending::Pending;
pub use self::pending::{Due, Unsaved, Write};
pub use self::refusal::Refusal;
use crate::rpc::identify::{Configured, Named, ToolSchema, identify, shape};
use crate::rpc::json::{Kind, Scanner, Splice, splice, text};

/// Where the guest sees what is shared with it: below it a directory's number and a file's name.
pub const GUEST_DIRECTORY: &str = "/opt/npxc-shared";
/// Requests for `tools/list` that wait for their results; more are not read.
const MOST_LISTS: usize = 256;
/// Tools whose schemas are kept; real servers have at most some hundred.
const MOST_TOOLS: usize = 4096;
/// Longest `tools/list` result that is read, in bytes: it is parsed into a tree. 120 KB is the largest that is known.
const MOST_LIST: usize = 4 << 20;
/// Paths in one call; more are left as they are.
const MOST_PATHS: usize = 1024;

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It stays as it is: the guest has it under this name, or it is not the client's to begin with.
    Leave,
    /// The guest has it under another path.
    At(String),
    /// A copy lies at [`GUEST_DIRECTORY`]`/place/name`.
    Shared {
        /// Number of the directory.
        place: usize,
        /// The client's name for the directory.
        directory: String,
        /// The file's name, or its path below the directory.
        name: String,
        /// The guest may write to it: what it has written is collected before the call's reply goes on.
        writable: bool,
    },
    /// It cannot be had.
    Refused(Refusal),
}

/// Who decides about paths and makes them visible.
pub trait Files: Send {
    /// Makes what is named visible for the guest, as it is now.
    fn share(&mut self, named: &Named) -> Answer;

    /// Brings to the client's files what the guest has written to these copies; returns what could not be.
    fn collect(&mut self, written: &[Write]) -> Vec<Unsaved> {
        let _ = written;
        Vec::new()
    }
}

/// A call that names paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    id: Option<Range<usize>>,
    named: Vec<(Named, Range<usize>)>,
}

impl Call {
    /// The paths, in order.
    pub fn named(&self) -> impl Iterator<Item = &Named> {
        self.named.iter().map(|(named, _)| named)
    }
}

/// What goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The line as it is.
    Forward,
    /// This line in its place.
    Changed(Vec<u8>),
    /// Nothing to the guest, and this line to the client.
    Reply(Vec<u8>),
}

/// What is known of a session.
#[derive(Debug, Default)]
pub struct Translator {
    configured: Configured,
    tools: HashMap<String, ToolSchema>,
    lists: HashSet<Vec<u8>>,
    places: BTreeMap<usize, String>,
    pending: Pending,
}

impl Translator {
    /// A session's start.
    pub fn new(configured: Configured) -> Self {
        Self { configured, ..Self::default() }
    }

    /// Looks at a message of the client. One pass over what is no call of a tool, a second one over the arguments of
    /// what is.
    pub fn client(&mut self, line: &[u8]) -> Option<Call> {
        let envelope = Envelope::read(line)?;
        match envelope.method.as_deref()? {
            "tools/list" => {
                if let Some(id) = envelope.id.and_then(|span| line.get(span))
                    && self.lists.len() < MOST_LISTS
                {
                    self.lists.insert(id.to_vec());
                }
                None
            }
            "tools/call" => {
                let named = self.paths(line, envelope.name.as_deref()?, envelope.arguments?)?;
                (!named.is_empty()).then_some(Call { id: envelope.id, named })
            }
            _ => None,
        }
    }

    /// The paths in a call's arguments.
    fn paths(&self, line: &[u8], tool: &str, arguments: Range<usize>) -> Option<Vec<(Named, Range<usize>)>> {
        let offset = arguments.start;
        let arguments = line.get(arguments)?;
        let schema = self.tools.get(tool);
        let mut scanner = Scanner::new(arguments);
        let mut found = Vec::new();
        while let Some(token) = scanner.next().ok()? {
            if token.kind != Kind::String || found.len() >= MOST_PATHS {
                continue;
            }
            let Some(raw) = arguments.get(token.span.clone()).filter(|raw| shape::is_short(raw)) else {
                continue;
            };
            let (Some(value), Some(position)) = (text::decode(raw), scanner.position(&token)) else {
                continue;
            };
            let keys = keys(arguments, position);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if let Some(named) = identify(&self.configured, schema, tool, &keys, &value) {
                found.push((named, token.span.start + offset..token.span.end + offset));
            }
        }
        Some(found)
    }

    /// What becomes of a call, with an answer for each of its paths. The first refusal decides.
    pub fn answered(&mut self, line: &[u8], call: &Call, answers: Vec<Answer>) -> Outcome {
        let mut splices = Vec::new();
        let mut writes = Vec::new();
        for ((named, span), answer) in call.named.iter().zip(answers) {
            let path = match answer {
                Answer::Leave => continue,
                Answer::At(path) => path,
                Answer::Shared { place, directory, name, writable } => {
                    self.places.insert(place, directory);
                    let path = format!("{GUEST_DIRECTORY}/{place}/{name}").trim_end_matches('/').to_owned();
                    if writable {
                        writes.push(Write { place, name });
                    }
                    path
                }
                // What has no id expects no answer, and the server knows best what to do with it.
                Answer::Refused(refusal) => match call.id.clone().and_then(|span| line.get(span)) {
                    Some(id) => return Outcome::Reply(refusal.message(id, &named.text)),
                    None => continue,
                },
            };
            let written =
                if named.written.uri { format!("file://{}", shape::percent_encode(&path)) } else { path };
            splices.push(Splice { span: span.clone(), with: text::encode(&written).into_bytes() });
        }
        if let Some(id) = call.id.clone().and_then(|span| line.get(span)) {
            self.pending.expect(id, writes);
        }
        if splices.is_empty() { Outcome::Forward } else { Outcome::Changed(splice(line, &splices)) }
    }

    /// Whether lines of the server have to be looked at.
    pub fn watches_server(&self) -> bool {
        !self.lists.is_empty() || !self.places.is_empty()
    }

    /// The calls that a line of the server answers and whose copies the guest may have written. They are collected
    /// ([`Files::collect`]) before the line goes on, without this state being held.
    pub fn due(&mut self, line: &[u8]) -> Vec<Due> {
        self.pending.due(line)
    }

    /// Looks at a line of the server; returns another one in its place where the guest's paths are in it.
    pub fn server(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if !self.lists.is_empty() {
            self.learn(line);
        }
        if self.places.is_empty() { None } else { back::restore(line, &self.places) }
    }

    /// Reads the result of a `tools/list` that was asked for.
    fn learn(&mut self, line: &[u8]) {
        let Some(envelope) = Envelope::read(line) else { return };
        let Some(id) = envelope.id.and_then(|span| line.get(span)) else { return };
        if envelope.method.is_some() || !self.lists.remove(id) || !envelope.result || line.len() > MOST_LIST {
            return;
        }
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else { return };
        for tool in message["result"]["tools"].as_array().into_iter().flatten() {
            let Some(name) = tool["name"].as_str() else { continue };
            if self.tools.len() < MOST_TOOLS || self.tools.contains_key(name) {
                self.tools.insert(name.to_owned(), ToolSchema::read(&tool["inputSchema"]));
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
