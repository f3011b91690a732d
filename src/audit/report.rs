//! Reads a log back and folds it to what a person wants to know: what was reached, what was refused and how that
//! would be allowed.
//!
//! Lines come from a file that may be damaged; a line that cannot be read is counted, not believed. Texts are as
//! the guest chose them: whoever prints them uses [`printable`](super::escape::printable).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read as _};

use serde::Serialize;

use super::chain::{Header, MAX_LINE};
use super::event::{Collected, Event};
use super::queue::denial;

/// Rows of each kind that are kept; a guest may try any number of destinations.
const MAX_ROWS: usize = 10_000;

/// A log, folded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What ran, in order: an installation's steps and the package itself.
    pub runs: Vec<Run>,
    /// Destinations that were reached.
    pub reached: Vec<Reached>,
    /// Destinations that were refused.
    pub denied: Vec<Denied>,
    /// Bounds that were hit, as sentences with their count.
    pub limits: BTreeMap<String, u64>,
    /// Files of the host that calls named and that were copied for the package.
    pub shared: BTreeSet<String>,
    /// Files that the package wrote, by the host's path.
    pub written: BTreeSet<String>,
    /// Files whose new version the package made and that were left as they are; it is kept beside them, or with npxc.
    pub kept: BTreeSet<String>,
    /// What was left out of shared directories, and why.
    pub left: BTreeSet<String>,
    /// What was named and is not shared, and why.
    pub refused: BTreeSet<String>,
    /// Names that were answered.
    pub resolved: BTreeSet<String>,
    /// Names that were allowed, and that the host's resolver does not know.
    pub not_found: BTreeSet<String>,
    /// Names that were allowed, and that the host's resolver could not look up.
    pub not_resolved: BTreeSet<String>,
    /// Lines that could not be read.
    pub unreadable: u64,
    /// Destinations that are not in the lists because there are too many.
    pub left_out: u64,
}

/// One `session.start` and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The session.
    pub session: String,
    /// `run`, `fetch` or `build`.
    pub purpose: String,
    /// The package as resolved.
    pub package: String,
    /// Its version.
    pub version: Option<String>,
    /// The network mode.
    pub network: String,
    /// The allow rules.
    pub allow: Vec<String>,
    /// When it started, RFC 3339.
    pub started: String,
    /// When it ended; `None` when it did not end in order.
    pub ended: Option<String>,
    /// Why it ended.
    pub how: Option<String>,
    /// Exit status of the package.
    pub status: Option<i32>,
    /// Flows that were opened.
    pub allowed: u64,
    /// Flows and questions that were refused.
    pub denied: u64,
}

/// A destination that was reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// In which kind of run.
    pub purpose: String,
    /// Name or address.
    pub host: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Ports.
    pub ports: BTreeSet<u16>,
    /// Rules that allowed it.
    pub rules: BTreeSet<String>,
    /// Flows.
    pub flows: u64,
    /// Bytes from the guest.
    pub bytes_up: u64,
    /// Bytes to the guest.
    pub bytes_down: u64,
    /// In observe mode: why it would have been refused.
    pub observed: Option<String>,
    /// In observe mode: what would have allowed it.
    pub hint: Option<String>,
    /// Proxies that it was reached through, and how: by name, by address.
    pub via: BTreeSet<String>,
    /// Names the guest claimed that are not the host's own.
    pub sniffed: BTreeSet<String>,
}

/// A destination that was refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// In which kind of run.
    pub purpose: String,
    /// Name or address, with its port; a name alone for a DNS question.
    pub destination: String,
    /// `tcp`, `udp`, `icmp`, `dns` or the IP protocol's number.
    pub protocol: String,
    /// Identifier of the reason.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// What would have allowed it.
    pub hint: Option<String>,
    /// How often.
    pub count: u64,
    /// The destination is one out of many.
    pub example: bool,
}

/// Reads a whole log.
pub fn read(mut input: impl BufRead) -> io::Result<Report> {
    let mut fold = Fold::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(fold.finish());
        }
        let parsed = serde_json::from_slice::<Header>(&line)
            .and_then(|header| Ok((header, serde_json::from_slice::<Event>(&line)?)));
        match parsed {
            Ok((header, event)) => fold.add(header, event),
            Err(_) => fold.report.unreadable += 1,
        }
    }
}

#[derive(Default)]
struct Fold {
    report: Report,
    reached: BTreeMap<(String, String, String), usize>,
    denied: BTreeMap<(String, String, String, String), usize>,
    /// Which row an open flow belongs to.
    flows: BTreeMap<u64, usize>,
}

impl Fold {
    fn add(&mut self, header: Header, event: Event) {
        match event {
            Event::SessionStart { purpose, package, version, network, allow, .. } => {
                self.flows.clear();
                let Header { session, time: started, .. } = header;
                let run =
                    Run { session, purpose, package, version, network, allow, started, ..Run::default() };
                self.report.runs.push(run);
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
            Event::Dns { .. } | Event::FlowDeny { .. } => self.refused(&event),
            Event::FlowDenySummary { count, protocol, code, example } => {
                let reason = format!("{code} (counted, not logged one by one)");
                self.deny(Denied {
                    destination: example,
                    protocol,
                    code,
                    reason,
                    count,
                    example: true,
                    ..Denied::default()
                });
            }
            Event::FlowOpen {
                flow, protocol, rule, name, guest_destination, observed, hint, via, ..
            } => {
                let host = name.unwrap_or_else(|| guest_destination.ip().to_string());
                let Some(at) = self.row(host, protocol) else { return };
                self.flows.insert(flow, at);
                if let Some(row) = self.report.reached.get_mut(at) {
                    row.flows += 1;
                    row.ports.insert(guest_destination.port());
                    row.rules.insert(rule);
                    row.via.extend(via);
                    row.observed = row.observed.take().or(observed);
                    row.hint = row.hint.take().or(hint);
                }
            }
            Event::FlowClose { flow, bytes_up, bytes_down, sniffed, .. } => {
                let row = self.flows.remove(&flow).and_then(|at| self.report.reached.get_mut(at));
                if let Some(row) = row {
                    row.bytes_up += bytes_up;
                    row.bytes_down += bytes_down;
                    row.sniffed.extend(sniffed.filter(|name| *name != row.host));
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
            Event::Limit { what, detail, count } => {
                *self.report.limits.entry(format!("{what}: {detail}")).or_insert(0) += count.max(1);
            }
        }
    }

    /// What came to be known in the end counts.
    fn finish(mut self) -> Report {
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

    fn row(&mut self, host: String, protocol: String) -> Option<usize> {
        let purpose = self.purpose();
        let key = (purpose.clone(), host.clone(), protocol.clone());
        if let Some(at) = self.reached.get(&key) {
            return Some(*at);
        }
        let at = self.report.reached.len();
        if at >= MAX_ROWS {
            self.report.left_out += 1;
            return None;
        }
        self.reached.insert(key, at);
        self.report.reached.push(Reached { purpose, host, protocol, ..Reached::default() });
        Some(at)
    }

    fn refused(&mut self, event: &Event) {
        let (reason, hint) = match event {
            Event::FlowDeny { reason, hint, .. } => (reason.clone(), hint.clone()),
            Event::Dns { reason, hint, .. } => (reason.clone().unwrap_or_default(), hint.clone()),
            Event::SessionStart { .. }
            | Event::FlowOpen { .. }
            | Event::FlowDenySummary { .. }
            | Event::FlowClose { .. }
            | Event::FilePublish { .. }
            | Event::FileCollect { .. }
            | Event::FileLeave { .. }
            | Event::FileRefuse { .. }
            | Event::Limit { .. }
            | Event::SessionEnd { .. } => return,
        };
        if let Some(denial) = denial(event) {
            self.deny(Denied {
                destination: denial.destination.clone(),
                protocol: denial.protocol.to_owned(),
                code: denial.code.to_owned(),
                reason,
                hint,
                count: 1,
                ..Denied::default()
            });
        }
    }

    fn deny(&mut self, mut denied: Denied) {
        denied.purpose = self.purpose();
        // A summary's destination is one of many; whichever came first stands for all of that reason.
        let destination = if denied.example { String::new() } else { denied.destination.clone() };
        let key = (denied.purpose.clone(), destination, denied.protocol.clone(), denied.code.clone());
        if let Some(row) = self.denied.get(&key).and_then(|at| self.report.denied.get_mut(*at)) {
            row.count += denied.count;
            return;
        }
        if self.report.denied.len() >= MAX_ROWS {
            self.report.left_out += denied.count;
            return;
        }
        self.denied.insert(key, self.report.denied.len());
        self.report.denied.push(denied);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(event: &str) -> String {
        format!(
            "{{\"v\":1,\"seq\":0,\"time\":\"2026-01-01T00:00:00.000000Z\",\"session\":\"s\",{event},\"prev\":\"\"}}\n"
        )
    }

    fn log() -> String {
        let flow = "\"source\":\"198.18.0.2:4\",\"guest_destination\":\"198.18.1.1:443\"";
        let start = "\"event\":\"session.start\",\"npxc\":\"0\",\"package\":\"p@1.0.0\",\"version\":\"1.0.0\",\
                     \"integrity\":null,\"runtime\":\"native\",\"link\":\"tun\",\"network\":\"allowlist\",\
                     \"allow\":[],\"allow_private\":[],\"deny\":[],\"mounts\":[],\"env\":[]";
        let open = format!(
            "\"event\":\"flow.open\",\"protocol\":\"tcp\",\"rule\":\"@npm\",\"name\":\"a.example.com\",{flow},\
             \"dialled\":\"192.0.2.1:443\",\"via\":\"socks5://192.0.2.1:443 by address\""
        );
        let close = "\"event\":\"flow.close\",\"bytes_up\":10,\"bytes_down\":20,\"duration_ms\":5,\"detected\":\"tls\",\
                     \"how\":\"finished\"";
        let deny = format!(
            "\"event\":\"flow.deny\",\"protocol\":\"tcp\",\"name\":\"b.example.com\",{flow},\"code\":\"no-rule\",\
             \"reason\":\"no rule\",\"hint\":\"--allow b.example.com:443\""
        );
        let dns = "\"event\":\"dns\",\"name\":\"c.example.com\",\"type\":\"A\",\"answer\":\"nxdomain\",\
                   \"reason\":\"no rule names it\",\"hint\":\"--allow c.example.com\"";
        let summary = "\"event\":\"flow.deny.summary\",\"count\":7,\"protocol\":\"tcp\",\"code\":\"no-rule\",\
                       \"example\":\"d.example.com:1\"";
        let end = "\"event\":\"session.end\",\"status\":0,\"signal\":null,\"how\":\"client closed stdin\",\
                   \"denied\":10,\"allowed\":2";
        [
            line(&format!("{start},\"purpose\":\"fetch\"")),
            line(&format!("{open},\"flow\":1")),
            line(&format!("{close},\"flow\":1")),
            line(end),
            line(&format!("{start},\"purpose\":\"run\"")),
            line(&format!("{open},\"flow\":1")),
            line(&format!("{open},\"flow\":2")),
            line(&format!("{close},\"flow\":2")),
            line(&format!("{close},\"flow\":1")),
            line(&deny),
            line(dns),
            line(dns),
            line(summary),
            line(summary),
            "garbage\n".to_owned(),
            line(end),
        ]
        .concat()
    }

    #[test]
    fn names_that_do_not_resolve_are_no_denials() {
        let asked = |name: &str, kind: &str, answer: &str| {
            line(&format!(
                "\"event\":\"dns\",\"name\":\"{name}\",\"type\":\"{kind}\",\"answer\":\"{answer}\""
            ))
        };
        let log = [
            asked("none.example.com", "A", "nxdomain"),
            asked("none.example.com", "AAAA", "empty"),
            asked("gone.example.com", "A", "nxdomain"),
            asked("gone.example.com", "AAAA", "nxdomain"),
            asked("slow.example.com", "A", "servfail"),
            asked("late.example.com", "A", "servfail"),
            asked("late.example.com", "A", "answered"),
            asked("_x.example.com", "SRV", "nxdomain"),
        ];
        let report = read(log.concat().as_bytes()).unwrap();
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(&report.not_found), ["gone.example.com", "none.example.com"]);
        assert_eq!(names(&report.not_resolved), ["slow.example.com"]);
        assert_eq!(names(&report.resolved), ["late.example.com"]);
        assert!(report.denied.is_empty());
    }

    #[test]
    fn what_was_kept_is_not_what_was_written() {
        let collect = |path: &str, how: &str| {
            line(&format!(
                "\"event\":\"file.collect\",\"path\":\"{path}\",\"guest\":\"/g\",\"bytes\":1,\"how\":\"{how}\""
            ))
        };
        let log =
            [collect("/n", "new"), collect("/c", "changed"), collect("/k", "kept"), collect("/x", "other")];
        let report = read(log.concat().as_bytes()).unwrap();
        assert_eq!(report.written.iter().collect::<Vec<_>>(), ["/c", "/n"]);
        assert_eq!(report.kept.iter().collect::<Vec<_>>(), ["/k"]);
        assert_eq!(report.unreadable, 1);
    }

    #[test]
    fn files_that_were_refused_are_listed_with_their_reason() {
        let refuse = "\"event\":\"file.refuse\",\"path\":\"../x\",\"code\":\"outside-scope\",\"reason\":\"is outside\"";
        let report = read([line(refuse), line(refuse)].concat().as_bytes()).unwrap();
        assert_eq!(report.refused.iter().collect::<Vec<_>>(), ["../x is outside"]);
    }

    #[test]
    fn a_log_is_folded_by_destination_and_purpose() {
        let report = read(log().as_bytes()).unwrap();
        assert_eq!(report.runs.len(), 2);
        assert_eq!(report.runs[1].how.as_deref(), Some("client closed stdin"));
        assert_eq!(report.unreadable, 1);
        let reached: Vec<_> = report
            .reached
            .iter()
            .map(|row| (row.purpose.as_str(), row.host.as_str(), row.flows, row.bytes_up, row.bytes_down))
            .collect();
        assert_eq!(reached, [("fetch", "a.example.com", 1, 10, 20), ("run", "a.example.com", 2, 20, 40)]);
        assert_eq!(report.reached[0].via.iter().collect::<Vec<_>>(), ["socks5://192.0.2.1:443 by address"]);
        let denied: Vec<_> = report
            .denied
            .iter()
            .map(|row| (row.destination.as_str(), row.protocol.as_str(), row.count, row.hint.as_deref()))
            .collect();
        assert_eq!(
            denied,
            [
                ("b.example.com:443", "tcp", 1, Some("--allow b.example.com:443")),
                ("c.example.com", "dns", 2, Some("--allow c.example.com")),
                ("d.example.com:1", "tcp", 14, None),
            ]
        );
    }
}
