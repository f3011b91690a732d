//! Says on stderr what the proxy did not do: whoever runs the package can change that, the package cannot.

use std::collections::BTreeSet;

use tokio::sync::mpsc::UnboundedSender;

use crate::audit::{Event, Recorder};
use crate::net::router::Journal;

/// Different things that are said in one session; the log has them all.
const MOST_SAID: usize = 16;

/// The session's recorder, with a voice for connections that the proxy did not make.
pub(super) struct Telling {
    recorder: Recorder,
    say: UnboundedSender<String>,
    /// Where the flow that was opened last goes: one that fails is closed in the same breath.
    last: String,
    said: BTreeSet<String>,
}

impl Telling {
    pub(super) fn new(recorder: Recorder, say: UnboundedSender<String>) -> Self {
        Self { recorder, say, last: String::new(), said: BTreeSet::new() }
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::FlowOpen { via: Some(_), .. } => self.last = destination(event).unwrap_or_default(),
            Event::FlowClose { how, hint: Some(hint), .. } if self.said.len() < MOST_SAID => {
                let words = format!("the connection to {} was {how} ({hint})", self.last);
                if self.said.insert(words.clone()) {
                    // Nobody listens when the session is over.
                    drop(self.say.send(words));
                }
            }
            _ => {}
        }
    }
}

impl Journal for Telling {
    fn record(&mut self, event: Event) -> bool {
        self.tell(&event);
        Journal::record(&mut self.recorder, event)
    }

    fn healthy(&self) -> bool {
        Journal::healthy(&self.recorder)
    }
}

/// Where an opened flow goes, as people say it.
pub(super) fn destination(event: &Event) -> Option<String> {
    let Event::FlowOpen { name, guest_destination, .. } = event else { return None };
    Some(match name {
        Some(name) => format!("{name}:{}", guest_destination.port()),
        None => guest_destination.to_string(),
    })
}
