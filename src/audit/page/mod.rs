//! A session as a page that a reviewer opens, or as text for a pull request. Pure: a report in, a document out.
//!
//! The page is one file: no scripts, nothing from elsewhere, colours for light and dark, and for paper. Every value in it was
//! chosen by a package or a server: all of them go through [`text`].

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::diff::Change;
use super::escape::printable;
use super::report::Report;

pub mod html;
pub mod markdown;
mod svg;

/// Longest value that is shown.
const LONGEST: usize = 1000;

/// Changes of a policy that are shown.
const CHANGES: usize = 50;

/// Rows of each kind on a page.
const ROWS: usize = 500;

/// What is shown.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The log, folded.
    pub report: &'a Report,
    /// Its name.
    pub log: &'a str,
    /// What `npxc audit verify` says: nothing, or what is wrong with the log.
    pub findings: &'a [String],
    /// The hash of its last line.
    pub hash: &'a str,
    /// What is new or gone, and since what; `None` where nothing was compared.
    pub changes: Option<(&'a [Change], &'a str)>,
}

impl Subject<'_> {
    /// What ran: the package, or what was installed.
    fn title(&self) -> &str {
        self.report.runs.last().map_or("a log without a session", |run| run.package.as_str())
    }

    /// In one sentence what there is to know.
    fn verdict(&self) -> String {
        let denied = self.report.denied.iter().fold(0_u64, |all, row| all.saturating_add(row.count));
        let hosts: BTreeSet<_> = self.report.reached.iter().map(|row| row.host.as_str()).collect();
        format!(
            "It reached {}, was denied {}, and was given {} to read.",
            several(hosts.len(), "host"),
            several(usize::try_from(denied).unwrap_or(usize::MAX), "time"),
            several(self.report.shared.len(), "file"),
        )
    }

    /// Rows of name and value: what it is and what it was granted.
    fn granted(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let Some(run) = self.report.runs.last() else { return rows };
        let list = |values: &[String]| if values.is_empty() { "none".to_owned() } else { values.join(", ") };
        rows.push(("package", run.package.clone()));
        if let Some(integrity) = &run.integrity {
            rows.push(("integrity", integrity.clone()));
        }
        rows.push(("install scripts of", list(&run.scripts)));
        rows.push(("started", run.started.clone()));
        rows.push(("ended", run.ended.clone().unwrap_or_else(|| "no end is on record".to_owned())));
        if let Some(how) = &run.how {
            rows.push(("why it ended", how.clone()));
        }
        rows.push(("runtime, link", format!("{}, {}", run.runtime, run.link)));
        rows.push(("network", run.network.clone()));
        rows.push(("may reach", list(&run.allow)));
        rows.push(("also at private addresses", list(&run.allow_private)));
        rows.push(("never", list(&run.deny)));
        if !run.changes.is_empty() {
            let changes: Vec<_> =
                run.changes.iter().take(CHANGES).map(|(time, change)| format!("{change} ({time})")).collect();
            let more = run.changes.len() - changes.len();
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            rows.push(("changed while it ran", changes.join(", ") + &more));
        }
        rows.push(("mounts", list(&run.mounts)));
        rows.push(("environment", list(&run.env)));
        rows.push(("npxc", run.npxc.clone()));
        rows
    }

    /// Titles and lists of files.
    fn files(&self) -> [(&'static str, Vec<&str>); 5] {
        fn list(paths: &BTreeSet<String>) -> Vec<&str> {
            paths.iter().map(String::as_str).collect()
        }
        let report = self.report;
        [
            ("Read: copied for the package because a call named them", list(&report.shared)),
            ("Written by the package", list(&report.written)),
            ("Left as they were: the package's versions are beside them, or with npxc", list(&report.kept)),
            ("Left out of directories that calls named", list(&report.left)),
            ("Named and not shared", list(&report.refused)),
        ]
    }
}

fn several(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A value in a document of the SGML family: harmless characters, none that is markup.
fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in printable(value, LONGEST).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A size for people.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut out = format!("{bytes} B");
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        out.clear();
        let _ = write!(out, "{value:.1} {unit}");
    }
    out
}

#[cfg(test)]
mod tests;
