//! Which lines a flood of denials, or of questions, may have: many kinds, few of each, and only so many at once.

use std::collections::HashMap;
use std::time::Instant;

use super::queue::Tally;

/// Denials of one protocol, reason and destination that get a line each in a session; more say nothing new.
pub(super) const IDENTICAL: u32 = 100;

/// Destinations that are told apart for [`IDENTICAL`], about 1 MiB.
const DESTINATIONS: usize = 4096;

/// Denial lines at once, and per second in the long run (about 100 MB in an hour of flood).
const BURST: f64 = 1000.0;
const PER_SECOND: f64 = 100.0;

/// Decides which denials get a line of their own, and counts the others.
pub(super) struct Throttle {
    tokens: f64,
    refilled: Instant,
    seen: HashMap<(String, String, String), u32>,
    pub(super) tally: Tally,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { tokens: BURST, refilled: Instant::now(), seen: HashMap::new(), tally: Tally::default() }
    }
}

impl Throttle {
    pub(super) fn refill(&mut self, now: Instant) {
        let passed = now.duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        self.refilled = now;
    }

    pub(super) fn passes(&mut self, protocol: &str, code: &str, destination: &str) -> bool {
        let key = (protocol.to_owned(), code.to_owned(), destination.to_owned());
        let room = self.seen.len() < DESTINATIONS;
        if let Some(seen) = self.seen.get_mut(&key) {
            if *seen >= IDENTICAL {
                return false;
            }
            *seen += 1;
        } else if room {
            self.seen.insert(key, 1);
        }
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}
