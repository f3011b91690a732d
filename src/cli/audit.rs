//! `npxc audit`: reads logs, and says what follows from them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use clap::{Parser, Subcommand};

use super::say;
use super::table::{Table, bytes};
use crate::audit::chain;
use crate::audit::escape::printable;
use crate::audit::report::{self, Denied, Reached, Report};
use crate::exit::{ExitStatus, Failure};
use crate::paths::shell_word;

mod diff;
mod list;
mod page;
mod suggest;
mod verify;
mod which;

/// Rows of a kind that are shown to a person.
const ROWS: usize = 50;

/// What to type instead of a file that is none.
const NEWEST: &str = "npxc audit show without a file shows the newest log";

/// Reads audit logs
#[derive(Debug, Parser)]
#[command(name = "npxc audit")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the sessions that there are logs of, the newest first
    List(list::Args),
    /// Show what a session reached and what it was denied
    Show {
        /// A log, a directory of logs, a session or a package: its newest one [default: the newest of all]
        log: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Check that a log is complete and as npxc wrote it; exit status 1 if it is not
    Verify {
        /// As of show
        log: Option<String>,
        /// It must be signed with this key, as `npxc audit key` prints it on the machine that wrote the log
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print the key of this machine that signs logs, where `npxc.toml` says so
    Key,
    /// Print the JSON Schema of a log's lines
    Schema,
    /// Write a page that shows a session to a reviewer
    Report(page::Args),
    /// Say which rules would have let through what a package did, with the evidence
    Suggest(suggest::Args),
    /// Say what a run, or a version, does that others did not; exit status 1 if something is new
    Diff(diff::Args),
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    match &args.action {
        Action::List(args) => list::execute(args),
        Action::Show { log, json } => show(&which::one(log.as_deref())?, *json),
        Action::Verify { log, key, json } => {
            verify::execute(&which::one(log.as_deref())?, key.as_deref(), *json)
        }
        Action::Key => verify::key(),
        Action::Schema => {
            say::print(&format!("{:#}\n", crate::audit::chain::schema()));
            Ok(ExitStatus::Success)
        }
        Action::Report(args) => page::execute(args),
        Action::Suggest(args) => suggest::execute(args),
        Action::Diff(args) => diff::execute(args),
    }
}

fn show(path: &Path, json: bool) -> Result<ExitStatus, Failure> {
    let report = believed(path)?;
    if json {
        say::print(&to_json(&report)?);
        return Ok(ExitStatus::Success);
    }
    let mut out = String::new();
    for run in &report.runs {
        let end = match (&run.ended, &run.how) {
            (Some(_), Some(how)) => format!("{how}; {} allowed, {} denied", run.allowed, run.denied),
            _ => "no end recorded".to_owned(),
        };
        let line =
            format!("{} {}: {}, network {} ({end})", run.started, run.purpose, run.package, run.network);
        out.push_str(&printable(&line, 1000));
        out.push('\n');
    }
    out.push_str(&destinations(&report));
    say::print(&out);
    Ok(ExitStatus::Success)
}

/// The two tables of a report: what was reached, what was denied.
pub(super) fn destinations(report: &Report) -> String {
    let mut out = String::new();
    if report.reached.is_empty() {
        out.push_str("Reached: nothing\n");
    } else {
        out.push_str("Reached:\n");
        let mut table =
            Table::new(&["destination", "protocol", "flows", "sent", "received", "during", "rule"]);
        for row in report.reached.iter().take(ROWS) {
            table.row(reached(row));
            for via in &row.via {
                table.note(&format!("through the proxy {via}"));
            }
        }
        out.push_str(&table.render());
        out.push_str(&more(report.reached.len()));
    }
    if report.denied.is_empty() {
        out.push_str("Denied: nothing\n");
    } else {
        out.push_str("Denied:\n");
        // The reason is what the table is read for, and it is copied: a narrow terminal wraps it.
        let mut table =
            Table::new(&["destination", "protocol", "times", "during", "why; what would allow it"]).uncut();
        for row in report.denied.iter().take(ROWS) {
            table.row(denied(row));
            if let Some(hint) = &row.hint {
                table.note(hint);
            }
        }
        out.push_str(&table.render());
        out.push_str(&more(report.denied.len()));
    }
    for (what, names, why) in [
        ("Not found", &report.not_found, "this machine's resolver has no such name"),
        ("Not resolved", &report.not_resolved, "this machine's resolver gave no answer"),
    ] {
        for name in names.iter().take(ROWS) {
            let _ = writeln!(out, "{what}: {} ({why})", printable(name, 300));
        }
        out.push_str(&more(names.len()));
    }
    for (title, paths) in [
        ("Files that calls named, copied for the package:", &report.shared),
        ("Files that the package wrote:", &report.written),
        ("Left as they were; the package's versions are kept beside them, or with npxc:", &report.kept),
        ("Left out of directories that calls named:", &report.left),
        ("Named and not shared:", &report.refused),
    ] {
        if paths.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{title}");
        for path in paths.iter().take(ROWS) {
            let _ = writeln!(out, "  {}", printable(path, 1000));
        }
        out.push_str(&more(paths.len()));
    }
    for (what, count) in &report.limits {
        out.push_str(&printable(&format!("Limit: {what} ({count})"), 1000));
        out.push('\n');
    }
    if report.left_out > 0 {
        let _ = writeln!(
            out,
            "{} flows and questions went to further destinations, which only the log names",
            report.left_out
        );
    }
    if report.unreadable > 0 {
        let _ = writeln!(out, "{} lines of the log could not be read", report.unreadable);
    }
    out
}

fn reached(row: &Reached) -> Vec<String> {
    let rules: Vec<_> = row.rules.iter().take(8).cloned().collect();
    let rule = match (&row.observed, &row.hint) {
        (Some(_), Some(hint)) => format!("observed; {hint}"),
        (Some(reason), None) => format!("observed; {reason}"),
        (None, _) => rules.join(" "),
    };
    vec![
        row.destination(),
        row.protocol.clone(),
        row.flows.to_string(),
        bytes(row.bytes_up),
        bytes(row.bytes_down),
        row.purpose.clone(),
        rule,
    ]
}

fn denied(row: &Denied) -> Vec<String> {
    let destination =
        if row.example { format!("{} and others", row.destination) } else { row.destination.clone() };
    vec![destination, row.protocol.clone(), row.count.to_string(), row.purpose.clone(), row.reason.clone()]
}

fn more(rows: usize) -> String {
    if rows > ROWS { format!("  and {} more (--json shows all)\n", rows - ROWS) } else { String::new() }
}

/// JSON for programs, with a line feed.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|json| json + "\n").map_err(|error| {
        Failure::new(ExitStatus::Config, format!("the result cannot be written as JSON: {error}"))
    })
}

/// A log that somebody is shown: a word where it cannot be believed.
fn believed(path: &Path) -> Result<Report, Failure> {
    let report = read(path)?;
    if report.runs.is_empty() && report.unreadable > 0 {
        let what = format!("{} is no audit log of npxc's: no line of it can be read", path.display());
        return Err(Failure::new(ExitStatus::Config, what).hint(NEWEST));
    }
    let verified = chain::verify(open(path)?).map_err(|error| unreadable(path, &error))?;
    if let Some(first) = verified.findings.first() {
        say::warning(&format!("{} is not as npxc wrote it, or not complete: {first}", path.display()));
        let log = shell_word(&path.to_string_lossy());
        say::hint(&format!("npxc audit verify {log} shows all that is wrong with it"));
    }
    Ok(report)
}

fn read(path: &Path) -> Result<Report, Failure> {
    report::read(open(path)?).map_err(|error| unreadable(path, &error))
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    File::open(path).map(BufReader::new).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ExitStatus::Config, format!("{} cannot be read: {error}", path.display())).hint(NEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_resolve_is_shown() {
        let not_found = ["gone\u{1b}.example.com".to_owned()].into();
        let not_resolved = ["slow.example.com".to_owned()].into();
        let shown = destinations(&Report { not_found, not_resolved, ..Report::default() });
        assert_eq!(
            shown,
            "Reached: nothing\nDenied: nothing\n\
             Not found: gone\\u{1b}.example.com (this machine's resolver has no such name)\n\
             Not resolved: slow.example.com (this machine's resolver gave no answer)\n"
        );
    }

    #[test]
    fn the_proxy_is_named_that_something_was_reached_through() {
        let row = Reached {
            host: "a.example.com".into(),
            protocol: "tcp".into(),
            port: 443,
            rules: ["a.example.com".into()].into(),
            via: ["http://proxy.example:3128 by name\u{1b}".into()].into(),
            flows: 1,
            ..Reached::default()
        };
        let shown = destinations(&Report { reached: vec![row], ..Report::default() });
        let line = "a.example.com\n      through the proxy http://proxy.example:3128 by name\\u{1b}\nDenied";
        assert!(shown.contains(line), "{shown}");
    }

    #[test]
    fn a_reason_is_shown_whole() {
        let reason = format!("because of {}", "a very long rule ".repeat(12));
        let row =
            Denied { destination: "a.example.com:443".into(), reason: reason.clone(), ..Denied::default() };
        let shown = destinations(&Report { denied: vec![row], ..Report::default() });
        assert!(shown.contains(reason.trim_end()), "{shown}");
    }
}
