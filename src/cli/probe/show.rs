//! What a probe found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::client::Outcome;
use crate::audit::escape::printable;
use crate::audit::report::Report;
use crate::cli::audit::{destinations, to_json};
use crate::cli::table::{Table, width};
use crate::exit::Failure;

/// Rows of a kind that are shown to a person.
pub(in crate::cli) const ROWS: usize = 200;

/// Lines of a tool's answer that are shown to a person.
const ANSWER_LINES: usize = 40;

pub(super) fn text(asked: &str, outcome: &Outcome, network: &Report) -> String {
    let mut out = format!("{}\n", printable(&title(asked, network), 300));
    if let Some(server) = &outcome.server {
        let name = server.server_info.as_ref().map_or_else(
            || "an unnamed server".to_owned(),
            |info| format!("{} {}", info.title.as_deref().unwrap_or(&info.name), info.version),
        );
        let line = format!("{name}, MCP {}", server.protocol_version);
        let _ = writeln!(out, "{}", printable(&line, 300));
        list(
            &mut out,
            "Tools",
            outcome.tools.iter().map(|tool| {
                let what = tool.description.as_deref().or(tool.title.as_deref());
                (tool.name.to_string(), one_line(what))
            }),
        );
        list(
            &mut out,
            "Prompts",
            outcome
                .prompts
                .iter()
                .map(|prompt| (prompt.name.clone(), one_line(prompt.description.as_deref()))),
        );
        list(
            &mut out,
            "Resources",
            outcome.resources.iter().map(|resource| {
                (resource.uri.clone(), one_line(resource.description.as_deref().or(Some(&resource.name))))
            }),
        );
    }
    if let Some(called) = &outcome.called {
        out.push_str(if called.is_error == Some(true) { "Answer (an error):\n" } else { "Answer:\n" });
        let texts: Vec<String> = called.content.iter().map(content).collect();
        let texts = texts.join("\n");
        let lines = texts.lines().count();
        for line in texts.lines().take(ANSWER_LINES) {
            let _ = writeln!(out, "  {}", printable(line, width().saturating_sub(2)));
        }
        if lines > ANSWER_LINES {
            let _ = writeln!(out, "  and {} more lines (--json shows all)", lines - ANSWER_LINES);
        }
    }
    out.push_str(&destinations(network));
    out
}

pub(super) fn json(asked: &str, outcome: &Outcome, network: &Report) -> Result<String, Failure> {
    let server = outcome.server.as_ref();
    to_json(&json!({
        "asked": asked,
        "package": network.runs.last().map(|run| &run.package),
        "version": network.runs.last().and_then(|run| run.version.as_ref()),
        "protocolVersion": server.map(|server| &server.protocol_version),
        "server": server.and_then(|server| server.server_info.as_ref()),
        "instructions": server.and_then(|server| server.instructions.as_ref()),
        "tools": outcome.tools,
        "prompts": outcome.prompts,
        "resources": outcome.resources,
        "answer": outcome.called,
        "error": outcome.failure.as_ref().map(|failure| &failure.message),
        "network": network,
    }))
}

/// The package as it was resolved, or as it was asked for when nothing ran.
fn title(asked: &str, network: &Report) -> String {
    let Some(run) = network.runs.last() else { return asked.to_owned() };
    match &run.version {
        Some(version) if !run.package.ends_with(&format!("@{version}")) => {
            format!("{}@{version}", run.package)
        }
        Some(_) | None => run.package.clone(),
    }
}

fn list(out: &mut String, what: &str, rows: impl ExactSizeIterator<Item = (String, String)>) {
    let count = rows.len();
    if count == 0 {
        return;
    }
    let mut table = Table::bare();
    for (name, text) in rows.take(ROWS) {
        table.row(vec![name, text]);
    }
    let _ = write!(out, "{what} ({count}):\n{}", table.render());
    if count > ROWS {
        let _ = writeln!(out, "  and {} more (--json shows all)", count - ROWS);
    }
}

/// The first line that says something.
fn one_line(text: Option<&str>) -> String {
    let mut lines = text.unwrap_or_default().lines().map(str::trim);
    lines.find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// A piece of an answer as text; what is no text is named.
fn content(block: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(block).unwrap_or_default();
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    text("text").unwrap_or_else(|| {
        format!(
            "[{} {}]",
            text("type").unwrap_or_default(),
            text("mimeType").or(text("uri")).unwrap_or_default()
        )
    })
}
