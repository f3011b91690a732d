//! `npxc audit diff`: as text, as JSON, and as SARIF (OASIS, version 2.1.0), which code hosts show beside a change.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::which;
use crate::audit::chain;
use crate::audit::diff::{Change, Kind, diff};
use crate::audit::escape::printable;
use crate::audit::report::{Report, Run};
use crate::audit::shelf::Shelved;
use crate::cli::say;
use crate::exit::{ExitStatus, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Logs, a directory, a session, a package, or one version of it: what was before
    before: String,
    /// The same: what is compared [default: the newest session of BEFORE, with the others]
    after: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each change
    Text,
    /// For programs
    Json,
    /// For code hosts
    Sarif,
}

/// Logs that are taken together.
struct Side {
    reports: Vec<Report>,
    /// Their files, in the same order, the newest first.
    logs: Vec<PathBuf>,
}

impl Side {
    /// The newest of a package's own; of an installation only if there is no other.
    fn newest(&self) -> Option<(&Path, &Report)> {
        let mut all = self.logs.iter().map(PathBuf::as_path).zip(&self.reports);
        let first = all.next()?;
        std::iter::once(first).chain(all).find(|(_, report)| which::is_run(report)).or(Some(first))
    }

    /// Which sessions these are, by the newest: its id as `npxc audit list` has it, what ran, and when.
    fn said(&self) -> String {
        let Some((log, report)) = self.newest() else { return "no log".to_owned() };
        let id = Shelved::of(log.to_owned())
            .map_or_else(|| log.display().to_string(), |log| format!("session {}", log.short()));
        let what = report.runs.last().map_or_else(
            || "nothing was run".to_owned(),
            |run| {
                let time = run.started.get(..19).unwrap_or(&run.started).replace('T', " ");
                format!("{}, {time}", title(run))
            },
        );
        let more = match self.logs.len() {
            0 | 1 => String::new(),
            2 => "; and another log".to_owned(),
            many => format!("; and {} other logs", many - 1),
        };
        printable(&format!("{id}: {what}{more}"), 1000)
    }
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let (before, after) = match &args.after {
        Some(after) => (side(&args.before)?, side(after)?),
        None => halves(side(&args.before)?)?,
    };
    say::note(&format!("before: {}", before.said()));
    say::note(&format!("after:  {}", after.said()));
    let changes = diff(&before.reports, &after.reports);
    match args.format {
        Format::Text => {
            let lines = changes.iter().map(|change| printable(&change.to_string(), 1000) + "\n");
            say::print(&lines.collect::<String>());
        }
        Format::Json => say::print(&super::to_json(&changes)?),
        Format::Sarif => {
            let log = after.newest().map_or_else(|| Path::new(&args.before), |(log, _)| log);
            say::print(&super::to_json(&sarif(&changes, log))?);
        }
    }
    let new = changes.iter().filter(|change| change.new && change.kind != Kind::Package).count();
    if new == 0 {
        say::note("nothing is new");
        return Ok(ExitStatus::Success);
    }
    Err(Failure::new(ExitStatus::Config, format!("{new} things are new")).hint(
        "npxc audit report --html FILE shows the session as a page; npxc audit suggest, the rules for what is wanted",
    ))
}

/// The logs that are meant; of a package with a version only those in which that version ran.
fn side(named: &str) -> Result<Side, Failure> {
    let version = exact(named);
    let mut found = Vec::new();
    for log in which::several(named)? {
        let report = super::read(&log)?;
        let ran = |version: &String| report.runs.iter().any(|run| run.version.as_ref() == Some(version));
        if which::is_path(named) || version.as_ref().is_none_or(ran) {
            found.push((log, report));
        }
    }
    if found.is_empty() {
        return Err(Failure::new(ExitStatus::Config, format!("no log is of {named}"))
            .hint("npxc audit list shows what there is"));
    }
    let (logs, reports) = found.into_iter().unzip();
    Ok(Side { reports, logs })
}

/// The reports of the logs that are meant.
pub(super) fn reports(named: &str) -> Result<Vec<Report>, Failure> {
    side(named).map(|side| side.reports)
}

/// The newest session, and those before it.
fn halves(all: Side) -> Result<(Side, Side), Failure> {
    let Side { mut reports, mut logs } = all;
    let newest = reports.iter().position(which::is_run).map(|at| (reports.remove(at), logs.remove(at)));
    match newest {
        Some((report, log)) if reports.iter().any(which::is_run) => {
            Ok((Side { reports, logs }, Side { reports: vec![report], logs: vec![log] }))
        }
        Some(_) | None => Err(Failure::new(ExitStatus::Config, "there are not two sessions to compare")
            .hint("name both: npxc audit diff BEFORE AFTER; npxc audit list shows what there is")),
    }
}

/// The package with its version.
fn title(run: &Run) -> String {
    match &run.version {
        Some(version) if !run.package.ends_with(&format!("@{version}")) => {
            format!("{}@{version}", run.package)
        }
        Some(_) | None => run.package.clone(),
    }
}

/// The version that a package's spec names, if it names one and no range.
fn exact(spec: &str) -> Option<String> {
    let (_, version) = spec.rsplit_once('@').filter(|(name, _)| !name.is_empty())?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

fn sarif(changes: &[Change], log: &Path) -> Value {
    let id = |kind: Kind| format!("new-{}", kind.id());
    let rules: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| {
            let text = format!("New beside an earlier run: what the package {}", kind.words());
            json!({"id": id(*kind), "shortDescription": {"text": text}})
        })
        .collect();
    let uri = format!("file://{}", crate::rpc::identify::shape::percent_encode(&log.to_string_lossy()));
    let results: Vec<_> = changes
        .iter()
        .filter(|change| change.new)
        .map(|change| {
            let level = if change.kind == Kind::Package { "note" } else { "warning" };
            let fingerprint = chain::hash(format!("{} {}", change.kind.id(), change.subject).as_bytes());
            json!({
                "ruleId": id(change.kind),
                "level": level,
                "message": {"text": printable(&change.to_string(), 1000)},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}}}],
                "partialFingerprints": {"npxc/v1": fingerprint},
            })
        })
        .collect();
    json!({
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": {"driver": {"name": "npxc", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}
