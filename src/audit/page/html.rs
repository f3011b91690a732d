//! The page.

use std::fmt::Write as _;

use super::{ROWS, Subject, size, svg, text};
use crate::audit::diff::Change;
use crate::audit::report::{Denied, Reached};

const STYLE: &str = include_str!("style.css");

/// The whole document.
pub fn page(subject: &Subject<'_>) -> String {
    let title = text(subject.title());
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}: what it did</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <p class=\"faint\">npxc audit report</p>\n<h1>{title}</h1>\n<p class=\"verdict\">{}</p>\n",
        text(&subject.verdict())
    );
    trust(&mut out, subject);
    changes(&mut out, subject);
    pictures(&mut out, subject);
    reached(&mut out, subject);
    denied(&mut out, subject);
    files(&mut out, subject);
    granted(&mut out, subject);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Whether the log can be believed.
fn trust(out: &mut String, subject: &Subject<'_>) {
    if subject.findings.is_empty() {
        let _ = writeln!(
            out,
            "<p><span class=\"badge good\">log complete and unchanged</span> <span class=\"faint\">last hash \
             <code>{}</code></span></p>",
            text(subject.hash)
        );
    } else {
        out.push_str("<p><span class=\"badge bad\">the log is changed or not complete</span></p>\n<ul class=\"bad\">\n");
        for finding in subject.findings {
            let _ = writeln!(out, "<li>{}</li>", text(finding));
        }
        out.push_str("</ul>\n");
    }
    let _ = writeln!(out, "<p class=\"faint\">{}</p>", text(subject.log));
}

fn changes(out: &mut String, subject: &Subject<'_>) {
    let Some((changes, since)) = subject.changes else { return };
    let _ = writeln!(out, "<h2>What is different from {}</h2>", text(since));
    if changes.is_empty() {
        out.push_str("<p>Nothing.</p>\n");
        return;
    }
    out.push_str("<ul>\n");
    for change in changes.iter().take(ROWS) {
        let class = if change.new { "watch" } else { "faint" };
        let Change { subject, kind, new } = change;
        let when = if *new { "new" } else { "gone" };
        let _ = writeln!(
            out,
            "<li><span class=\"{class}\">{when}</span>: {} {}</li>",
            kind.words(),
            text(subject)
        );
    }
    out.push_str("</ul>\n");
    more(out, changes.len());
}

fn pictures(out: &mut String, subject: &Subject<'_>) {
    let timeline = svg::timeline(subject.report);
    if !timeline.is_empty() {
        let _ = write!(
            out,
            "<h2>Over time</h2>\n<figure>\n{timeline}<figcaption class=\"key\"><span class=\"good\">● reached</span>\
             <span class=\"watch\">● observed: no rule allows it</span><span class=\"bad\">✕ denied</span></figcaption>\n\
             </figure>\n"
        );
    }
    let traffic = svg::traffic(subject.report);
    if !traffic.is_empty() {
        let _ = write!(out, "<h2>How much</h2>\n<figure>\n{traffic}</figure>\n");
    }
}

fn head(out: &mut String, cells: &[(&str, bool)]) {
    out.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for (cell, number) in cells {
        let class = if *number { " class=\"number\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{cell}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

fn reached(out: &mut String, subject: &Subject<'_>) {
    let rows = &subject.report.reached;
    out.push_str("<h2>Reached</h2>\n");
    if rows.is_empty() {
        out.push_str("<p>Nothing.</p>\n");
        return;
    }
    head(
        out,
        &[
            ("destination", false),
            ("during", false),
            ("flows", true),
            ("sent", true),
            ("received", true),
            ("first", false),
            ("last", false),
            ("allowed by", false),
        ],
    );
    for row in rows.iter().take(ROWS) {
        let Reached { protocol, flows, first, last, .. } = row;
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code> <span class=\"faint\">{}</span></td><td>{}</td><td class=\"number\">{flows}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"time\">{}</td>\
             <td class=\"time\">{}</td><td>{}</td></tr>",
            text(&row.destination()),
            text(protocol),
            text(&row.during()),
            size(row.bytes_up),
            size(row.bytes_down),
            clock(first),
            clock(last),
            rule(row),
        );
    }
    out.push_str("</tbody></table></div>\n");
    more(out, rows.len());
}

fn rule(row: &Reached) -> String {
    match (&row.observed, &row.hint) {
        (Some(reason), Some(hint)) => {
            format!("<span class=\"watch\">observed</span>: {}; <code>{}</code>", text(reason), text(hint))
        }
        (Some(reason), None) => format!("<span class=\"watch\">observed</span>: {}", text(reason)),
        (None, _) => {
            let rules: Vec<_> = row.rules.iter().map(|rule| format!("<code>{}</code>", text(rule))).collect();
            rules.join(" ")
        }
    }
}

fn denied(out: &mut String, subject: &Subject<'_>) {
    let rows = &subject.report.denied;
    out.push_str("<h2>Denied</h2>\n");
    if rows.is_empty() {
        out.push_str("<p>Nothing.</p>\n");
        return;
    }
    head(
        out,
        &[
            ("destination", false),
            ("during", false),
            ("times", true),
            ("first", false),
            ("last", false),
            ("why; what would allow it", false),
        ],
    );
    for row in rows.iter().take(ROWS) {
        let Denied { destination, protocol, count, first, last, .. } = row;
        let others = if row.example { " and others" } else { "" };
        let hint =
            row.hint.as_ref().map_or_else(String::new, |hint| format!("<br><code>{}</code>", text(hint)));
        let _ = writeln!(
            out,
            "<tr><td><code>{}</code>{others} <span class=\"faint\">{}</span></td><td>{}</td><td class=\"number\">{count}</td>\
             <td class=\"time\">{}</td><td class=\"time\">{}</td><td>{}{hint}</td></tr>",
            text(destination),
            text(protocol),
            text(&row.during()),
            clock(first),
            clock(last),
            text(&row.reason),
        );
    }
    out.push_str("</tbody></table></div>\n");
    more(out, rows.len());
}

/// The time of a day: the date stands above.
fn clock(time: &str) -> String {
    text(time.get(11..19).unwrap_or(time))
}

fn files(out: &mut String, subject: &Subject<'_>) {
    out.push_str("<h2>Files</h2>\n");
    let lists = subject.files();
    if lists.iter().all(|(_, paths)| paths.is_empty()) {
        out.push_str("<p>None was shared or written.</p>\n");
    }
    for (title, paths) in lists.iter().filter(|(_, paths)| !paths.is_empty()) {
        let _ = writeln!(out, "<h3>{title}</h3>\n<ul>");
        for path in paths.iter().take(ROWS) {
            let _ = writeln!(out, "<li><code>{}</code></li>", text(path));
        }
        out.push_str("</ul>\n");
        more(out, paths.len());
    }
}

fn granted(out: &mut String, subject: &Subject<'_>) {
    out.push_str("<h2>What it is, and what it was granted</h2>\n<dl>\n");
    for (name, value) in subject.granted() {
        let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", text(&value));
    }
    out.push_str("</dl>\n");
    if subject.report.runs.len() > 1 {
        out.push_str("<h3>Steps</h3>\n<ul>\n");
        for run in subject.report.runs.iter().take(ROWS) {
            let _ = writeln!(
                out,
                "<li>{} {} {}</li>",
                text(&run.started),
                text(&run.purpose),
                text(&run.package)
            );
        }
        out.push_str("</ul>\n");
    }
    for (what, count) in &subject.report.limits {
        let _ = writeln!(out, "<p>Limit: {} ({count})</p>", text(what));
    }
    if subject.report.unreadable > 0 {
        let _ = writeln!(out, "<p class=\"bad\">{} lines could not be read.</p>", subject.report.unreadable);
    }
}

fn more(out: &mut String, rows: usize) {
    if rows > ROWS {
        let _ =
            writeln!(out, "<p class=\"faint\">and {} more: npxc audit show --json has all</p>", rows - ROWS);
    }
}
