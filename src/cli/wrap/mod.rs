//! `npxc wrap` and `npxc unwrap`: puts npxc in front of the servers in a client's configuration, and takes it away again.
//!
//! What is to change is decided and shown first ([`judge`]); then the packages are installed, so that no client waits for npm,
//! and, where that is wanted, started ([`probing`]); then each file is copied, recorded and replaced. Putting back needs the record alone: the copy is for people.

mod apply;
mod judge;
mod look;
mod needs;
mod probing;
mod unwrap;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Parser;

use self::apply::{install, write};
use self::judge::{Change, Verdict, Wish};
use self::look::{Choice, Read};
pub(super) use self::unwrap::{UnwrapArgs, execute as unwrap};
use super::options::{Options, again};
use super::say::{self, Stderr};
use super::table::Table;
use super::{log_to_stderr, own_program, parse_keeping, question, resolve};
use crate::clients::diff::unified;
use crate::clients::file;
use crate::clients::places::Client;
use crate::clients::servers::Server;
use crate::clients::variables;
use crate::config::Directories;
use crate::exit::{ExitStatus, Failure};
use crate::package::{HostEnv, Progress as _};
use crate::paths::shell_word;
use crate::rpc::json::Splice;

/// Options of npxc that are about this command, and not about the servers.
const OWN: [&str; 3] = ["--yes", "--log-level=", "--package="];

/// What a person finds out otherwise when the first tool fails.
const REACHES: &str = "a wrapped server reaches only what rules name, so far nothing: npxc wrap --server NAME --allow RULE \
                       (denials say which RULE; npxc wrap --probe finds those of a start)";
/// The same where it was probed: most servers connect when a tool is called, and none was.
const PROBED: &str = "a probe starts a server and lists its tools, it calls none: what a tool wants to reach shows when it is \
                      called (denials say which RULE): npxc wrap --server NAME --allow RULE";

/// Puts npxc in front of the servers in the configuration of MCP clients
#[derive(Debug, Parser)]
#[command(
    name = "npxc wrap",
    after_help = "Options of npxc (--allow, --mount, --persist, ...) are put in front of the package, for the server that --server names.\nnpxc unwrap puts everything back.",
    mut_arg("yes", |yes| yes.help("Do not ask"))
)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Do not install the packages now; a client may time out on the first start
    #[arg(long)]
    no_install: bool,
    /// Then start each server once, with what it is granted, and offer rules for what it was denied
    #[arg(long, conflicts_with = "no_install")]
    probe: bool,
    #[command(flatten)]
    options: Options,
    /// The options as they were given.
    #[arg(skip)]
    again: Vec<String>,
}

impl Args {
    pub(super) fn parse(argv: &[OsString]) -> Result<Self, clap::Error> {
        let (parsed, matches) = parse_keeping::<Self>(argv)?;
        let again = again(&matches).into_iter().map(|word| word.to_string_lossy().into_owned());
        let again = again.filter(|word| !OWN.iter().any(|own| word.starts_with(own))).collect();
        Ok(Self { again, ..parsed })
    }
}

/// A file and what becomes of its servers.
struct Work {
    read: Read,
    verdicts: Vec<(Server, Verdict)>,
    /// npxc as it is called there.
    command: String,
}

impl Work {
    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.verdicts.iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Wrap(change) => Some(&**change),
            Verdict::Already(_) | Verdict::Leave(_) => None,
        })
    }

    /// All replacements, in order.
    fn splices(&self) -> Vec<Splice> {
        let mut all: Vec<Splice> = self.changes().flat_map(|change| change.splices.clone()).collect();
        all.sort_by_key(|splice| splice.span.start);
        all
    }
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    let voice = Stderr::at(level);
    fits(args)?;
    let host = HostEnv::current();
    let directories = Directories::new(|name| host.vars.get(name).cloned())?;
    let (read, mut failures) = args.choice.read(&directories)?;
    let mut work = Vec::new();
    for read in read {
        work.push(judged(read, args, &host)?);
    }
    let wrapped: usize = work.iter().map(|work| work.changes().count()).sum();
    if wrapped > 1 && !args.again.is_empty() && args.choice.server.is_empty() {
        let what = format!("{} would be granted to each of {wrapped} servers", args.again.join(" "));
        return Err(Failure::new(ExitStatus::Config, what)
            .hint("say for which one: npxc wrap --server NAME; npxc wrap --dry-run lists them"));
    }
    say::print(&work.iter().map(shown).collect::<String>());
    if !args.again.is_empty()
        && args.choice.server.is_empty()
        && work
            .iter()
            .flat_map(|work| &work.verdicts)
            .any(|(_, verdict)| matches!(verdict, Verdict::Already(_)))
    {
        voice.hint(&format!(
            "what is npxc already gets {} where it is named: npxc wrap --server NAME ...",
            args.again.join(" ")
        ));
    }
    let mut status = ExitStatus::Success;
    if wrapped == 0 {
        if work.is_empty() && failures.is_empty() {
            voice.say("no MCP client's servers were found");
            voice.hint("npxc wrap FILE takes any file with mcpServers in it");
        } else if failures.is_empty() {
            voice.say("nothing to change");
        }
    } else if args.choice.dry_run {
        voice.say("nothing was changed (--dry-run)");
    } else if agreed(args.options.yes > 0, what_is_asked(args))? {
        if !args.no_install && !install(&mut work, args, voice)? {
            status = ExitStatus::Install;
        }
        if args.probe {
            probing::offer(&mut work, args, &host, voice)?;
        }
        let before = failures.len();
        for work in &work {
            failures.extend(write(work, &directories, voice).err());
        }
        let any = failures.len() - before < work.len();
        if args.no_install && any {
            let packages: BTreeSet<String> =
                work.iter().flat_map(Work::changes).flat_map(judge::packages).collect();
            let packages: Vec<_> = packages.iter().map(|package| shell_word(package)).collect();
            voice.hint(&format!(
                "before the client starts: npxc install {}; it may not wait for npm",
                packages.join(" ")
            ));
        }
        if args.again.is_empty() && any {
            voice.hint(if args.probe { PROBED } else { REACHES });
        }
    } else {
        voice.say("nothing was changed");
    }
    ended(failures, status)
}

/// What is asked.
fn what_is_asked(args: &Args) -> &'static str {
    if args.probe {
        "wrap these servers, and start each once to see what it tries to reach"
    } else {
        "wrap these servers"
    }
}

/// Refuses options that mean nothing here.
fn fits(args: &Args) -> Result<(), Failure> {
    let refuse = |what: &str, hint: &str| Err(Failure::new(ExitStatus::Config, what).hint(hint));
    if !args.options.package.is_empty() {
        return refuse("--package: the packages are those of the configuration", "npxc wrap --server NAME");
    }
    if args.probe && (args.options.yes > 0 || args.choice.dry_run) {
        let other = if args.choice.dry_run { "--dry-run" } else { "--yes" };
        return refuse(
            &format!(
                "--probe starts servers, and asks before that and before it allows anything: not with {other}"
            ),
            &format!("leave {other} out; npxc probe PACKAGE shows what one server tries to reach"),
        );
    }
    if args.options.proxy.as_ref().is_some_and(|proxy| proxy.contains('@')) {
        return refuse(
            "--proxy: a user name or password would stand in the client's file",
            "HTTPS_PROXY, where the client is started, or [network] proxy in npxc's own file (npxc config edit)",
        );
    }
    for (option, rules) in [
        ("--allow", &args.options.allow),
        ("--allow-private", &args.options.allow_private),
        ("--allow-install", &args.options.allow_install),
        ("--deny", &args.options.deny),
    ] {
        crate::config::options::rules(option, rules)?;
    }
    let value = args.options.env.iter().find_map(|text| text.split_once('='));
    if let Some((name, _)) = value {
        return refuse(
            &format!("--env {name}: its value would stand in the client's file, among the arguments"),
            &format!(
                "--env {name}, and its value in the env of the client's file, or where the client is started"
            ),
        );
    }
    let relative = |prefix: &'static str| {
        let values = args.again.iter().filter_map(move |word| word.strip_prefix(prefix));
        values
            .filter(|value| !value.starts_with(['/', '~']))
            .map(move |value| format!("{prefix}{value}"))
            .next()
    };
    let found = ["--mount=", "--cwd=", "--config=", "--audit-log="].into_iter().find_map(relative);
    match found {
        Some(word) => refuse(
            &format!("{word}: a client starts servers in a directory of its own"),
            "write the path from the root, or from ~/",
        ),
        None => Ok(()),
    }
}

/// Decides about every server of a file.
fn judged(read: Read, args: &Args, host: &HostEnv) -> Result<Work, Failure> {
    let (own, search) = (own_program()?, search(host));
    // A file of a project is for other machines, too.
    let desktop = read.place.client.is_some_and(|client: Client| client.desktop) && !read.place.project;
    let command = judge::command(&own, &search, desktop).ok_or_else(|| {
        let what = format!("{} is not called npxc, so npxc unwrap would not know it again", own.display());
        Failure::new(ExitStatus::Config, what).hint("give it that name, or a link of that name in your PATH")
    })?;
    let command = command.into_os_string().into_string().map_err(|command| {
        Failure::new(ExitStatus::Config, format!("the path of npxc is not UTF-8: {}", command.display()))
    })?;
    let mut verdicts = Vec::new();
    for server in read.servers.iter().filter(|server| args.choice.takes(server.name())) {
        let options = (args.again.as_slice(), !args.choice.server.is_empty());
        let verdict = decided(&read, server, &command, options, host);
        verdicts.push((server.clone(), verdict));
    }
    Ok(Work { read, verdicts, command })
}

/// Where programs are.
fn search(host: &HostEnv) -> Vec<PathBuf> {
    host.var("PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
}

/// Decides about a server; `options` are npxc's for it, and whether it was named.
fn decided(
    read: &Read,
    server: &Server,
    command: &str,
    (options, named): (&[String], bool),
    host: &HostEnv,
) -> Verdict {
    let wish = Wish {
        command,
        is_own: &|command| own_program().is_ok_and(|own| judge::is_own(command, &own, &search(host))),
        options,
        named,
        home: &host.home,
        real: &|path| path.canonicalize().ok(),
        text: &|path| file::read(path).ok().map(|file| file.text),
        known: &variables::known(&read.place, &host.home),
        in_project: read.place.project,
        project: variables::project(&read.place),
    };
    match judge::judge(&read.original.text, server, &wish) {
        Verdict::Wrap(change) => match granted(&change.words) {
            Ok(()) => Verdict::Wrap(change),
            Err(failure) => Verdict::Leave(failure.message.lines().next().unwrap_or_default().to_owned()),
        },
        other @ (Verdict::Already(_) | Verdict::Leave(_)) => other,
    }
}

/// Whether npxc would start with these arguments, but for variables that only the client has.
fn granted(words: &[String]) -> Result<(), Failure> {
    let mut args = judge::run(words).map_err(|what| Failure::new(ExitStatus::Config, what))?;
    args.options.env.clear();
    resolve(&args.options, &args.words).map(drop)
}

/// What becomes of a file, for people.
fn shown(work: &Work) -> String {
    let mut out = format!("{}\n", work.read.title());
    let mut table = Table::bare().uncut();
    for (server, verdict) in &work.verdicts {
        let what = match verdict {
            Verdict::Wrap(change) if change.again => "is npxc already, and gets options".to_owned(),
            Verdict::Wrap(_) => "will be wrapped".to_owned(),
            Verdict::Already(options) if options.is_empty() => "is npxc already".to_owned(),
            Verdict::Already(options) => format!("is npxc already, with {options}"),
            Verdict::Leave(why) => format!("left alone: {why}"),
        };
        table.row(vec![server.label(), what]);
        if let Verdict::Wrap(change) = verdict {
            change.notes.iter().for_each(|note| table.note(note));
        }
    }
    if work.verdicts.is_empty() {
        out.push_str("  no servers\n");
    }
    out.push_str(&table.render());
    let splices = work.splices();
    if !splices.is_empty() {
        if work.command.starts_with('/') {
            let path = &work.command;
            let _ = writeln!(out, "  npxc is called by its path, {path}: the client may not find it by name");
        }
        if work.read.place.project {
            out.push_str("  others who use this file need npxc as well\n");
        }
        let secrets: Vec<_> = work.read.servers.iter().flat_map(|server| server.secrets.clone()).collect();
        out.push_str(&unified(&work.read.original.text, &splices, &secrets));
    }
    out.push('\n');
    out
}

/// Asks, where there is somebody to ask.
fn agreed(yes: bool, what: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !question::is_possible() {
        return Err(Failure::new(ExitStatus::Config, "nothing was changed: there is no terminal to ask on")
            .hint("--yes changes it without asking, --dry-run only shows it"));
    }
    question::ask_alone(what)
}

/// The end of a command that goes on past a file's failure: the last is its own, those before it are said.
fn ended(mut failures: Vec<Failure>, status: ExitStatus) -> Result<ExitStatus, Failure> {
    let last = failures.pop();
    for failure in &failures {
        say::failure(failure);
    }
    last.map_or(Ok(status), Err)
}

#[cfg(test)]
mod tests;
