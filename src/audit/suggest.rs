//! The rules that would have let through what logs show, each with its evidence. Pure: reports in, rules out.
//!
//! A rule comes from a verdict: the one that allowed a flow, or the hint that a denial, or a flow that was only observed,
//! carries. Nothing is guessed beyond them, and no two of them are merged into a wider one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::report::{Denied, Reached, Report};
use crate::policy::Rule;

/// Destinations that are kept as the evidence of one rule.
const MOST_DESTINATIONS: usize = 16;

/// What logs ask for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggested {
    /// The rules, in the order in which they are best read: the package's before those of its installation.
    pub rules: Vec<Suggestion>,
    /// What no rule is suggested for.
    pub left: Vec<Left>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// `--allow`, `--allow-private` or, for what an installation reached, `--allow-install`.
    pub option: String,
    /// The rule in its canonical form.
    pub rule: String,
    /// Whether it was a rule already when the log was written.
    pub standing: bool,
    /// Flows that it lets through, of those that were opened.
    pub flows: u64,
    /// Refused flows and questions that it lets through.
    pub denied: u64,
    /// Payload bytes from the package.
    pub bytes_up: u64,
    /// Payload bytes to the package.
    pub bytes_down: u64,
    /// When first, RFC 3339.
    pub first: String,
    /// When last.
    pub last: String,
    /// Where to, at most some.
    pub destinations: BTreeSet<String>,
}

/// What was refused, and no rule is suggested for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// Name or address, mostly with its port.
    pub destination: String,
    /// Why it was refused.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// What the rules would have to be for everything in these reports that `wanted` says yes to, by host.
pub fn suggest<'a>(
    reports: impl IntoIterator<Item = &'a Report>,
    wanted: &dyn Fn(&str) -> bool,
) -> Suggested {
    let mut rules = Rules::default();
    let mut left = Vec::new();
    for report in reports {
        for row in report.reached.iter().filter(|row| wanted(&row.host)) {
            rules.reached(row);
        }
        for row in report.denied.iter().filter(|row| row.example || wanted(host(&row.destination))) {
            if !rules.denied(row) {
                left.push(Left {
                    destination: row.destination.clone(),
                    reason: row.reason.clone(),
                    count: row.count,
                });
            }
        }
    }
    Suggested { rules: rules.smallest(), left }
}

/// The host in a destination, which may have a port.
fn host(destination: &str) -> &str {
    match destination.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => destination.rsplit_once(':').map_or(destination, |(host, _)| host),
    }
}

/// By option and rule.
#[derive(Default)]
struct Rules(BTreeMap<(String, String), Suggestion>);

impl Rules {
    fn reached(&mut self, row: &Reached) {
        let hint = row.hint.as_deref().filter(|_| row.observed.is_some()).and_then(parts);
        let found = match (&row.observed, hint) {
            (Some(_), Some(hint)) => vec![(hint, false)],
            (Some(_), None) => Vec::new(),
            // An installation reaches its registry without being told to.
            (None, _) if row.purpose != "run" => Vec::new(),
            (None, _) => {
                let rules = row.rules.iter().filter(|rule| is_rule(rule));
                rules.map(|rule| (("--allow", rule.as_str()), true)).collect()
            }
        };
        for ((option, rule), standing) in found {
            let one = self.rule(&row.purpose, option, rule);
            one.standing = standing;
            one.flows = one.flows.saturating_add(row.flows);
            one.bytes_up = one.bytes_up.saturating_add(row.bytes_up);
            one.bytes_down = one.bytes_down.saturating_add(row.bytes_down);
            one.seen(row.destination(), &row.first, &row.last);
        }
    }

    fn denied(&mut self, row: &Denied) -> bool {
        let Some((option, rule)) = row.hint.as_deref().and_then(parts) else { return false };
        let one = self.rule(&row.purpose, option, rule);
        one.denied = one.denied.saturating_add(row.count);
        one.seen(row.destination.clone(), &row.first, &row.last);
        true
    }

    fn rule(&mut self, purpose: &str, option: &str, rule: &str) -> &mut Suggestion {
        let option = if purpose == "run" { option } else { "--allow-install" };
        let key = (option.to_owned(), rule.to_owned());
        let new = || Suggestion { option: option.to_owned(), rule: rule.to_owned(), ..Suggestion::default() };
        self.0.entry(key).or_insert_with(new)
    }

    /// A question's rule names no port, for the name is all that is known of it. Where flows to the name were seen, theirs do.
    fn smallest(mut self) -> Vec<Suggestion> {
        let narrow: BTreeSet<(String, String)> = self
            .0
            .values()
            .filter(|one| one.flows > 0 || one.rule.contains(':'))
            .flat_map(|one| one.destinations.iter().map(|to| (one.option.clone(), host(to).to_owned())))
            .collect();
        self.0.retain(|(option, rule), one| {
            one.flows > 0 || rule.contains(':') || !narrow.contains(&(option.clone(), rule.clone()))
        });
        self.0.into_values().collect()
    }
}

impl Suggestion {
    fn seen(&mut self, destination: String, first: &str, last: &str) {
        if self.first.is_empty() || first < self.first.as_str() {
            first.clone_into(&mut self.first);
        }
        if last > self.last.as_str() {
            last.clone_into(&mut self.last);
        }
        if self.destinations.len() < MOST_DESTINATIONS {
            self.destinations.insert(destination);
        }
    }
}

/// The option and the rule of a hint; hints that are no rule (`--network allowlist`) are none, nor is what npxc would not take
/// for one: somebody else may have written the log.
fn parts(hint: &str) -> Option<(&str, &str)> {
    let (option, rule) = hint.split_once(' ')?;
    (matches!(option, "--allow" | "--allow-private") && is_rule(rule)).then_some((option, rule))
}

/// Whether it is a rule in its canonical form.
fn is_rule(text: &str) -> bool {
    text.parse::<Rule>().is_ok_and(|rule| rule.to_string() == text)
}

#[cfg(test)]
mod tests;
