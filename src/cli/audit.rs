//! `npxc audit`: reads logs, and says what follows from them.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Parser, Subcommand};

use super::say;
use crate::audit::Segments;
use crate::audit::chain::Verified;
use crate::audit::escape::is_hostile;
use crate::audit::report::Report;
use crate::exit::{ExitStatus, Failure};
use crate::paths::shell_word;

mod diff;
mod list;
mod page;
mod show;
mod suggest;
mod verify;
mod which;

pub(super) use self::list::took;
pub(super) use self::show::destinations;
pub(super) use self::which::names_session;

/// Rows of a kind that are shown to a person.
const ROWS: usize = 50;

/// What to type instead of a file that is none.
const NEWEST: &str = "npxc audit show without a file shows the newest log";

/// Reads audit logs
#[derive(Debug, Parser)]
#[command(name = "npxc audit")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the sessions that there are logs of, the newest first
    List(list::Args),
    /// Show what a session reached and what it was denied
    Show(show::Args),
    /// Check that a log is complete and as npxc wrote it; exit status 1 if it is not
    Verify {
        /// As of show
        log: Option<String>,
        /// It must be signed with this key, as `npxc audit key` prints it on the machine that wrote the log
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print the key of this machine that signs logs, where `npxc.toml` says so
    Key,
    /// Print the JSON Schema of a log's lines
    Schema,
    /// Write a page that shows a session to a reviewer
    Report(page::Args),
    /// Say which rules would have let through what a package did, with the evidence
    Suggest(suggest::Args),
    /// Say what a run, or a version, does that others did not; exit status 1 if something is new
    Diff(diff::Args),
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    match &args.action {
        Action::List(args) => list::execute(args),
        Action::Show(args) => show::execute(args),
        Action::Verify { log, key, json } => {
            verify::execute(&which::one(log.as_deref())?, key.as_deref(), *json)
        }
        Action::Key => verify::key(),
        Action::Schema => {
            say::print(&format!("{:#}\n", crate::audit::chain::schema()));
            Ok(ExitStatus::Success)
        }
        Action::Report(args) => page::execute(args),
        Action::Suggest(args) => suggest::execute(args),
        Action::Diff(args) => diff::execute(args),
    }
}

/// JSON for programs, with a line feed.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|error| {
        Failure::new(ExitStatus::Config, format!("the result cannot be written as JSON: {error}"))
    })?;
    Ok(escaped(&json) + "\n")
}

/// The same JSON without what a terminal obeys or a reader cannot see; what of it is ASCII, JSON escapes itself.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() || !is_hostile(character) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// A log that somebody is shown: a word where it cannot be believed.
fn believed(path: &Path) -> Result<(Report, Verified), Failure> {
    let report = read(path)?;
    if report.runs.is_empty() && report.unreadable > 0 {
        let what = format!("{} is no audit log of npxc's: no line of it can be read", path.display());
        return Err(Failure::new(ExitStatus::Config, what).hint(NEWEST));
    }
    let verified = verify(path)?;
    if let Some(first) = verified.findings.first() {
        say::warning(&format!("{} is not as npxc wrote it, or not complete: {first}", path.display()));
        let log = shell_word(&path.to_string_lossy());
        say::hint(&format!("npxc audit verify {log} shows all that is wrong with it"));
    }
    Ok((report, verified))
}

fn read(path: &Path) -> Result<Report, Failure> {
    let log = Segments::of(path).and_then(|log| log.read(0));
    log.map_err(|error| unreadable(path, &error))
}

fn verify(path: &Path) -> Result<Verified, Failure> {
    let log = Segments::of(path).and_then(|log| log.verify());
    log.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ExitStatus::Config, format!("{} cannot be read: {error}", path.display())).hint(NEWEST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn json_for_programs_is_the_same_and_harmless() {
        let hostile = serde_json::json!({"a\u{202e}": ["\u{9b}31m", "ü\n", "\u{e0041}"]});
        let json = to_json(&hostile).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), hostile);
        assert!(json.chars().all(|character| character == '\n' || !is_hostile(character)), "{json}");
        assert!(json.contains('ü'));
    }
}
