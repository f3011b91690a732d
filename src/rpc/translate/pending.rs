//! Which calls may be writing to which copies, until their replies come. Sans-IO.

use std::collections::HashMap;
use std::ops::Range;

use super::envelope::Messages;
use super::refusal::{INTERNAL_ERROR, Refusal};
use super::requests::key;
use crate::rpc::json::Splice;

/// Calls that wait for their replies. What more of them write is collected when the session ends.
const MOST_CALLS: usize = 4096;
/// Copies that one of them may be writing: as many as one line can name. Only several calls with one id have more.
const MOST_WRITES: usize = 1024;

/// Files that one error tells of; more are counted.
const MOST_SAID: usize = 3;

/// A copy that a call named and that the guest may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Number of its directory.
    pub place: usize,
    /// Its path below that.
    pub name: String,
}

/// What could not be brought to the client's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    /// The client's path.
    pub path: String,
    /// Why, and where it is instead.
    pub refusal: Refusal,
}

/// A call whose reply is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What it may have written.
    pub writes: Vec<Write>,
    /// Its id as the reply has it.
    id: Range<usize>,
    /// The reply, without what is around it.
    span: Range<usize>,
}

impl Due {
    /// The error in place of a reply on this line: the server has done its part, and the client would not find it.
    pub fn instead(&self, line: &[u8], unsaved: &[Unsaved]) -> Option<Splice> {
        let first = unsaved.first()?;
        let said: Vec<String> = unsaved
            .iter()
            .take(MOST_SAID)
            .map(|Unsaved { path, refusal }| format!("{path} {}", refusal.reason))
            .collect();
        let more = match unsaved.len().saturating_sub(said.len()) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let words = format!("{}{more}", said.join("; "));
        let paths: Vec<&str> = unsaved.iter().map(|one| one.path.as_str()).collect();
        let with = first.refusal.error(INTERNAL_ERROR, line.get(self.id.clone())?, &words, &paths);
        Some(Splice { span: self.span.clone(), with })
    }
}

/// Calls that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: HashMap<Vec<u8>, Vec<Write>>,
}

impl Pending {
    /// A call with this id, as it is written, goes to the guest.
    pub(super) fn expect(&mut self, id: &[u8], writes: Vec<Write>) {
        let id = key(id);
        let has_room = self.calls.len() < MOST_CALLS || self.calls.contains_key(&id);
        if writes.is_empty() || !has_room {
            return;
        }
        let waiting = self.calls.entry(id).or_default();
        for write in writes {
            if waiting.len() < MOST_WRITES && !waiting.contains(&write) {
                waiting.push(write);
            }
        }
    }

    /// The call with this id is cancelled: no reply will come. What it writes is collected when the session ends.
    pub(super) fn forget(&mut self, id: &[u8]) {
        self.calls.remove(&key(id));
    }

    /// Whether no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The calls that a line with these messages answers, in its order; each is due once.
    pub(super) fn due(&mut self, line: &[u8], messages: &Messages) -> Vec<Due> {
        let mut due = Vec::new();
        for message in messages.all.iter().filter(|message| message.method.is_none()) {
            let Some(id) = message.id.clone() else { continue };
            if let Some(writes) = line.get(id.clone()).and_then(|id| self.calls.remove(&key(id))) {
                due.push(Due { writes, id, span: message.whole.clone() });
            }
        }
        due
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
