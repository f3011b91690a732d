//! `npxc probe`: starts a server as a client would, asks what it offers, and shows what it tried to reach.
//!
//! The server is run by npxc itself as a child, with the same options, so that what is shown is what a client
//! gets. What comes back (names, descriptions, stderr) is the server's own word and is shown as such.

pub(super) mod client;
pub(super) mod show;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use uuid::Uuid;

use self::client::Outcome;
use super::options::{Options, again};
use super::say::Stderr;
use super::{
    is_marked, log_to_stderr, own_program, parse_keeping, resolve, say, server, slips, warn_of_slips,
};
use crate::audit::report::Report;
use crate::audit::{AuditError, Segments, Target};
use crate::config::Resolved;
use crate::config::values::EnvValue;
use crate::config::variables::GIVEN;
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::session;

/// Longest time until a server answers `initialize`, and how long it is watched, unless something else is said.
const TIMEOUT: Duration = Duration::from_mins(1);
const WAIT: Duration = Duration::from_secs(1);

/// Starts a server, lists its tools, shows what it tried to reach, stops it
#[derive(Debug, Parser)]
#[command(name = "npxc probe")]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
    /// Call this tool, too
    #[arg(long, visible_alias = "tool", value_name = "TOOL")]
    call: Option<String>,
    /// The tool's arguments, a JSON object
    #[arg(long = "args", visible_alias = "arguments", value_name = "JSON", requires = "call")]
    arguments: Option<String>,
    /// Longest time from its start until the server answers `initialize`
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// How long to watch the server after it listed its tools
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    wait: u64,
    /// The package and its arguments
    #[arg(trailing_var_arg = true, value_name = "PACKAGE-SPEC")]
    pub(super) words: Vec<OsString>,
    /// The options as they were given.
    #[arg(skip)]
    again: Vec<OsString>,
    /// A `--` stood before the package.
    #[arg(skip)]
    marked: bool,
}

impl Args {
    pub(super) fn parse(argv: &[OsString]) -> Result<Self, clap::Error> {
        let (parsed, matches) = parse_keeping::<Self>(argv)?;
        let marked = is_marked(argv, &parsed.words);
        Ok(Self { again: again(&matches), marked, ..parsed })
    }
}

/// What is started and asked.
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    /// Variables beside npxc's own.
    pub(super) env: Vec<(String, EnvValue)>,
    pub(super) call: Option<(String, serde_json::Map<String, serde_json::Value>)>,
    pub(super) timeout: Duration,
    pub(super) wait: Duration,
    pub(super) voice: Stderr,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    if args.words.is_empty() && args.options.package.is_empty() {
        return Err(server::no_package("probe"));
    }
    // Mistakes are told here, once, before anything is started.
    let mut resolved = resolve(&args.options, &args.words)?;
    let voice = Stderr::at(level);
    warn_of_slips(&args.words, args.marked, &resolved, voice);
    if !args.marked
        && let Some((warning, hint)) = slips::probe_behind_spec(&args.words)
    {
        voice.warning(&warning);
        voice.hint(&hint);
    }
    let call = match &args.call {
        Some(name) => {
            let text = args.arguments.as_deref().unwrap_or("{}");
            Some((name.clone(), server::arguments("--args", text, "{\"query\": \"example\"}")?))
        }
        None => None,
    };
    let program = own_program()?;

    // One log for the steps of an installation and for the server, where every session's log is.
    let log = resolved.audit.file(Uuid::now_v7(), jiff::Timestamp::now())?;
    let named = |word: &&OsString| word.as_encoded_bytes().starts_with(b"--audit-log=");
    let mut words: Vec<OsString> = args.again.iter().filter(|word| !named(word)).cloned().collect();
    let mut word = OsString::from("--audit-log=");
    word.push(&log);
    words.push(word);
    words.push("--".into());
    words.extend(args.words.iter().cloned());

    let before = length(&log);
    let timeout = Duration::from_secs(args.timeout);
    let plan = Plan {
        program,
        args: words,
        env: Vec::new(),
        call,
        timeout,
        wait: Duration::from_secs(args.wait),
        voice,
    };
    let outcome = installed(&mut resolved, &log, voice)
        .map_or_else(|failure| Ok(failed(failure)), |()| client::run(&plan))?;
    let network = read(&log, before)?;
    let title = resolved.request.to_string();
    if args.json {
        say::print(&show::json(&title, &outcome, &network)?);
    } else if outcome.failure.is_none() || has_findings(&network) {
        // Of something that never ran, "reached: nothing" would read like a finding.
        say::print(&show::text(&title, &outcome, &network));
    }
    match outcome.failure {
        None => Ok(ExitStatus::Success),
        Some(failure) => Err(failure),
    }
}

/// The rules without which a server was denied something when it was started as a client would start it: `words` are
/// npxc's arguments, `env` what the client adds, for `--env NAME` alone. Nothing beside them is allowed for this.
pub(super) fn denied(
    args: &super::Args,
    words: &[String],
    env: &BTreeMap<&str, &str>,
    voice: Stderr,
) -> Result<Vec<String>, Failure> {
    // Its variables are in `env`, and not in this process.
    let mut resolved = resolve(&Options { env: Vec::new(), ..args.options.clone() }, &args.words)?;
    let program = own_program()?;
    let env = serde_json::to_string(env).map_err(|error| {
        Failure::new(ExitStatus::Runtime, format!("its variables cannot be handed on: {error}"))
    })?;
    let env = vec![(GIVEN.to_owned(), EnvValue(env.into()))];
    let log = resolved.audit.file(Uuid::now_v7(), jiff::Timestamp::now())?;
    let mut word = OsString::from("--audit-log=");
    word.push(&log);
    let words = std::iter::once(word).chain(words.iter().map(OsString::from)).collect();
    installed(&mut resolved, &log, voice)?;
    let before = length(&log);
    let plan = Plan { program, args: words, env, call: None, timeout: TIMEOUT, wait: WAIT, voice };
    let outcome = client::run(&plan)?;
    let hints = read(&log, before)?.denied.into_iter().filter_map(|denied| denied.hint);
    let rules: BTreeSet<String> =
        hints.filter_map(|hint| Some(hint.strip_prefix("--allow ")?.to_owned())).collect();
    match outcome.failure {
        // It may have failed for what it could not reach.
        Some(failure) if rules.is_empty() || failure.status == ExitStatus::Interrupted => Err(failure),
        Some(_) | None => Ok(rules.into_iter().collect()),
    }
}

fn has_findings(network: &Report) -> bool {
    let empty = network.reached.is_empty() && network.denied.is_empty();
    !(empty && network.not_found.is_empty() && network.not_resolved.is_empty())
}

/// Installs the package first: that may take minutes, and the server's own time is to be counted from its start. Its
/// steps go to the same log, so that what they reached is shown, too.
fn installed(resolved: &mut Resolved, log: &Path, voice: Stderr) -> Result<(), Failure> {
    resolved.audit = Target::File(log.to_owned());
    session::install(resolved, false, &voice).map(drop)
}

/// Nothing was started.
fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

/// How much the log says by now.
fn length(log: &Path) -> u64 {
    Segments::of(log).and_then(|log| log.length()).unwrap_or(0)
}

/// What the log says from byte `start` on; empty when npxc did not get as far as a log.
fn read(log: &Path, start: u64) -> Result<Report, Failure> {
    let failed = |source| {
        let error = AuditError::Open { path: log.to_owned(), source };
        Failure::new(ExitStatus::Config, error.to_string()).hints(error.hint())
    };
    match Segments::of(log).and_then(|log| log.read(start)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Report::default()),
        read => read.map_err(failed),
    }
}

#[cfg(test)]
mod tests;
