//! What a run left behind: its answers, its words and its log.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;

use npxc::audit::Event;
use serde_json::Value;

/// What a run left behind.
pub(crate) struct Seen {
    /// What each step of the hostile program saw.
    pub(crate) answers: Vec<Value>,
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Event>,
    /// The log as it is on disk.
    pub(crate) log: String,
    pub(crate) out: String,
    pub(crate) err: String,
    /// Most memory that npxc itself had, MiB.
    pub(crate) peak: u64,
}

impl Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "status {:?}, at most {} MiB\nstdout: {}\nstderr: {}",
            self.code,
            self.peak,
            short(&self.out),
            self.err
        )?;
        for event in self.events.iter().skip(1).take(40) {
            writeln!(f, "{event:?}")?;
        }
        Ok(())
    }
}

fn short(text: &str) -> String {
    text.chars().take(6000).collect()
}

/// A denial in the log: who it was about, its code, and the hint.
type Denial = (String, String, Option<String>);

impl Seen {
    /// What step number `at` saw.
    #[track_caller]
    pub(crate) fn at(&self, at: usize) -> &Value {
        self.answers.get(at).unwrap_or_else(|| panic!("no answer {at}: {self:?}"))
    }

    /// The error that step number `at` saw.
    #[track_caller]
    pub(crate) fn error(&self, at: usize) -> &str {
        self.at(at)["error"].as_str().unwrap_or_else(|| panic!("answer {at} is no error: {self:?}"))
    }

    /// Denied flows: the name or else the address with its port, code, hint.
    pub(crate) fn denied(&self) -> Vec<Denial> {
        let denied = self.events.iter().filter_map(|event| match event {
            Event::FlowDeny { name, guest_destination, code, hint, .. } => {
                let to = match name {
                    Some(name) => format!("{name}:{}", guest_destination.port()),
                    None => guest_destination.to_string(),
                };
                Some((to, code.clone(), hint.clone()))
            }
            _ => None,
        });
        denied.collect()
    }

    /// Whether the log has a denied flow to `to` with this code.
    #[track_caller]
    pub(crate) fn assert_denied(&self, to: &str, code: &str, hint: Option<&str>) {
        let wanted = (to.to_owned(), code.to_owned(), hint.map(str::to_owned));
        assert!(self.denied().contains(&wanted), "no {wanted:?} in {self:?}");
    }

    /// Refused questions: name, type, answer, hint.
    pub(crate) fn refused(&self) -> Vec<(String, String, String, Option<String>)> {
        let refused = self.events.iter().filter_map(|event| match event {
            Event::Dns { name, kind, answer, reason: Some(_), hint, .. } => {
                Some((name.clone(), kind.clone(), answer.clone(), hint.clone()))
            }
            _ => None,
        });
        refused.collect()
    }

    /// Where allowed flows went: the dialled address, the rule.
    pub(crate) fn opened(&self) -> Vec<(SocketAddr, String)> {
        let opened = self.events.iter().filter_map(|event| match event {
            Event::FlowOpen { dialled, rule, .. } => Some((*dialled, rule.clone())),
            _ => None,
        });
        opened.collect()
    }

    /// How often each bound was reached, by what it says.
    pub(crate) fn limits(&self) -> BTreeMap<String, u64> {
        let mut limits = BTreeMap::new();
        for event in &self.events {
            if let Event::Limit { what, detail, count } = event {
                *limits.entry(format!("{what}: {detail}")).or_insert(0) += count;
            }
        }
        limits
    }

    /// Denials that the log accounts for, line by line and in summaries, and those that its last line claims.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let (mut lines, mut claimed) = (0, 0);
        for event in &self.events {
            match event {
                Event::FlowDeny { .. } | Event::Dns { reason: Some(_), .. } => lines += 1,
                Event::FlowDenySummary { count, .. } => lines += count,
                Event::SessionEnd { denied, .. } => claimed = *denied,
                _ => {}
            }
        }
        (lines, claimed)
    }

    /// No flow was allowed, and the session ended in order.
    #[track_caller]
    pub(crate) fn assert_nothing_reached(&self) {
        assert!(self.opened().is_empty(), "{self:?}");
        assert!(matches!(self.events.last(), Some(Event::SessionEnd { allowed: 0, .. })), "{self:?}");
    }
}
