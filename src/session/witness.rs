//! The datapath's log, with an ear for denials, and for what would have been one: the calls during which denials happen are
//! told of them, and people as well. It says which calls are under way.

use tokio::sync::mpsc::UnboundedSender;

use super::Said;
use super::observed::Observed;
use crate::audit::escape::printable;
use crate::audit::{Event, Recorder};
use crate::net::router::Journal;
use crate::rpc::calls::Calls;
use crate::rpc::denials::{Denial, Denials};

/// Longest words about one denial, bytes: the package chooses a part of them.
const MOST_SAID: usize = 400;

/// Writes to the log, and remembers what was denied, or would have been.
pub(super) struct Witness {
    recorder: Recorder,
    denials: Denials,
    observed: Observed,
    calls: Calls,
    say: UnboundedSender<Said>,
}

impl Witness {
    pub(super) fn new(
        recorder: Recorder,
        denials: Denials,
        (observed, calls): (Observed, Calls),
        say: UnboundedSender<Said>,
    ) -> Self {
        Self { recorder, denials, observed, calls, say }
    }
}

impl Journal for Witness {
    fn record(&mut self, mut event: Event) -> bool {
        event.during(self.calls.tools());
        if let Some(denial) = denial(&event).and_then(|denial| self.denials.add(denial)) {
            let words = format!("the package was denied {} ({})", denial.destination, denial.reason);
            let said = Said { words: printable(&words, MOST_SAID), hint: denial.hint };
            // Nobody listens when the session is over.
            let _ = self.say.send(said);
        }
        let observed = Observed::destination(&event);
        let recorded = Recorder::record(&self.recorder, event).is_ok();
        if recorded {
            // What is not on record is not let through either.
            self.observed.add(observed);
        }
        recorded
    }

    fn denied_again(&mut self, name: &str) {
        self.denials.again(name);
    }

    fn healthy(&self) -> bool {
        self.recorder.healthy()
    }
}

/// What was denied, for the calls meanwhile.
fn denial(event: &Event) -> Option<Denial> {
    event.denial().map(|denial| Denial {
        destination: denial.destination,
        reason: denial.reason.to_owned(),
        hint: denial.hint.map(str::to_owned),
    })
}
