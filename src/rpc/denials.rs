//! What the package was denied, for the calls during which it was: the datapath [`add`](Denials::add)s, the translator asks
//! when a call ends in an error. Counts instead of a clock say what came first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Destinations that are remembered, the latest ones: far more than one call is told of.
const MOST_KEPT: usize = 64;
/// Destinations of a session that its user hears of; the log has them all.
const MOST_SAID: usize = 32;

/// Something that was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// A name or an address, with a port where there was one.
    pub destination: String,
    /// Why, as a sentence.
    pub reason: String,
    /// The options that would have allowed it, where some exist.
    pub hint: Option<String>,
}

/// A session's denials; clones are of the same session.
#[derive(Debug, Clone, Default)]
pub struct Denials(Arc<Mutex<Recent>>);

/// How many there had been at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

#[derive(Debug, Default)]
struct Recent {
    count: u64,
    /// Each destination once, with its latest number; the oldest first.
    kept: VecDeque<(u64, Denial)>,
    said: Vec<String>,
}

impl Denials {
    /// One more. It comes back if its user should hear of it: once for each destination.
    pub fn add(&self, denial: Denial) -> Option<Denial> {
        let mut recent = self.recent();
        recent.count += 1;
        let number = recent.count;
        let known = recent.kept.iter().position(|(_, kept)| kept.destination == denial.destination);
        if let Some(known) = known {
            recent.kept.remove(known);
        } else if recent.kept.len() >= MOST_KEPT {
            recent.kept.pop_front();
        }
        let new = recent.said.len() < MOST_SAID && !recent.said.contains(&denial.destination);
        if new {
            recent.said.push(denial.destination.clone());
        }
        let heard = new.then(|| denial.clone());
        recent.kept.push_back((number, denial));
        heard
    }

    /// One that is known has happened again.
    pub fn again(&self, destination: &str) {
        let mut recent = self.recent();
        if let Some(known) = recent.kept.iter().position(|(_, kept)| kept.destination == destination)
            && let Some((_, denial)) = recent.kept.remove(known)
        {
            recent.count += 1;
            let number = recent.count;
            recent.kept.push_back((number, denial));
        }
    }

    /// Now.
    pub fn mark(&self) -> Mark {
        Mark(self.recent().count)
    }

    /// What was denied since then, each destination once, in order.
    pub fn since(&self, mark: Mark) -> Vec<Denial> {
        let recent = self.recent();
        let new = recent.kept.iter().filter(|(number, _)| *number > mark.0);
        new.map(|(_, denial)| denial.clone()).collect()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(destination: &str) -> Denial {
        Denial { destination: destination.to_owned(), reason: "no rule allows it".to_owned(), hint: None }
    }

    fn since(denials: &Denials, mark: Mark) -> Vec<String> {
        denials.since(mark).into_iter().map(|denial| denial.destination).collect()
    }

    #[test]
    fn each_destination_is_told_once_for_each_call_and_said_once() {
        let denials = Denials::default();
        let start = denials.mark();
        for (destination, is_heard) in [("a:1", true), ("b:1", true), ("a:1", false)] {
            assert_eq!(denials.add(denial(destination)), is_heard.then(|| denial(destination)));
        }
        assert_eq!(since(&denials, start), ["b:1", "a:1"]);
        let later = denials.mark();
        assert_eq!(since(&denials, later), [""; 0]);
        denials.add(denial("b:1"));
        assert_eq!(since(&denials, later), ["b:1"]);
        let later = denials.mark();
        denials.again("a:1");
        denials.again("unknown");
        assert_eq!(since(&denials, later), ["a:1"]);
    }

    #[test]
    fn a_flood_is_bounded_and_keeps_the_latest() {
        let denials = Denials::default();
        let said = (0..1000).filter_map(|port| denials.add(denial(&format!("a:{port}")))).count();
        assert_eq!(said, MOST_SAID);
        let kept = since(&denials, Mark::default());
        assert_eq!((kept.len(), kept.last().map(String::as_str)), (MOST_KEPT, Some("a:999")));
        assert_eq!(denials.mark(), Mark(1000));
    }
}
