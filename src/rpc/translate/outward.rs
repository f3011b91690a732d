//! What a line of the server's tells, and the line that the client gets.

use super::back::Back;
use super::envelope::Messages;
use super::learned::{Asked, MOST_ASKED, MOST_LIST};
use super::{Due, READ_ONLY, Translator};
use crate::rpc::json::{Scanner, Splice, Token, splice};

/// What a line of the server's comes to, in one look at it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The calls it answers and whose copies the guest may have written: they are
    /// [collected](super::Files::collect) before the line goes on.
    pub due: Vec<Due>,
    /// The client's names in the place of the guest's, and what was denied.
    restored: Vec<Splice>,
}

impl Heard {
    /// The line that goes on in the place of this one, if another does; `errors` are of what was [`due`](Self::due).
    pub fn instead(self, line: &[u8], errors: Vec<Splice>) -> Option<Vec<u8>> {
        let mut splices = self.restored;
        splices.retain(|one| !errors.iter().any(|error| error.span.contains(&one.span.start)));
        splices.extend(errors);
        splices.sort_by_key(|splice| splice.span.start);
        (!splices.is_empty()).then(|| splice(line, &splices))
    }
}

impl Translator {
    /// Whether lines of the server have to be looked at, however long they are.
    pub fn watches_server(&self) -> bool {
        !self.lists.is_empty() || !self.places.is_empty() || !self.mounts.is_empty() || self.felt.waits()
    }

    /// A long line of the server goes on without being looked at.
    pub fn let_go(&mut self) {
        self.felt.unseen();
    }

    /// Looks at a line of the server, once: what it asks, what it answers, and where the guest's paths are in it.
    pub fn heard(&mut self, line: &[u8]) -> Heard {
        let learns = !self.lists.is_empty() || line.len() <= MOST_ASKED;
        let mut back = Back::new(line, &self.places, &self.mounts);
        if !learns && self.pending.is_empty() && back.is_none() && !self.felt.waits() {
            self.let_go();
            return Heard::default();
        }
        let mut see = |token: &Token, scanner: &Scanner<'_>| {
            if let Some(back) = &mut back {
                back.see(token, scanner);
            }
        };
        let Some(messages) = Messages::read_with(line, &mut see) else { return Heard::default() };
        let denied = self.read_only && back.as_ref().is_some_and(Back::denies_writing);
        let mut restored = back.map(Back::splices).unwrap_or_default();
        restored.extend(messages.all.iter().flat_map(|message| self.felt.explain(line, message)));
        if denied {
            self.say(READ_ONLY.to_owned());
        }
        if learns {
            self.learn(line, &messages);
        }
        Heard { due: self.pending.due(line, &messages), restored }
    }

    /// The same where no call may write: another line in the place of this one.
    pub fn server(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        self.heard(line).instead(line, Vec::new())
    }

    /// Remembers what the server asks for, and reads the results of lists.
    fn learn(&mut self, line: &[u8], messages: &Messages) {
        for message in &messages.all {
            let Some(whole) = line.get(message.whole.clone()) else { continue };
            let id = message.id.clone().and_then(|span| line.get(span));
            match (message.method.as_deref(), id) {
                (Some(method), Some(id)) => self.asked.add(id, Asked::of(method, whole)),
                (Some("notifications/cancelled"), None) => {
                    let about = message.about.clone().and_then(|span| line.get(span));
                    about.and_then(|id| self.asked.take(id));
                }
                (None, Some(id)) => {
                    let list =
                        self.lists.take(id).filter(|_| message.result.is_some() && whole.len() <= MOST_LIST);
                    if let Some(list) = list {
                        self.learned.read(list, whole);
                    }
                }
                _ => {}
            }
        }
    }
}
