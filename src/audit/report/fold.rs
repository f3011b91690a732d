//! Folds a log's events, one after the other, to rows.

use std::collections::BTreeMap;

use super::{Denied, Reached, Report, Run};
use crate::audit::chain::Header;
use crate::audit::event::{Collected, Event};

/// Rows of each kind that are kept; a guest may try any number of destinations.
const MAX_ROWS: usize = 10_000;

/// Rules, proxies and claimed names of one row that are kept: somebody else may have written the log.
const MOST_OF_A_ROW: usize = 64;

/// Kinds of bounds that are kept: npxc has some ten.
const MAX_LIMITS: usize = 100;

/// Times of one row that are kept: more are no longer told apart in a picture.
const MOST_TIMES: usize = 500;

fn note(times: &mut Vec<String>, time: &str) {
    if times.len() < MOST_TIMES {
        times.push(time.to_owned());
    }
}

#[derive(Default)]
pub(super) struct Fold {
    pub(super) report: Report,
    reached: BTreeMap<(String, String, u16, String), usize>,
    denied: BTreeMap<(String, String, String, String), usize>,
    /// Which row an open flow belongs to.
    flows: BTreeMap<u64, usize>,
}

impl Fold {
    pub(super) fn add(&mut self, header: Header, event: Event) {
        match event {
            Event::SessionStart {
                npxc,
                purpose,
                package,
                version,
                integrity,
                scripts,
                runtime,
                link,
                network,
                allow,
                allow_private,
                deny,
                mounts,
                env,
            } => {
                self.flows.clear();
                let Header { session, time: started, .. } = header;
                if self.report.runs.len() >= MAX_ROWS {
                    self.report.runs.pop();
                }
                self.report.runs.push(Run {
                    session,
                    purpose,
                    package,
                    version,
                    integrity,
                    scripts,
                    npxc,
                    runtime,
                    link,
                    network,
                    allow,
                    allow_private,
                    deny,
                    mounts,
                    env,
                    started,
                    ..Run::default()
                });
            }
            Event::SessionEnd { status, how, denied, allowed, .. } => {
                if let Some(run) = self.report.runs.last_mut() {
                    run.ended = Some(header.time);
                    run.how = Some(how);
                    run.status = status;
                    (run.denied, run.allowed) = (denied, allowed);
                }
            }
            Event::Dns { reason: None, name, kind, answer, .. } => self.asked(name, &kind, &answer),
            Event::Dns { .. } | Event::FlowDeny { .. } => self.refused(&event, header.time),
            Event::FlowDenySummary { count, protocol, code, example } => {
                let reason = format!("{code} (counted, not logged one by one)");
                self.deny(Denied {
                    destination: example,
                    protocol,
                    code,
                    reason,
                    count,
                    example: true,
                    first: header.time,
                    ..Denied::default()
                });
            }
            Event::FlowOpen {
                flow,
                protocol,
                rule,
                name,
                guest_destination,
                observed,
                hint,
                via,
                calls,
                ..
            } => {
                let host = name.unwrap_or_else(|| guest_destination.ip().to_string());
                let Some(at) = self.row(host, guest_destination.port(), protocol) else { return };
                self.flows.insert(flow, at);
                if let Some(row) = self.report.reached.get_mut(at) {
                    row.flows += 1;
                    if row.first.is_empty() {
                        row.first.clone_from(&header.time);
                    }
                    note(&mut row.times, &header.time);
                    row.last = header.time;
                    if row.rules.len() < MOST_OF_A_ROW {
                        row.rules.insert(rule);
                    }
                    if row.calls.len() < MOST_OF_A_ROW {
                        row.calls.extend(calls);
                    }
                    if row.via.len() < MOST_OF_A_ROW {
                        row.via.extend(via);
                    }
                    row.observed = row.observed.take().or(observed);
                    row.hint = row.hint.take().or(hint);
                }
            }
            Event::PolicyChange { change, allow, allow_private, .. } => {
                if let Some(run) = self.report.runs.last_mut()
                    && run.changes.len() < MAX_ROWS
                {
                    run.changes.push((header.time, change));
                    // What it was granted at any time.
                    for (all, now) in [(&mut run.allow, allow), (&mut run.allow_private, allow_private)] {
                        let new: Vec<_> = now.into_iter().filter(|rule| !all.contains(rule)).collect();
                        all.extend(new);
                    }
                }
            }
            Event::FlowClose { flow, bytes_up, bytes_down, sniffed, .. } => {
                let row = self.flows.remove(&flow).and_then(|at| self.report.reached.get_mut(at));
                if let Some(row) = row {
                    row.bytes_up = row.bytes_up.saturating_add(bytes_up);
                    row.bytes_down = row.bytes_down.saturating_add(bytes_down);
                    if row.sniffed.len() < MOST_OF_A_ROW {
                        row.sniffed.extend(sniffed.filter(|name| *name != row.host));
                    }
                }
            }
            Event::FilePublish { path, .. } => {
                if self.report.shared.len() < MAX_ROWS {
                    self.report.shared.insert(path);
                }
            }
            Event::FileCollect { path, how, .. } => {
                let paths = match how {
                    Collected::New | Collected::Changed => &mut self.report.written,
                    Collected::Kept => &mut self.report.kept,
                };
                if paths.len() < MAX_ROWS {
                    paths.insert(path);
                }
            }
            Event::FileLeave { path, reason } => {
                if self.report.left.len() < MAX_ROWS {
                    self.report.left.insert(format!("{path} {reason}"));
                }
            }
            Event::FileRefuse { path, reason, .. } => {
                if self.report.refused.len() < MAX_ROWS {
                    self.report.refused.insert(format!("{path} {reason}"));
                }
            }
            Event::LogRotate { .. } => {}
            Event::Limit { what, detail, count } => {
                let limits = &mut self.report.limits;
                let what = format!("{what}: {detail}");
                if limits.len() < MAX_LIMITS || limits.contains_key(&what) {
                    let all = limits.entry(what).or_insert(0);
                    *all = all.saturating_add(count.max(1));
                }
            }
        }
    }

    /// What came to be known in the end counts.
    pub(super) fn finish(mut self) -> Report {
        let report = &mut self.report;
        report.not_found.retain(|name| !report.resolved.contains(name));
        report
            .not_resolved
            .retain(|name| !report.resolved.contains(name) && !report.not_found.contains(name));
        self.report
    }

    /// A question that no rule forbade.
    fn asked(&mut self, name: String, kind: &str, answer: &str) {
        let report = &mut self.report;
        let names = match answer {
            // "empty" is the answer to a question for the other address family, too, whether or not the name exists.
            "answered" => &mut report.resolved,
            // That of other records says nothing about whether the name can be connected to.
            "nxdomain" if matches!(kind, "A" | "AAAA") => &mut report.not_found,
            "servfail" if matches!(kind, "A" | "AAAA") => &mut report.not_resolved,
            _ => return,
        };
        if names.len() < MAX_ROWS {
            names.insert(name);
        }
    }

    fn purpose(&self) -> String {
        self.report.runs.last().map_or_else(String::new, |run| run.purpose.clone())
    }

    fn row(&mut self, host: String, port: u16, protocol: String) -> Option<usize> {
        let purpose = self.purpose();
        let key = (purpose.clone(), host.clone(), port, protocol.clone());
        if let Some(at) = self.reached.get(&key) {
            return Some(*at);
        }
        let at = self.report.reached.len();
        if at >= MAX_ROWS {
            self.report.left_out += 1;
            return None;
        }
        self.reached.insert(key, at);
        self.report.reached.push(Reached { purpose, host, port, protocol, ..Reached::default() });
        Some(at)
    }

    fn refused(&mut self, event: &Event, time: String) {
        let Some(denial) = event.denial() else { return };
        self.deny(Denied {
            destination: denial.destination,
            protocol: denial.protocol.to_owned(),
            code: denial.code.to_owned(),
            reason: denial.reason.to_owned(),
            hint: denial.hint.map(str::to_owned),
            calls: denial.calls.iter().take(MOST_OF_A_ROW).cloned().collect(),
            count: 1,
            first: time,
            ..Denied::default()
        });
    }

    fn deny(&mut self, mut denied: Denied) {
        denied.purpose = self.purpose();
        denied.last.clone_from(&denied.first);
        denied.times.push(denied.first.clone());
        // A summary's destination is one of many; whichever came first stands for all of that reason.
        let destination = if denied.example { String::new() } else { denied.destination.clone() };
        let key = (denied.purpose.clone(), destination, denied.protocol.clone(), denied.code.clone());
        if let Some(row) = self.denied.get(&key).and_then(|at| self.report.denied.get_mut(*at)) {
            row.count = row.count.saturating_add(denied.count);
            if row.calls.len() < MOST_OF_A_ROW {
                row.calls.extend(denied.calls);
            }
            note(&mut row.times, &denied.last);
            row.last = denied.last;
            return;
        }
        if self.report.denied.len() >= MAX_ROWS {
            self.report.left_out = self.report.left_out.saturating_add(denied.count);
            return;
        }
        self.denied.insert(key, self.report.denied.len());
        self.report.denied.push(denied);
    }
}
