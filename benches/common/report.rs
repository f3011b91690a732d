//! The tables: gates first, then everything that was measured.

use std::fmt::Write;

use super::gates::{CONTENDERS, GATES, METRICS, Side};
use super::record::{Records, Summary};
use super::scale::Scale;

/// The whole report, as Markdown.
pub fn markdown(records: &Records, sections: &[&str], scale: Scale, about: &[(&str, String)]) -> String {
    let mut out = String::from("# Benchmarks\n\nWritten by `benches/run`.\n\n");
    for (key, value) in about {
        let _ = writeln!(out, "- {key}: {value}");
    }
    let pinned = if scale.pinned { "all on one core" } else { "NOT pinned, for information only" };
    let quick = if scale.quick { ", quick: rough figures" } else { "" };
    let _ = writeln!(out, "- rounds: {}, npxc and its peers in turn, {pinned}{quick}\n", scale.rounds());
    out.push_str(METHOD);
    out.push_str("\n## Gates\n\n");
    out.push_str(
        "A ratio is taken within each round; the table has the median of these and [least to most].\n\n",
    );
    out.push_str("| what | measured | gate | aim | |\n|---|---|---|---|---|\n");
    for (_, gates) in GATES.iter().filter(|(section, _)| sections.contains(section)) {
        for gate in *gates {
            let unit = gate.unit();
            let word = if gate.side == Side::Least { "≥" } else { "≤" };
            let (measured, verdict) = match gate.measured(records) {
                Some(summary) if gate.holds(summary.median, gate.aim) => {
                    (spread(&summary, unit), "pass, aim reached")
                }
                Some(summary) if gate.holds(summary.median, gate.bound) => (spread(&summary, unit), "pass"),
                Some(summary) => (spread(&summary, unit), "**MISSED**"),
                None => ("-".to_owned(), "**not measured**"),
            };
            let _ = writeln!(
                out,
                "| {} | {measured} | {word} {} | {} | {verdict} |",
                gate.what,
                bound(gate.bound, unit),
                bound(gate.aim, unit)
            );
        }
    }
    out.push_str("\n## Measured\n\nMedian and [least to most] of the rounds.\n\n");
    let shown: Vec<&str> = CONTENDERS
        .iter()
        .copied()
        .filter(|contender| METRICS.iter().any(|metric| records.summary(metric.name, contender).is_some()))
        .collect();
    let _ = writeln!(out, "| what | unit | {} |", shown.join(" | "));
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(shown.len()));
    for metric in METRICS {
        let cells: Vec<String> = shown
            .iter()
            .map(|contender| {
                records.summary(metric.name, contender).map_or(String::new(), |row| spread(&row, ""))
            })
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            let _ = writeln!(out, "| {} | {} | {} |", metric.what, metric.unit, cells.join(" | "));
        }
    }
    if !records.notes.is_empty() {
        out.push_str("\n## Not measured, or failed\n\n");
        for note in &records.notes {
            let _ = writeln!(out, "- {}", note.replace('\n', " "));
        }
    }
    out
}

/// The gates that did not hold.
pub fn missed(records: &Records, sections: &[&str]) -> Vec<&'static str> {
    GATES
        .iter()
        .filter(|(section, _)| sections.contains(section))
        .flat_map(|(_, gates)| gates.iter())
        .filter(|gate| gate.measured(records).is_none_or(|summary| !gate.holds(summary.median, gate.bound)))
        .map(|gate| gate.what)
        .collect()
}

/// A figure with three digits that mean something.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn spread(summary: &Summary, unit: &str) -> String {
    let (median, least, most) = (figure(summary.median), figure(summary.least), figure(summary.most));
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("{median}{unit} [{least} to {most}]")
}

fn bound(value: f64, unit: &str) -> String {
    let value = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value}") };
    format!("{value} {unit}")
}

const METHOD: &str = "\
Guest and server live in two network namespaces that the benchmark makes itself; npxc, pasta or slirp4netns stands
between them, `veth` is the same way without anything between. One core does the work of the guest's program, the
server and what connects them, so a figure is the whole cost. Every payload byte is compared, not only counted.
pasta and slirp4netns get an MTU of 65520, npxc's guest has 1500 with segmentation offload. (At that MTU one
segment fills slirp4netns' window, and its delayed acknowledgements then stall uploads: its figure for them varies.) Policy, sniffing and
the audit log are on; in one column nobody takes the datapath's events. The WireGuard rows have npxc's link at both ends, the guest's as in a container, or one program at
both ends and the kernel forwarding; the MTU is 1420 but where it says otherwise (an underlay of 65535). TCP's congestion control is reno everywhere. JSON-RPC goes through standard streams alone, beside
nothing but pipes and a proxy that has serde_json parse and print each message; the calls' files are new to each round's session. Start-up is not pinned, and warm: nothing is downloaded or installed while it is measured,
but for what is not installed yet: then npxc's store and npm's cache are empty, and the registry and the way there are measured as well.
";
