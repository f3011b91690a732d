//! Says on stderr, when it happens, what the proxy did not do: whoever runs the package can change that, the package
//! cannot. npm tries again for a minute before it gives up.

use std::collections::BTreeSet;

use tokio::sync::mpsc::UnboundedSender;

use super::Said;
use crate::audit::event::{self, Event};
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
    Some(event::destination(name.as_deref(), *guest_destination))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    struct Kept(usize);

    impl Journal for Kept {
        fn record(&mut self, _: Event) -> bool {
            self.0 += 1;
            true
        }

        fn healthy(&self) -> bool {
            true
        }
    }

    #[test]
    fn each_refusal_is_said_once_and_not_without_end_and_all_are_recorded() {
        let (say, mut said) = unbounded_channel();
        let mut telling = Telling::new(Kept(0), say);
        let mut refuse = |name: &str, hint: Option<&str>| {
            telling.record(Event::FlowOpen {
                flow: 1,
                protocol: "tcp".to_owned(),
                rule: "example.com".to_owned(),
                name: Some(name.to_owned()),
                source: "198.18.0.2:40000".parse().unwrap(),
                guest_destination: "198.18.1.1:443".parse().unwrap(),
                dialled: "192.0.2.1:3128".parse().unwrap(),
                via: Some("http://192.0.2.1:3128 by name".to_owned()),
                observed: None,
                hint: None,
                calls: Vec::new(),
            });
            telling.record(Event::FlowClose {
                flow: 1,
                bytes_up: 0,
                bytes_down: 0,
                duration_ms: 0,
                detected: "other".to_owned(),
                sniffed: None,
                how: "refused by the proxy: 403 Forbidden".to_owned(),
                hint: hint.map(str::to_owned),
            });
        };
        refuse("a.example", None);
        refuse("a.example", Some("ask"));
        refuse("a.example", Some("ask"));
        for number in 0..100 {
            refuse(&format!("n{number}.example"), Some("ask"));
        }
        let first = "the connection to a.example:443 was refused by the proxy: 403 Forbidden";
        assert_eq!(said.try_recv().unwrap(), Said { words: first.to_owned(), hint: Some("ask".to_owned()) });
        let more = std::iter::from_fn(|| said.try_recv().ok()).count();
        assert_eq!((more, telling.journal.0), (MOST_SAID - 1, 2 * 103));
    }
}
