//! Says on stderr, when it happens, what the proxy did not do: whoever runs the package can change that, the package
//! cannot. npm tries again for a minute before it gives up.

use std::collections::BTreeSet;

use tokio::sync::mpsc::UnboundedSender;

use super::Said;
use crate::audit::Event;
use crate::net::router::Journal;

/// Different things that are said in one session; the log has them all.
const MOST_SAID: usize = 16;

/// A session's journal, with a voice for connections that the proxy did not make.
pub(super) struct Telling<J> {
    journal: J,
    say: UnboundedSender<Said>,
    /// Where the flow that was opened last goes: one that fails is closed in the same breath.
    last: String,
    said: BTreeSet<String>,
}

impl<J: Journal> Telling<J> {
    pub(super) fn new(journal: J, say: UnboundedSender<Said>) -> Self {
        Self { journal, say, last: String::new(), said: BTreeSet::new() }
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::FlowOpen { via: Some(_), .. } => self.last = destination(event).unwrap_or_default(),
            Event::FlowClose { how, hint: Some(hint), .. } if self.said.len() < MOST_SAID => {
                let words = format!("the connection to {} was {how}", self.last);
                if self.said.insert(words.clone()) {
                    // Nobody listens when the session is over.
                    drop(self.say.send(Said { words, hint: Some(hint.clone()) }));
                }
            }
            _ => {}
        }
    }
}

impl<J: Journal> Journal for Telling<J> {
    fn record(&mut self, event: Event) -> bool {
        self.tell(&event);
        self.journal.record(event)
    }

    fn denied_again(&mut self, name: &str) {
        self.journal.denied_again(name);
    }

    fn healthy(&self) -> bool {
        self.journal.healthy()
    }
}

/// Where an opened flow goes, as people say it.
fn destination(event: &Event) -> Option<String> {
    let Event::FlowOpen { name, guest_destination, .. } = event else { return None };
    Some(match name {
        Some(name) => format!("{name}:{}", guest_destination.port()),
        None => guest_destination.to_string(),
    })
}
