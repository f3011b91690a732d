//! The same for a pull request: GitHub's Markdown, in which a table's cells hold code.

use std::fmt::Write as _;

use super::{Subject, size};
use crate::audit::escape::printable;

/// Rows of each kind: a comment is read, not searched.
const ROWS: usize = 30;

/// The whole text.
pub fn text(subject: &Subject<'_>) -> String {
    let report = subject.report;
    let mut out = format!("## {}\n\n{}\n\n", code(subject.title()), subject.verdict());
    if subject.findings.is_empty() {
        let _ = writeln!(out, "The log is complete and unchanged; its last hash is {}.", code(subject.hash));
    } else {
        out.push_str("**The log is changed or not complete:**\n\n");
        for finding in subject.findings {
            let _ = writeln!(out, "- {}", code(finding));
        }
    }
    if let Some((changes, since)) = subject.changes {
        let _ = write!(out, "\n### Different from {}\n\n", code(since));
        if changes.is_empty() {
            out.push_str("Nothing.\n");
        }
        for change in changes.iter().take(ROWS) {
            let when = if change.new { "**new**" } else { "gone" };
            let _ = writeln!(out, "- {when}: {} {}", change.kind.words(), code(&change.subject));
        }
        more(&mut out, changes.len());
    }
    if !report.reached.is_empty() {
        out.push_str("\n### Reached\n\n| destination | during | flows | sent | received | allowed by |\n|---|---|--:|--:|--:|---|\n");
        for row in report.reached.iter().take(ROWS) {
            let rule = match (&row.observed, &row.hint) {
                (Some(_), Some(hint)) => format!("observed; {}", code(hint)),
                (Some(reason), None) => format!("observed; {}", code(reason)),
                (None, _) => row.rules.iter().map(|rule| code(rule)).collect::<Vec<_>>().join(" "),
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {rule} |",
                code(&row.destination()),
                code(&row.during()),
                row.flows,
                size(row.bytes_up),
                size(row.bytes_down)
            );
        }
        more(&mut out, report.reached.len());
    }
    if !report.denied.is_empty() {
        out.push_str("\n### Denied\n\n| destination | during | times | why | what would allow it |\n|---|---|--:|---|---|\n");
        for row in report.denied.iter().take(ROWS) {
            let hint = row.hint.as_deref().map_or_else(String::new, code);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {hint} |",
                code(&row.destination),
                code(&row.during()),
                row.count,
                code(&row.reason)
            );
        }
        more(&mut out, report.denied.len());
    }
    for (title, paths) in subject.files().iter().filter(|(_, paths)| !paths.is_empty()) {
        let _ = write!(out, "\n### {title}\n\n");
        for path in paths.iter().take(ROWS) {
            let _ = writeln!(out, "- {}", code(path));
        }
        more(&mut out, paths.len());
    }
    out.push_str("\n### Granted\n\n");
    for (name, value) in subject.granted() {
        let _ = writeln!(out, "- {name}: {}", code(&value));
    }
    out
}

fn more(out: &mut String, rows: usize) {
    if rows > ROWS {
        let _ = writeln!(out, "\nand {} more", rows - ROWS);
    }
}

/// A value as code, so that nothing in it is markup: in a fence longer than any in it, and without what ends a cell.
fn code(value: &str) -> String {
    // In a table a bar ends the cell even in code.
    let value = printable(value, super::LONGEST).replace('|', "¦");
    let longest = value.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if value.starts_with('`') || value.ends_with('`') || value.is_empty() { " " } else { "" };
    format!("{fence}{space}{value}{space}{fence}")
}
