//! `npxc audit show`: one log as tables.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{ROWS, which};
use crate::audit::escape::printable;
use crate::audit::report::{Denied, Reached, Report};
use crate::cli::say;
use crate::cli::table::{Table, bytes};
use crate::exit::{ExitStatus, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A log, a directory of logs, a session or a package: its newest one [default: the newest of all]
    log: Option<String>,
    /// Only what was denied
    #[arg(long)]
    denied: bool,
    /// Only destinations with this in them, a part of a name or `:PORT`; may be given several times
    #[arg(long, value_name = "TEXT")]
    destination: Vec<String>,
    /// Only what happened while a call of this tool was under way, and denials that were counted without a look at it; may be
    /// given several times
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let (mut report, _) = super::believed(&which::one(args.log.as_deref())?)?;
    let called =
        report.reached.iter().map(|row| &row.calls).chain(report.denied.iter().map(|row| &row.calls));
    let tools: BTreeSet<String> = called.flatten().cloned().collect();
    let is_filtered = args.denied || !args.destination.is_empty() || !args.tool.is_empty();
    report.retain(|destination, calls| {
        let any = |wanted: &[String], holds: &dyn Fn(&String) -> bool| {
            wanted.is_empty() || wanted.iter().any(holds)
        };
        any(&args.destination, &|text| is_of(destination, text))
            && any(&args.tool, &|tool| calls.contains(tool))
    });
    if args.denied {
        report.reached.clear();
    }
    if args.json {
        say::print(&super::to_json(&report)?);
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
        for (time, change) in run.changes.iter().take(ROWS) {
            let _ = writeln!(out, "  {}", printable(&format!("changed at {time}: {change}"), 1000));
        }
        out.push_str(&more(run.changes.len()));
    }
    if !is_filtered {
        out.push_str(&destinations(&report));
    } else if report.reached.is_empty() && report.denied.is_empty() {
        say::note("nothing in this log is of that");
        if !tools.is_empty() {
            let tools: Vec<_> = tools.iter().take(ROWS).map(|tool| printable(tool, 100)).collect();
            say::hint(&format!("the tools that were called meanwhile: {}", tools.join(", ")));
        }
    } else {
        if !args.denied {
            out.push_str(&all_reached(&report));
        }
        out.push_str(&all_denied(&report));
    }
    say::print(&out);
    Ok(ExitStatus::Success)
}

/// A port is meant whole.
fn is_of(destination: &str, text: &str) -> bool {
    if text.starts_with(':') { destination.ends_with(text) } else { destination.contains(text) }
}

/// Everything that a report has of what happened.
pub(in crate::cli) fn destinations(report: &Report) -> String {
    let mut out = all_reached(report) + &all_denied(report);
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

/// The table of what was reached.
fn all_reached(report: &Report) -> String {
    if report.reached.is_empty() {
        return "Reached: nothing\n".to_owned();
    }
    let mut table = Table::new(&["destination", "protocol", "flows", "sent", "received", "during", "rule"]);
    for row in report.reached.iter().take(ROWS) {
        table.row(reached(row));
        for via in &row.via {
            table.note(&format!("through the proxy {via}"));
        }
    }
    format!("Reached:\n{}{}", table.render(), more(report.reached.len()))
}

/// The table of what was denied.
fn all_denied(report: &Report) -> String {
    if report.denied.is_empty() {
        return "Denied: nothing\n".to_owned();
    }
    // The reason is what the table is read for, and it is copied: a narrow terminal wraps it.
    let head = ["destination", "protocol", "times", "during", "why; what would allow it"];
    let mut table = Table::new(&head).uncut();
    for row in report.denied.iter().take(ROWS) {
        table.row(denied(row));
        if let Some(hint) = &row.hint {
            table.note(hint);
        }
    }
    format!("Denied:\n{}{}", table.render(), more(report.denied.len()))
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
        row.during(),
        rule,
    ]
}

fn denied(row: &Denied) -> Vec<String> {
    let destination =
        if row.example { format!("{} and others", row.destination) } else { row.destination.clone() };
    vec![destination, row.protocol.clone(), row.count.to_string(), row.during(), row.reason.clone()]
}

fn more(rows: usize) -> String {
    if rows > ROWS { format!("  and {} more (--json shows all)\n", rows - ROWS) } else { String::new() }
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

    #[test]
    fn a_row_says_during_which_calls() {
        let row = Reached {
            host: "a.example.com".into(),
            port: 443,
            purpose: "run".into(),
            calls: ["search".into(), "re\u{1b}ad".into()].into(),
            ..Reached::default()
        };
        let shown = all_reached(&Report { reached: vec![row], ..Report::default() });
        assert!(shown.contains("run: re\\u{1b}ad, search"), "{shown}");
    }

    #[test]
    fn a_port_is_no_part_of_another() {
        assert!(is_of("a.example.com:443", ":443") && is_of("a.example.com:443", "example"));
        assert!(!is_of("a.example.com:443", ":44") && !is_of("a.example.com:8443", ":443"));
    }
}
