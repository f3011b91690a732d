//! Bounds on what leaves through names. Data can be hidden in the labels below an allowed wildcard, one query per
//! piece; so the number of *different* names looked up is rationed. Names asked for again are free.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Different names at once: a large application starting up.
const BURST: u32 = 200;
/// Different names per second after that. At 200 octets a name this is 2 KB/s: logged, and hopeless for bulk.
const PER_SECOND: u32 = 10;
/// Names remembered as asked for before.
const MAX_REMEMBERED: usize = 4096;

/// A token bucket in virtual time.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: u32,
    interval: Duration,
    tokens: u32,
    /// When `tokens` was last true; unset before the first use.
    filled: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, interval: Duration::from_secs(1) / per_second, tokens: burst, filled: None }
    }

    /// Takes one token if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let filled = *self.filled.get_or_insert(now);
        let earned = now.saturating_duration_since(filled).as_nanos() / self.interval.as_nanos().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= self.burst - self.tokens {
            self.tokens = self.burst;
            self.filled = Some(now);
        } else {
            self.tokens += earned;
            self.filled = Some(filled + self.interval * earned);
        }
        let taken = self.tokens > 0;
        self.tokens -= u32::from(taken);
        taken
    }
}

/// Rations different names.
#[derive(Debug)]
pub(super) struct NameBudget {
    bucket: Bucket,
    known: Remembered<String>,
}

impl NameBudget {
    pub(super) fn new() -> Self {
        Self { bucket: Bucket::new(BURST, PER_SECOND), known: Remembered::new(MAX_REMEMBERED) }
    }

    /// Whether `name` may be looked up now.
    pub(super) fn admit(&mut self, now: Instant, name: &str) -> bool {
        if self.known.contains(name) {
            return true;
        }
        let admitted = self.bucket.take(now);
        if admitted {
            self.known.insert(name.to_owned());
        }
        admitted
    }
}

/// The last few different values that were seen.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    bound: usize,
    set: HashSet<T>,
    order: VecDeque<T>,
}

impl<T: std::hash::Hash + Eq + Clone> Remembered<T> {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, set: HashSet::new(), order: VecDeque::new() }
    }

    pub(super) fn contains<Q: std::hash::Hash + Eq + ?Sized>(&self, value: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
    {
        self.set.contains(value)
    }

    /// Whether the value is new; the oldest is forgotten beyond the bound.
    pub(super) fn insert(&mut self, value: T) -> bool {
        if !self.set.insert(value.clone()) {
            return false;
        }
        self.order.push_back(value);
        if self.order.len() > self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_are_rationed_and_known_ones_are_free() {
        let mut now = Instant::now();
        let mut budget = NameBudget::new();
        for index in 0..BURST {
            assert!(budget.admit(now, &format!("n{index}.example.com")));
        }
        assert!(!budget.admit(now, "more.example.com"));
        assert!(budget.admit(now, "n7.example.com"), "known names cost nothing");
        now += Duration::from_millis(99);
        assert!(!budget.admit(now, "more.example.com"));
        now += Duration::from_millis(1);
        assert!(budget.admit(now, "more.example.com"));
        assert!(!budget.admit(now, "another.example.com"));
    }

    #[test]
    fn a_long_pause_fills_the_bucket_and_no_more() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(3, 10);
        assert!((0..3).all(|_| bucket.take(now)));
        now += Duration::from_secs(1_000_000_000);
        assert!((0..3).all(|_| bucket.take(now)));
        assert!(!bucket.take(now));
    }

    #[test]
    fn a_clock_that_stands_still_or_runs_back_gives_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, 10);
        assert!(bucket.take(start + Duration::from_secs(5)));
        assert!(!bucket.take(start));
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Remembered::new(2);
        assert!(seen.insert(1) && seen.insert(2) && !seen.insert(1) && seen.insert(3));
        assert!(!seen.contains(&1) && seen.contains(&3));
        assert_eq!((seen.set.len(), seen.order.len()), (2, 2));
    }
}
