//! `npxc audit list`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::which;
use crate::audit::shelf::Shelved;
use crate::cli::say;
use crate::cli::table::Table;
use crate::exit::{ExitStatus, Failure};
use crate::package::PackageSpec;

/// Hosts that stand in a row.
const HOSTS: usize = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A session, a package, or a directory of logs [default: npxc's own]
    #[arg(value_name = "SESSION|PACKAGE|DIRECTORY")]
    named: Option<String>,
    /// Only of this package; may be given several times
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// Only sessions that began in so much time before now, 12h, 30d or 8w
    #[arg(long, value_name = "AGE")]
    since: Option<String>,
    /// Only sessions that were denied something
    #[arg(long)]
    denied: bool,
    /// Only so many of them; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// A session, in short.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    session: String,
    #[serde(skip)]
    short: String,
    package: String,
    version: Option<String>,
    purpose: String,
    started: String,
    /// Milliseconds.
    duration: Option<i64>,
    /// `ended`, `running` or `cut off`.
    state: &'static str,
    hosts: BTreeSet<String>,
    allowed: u64,
    denied: u64,
    log: PathBuf,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let age = args.since.as_deref().map(|text| crate::cli::store::age("--since", text)).transpose()?;
    let (directory, named) = shelf(args.named.as_deref())?;
    let most = if args.last == 0 { usize::MAX } else { args.last };
    let mut sessions = Vec::new();
    let mut more = false;
    for log in which::shelved(&directory)? {
        if !is_wanted(&log, named, &args.package) {
            continue;
        }
        if age.is_some_and(|age| which::is_older(&log, age)) {
            break;
        }
        let session = session(log)?;
        if args.denied && session.denied == 0 {
            continue;
        }
        if sessions.len() == most {
            more = true;
            break;
        }
        sessions.push(session);
    }
    if args.json {
        say::print(&super::to_json(&sessions)?);
        return Ok(ExitStatus::Success);
    }
    if sessions.is_empty() {
        say::note("there are no such sessions");
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new(&["session", "started", "took", "for", "package", "denied", "reached"]);
    for session in &sessions {
        table.row(row(session));
    }
    let mut out = table.render();
    if more {
        let _ = writeln!(out, "  and older ones (--last 0 shows all)");
    }
    say::print(&out);
    Ok(ExitStatus::Success)
}

/// Whether the word, or one of the packages, means it; every one is, where neither is given.
fn is_wanted(log: &Shelved, named: Option<&str>, packages: &[String]) -> bool {
    let is_named = named.is_some_and(|name| which::is_meant(log, name));
    is_named
        || packages.iter().any(|name| which::is_package(log, name))
        || (named.is_none() && packages.is_empty())
}

/// The directory that is meant, or npxc's own and the session or package: a word is one of these first, as elsewhere.
fn shelf(named: Option<&str>) -> Result<(PathBuf, Option<&str>), Failure> {
    let own = which::own()?;
    let Some(named) = named else { return Ok((own, None)) };
    let directory = PathBuf::from(named);
    let known = which::shelved(&own)?.iter().any(|log| which::is_meant(log, named));
    let is_package = !which::is_path(named) && (known || named.parse::<PackageSpec>().is_ok());
    if is_package && (known || !directory.is_dir()) {
        return Ok((own, Some(named)));
    }
    if !directory.is_dir() {
        let what = format!("{named} is no directory");
        return Err(Failure::new(ExitStatus::Config, what).hint("npxc audit show FILE reads one log"));
    }
    Ok((directory, None))
}

fn session(log: Shelved) -> Result<Row, Failure> {
    // It opens nothing but a file, of which the rest are the neighbours.
    let written = log.is_written().map_err(|error| super::unreadable(&log.path, &error))?;
    let report = super::read(&log.path)?;
    let denied = report.denied.iter().fold(0_u64, |all, row| all.saturating_add(row.count));
    let hosts = report.reached.iter().map(|row| row.host.clone()).collect();
    let allowed = report.reached.iter().map(|row| row.flows).sum();
    let run = report.runs.into_iter().next_back().unwrap_or_default();
    let state = match (&run.ended, written) {
        (Some(_), _) => "ended",
        (None, true) => "running",
        (None, false) => "cut off",
    };
    Ok(Row {
        short: log.short(),
        session: log.session.to_string(),
        package: if run.package.is_empty() { log.package } else { run.package },
        version: run.version,
        purpose: run.purpose,
        duration: duration(&run.started, run.ended.as_deref()).map(|took| took.as_millis() as i64),
        started: run.started,
        state,
        hosts,
        allowed,
        denied,
        log: log.path,
    })
}

fn duration(started: &str, ended: Option<&str>) -> Option<SignedDuration> {
    let (started, ended): (Timestamp, Timestamp) = (started.parse().ok()?, ended?.parse().ok()?);
    Some(ended.duration_since(started))
}

fn row(session: &Row) -> Vec<String> {
    let started = session.started.get(..19).map_or_else(|| "?".to_owned(), |time| time.replace('T', " "));
    let took = session
        .duration
        .map_or_else(|| session.state.to_owned(), |took_ms| took(SignedDuration::from_millis(took_ms)));
    let mut hosts: Vec<_> = session.hosts.iter().take(HOSTS).cloned().collect();
    if session.hosts.len() > HOSTS {
        hosts.push(format!("and {} more", session.hosts.len() - HOSTS));
    }
    let reached = if hosts.is_empty() { "nothing".to_owned() } else { hosts.join(" ") };
    let package = match &session.version {
        Some(version) if !session.package.ends_with(&format!("@{version}")) => {
            format!("{} ({version})", session.package)
        }
        _ => session.package.clone(),
    };
    let denied = session.denied.to_string();
    vec![session.short.clone(), started, took, session.purpose.clone(), package, denied, reached]
}

/// A duration for people.
pub(in crate::cli) fn took(duration: SignedDuration) -> String {
    let (seconds, milliseconds) = (duration.as_secs(), duration.as_millis());
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
