//! The pictures of a page: when each destination was reached or refused, and how much went there.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{size, text};
use crate::audit::report::Report;

/// Rows of a picture; the tables have all.
const ROWS: usize = 40;
/// Units of the drawing, which scales.
const WIDTH: f64 = 960.0;
/// Where names end and the picture begins.
const NAMES: f64 = 330.0;
/// A row's height.
const ROW: f64 = 22.0;
/// Above the first row: the scale.
const HEAD: f64 = 26.0;
/// Characters of a name that there is room for.
const NAME: usize = 44;

/// A row: a name, whether it was refused, its times, and whether it was only observed.
struct Line<'a> {
    name: String,
    class: &'static str,
    times: &'a [String],
    note: String,
}

fn moment(time: &str) -> Option<f64> {
    let time: Timestamp = time.parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "a position in a picture")]
    Some(time.as_microsecond() as f64 / 1e6)
}

fn name(text: &str) -> String {
    crate::audit::escape::printable(text, NAME)
}

/// When what was reached and refused; empty when there was nothing.
pub(super) fn timeline(report: &Report) -> String {
    let reached = report.reached.iter().map(|row| Line {
        name: row.destination(),
        class: if row.observed.is_some() { "observed" } else { "reached" },
        times: &row.times,
        note: format!("{} flows", row.flows),
    });
    let denied = report.denied.iter().map(|row| Line {
        name: row.destination.clone(),
        class: "denied",
        times: &row.times,
        note: format!("denied {} times", row.count),
    });
    let mut lines: Vec<_> = reached.chain(denied).collect();
    lines.sort_by(|one, other| one.times.first().cmp(&other.times.first()));
    lines.truncate(ROWS);
    let started = report.runs.first().and_then(|run| moment(&run.started));
    let ended = report.runs.last().and_then(|run| run.ended.as_deref()).and_then(moment);
    let all = || lines.iter().flat_map(|line| line.times).filter_map(|time| moment(time));
    let start = all().chain(started).fold(f64::INFINITY, f64::min);
    let end = all().chain(ended).fold(f64::NEG_INFINITY, f64::max);
    if lines.is_empty() || !start.is_finite() || !end.is_finite() {
        return String::new();
    }
    let span = (end - start).max(0.001);
    let at = |time: f64| NAMES + (time - start) / span * (WIDTH - NAMES - 12.0);
    let mut out = open(lines.len(), "When each destination was reached or refused");
    for part in 0..=4 {
        let seconds = span * f64::from(part) / 4.0;
        let x = at(start + seconds);
        let anchor = if part == 4 { "end" } else { "start" };
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEAD}\" y2=\"{:.1}\"/>\
             <text class=\"scale\" x=\"{x:.1}\" y=\"16\" text-anchor=\"{anchor}\">{}</text>",
            height(lines.len()),
            after(seconds)
        );
    }
    for (number, line) in (0_u32..).zip(&lines) {
        let y = HEAD + (f64::from(number) + 0.5) * ROW;
        label(&mut out, y, &line.name);
        let _ = write!(out, "<g class=\"{}\"><title>{}: {}</title>", line.class, text(&line.name), line.note);
        for x in line.times.iter().filter_map(|time| moment(time)).map(at) {
            let mark = if line.class == "denied" {
                format!("<path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>", x - 4.0, y - 4.0)
            } else {
                format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
            };
            out.push_str(&mark);
        }
        out.push_str("</g>");
    }
    out.push_str("</svg>\n");
    out
}

/// How much was sent and received, by destination; empty when there was nothing.
#[allow(clippy::cast_precision_loss, reason = "lengths in a picture")]
pub(super) fn traffic(report: &Report) -> String {
    let mut rows: Vec<_> =
        report.reached.iter().filter(|row| row.bytes_up > 0 || row.bytes_down > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes_up.saturating_add(row.bytes_down)));
    rows.truncate(ROWS);
    let Some(most) = rows.iter().map(|row| row.bytes_up.max(row.bytes_down)).max() else {
        return String::new();
    };
    let room = WIDTH - NAMES - 170.0;
    // A wide range: a request beside a download. The scale is logarithmic, and the figures stand beside it.
    let length = |bytes: u64| (bytes as f64).ln_1p() / (most as f64).ln_1p() * room;
    let mut out =
        open(rows.len(), "Bytes sent to and received from each destination, on a logarithmic scale");
    out.push_str("<text class=\"scale\" x=\"330\" y=\"16\">sent above, received below; logarithmic</text>");
    for (number, row) in (0_u32..).zip(&rows) {
        let y = HEAD + f64::from(number) * ROW;
        label(&mut out, y + ROW / 2.0, &row.destination());
        let longest = length(row.bytes_up.max(row.bytes_down));
        let _ = write!(
            out,
            "<rect class=\"sent\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"7\"/>\
             <rect class=\"received\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"7\"/>\
             <text class=\"scale\" x=\"{:.1}\" y=\"{:.1}\">{} / {}</text>",
            y + 3.0,
            length(row.bytes_up),
            y + 11.0,
            length(row.bytes_down),
            NAMES + longest + 8.0,
            y + ROW / 2.0 + 4.0,
            size(row.bytes_up),
            size(row.bytes_down),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn height(rows: usize) -> f64 {
    HEAD + f64::from(u32::try_from(rows).unwrap_or(u32::MAX)) * ROW + 4.0
}

fn open(rows: usize, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>",
        height(rows)
    )
}

fn label(out: &mut String, y: f64, destination: &str) {
    let shown = text(&name(destination));
    let _ = write!(out, "<text class=\"name\" x=\"{:.0}\" y=\"{:.1}\">{shown}</text>", NAMES - 12.0, y + 4.0);
}

/// A time after the start.
fn after(seconds: f64) -> String {
    match seconds {
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
