//! `npxc update`: what npm resolves now in the place of what is installed, after showing what changes.

use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::Write as _;

use clap::Parser;

use super::options::Options;
use super::say::Stderr;
use super::{log_to_stderr, question, resolve, say};
use crate::audit::escape::printable;
use crate::config::{Directories, Resolved};
use crate::exit::{ExitStatus, Failure};
use crate::package::{Changes, PackageSpec, Progress as _, Store, Updated, VersionSpec};
use crate::session;

/// Longest line of a change that is shown, characters: names have 214.
const LINE: usize = 400;

/// Resolves again what is installed, shows what would change, and installs it if that is wanted
#[derive(Debug, Parser)]
#[command(name = "npxc update")]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The packages; all that are installed, if none is named
    #[arg(value_name = "PACKAGE-SPEC")]
    specs: Vec<OsString>,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    let voice = Stderr::at(level);
    let all = args.specs.is_empty() && args.options.package.is_empty();
    let wanted = if all { installed(&args.options, voice)? } else { named(args)? };
    if wanted.is_empty() {
        voice.say("there is nothing to update");
    }
    let several = wanted.len() > 1;
    let unanswered = Cell::new(false);
    let mut failed: Vec<(String, ExitStatus)> = Vec::new();
    let count = wanted.len();
    for (index, (title, resolved)) in wanted.into_iter().enumerate() {
        let which = if several { format!(" ({} of {count})", index + 1) } else { String::new() };
        let looking = format!("looking for a newer {title}{which} ...");
        match resolved.and_then(|resolved| one(&title, &looking, resolved, args, voice, &unanswered)) {
            Ok(Updated::Same(installed)) => voice.say(&format!("{installed} is what there is")),
            Ok(Updated::Declined | Updated::Done(_)) => {}
            // Of all that is installed, this is for another runtime or image.
            Ok(Updated::Missing) if all => {}
            Ok(Updated::Missing) => {
                let missing = Failure::new(ExitStatus::Config, format!("`{title}` is not installed"))
                    .hint("npxc install PACKAGE installs it; npxc list shows what is");
                if !several {
                    return Err(missing);
                }
                say::failure(&missing);
                failed.push((title, missing.status));
            }
            Err(failure) if !several || failure.status == ExitStatus::Interrupted => return Err(failure),
            // The others can be updated all the same.
            Err(failure) => {
                say::failure(&failure);
                failed.push((title, failure.status));
            }
        }
    }
    if let Some((_, status)) = failed.first() {
        let titles: Vec<&str> = failed.iter().map(|(title, _)| title.as_str()).collect();
        let what = format!("not updated, for the reasons above: {}", titles.join(", "));
        return Err(Failure::new(*status, what)
            .hint("what is installed of them stays as it was; npxc update PACKAGE tries one again"));
    }
    if unanswered.get() {
        return Err(Failure::new(ExitStatus::Config, "nothing was updated: there is nobody to ask")
            .hint("npxc update --yes updates without asking, --dry-run only shows"));
    }
    Ok(ExitStatus::Success)
}

/// Looks for what is newer than one package, and updates it if that is wanted.
fn one(
    title: &str,
    looking: &str,
    mut resolved: Resolved,
    args: &Args,
    voice: Stderr,
    unanswered: &Cell<bool>,
) -> Result<Updated, Failure> {
    resolved.request.bin = None;
    for warning in &resolved.warnings {
        voice.advice(warning);
    }
    voice.say(looking);
    session::update(&resolved, &voice, &async |changes: &Changes| {
        say::print(&describe(title, changes));
        if args.dry_run || args.options.yes > 0 {
            return !args.dry_run;
        }
        if !question::is_possible() {
            unanswered.set(true);
            return false;
        }
        question::ask("update it").await
    })
}

/// A package as it is called, and what a run of it would be granted.
type Wanted = (String, Result<Resolved, Failure>);

/// What was named, each as it would be run.
fn named(args: &Args) -> Result<Vec<Wanted>, Failure> {
    let with_title = |resolved: Resolved| (resolved.request.to_string(), Ok(resolved));
    if !args.options.package.is_empty() {
        return Ok(vec![with_title(resolve(&args.options, &["-".into()])?)]);
    }
    let each = |spec| resolve(&args.options, std::slice::from_ref(spec)).map(with_title);
    args.specs.iter().map(each).collect()
}

/// What is installed and can change: a version that was pinned cannot.
fn installed(options: &Options, voice: Stderr) -> Result<Vec<Wanted>, Failure> {
    let directories = Directories::new(|name| std::env::var_os(name))?;
    let entries = Store::at(&directories.data).list()?;
    let mut requests: Vec<Vec<String>> =
        entries.into_iter().filter_map(|entry| Some(entry.manifest?.request)).collect();
    requests.sort();
    requests.dedup();
    let (pinned, open): (Vec<_>, Vec<_>) = requests.into_iter().partition(|request| is_pinned(request));
    for request in pinned {
        voice.say(&format!("{} is pinned", request.join(" ")));
    }
    let wanted = open.iter().map(|request| {
        let resolved = match &request[..] {
            [one] => resolve(options, &[one.into()]),
            several => {
                let options = Options { package: several.to_vec(), ..options.clone() };
                resolve(&options, &["-".into()])
            }
        };
        (request.join(" "), resolved)
    });
    Ok(wanted.collect())
}

/// Whether every package of a request is at one version, or on this machine.
fn is_pinned(request: &[String]) -> bool {
    request.iter().all(|spec| match spec.parse() {
        Ok(PackageSpec::Registry { version, .. }) => matches!(version, VersionSpec::Exact(_)),
        Ok(_) | Err(_) => true,
    })
}

fn describe(title: &str, changes: &Changes) -> String {
    let mut out = format!("{}\n", printable(title, LINE));
    for change in &changes.packages {
        let _ = writeln!(out, "  {}", printable(&change.to_string(), LINE));
    }
    if !changes.scripts.is_empty() {
        out.push_str("  install scripts that would run:\n");
    }
    // A line each: no name can push another one out of sight.
    for name in &changes.scripts {
        let _ = writeln!(out, "    {}", printable(name, LINE));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Change;

    #[test]
    fn changes_are_shown_line_by_line_and_harmlessly() {
        let change = |name: &str, from: Option<&str>, to: Option<&str>| Change {
            dependency: false,
            name: name.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        };
        let changes = Changes {
            packages: vec![
                change("server", Some("1.0.0"), Some("1.1.0")),
                change("new\u{1b}[2J", None, Some("1.0.0")),
                change("gone", Some("2.0.0"), None),
            ],
            scripts: vec!["a".repeat(LINE), "b".to_owned()],
        };
        let long = "a".repeat(LINE);
        assert_eq!(
            describe("server", &changes),
            format!(
                "server\n    server 1.0.0 -> 1.1.0\n  + new\\u{{1b}}[2J 1.0.0\n  - gone 2.0.0\n  \
                 install scripts that would run:\n    {long}\n    b\n"
            )
        );
    }

    #[test]
    fn a_version_and_what_is_local_are_pinned() {
        let pinned =
            |request: &[&str]| is_pinned(&request.iter().map(|spec| (*spec).to_owned()).collect::<Vec<_>>());
        assert!(pinned(&["a@1.2.3"]) && pinned(&["./a"]) && pinned(&["a@1.2.3", "@b/c@2.0.0"]));
        assert!(
            !pinned(&["a"]) && !pinned(&["a@^1"]) && !pinned(&["a@latest"]) && !pinned(&["a@1.2.3", "b"])
        );
    }
}
