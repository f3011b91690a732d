//! `npxc audit suggest`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use super::which;
use crate::audit::escape::printable;
use crate::audit::report::Report;
use crate::audit::shelf::Shelved;
use crate::audit::suggest::{Left, Suggested, Suggestion, suggest};
use crate::cli::say;
use crate::cli::table::{Table, bytes};
use crate::exit::{ExitStatus, Failure};
use crate::paths::shell_word;
use crate::policy::{HostPattern, Rule};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Logs, directories of logs, sessions, or packages; all of them are taken together [default: the newest log]
    logs: Vec<String>,
    /// All sessions of this package; may be given several times
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// Only sessions that began in so much time before now, 12h, 30d or 8w; without a log, of all packages
    #[arg(long, value_name = "AGE")]
    since: Option<String>,
    /// Leave out what goes to this host or, as *.example.com, below it; may be given several times
    #[arg(long, value_name = "HOST")]
    without: Vec<Rule>,
    /// Print a package file instead of options
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let logs = logs(args)?;
    let reports = logs.iter().map(|log| Ok(super::believed(log)?.0)).collect::<Result<Vec<_>, Failure>>()?;
    let suggested = suggest(&reports, &|host| !args.without.iter().any(|rule| names(rule, host)));
    if args.json {
        say::print(&super::to_json(&suggested)?);
        return Ok(ExitStatus::Success);
    }
    let package = reports.iter().flat_map(|report| &report.runs).next_back().map(|run| run.package.as_str());
    let out = if args.toml { toml(&suggested, package) } else { words(&suggested) };
    say::print(&out);
    if suggested.rules.is_empty() {
        say::note("nothing that a rule could allow was reached or refused");
        say::hint(
            "most servers connect only when a tool is called: npxc probe --network observe --call TOOL --args JSON PACKAGE",
        );
    }
    if reports.iter().any(observes_nothing) {
        say::hint(
            "a package that is refused often tries no further: --network observe lets it, and notes everything",
        );
    }
    Ok(ExitStatus::Success)
}

/// The logs that are meant; the newest, if nothing is said.
fn logs(args: &Args) -> Result<Vec<PathBuf>, Failure> {
    let age = args.since.as_deref().map(|text| crate::cli::store::age("--since", text)).transpose()?;
    let mut logs = Vec::new();
    for named in &args.logs {
        logs.extend(which::several(named)?);
    }
    for package in &args.package {
        let before = logs.len();
        let own = which::shelved(&which::own()?)?;
        logs.extend(own.into_iter().filter(|log| which::is_package(log, package)).map(|log| log.path));
        if logs.len() == before {
            let what = format!("there is no log of a package called `{package}`");
            return Err(Failure::new(ExitStatus::Config, what).hint("npxc audit list shows what there is"));
        }
    }
    let Some(age) = age else {
        return if logs.is_empty() { Ok(vec![which::one(None)?]) } else { Ok(logs) };
    };
    if args.logs.is_empty() && args.package.is_empty() {
        logs = which::shelved(&which::own()?)?.into_iter().map(|log| log.path).collect();
    }
    // Of a file with another name nobody knows when it began.
    logs.retain(|log| Shelved::of(log.clone()).is_none_or(|log| !which::is_older(&log, age)));
    if logs.is_empty() {
        return Err(Failure::new(ExitStatus::Config, "no such session began in that time")
            .hint("npxc audit list shows what there is"));
    }
    Ok(logs)
}

/// Whether there were denials that an observed run would have told more about.
fn observes_nothing(report: &Report) -> bool {
    let observed = report.runs.iter().any(|run| run.network == "observe" || run.network == "open");
    !observed && report.denied.iter().any(|row| row.hint.is_some())
}

/// Whether a rule's host is this one.
fn names(rule: &Rule, host: &str) -> bool {
    match rule.host() {
        HostPattern::Name(name) => name.as_str() == host,
        HostPattern::Below(name) => {
            host.strip_suffix(name.as_str()).is_some_and(|below| below.ends_with('.'))
        }
        HostPattern::Net(net) => host.parse().is_ok_and(|address: IpAddr| net.contains(&address)),
        HostPattern::Preset(_) => false,
    }
}

/// The rules as a table, and as options to paste.
fn words(suggested: &Suggested) -> String {
    let mut out = String::new();
    let mut table =
        Table::new(&["option", "rule", "flows", "denied", "sent", "received", "evidence"]).uncut();
    for one in &suggested.rules {
        table.row(vec![
            one.option.clone(),
            one.rule.clone(),
            one.flows.to_string(),
            one.denied.to_string(),
            bytes(one.bytes_up),
            bytes(one.bytes_down),
            evidence(one),
        ]);
    }
    if !suggested.rules.is_empty() {
        out.push_str(&table.render());
        let options: Vec<_> =
            suggested.rules.iter().map(|one| format!("{} {}", one.option, shell_word(&one.rule))).collect();
        // What ran may have been a directory, and its own file says what it is called.
        let _ = writeln!(
            out,
            "To paste, before the package as you name it:\n  npxc {} PACKAGE",
            options.join(" ")
        );
    }
    out.push_str(&left(&suggested.left, ""));
    out
}

/// The rules as a package's file.
fn toml(suggested: &Suggested, package: Option<&str>) -> String {
    let mut out = String::new();
    if let Some(package) = package {
        let _ = writeln!(out, "# What {} needs, by its audit logs.", printable(package, 300));
    }
    for (table, keys) in [
        ("network", [("--allow", "allow"), ("--allow-private", "allow_private")].as_slice()),
        ("install", &[("--allow-install", "allow")]),
    ] {
        let mut lines = String::new();
        for (option, key) in keys {
            let rules: Vec<_> = suggested.rules.iter().filter(|one| one.option == *option).collect();
            if rules.is_empty() {
                continue;
            }
            let _ = writeln!(lines, "{key} = [");
            for one in rules {
                let rule = ::toml::Value::from(one.rule.as_str());
                let _ = writeln!(lines, "  {rule}, # {}", printable(&evidence(one), 1000));
            }
            let _ = writeln!(lines, "]");
        }
        if !lines.is_empty() {
            let _ = write!(out, "\n[{table}]\n{lines}");
        }
    }
    out.push_str(&left(&suggested.left, "# "));
    out
}

fn evidence(one: &Suggestion) -> String {
    let why = match (one.standing, one.flows, one.denied) {
        (true, ..) => "was allowed".to_owned(),
        (false, 0, denied) => format!("refused: {denied}"),
        (false, flows, 0) => format!("observed: {flows}"),
        (false, flows, denied) => format!("observed: {flows}, refused: {denied}"),
    };
    let any = if one.rule.contains(':') || one.rule.starts_with('@') {
        ""
    } else {
        "; no port is known of a name that was refused, so any is allowed"
    };
    let destinations: Vec<_> = one.destinations.iter().map(String::as_str).collect();
    format!("{why}, {} to {}: {}{any}", minute(&one.first), minute(&one.last), destinations.join(" "))
}

/// A time to the minute.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

fn left(left: &[Left], mark: &str) -> String {
    let mut out = String::new();
    if !left.is_empty() {
        let _ = writeln!(out, "{mark}No rule is suggested for:");
        for one in left {
            let line = format!("{} ({} times): {}", one.destination, one.count, one.reason);
            let _ = writeln!(out, "{mark}  {}", printable(&line, 1000));
        }
    }
    out
}
