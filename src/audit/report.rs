//! Reads a log back and folds it to what a person wants to know: what was reached, what was refused and how that
//! would be allowed.
//!
//! Lines come from a file that may be damaged; a line that cannot be read is counted, not believed. Texts are as
//! the guest chose them: whoever prints them uses [`printable`](super::escape::printable).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read as _};
use std::net::IpAddr;

use serde::Serialize;

use self::fold::Fold;
use super::chain::{Header, MAX_LINE};
use super::event::Event;

mod fold;

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
    /// Its Subresource Integrity string, where the registry gave one.
    pub integrity: Option<String>,
    /// The packages of its tree that ran scripts when they were installed.
    pub scripts: Vec<String>,
    /// The version of npxc.
    pub npxc: String,
    /// The runtime and the link, `native` and `tun`.
    pub runtime: String,
    /// As above.
    pub link: String,
    /// The network mode.
    pub network: String,
    /// The allow rules.
    pub allow: Vec<String>,
    /// Those that may also reach private addresses.
    pub allow_private: Vec<String>,
    /// The deny rules.
    pub deny: Vec<String>,
    /// Host paths that were mounted, as `HOST:GUEST:ro|rw`.
    pub mounts: Vec<String>,
    /// Names of the environment variables it got.
    pub env: Vec<String>,
    /// How the user changed the policy while it ran: when, RFC 3339, and `allow RULE` or the like.
    pub changes: Vec<(String, String)>,
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
    /// Its port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
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
    /// Tools whose calls were under way at the time.
    pub calls: BTreeSet<String>,
    /// When it was reached first and last, RFC 3339.
    pub first: String,
    /// As above.
    pub last: String,
    /// When else, as far as that is kept.
    #[serde(skip)]
    pub times: Vec<String>,
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
    /// Tools whose calls were under way at the time.
    pub calls: BTreeSet<String>,
    /// When it was refused first and last, RFC 3339.
    pub first: String,
    /// As above.
    pub last: String,
    /// When else, as far as that is kept.
    #[serde(skip)]
    pub times: Vec<String>,
}

impl Report {
    /// Keeps those rows alone of what was reached and refused for which this is so: by destination and the tools whose calls were
    /// under way.
    pub fn retain(&mut self, is_meant: impl Fn(&str, &BTreeSet<String>) -> bool) {
        self.reached.retain(|row| is_meant(&row.destination(), &row.calls));
        // What was only counted names one of many destinations and no call: nobody can say that it is not meant.
        self.denied.retain(|row| row.example || is_meant(&row.destination, &row.calls));
    }
}

impl Denied {
    /// In which kind of run, and during which calls.
    pub fn during(&self) -> String {
        during(&self.purpose, &self.calls)
    }
}

fn during(purpose: &str, calls: &BTreeSet<String>) -> String {
    if calls.is_empty() {
        return purpose.to_owned();
    }
    let calls: Vec<_> = calls
        .iter()
        .map(|call| if call.contains([',', '"']) { format!("{call:?}") } else { call.clone() })
        .collect();
    format!("{purpose}: {}", calls.join(", "))
}

impl Reached {
    /// In which kind of run, and during which calls.
    pub fn during(&self) -> String {
        during(&self.purpose, &self.calls)
    }

    /// `host:port`.
    pub fn destination(&self) -> String {
        destination(&self.host, self.port)
    }
}

/// `host:port`, an IPv6 address in brackets.
fn destination(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    }
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

#[cfg(test)]
mod tests;
