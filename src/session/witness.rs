//! The datapath's log, with an ear for denials: the calls during which they happen are told of them, and people as well.

use tokio::sync::mpsc::UnboundedSender;

use super::Said;
use crate::audit::escape::printable;
use crate::audit::{Event, Recorder};
use crate::net::router::Journal;
use crate::rpc::denials::{Denial, Denials};

/// Longest words about one denial, bytes: the package chooses a part of them.
const MOST_SAID: usize = 400;

/// Writes to the log, and remembers what was denied.
pub(super) struct Witness {
    recorder: Recorder,
    denials: Denials,
    say: UnboundedSender<Said>,
}

impl Witness {
    pub(super) fn new(recorder: Recorder, denials: Denials, say: UnboundedSender<Said>) -> Self {
        Self { recorder, denials, say }
    }
}

impl Journal for Witness {
    fn record(&mut self, event: Event) -> bool {
        if let Some(denial) = denial(&event).and_then(|denial| self.denials.add(denial)) {
            let words = format!("the package was denied {} ({})", denial.destination, denial.reason);
            let said = Said { words: printable(&words, MOST_SAID), hint: denial.hint };
            // Nobody listens when the session is over.
            let _ = self.say.send(said);
        }
        Recorder::record(&self.recorder, event).is_ok()
    }

    fn denied_again(&mut self, name: &str) {
        self.denials.again(name);
    }

    fn healthy(&self) -> bool {
        self.recorder.healthy()
    }
}

/// What was denied, if something that a rule could allow was.
fn denial(event: &Event) -> Option<Denial> {
    match event {
        Event::FlowDeny { name, guest_destination, reason, hint, .. } => {
            let destination = match name {
                Some(name) => format!("{name}:{}", guest_destination.port()),
                None => guest_destination.to_string(),
            };
            Some(Denial { destination, reason: reason.clone(), hint: hint.clone() })
        }
        Event::Dns { name, reason: Some(reason), hint, .. } => {
            Some(Denial { destination: name.clone(), reason: reason.clone(), hint: hint.clone() })
        }
        _ => None,
    }
}
