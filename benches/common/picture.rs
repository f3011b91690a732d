//! The figures as bars, for the README. Plain SVG; follows the reader's light or dark preference.

use std::fmt::Write;

use super::gates::{KERNEL, NODE, NPX, NPXC, PASTA, PIPE, SLIRP};
use super::record::Records;
use super::report::figure;

struct Panel {
    title: &'static str,
    unit: &'static str,
    more: bool,
    metric: &'static str,
    contenders: &'static [&'static str],
}

const LINK: &[&str] = &[NPXC, PASTA, SLIRP, KERNEL];

const PANELS: [Panel; 8] = [
    Panel { title: "Upload", unit: "Gb/s", more: true, metric: "upload", contenders: LINK },
    Panel { title: "Download", unit: "Gb/s", more: true, metric: "download", contenders: LINK },
    Panel {
        title: "Short HTTP connections",
        unit: "per second",
        more: true,
        metric: "connections",
        contenders: LINK,
    },
    Panel { title: "Round trip", unit: "µs", more: false, metric: "rtt", contenders: LINK },
    Panel {
        title: "Memory, 1000 idle flows",
        unit: "MB",
        more: false,
        metric: "rss-1000",
        contenders: &[NPXC, PASTA, SLIRP],
    },
    Panel {
        title: "Start of an MCP server",
        unit: "ms",
        more: false,
        metric: "start-everything",
        contenders: &[NPXC, NPX, NODE],
    },
    Panel {
        title: "Small message there and back",
        unit: "µs",
        more: false,
        metric: "rpc-small",
        contenders: &[NPXC, PIPE],
    },
    Panel {
        title: "8 MB messages",
        unit: "MB/s",
        more: true,
        metric: "rpc-large",
        contenders: &[NPXC, PIPE],
    },
];

const COLUMNS: usize = 2;
const WIDTH: usize = 380;
const HEIGHT: usize = 152;
const MARGIN: usize = 20;
const HEAD: usize = 30;
const LABEL: usize = 92;
const VALUE: usize = 60;
const ROW: usize = 25;
const BAR: usize = 15;

/// The picture.
pub fn svg(records: &Records, about: &[(&str, String)]) -> String {
    let width = COLUMNS * WIDTH + MARGIN;
    let height = PANELS.len().div_ceil(COLUMNS) * HEIGHT + 2 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">npxc beside its peers</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
    );
    for (at, panel) in PANELS.iter().enumerate() {
        let left = MARGIN + (at % COLUMNS) * WIDTH;
        let top = MARGIN + (at / COLUMNS) * HEIGHT;
        draw(&mut out, panel, records, left, top);
    }
    let find =
        |key: &str| about.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value.as_str());
    let _ = writeln!(
        out,
        "<text class=\"foot\" x=\"{MARGIN}\" y=\"{}\">{}, {}; median of the rounds, work on one core</text>\n</svg>",
        height - MARGIN / 2,
        escape(find("date")),
        escape(find("machine")),
    );
    out
}

fn draw(out: &mut String, panel: &Panel, records: &Records, left: usize, top: usize) {
    let better = if panel.more { "more is better" } else { "less is better" };
    let _ = writeln!(
        out,
        "<text class=\"head\" x=\"{left}\" y=\"{}\">{} <tspan class=\"foot\">{}, {better}</tspan></text>",
        top + 15,
        panel.title,
        panel.unit
    );
    let figures: Vec<Option<f64>> = panel
        .contenders
        .iter()
        .map(|contender| records.summary(panel.metric, contender).map(|summary| summary.median))
        .collect();
    let most = figures.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let room = (WIDTH - LABEL - VALUE - MARGIN) as f64;
    for (row, (contender, value)) in panel.contenders.iter().zip(figures).enumerate() {
        let class = if *contender == NPXC { "ours" } else { "peer" };
        let y = top + HEAD + row * ROW;
        let x = left + LABEL;
        let length = value.map_or(0.0, |value| (value / most * room).max(1.0));
        let text = value.map_or("not measured".to_owned(), figure);
        let _ = writeln!(
            out,
            "<text class=\"name {class}\" x=\"{}\" y=\"{}\">{contender}</text>\
             <rect class=\"bar {class}\" x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{}\">{text}</text>",
            x - 8,
            y + 12,
            x as f64 + length + 6.0,
            y + 12
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\
.page{fill:#fff}.head{font-weight:600}.foot{font-size:11px;font-weight:400;fill:#59636e}\
.name{text-anchor:end;fill:#59636e}.name.ours{fill:#1f2328;font-weight:600}\
.bar.ours{fill:#c2410c}.bar.peer{fill:#b6bec8}.value{font-variant-numeric:tabular-nums}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.foot,.name{fill:#9198a1}\
.name.ours{fill:#e6edf3}.bar.ours{fill:#fb923c}.bar.peer{fill:#484f58}}";
