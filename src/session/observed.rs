//! What observe mode let through, counted for a word at the end: how much an allowlist would have denied.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::Event;
use crate::audit::event::destination;

/// Destinations that are told apart, about 1 MiB; the log has all of them.
const MOST: usize = 10_000;

/// Destinations, shared by the datapath that fills it and by whoever says at the end how many there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed(Arc<Mutex<BTreeSet<String>>>);

impl Observed {
    /// Where a flow goes that is only let through because nothing is denied in observe mode.
    pub(super) fn destination(event: &Event) -> Option<String> {
        let Event::FlowOpen { observed: Some(_), protocol, name, guest_destination, .. } = event else {
            return None;
        };
        Some(format!("{protocol} {}", destination(name.as_deref(), *guest_destination)))
    }

    /// Notes it.
    pub(super) fn add(&self, destination: Option<String>) {
        let mut all = self.lock();
        if all.len() < MOST {
            all.extend(destination);
        }
    }

    /// How many there are, in words; none where there are none.
    pub(super) fn words(&self) -> Option<String> {
        Some(match self.lock().len() {
            0 => return None,
            1 => "1 destination that".to_owned(),
            MOST => format!("{MOST} destinations and more that"),
            many => format!("{many} destinations that"),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open(protocol: &str, name: Option<String>, to: &str, observed: bool) -> Event {
        Event::FlowOpen {
            flow: 1,
            protocol: protocol.into(),
            rule: "observe".into(),
            name,
            source: "198.18.0.2:40000".parse().unwrap(),
            guest_destination: to.parse().unwrap(),
            dialled: "192.0.2.1:443".parse().unwrap(),
            via: None,
            observed: observed.then(|| "no rule allows it".into()),
            hint: None,
            calls: Vec::new(),
        }
    }

    #[test]
    fn each_destination_counts_once_and_only_where_it_would_have_been_denied() {
        let observed = Observed::default();
        observed.add(Observed::destination(&open(
            "tcp",
            Some("a.example.com".into()),
            "198.18.1.1:443",
            false,
        )));
        assert_eq!(observed.words(), None);
        for _ in 0..2 {
            observed.add(Observed::destination(&open(
                "tcp",
                Some("a.example.com".into()),
                "198.18.1.1:443",
                true,
            )));
        }
        assert_eq!(observed.words().unwrap(), "1 destination that");
        observed.add(Observed::destination(&open(
            "udp",
            Some("a.example.com".into()),
            "198.18.1.1:443",
            true,
        )));
        observed.add(Observed::destination(&open("tcp", None, "192.0.2.1:443", true)));
        assert_eq!(observed.words().unwrap(), "3 destinations that");
        for number in 0..2 * MOST {
            observed.add(Observed::destination(&open(
                "tcp",
                Some(format!("h{number}.example.com")),
                "198.18.1.1:443",
                true,
            )));
        }
        assert_eq!(observed.words().unwrap(), "10000 destinations and more that");
    }
}
