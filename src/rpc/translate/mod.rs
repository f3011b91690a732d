//! Paths in messages: the client's become the guest's on the way in, and the client's again on the way out. Sans-IO.
//!
//! # Call order
//! For each line of the client [`Translator::client`]; when it names paths, each of them is put before the workspace
//! ([`Files`]), without this state being held, and [`Translator::answered`] says what goes on: the line as it is, the line with
//! guest paths in it, or an error that goes back to the client. [`Translator::hints`] then has what a person should hear. For each
//! line of the server [`Translator::heard`], or [`Translator::let_go`] where it is longer than is held; what the calls that it answers have written is collected, again without this state
//! being held, and [`Heard::instead`] says what goes on.
//!
//! Out of the lines comes what a tool's and a prompt's arguments are (the lists that were asked for), and what the server has
//! asked the client, each by its request's id. Nothing else is remembered, so that neither `initialize` nor a revision of the
//! protocol matters.

mod back;
mod batch;
mod envelope;
mod explain;
mod felt;
mod files;
mod inward;
mod learned;
mod mounts;
mod outward;
mod pending;
mod positions;
mod refusal;
mod requests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::batch::Batch;
use self::envelope::Messages;
pub use self::explain::Explained;
use self::felt::Felt;
pub use self::files::{Answer, Files};
use self::inward::{Found, Message};
pub use self::learned::MOST_ASKED;
use self::learned::{Asked, Learned, List};
pub use self::mounts::Mounts;
pub use self::outward::Heard;
use self::pending::Pending;
pub use self::pending::{Due, Unsaved, Write};
use self::positions::MessageKind;
pub use self::refusal::Refusal;
use self::requests::Requests;
use crate::rpc::calls::Calls;
use crate::rpc::denials::Denials;
use crate::rpc::identify::{Configured, Named, Reason, shape};
use crate::rpc::json::{Plain, Splice, splice, text};

/// Where the guest sees what is shared with it: below it a directory's number and a file's name.
pub const GUEST_DIRECTORY: &str = "/opt/npxc-shared";
/// The key of what a server gives out to get it back: never touched, in either direction.
const OPAQUE: &str = "requestState";
/// Files whose names are recognized in words; as many as a session shares.
const MOST_KNOWN: usize = 4096;
/// Said when the server says that it may not write what it may not.
const READ_ONLY: &str =
    "the package may read and not change the files that calls name; --write lets it change them";
/// Things that are said to the user.
const MOST_HINTS: usize = 16;

/// A line that names paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    found: Vec<Found>,
    /// What is replaced without a question.
    known: Vec<Splice>,
    batch: Option<Batch>,
}

impl Call {
    /// The paths, in order.
    pub fn named(&self) -> impl Iterator<Item = &Named> {
        self.found.iter().map(|found| &found.named)
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
    /// A part of a batch was refused.
    Both {
        /// What goes on to the guest.
        line: Vec<u8>,
        /// What goes back to the client: one line or several.
        reply: Vec<u8>,
    },
}

/// What is known of a session.
#[derive(Debug, Default)]
pub struct Translator {
    configured: Configured,
    mounts: Mounts,
    learned: Learned,
    /// The client's requests.
    lists: Requests<List>,
    /// The server's requests.
    asked: Requests<Asked>,
    places: BTreeMap<usize, String>,
    /// The guest's names of what was shared, by the client's.
    known: HashMap<String, String>,
    hints: Vec<String>,
    hinted: BTreeSet<String>,
    /// Something is shared that the guest may not write.
    read_only: bool,
    pending: Pending,
    felt: Felt,
}

impl Translator {
    /// A session's start.
    pub fn new(configured: Configured) -> Self {
        Self { configured, ..Self::default() }
    }

    /// With these mounts, of which the guest sees some under other names than the client.
    #[must_use]
    pub fn mounts(self, mounts: Mounts) -> Self {
        Self { mounts, ..self }
    }

    /// Calls that end in an error are told what was denied meanwhile.
    #[must_use]
    pub fn explaining(self, denials: Denials) -> Self {
        Self { felt: self.felt.explaining(denials), ..self }
    }

    /// Calls of tools are noted there while they are under way.
    #[must_use]
    pub fn noting(self, calls: Calls) -> Self {
        Self { felt: self.felt.noting(calls), ..self }
    }

    /// What the guest gets in the place of a path that it is started with, if that is another one.
    pub fn started(&mut self, named: &Named, answer: Answer) -> Option<String> {
        let path = match answer {
            Answer::At(path) => path,
            // What it writes there is collected when it has ended.
            Answer::Shared { place, directory, name, writable: _ } => self.shared(place, directory, &name),
            Answer::Leave | Answer::Refused(_) => return None,
        };
        Some(written(named, &path))
    }

    /// Looks at a line of the client: one pass, and a second one over the part of a message that may hold paths.
    pub fn client(&mut self, line: &[u8]) -> Option<Call> {
        self.client_knowing(line, &[])
    }

    /// The same, of a line with [`Plain`] parts that are known.
    pub fn client_knowing(&mut self, line: &[u8], plain: &Plain) -> Option<Call> {
        let messages = Messages::read(line, plain)?;
        let mut found = Vec::new();
        for index in 0..messages.all.len() {
            self.message(line, &messages, index, &mut found);
        }
        let (known, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.known);
        let known: Vec<Splice> = known.iter().filter_map(|found| self.recognized(found)).collect();
        if found.is_empty() && known.is_empty() {
            return None;
        }
        let parts =
            || messages.all.iter().map(|one| (one.whole.clone(), one.method.is_some() && one.id.is_some()));
        let batch = messages.batch.then(|| Batch { messages: parts().collect() });
        Some(Call { found, known, batch })
    }

    fn message(&mut self, line: &[u8], messages: &Messages, index: usize, found: &mut Vec<Found>) {
        let Some(message) = messages.all.get(index) else { return };
        let id = message.id.clone().and_then(|span| line.get(span));
        let asked;
        let (kind, region) = if let Some(method) = message.method.as_deref() {
            match (method, id) {
                ("tools/list", Some(id)) => self.lists.add(id, List::Tools),
                ("prompts/list", Some(id)) => self.lists.add(id, List::Prompts),
                ("tools/call", Some(id)) => self.felt.call(id, message.name.as_deref().unwrap_or_default()),
                ("notifications/cancelled", None) => {
                    let about = message.about.clone().and_then(|span| line.get(span));
                    if let Some(id) = about {
                        self.lists.take(id);
                        self.pending.forget(id);
                        self.felt.forget(id);
                    }
                }
                _ => {}
            }
            asked = None;
            (MessageKind::of(method), message.params.clone())
        } else {
            asked = id.and_then(|id| self.asked.take(id));
            let paths = id.is_some() && !message.error && !matches!(asked, Some(Asked::Else));
            (paths.then_some(MessageKind::Answer), message.result.clone())
        };
        let (Some(kind), Some(region)) = (kind, region) else { return };
        let tool = message.name.as_deref().unwrap_or_default();
        let schema = match (kind, &asked) {
            (MessageKind::Tool, _) => self.learned.tool(tool),
            (MessageKind::Prompt, _) => self.learned.prompt(tool),
            (_, Some(Asked::Form(form))) => Some(form),
            _ => None,
        };
        let id = message.id.clone().filter(|_| message.method.is_some());
        let long = &messages.long;
        Message { kind, configured: &self.configured, schema, tool, id, index, long }
            .paths(line, region, found);
    }

    /// What goes in the place of a path that words name.
    fn recognized(&self, found: &Found) -> Option<Splice> {
        let path = &found.named.written.path;
        let guest = self.known.get(path).cloned().or_else(|| self.mounts.inside(path))?;
        (guest != *path).then(|| put(found, &guest))
    }

    /// What becomes of a line, with an answer for each of its paths. The first refusal of a request decides.
    pub fn answered(&mut self, line: &[u8], call: &Call, answers: Vec<Answer>) -> Outcome {
        let mut splices = call.known.clone();
        let mut errors = BTreeMap::new();
        let mut writes: BTreeMap<(usize, &[u8]), Vec<Write>> = BTreeMap::new();
        for (found, answer) in call.found.iter().zip(answers) {
            let id = found.id.clone().and_then(|span| line.get(span));
            let path = match answer {
                Answer::Leave => continue,
                Answer::At(path) => path,
                Answer::Shared { place, directory, name, writable } => {
                    self.read_only |= !writable;
                    let path = self.shared(place, directory, &name);
                    if let (true, Some(id)) = (writable, id) {
                        writes.entry((found.message, id)).or_default().push(Write { place, name });
                    }
                    path
                }
                Answer::Refused(refusal) => {
                    // What has no id expects no answer, and the server knows best what to do with it.
                    if let Some(id) = id.filter(|_| found.decides) {
                        self.felt.forget(id);
                        errors.entry(found.message).or_insert_with(|| refusal.message(id, &found.named.text));
                    } else if found.named.reason == Reason::Root {
                        self.say(refusal.hint_about(&found.named.text));
                    }
                    continue;
                }
            };
            splices.push(put(found, &path));
        }
        for ((message, id), writes) in writes {
            if !errors.contains_key(&message) {
                self.pending.expect(id, writes);
            }
        }
        splices.sort_by_key(|splice| splice.span.start);
        match (errors.pop_first(), &call.batch) {
            (None, _) if splices.is_empty() => Outcome::Forward,
            (None, _) => Outcome::Changed(splice(line, &splices)),
            (Some((_, error)), None) => Outcome::Reply(error),
            (Some((index, error)), Some(batch)) => {
                errors.insert(index, error);
                match batch.without(line, splices, &errors) {
                    (Some(line), reply) => Outcome::Both { line, reply },
                    (None, reply) => Outcome::Reply(reply),
                }
            }
        }
    }

    /// The guest's path of what was shared.
    fn shared(&mut self, place: usize, directory: String, name: &str) -> String {
        let path = format!("{GUEST_DIRECTORY}/{place}/{name}").trim_end_matches('/').to_owned();
        if self.known.len() < MOST_KNOWN {
            let host = format!("{}/{name}", directory.trim_end_matches('/'));
            self.known.insert(host.trim_end_matches('/').to_owned(), path.clone());
        }
        self.places.insert(place, directory);
        path
    }

    fn say(&mut self, what: String) {
        if self.hinted.len() < MOST_HINTS && self.hinted.insert(what.clone()) {
            self.hints.push(what);
        }
    }

    /// What a person should hear, in order, each once.
    pub fn hints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.hints)
    }
}

/// The guest's path in the place of the client's.
fn put(found: &Found, path: &str) -> Splice {
    let mut written = written(&found.named, path);
    for _ in 0..found.levels {
        written = text::encode(&written);
    }
    Splice { span: found.span.clone(), with: written.into_bytes() }
}

/// The guest's path, as the client's was written.
fn written(named: &Named, path: &str) -> String {
    let mut written = path.to_owned();
    // A client that ends a directory's name so gets it back so.
    if named.written.path.ends_with('/') && !written.ends_with('/') {
        written.push('/');
    }
    if !named.written.uri {
        return written;
    }
    let uri = format!("file://{}", shape::percent_encode(&written));
    // A template's braces are no part of a path.
    if named.text.contains('{') { uri.replace("%7B", "{").replace("%7D", "}") } else { uri }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "position_tests.rs"]
mod position_tests;
