//! `npxc ps`, `watch`, `allow` and `deny`: sessions while they run.

mod watch;

use std::path::{Path, PathBuf};

use clap::Parser;
use jiff::Timestamp;
use uuid::Uuid;

pub(super) use self::watch::{WatchArgs, watch};
use super::audit::{names_session, took};
use super::table::Table;
use super::{audit, say};
use crate::audit::shelf;
use crate::config::Directories;
use crate::exit::{ExitStatus, Failure};
use crate::live::client::{self, Running};
use crate::live::{Reply, Request, Status};
use crate::policy::{Change, Rule};

/// Shows the sessions that run
#[derive(Debug, Parser)]
#[command(name = "npxc ps")]
pub(super) struct PsArgs {
    /// For programs: one JSON array
    #[arg(long)]
    json: bool,
}

/// Lets a running package reach more, until it ends; takes back an `npxc deny` of the same rule
#[derive(Debug, Parser)]
#[command(name = "npxc allow")]
pub(super) struct AllowArgs {
    /// The session's id or package, as `npxc ps` shows them
    session: String,
    /// What it may reach, as for `--allow`
    #[arg(required = true)]
    rule: Vec<String>,
    /// Also at private addresses, as `--allow-private`
    #[arg(long)]
    private: bool,
}

/// Lets a running package reach less, until it ends: open connections that this covers end at once. `npxc allow` of the same rule
/// takes it back
#[derive(Debug, Parser)]
#[command(name = "npxc deny")]
pub(super) struct DenyArgs {
    /// The session's id or package, as `npxc ps` shows them
    session: String,
    /// What it may not reach, as for `--deny`
    #[arg(required = true)]
    rule: Vec<String>,
}

pub(super) fn ps(args: &PsArgs) -> Result<ExitStatus, Failure> {
    let Running { sessions: running, silent } = running(&sockets()?)?;
    for id in &silent {
        say::warning(&about_silent(*id));
    }
    if args.json {
        say::print(&audit::to_json(&running)?);
        return Ok(ExitStatus::Success);
    }
    if running.is_empty() && silent.is_empty() {
        say::note("no session runs");
        return Ok(ExitStatus::Success);
    }
    let mut table =
        Table::new(&["session", "pid", "runs for", "runtime", "network", "allowed", "denied", "package"]);
    for status in running {
        table.row(vec![
            short(&status),
            status.pid.to_string(),
            runs_for(&status.started),
            status.runtime,
            status.network,
            status.allowed.to_string(),
            status.denied.to_string(),
            status.package,
        ]);
    }
    say::print(&table.render());
    Ok(ExitStatus::Success)
}

pub(super) fn allow(args: &AllowArgs) -> Result<ExitStatus, Failure> {
    let to_change = if args.private { Change::AllowPrivate } else { Change::Allow };
    change("allow", &args.session, &args.rule, to_change)
}

pub(super) fn deny(args: &DenyArgs) -> Result<ExitStatus, Failure> {
    if args.rule.iter().any(|rule| rule == "*") {
        let what = "RULE: `*` is no rule; what is to be denied has a name or an address";
        return Err(Failure::new(ExitStatus::Config, what)
            .hint(format!("npxc deny {} 0.0.0.0/0 '[::]/0' denies every address", args.session)));
    }
    change("deny", &args.session, &args.rule, Change::Deny)
}

fn change(
    command: &str,
    session: &str,
    rules: &[String],
    to_change: impl Fn(Rule) -> Change,
) -> Result<ExitStatus, Failure> {
    let directory = sockets()?;
    if let Some(named) = exchanged(&running(&directory)?.sessions, session, rules) {
        let what = format!("`{named}` is a session, and stands where a rule does: the session comes first");
        return Err(Failure::new(ExitStatus::Config, what).hint(format!("npxc {command} {named} {session}")));
    }
    // All of them are rules before the first one holds.
    let rules = crate::config::options::rules("RULE", rules)?;
    let status = one(&directory, Some(session))?;
    for rule in rules {
        let change = to_change(rule);
        match client::ask(&directory, status.session, &Request::Change(change.clone())) {
            Ok(Reply::Status(status)) => {
                say::note(&format!("{}: {change}, from now on until it ends", status.package));
                if !matches!(change, Change::Deny(_)) && !status.deny.is_empty() {
                    let rules = status.deny.join(" ");
                    say::note(&format!("what these rules cover stays denied, whatever is allowed: {rules}"));
                }
            }
            Ok(Reply::Refused { what, hint }) => {
                return Err(Failure::new(ExitStatus::Config, format!("{change}: {what}")).hints(hint));
            }
            Err(error) => {
                let what = format!("{change}: session {} does not answer: {error}", short(&status));
                return Err(Failure::new(ExitStatus::Runtime, what).hint("npxc ps shows what runs"));
            }
        }
    }
    Ok(ExitStatus::Success)
}

/// The directory of sockets.
fn sockets() -> Result<PathBuf, Failure> {
    Ok(Directories::new(|name| std::env::var_os(name))?.control())
}

fn running(directory: &Path) -> Result<Running, Failure> {
    client::sessions(directory).map_err(|error| {
        Failure::new(ExitStatus::Config, format!("{} cannot be read: {error}", directory.display()))
    })
}

fn about_silent(session: Uuid) -> String {
    format!("session {} runs, and does not answer", shelf::short(session))
}

/// The session that is meant: by its id or a part of it, or by its package.
fn one(directory: &Path, named: Option<&str>) -> Result<Status, Failure> {
    let Running { sessions: mut meant, silent } = running(directory)?;
    meant.retain(|status| named.is_none_or(|text| is_meant(status, text)));
    let silent = silent.into_iter().find(|id| named.is_none_or(|text| names_session(*id, text)));
    let no = |what: String, hint: String| Err(Failure::new(ExitStatus::Config, what).hint(hint));
    match (meant.as_slice(), silent, named) {
        ([_], None, _) | ([_], Some(_), Some(_)) => Ok(meant.remove(0)),
        ([], Some(id), _) => no(about_silent(id), "try it again; npxc ps shows what answers".to_owned()),
        ([], None, Some(text)) => {
            no(format!("no session of `{text}` runs"), "npxc ps shows what runs".to_owned())
        }
        ([], None, None) => {
            no("no session runs".to_owned(), "start a package first; npxc ps shows what runs".to_owned())
        }
        (several, _, _) => {
            let ids: Vec<String> = several.iter().take(8).map(short).collect();
            let of = named.map_or_else(String::new, |text| format!(" of `{text}`"));
            no(
                format!("{} sessions{of} run", several.len()),
                format!("name one by its id: {}", ids.join(", ")),
            )
        }
    }
}

/// The word among the rules that is a running session, where the session's own is none: some ids and packages would be rules.
fn exchanged<'a>(running: &[Status], session: &str, rules: &'a [String]) -> Option<&'a str> {
    let is_running = |text: &str| running.iter().any(|status| is_meant(status, text));
    let named = rules.iter().find(|text| is_running(text))?;
    (!is_running(session)).then_some(named)
}

fn is_meant(status: &Status, text: &str) -> bool {
    // `@scope/name@1.2.3` is also meant by `@scope/name`.
    let name = status.package.rsplit_once('@').map_or("", |(name, _)| name);
    names_session(status.session, text) || status.package == text || (!name.is_empty() && name == text)
}

fn short(status: &Status) -> String {
    shelf::short(status.session)
}

/// How long it runs.
fn runs_for(started: &str) -> String {
    let started = started.parse::<Timestamp>();
    started.map_or_else(|_| "?".to_owned(), |started| took(Timestamp::now().duration_since(started)))
}
