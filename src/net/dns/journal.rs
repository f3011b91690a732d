//! What the resolver tells the audit log: one line per new kind of answer; repeats and floods are counted and
//! summarized. A denial is never lost, only ever counted together with others of its code.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::budget::{Bucket, Remembered};
use crate::audit::Event;
use crate::policy::DenyReason;

/// Answers remembered, so that a repeat is counted and not written.
const MAX_REMEMBERED: usize = 1024;
/// New lines at once, and per second after that; beyond, a flood of different names is summarized.
const LINES: (u32, u32) = (512, 20);
/// Events that wait to be drained; the router drains after each message.
const MAX_QUEUED: usize = 1024;
/// Time between two summaries of the same kind.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// Repeated denials that wait to be drained, likewise; more of them are only counted.
const MAX_REPEATS: usize = 64;

/// One answer, for the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) answer: &'static str,
    pub(super) addresses: Vec<std::net::IpAddr>,
    /// Why the question was denied.
    pub(super) denial: Option<DenyReason>,
}

#[derive(Debug)]
pub(super) struct Journal {
    queue: VecDeque<Event>,
    /// Names that were denied before and are again.
    repeats: VecDeque<String>,
    seen: Remembered<(String, String, &'static str)>,
    lines: Bucket,
    /// Denials that were not written, by code, with one name out of them.
    denied: BTreeMap<&'static str, (u64, String)>,
    /// Bounds that were hit since the last summary, by name of the bound.
    limits: BTreeMap<&'static str, (u64, String)>,
    summarized: Option<Instant>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            repeats: VecDeque::new(),
            seen: Remembered::new(MAX_REMEMBERED),
            lines: Bucket::new(LINES.0, LINES.1),
            denied: BTreeMap::new(),
            limits: BTreeMap::new(),
            summarized: None,
        }
    }

    /// Notes one answered question.
    pub(super) fn answer(&mut self, now: Instant, entry: Entry) {
        self.tick(now);
        // The same answer for another reason is another one: the policy may have changed.
        let why = entry.denial.as_ref().map_or(entry.answer, DenyReason::code);
        let key = (entry.name.clone(), entry.kind.clone(), why);
        let repeated = !self.seen.insert(key);
        if !repeated && self.queue.len() < MAX_QUEUED && self.lines.take(now) {
            self.queue.push_back(Event::Dns {
                name: entry.name,
                kind: entry.kind,
                answer: entry.answer.to_owned(),
                addresses: entry.addresses,
                reason: entry.denial.as_ref().map(DenyReason::to_string),
                hint: entry.denial.as_ref().and_then(DenyReason::hint),
                calls: Vec::new(),
            });
        } else if let Some(denial) = entry.denial {
            let (count, example) = self.denied.entry(denial.code()).or_default();
            *count += 1;
            example.clone_from(&entry.name);
            if repeated && self.repeats.len() < MAX_REPEATS {
                self.repeats.push_back(entry.name);
            }
        } else if !repeated {
            self.limit(now, "dns-lines", "answers that were not written one by one");
        }
    }

    /// Notes that a bound was hit.
    pub(super) fn limit(&mut self, now: Instant, what: &'static str, detail: &str) {
        let (count, text) = self.limits.entry(what).or_default();
        *count += 1;
        if text != detail {
            detail.clone_into(text);
        }
        self.tick(now);
    }

    /// Writes summaries that are due.
    pub(super) fn tick(&mut self, now: Instant) {
        if !self.owes() {
            return;
        }
        let due = self.summarized.is_none_or(|last| now.saturating_duration_since(last) >= SUMMARY_EVERY);
        if due && self.queue.len() < MAX_QUEUED {
            self.summarized = Some(now);
            self.summarize();
        }
    }

    /// Whether something was counted that no event says yet.
    pub(super) fn owes(&self) -> bool {
        !self.denied.is_empty() || !self.limits.is_empty()
    }

    /// Writes what is left to be written.
    pub(super) fn summarize(&mut self) {
        for (code, (count, example)) in std::mem::take(&mut self.denied) {
            let (protocol, code) = ("dns".to_owned(), code.to_owned());
            self.queue.push_back(Event::FlowDenySummary { count, protocol, code, example });
        }
        for (what, (count, detail)) in std::mem::take(&mut self.limits) {
            self.queue.push_back(Event::Limit { what: what.to_owned(), detail, count });
        }
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(super) fn poll_repeat(&mut self) -> Option<String> {
        self.repeats.pop_front()
    }
}
