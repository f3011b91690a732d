//! The command line: arguments, npxc's own words, exit status; one file per command.
//!
//! Arguments become a [`Command`]; a command that runs a package resolves what it is granted (`config`) and hands
//! that to `session`. stdout is the package's, or the result of one of npxc's own commands; everything else goes
//! to stderr by [`say`].
//!
//! # npx's shape
//! `npxc [OPTIONS] <package-spec> [ARGS...]`: everything behind the spec belongs to the package, as it is. A `--`
//! before the spec is absorbed. The names of npxc's own commands ([`NAMES`]) are commands when they are the first
//! word; the *package* of such a name is run by `npxc -- probe`, `npxc probe@latest` or `npxc -p probe probe`.
//! Options may stand before or behind a command's name.

mod audit;
mod config;
mod doctor;
mod grants;
mod inspect;
mod install;
pub mod level;
mod live;
pub mod options;
mod probe;
mod question;
mod run;
pub mod say;
mod server;
mod shell;
mod slips;
mod store;
mod table;
mod update;
mod usage;
mod wrap;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};

use crate::config::Resolved;
use crate::exit::{ExitStatus, Failure};
use crate::package::{HostEnv, Progress as _};
use options::Options;
use say::Stderr;

/// One of npxc's own commands.
struct Own {
    name: &'static str,
    /// Reads its arguments; the first is what its help calls it.
    parse: fn(&[OsString]) -> Result<Command, clap::Error>,
    parser: fn() -> clap::Command,
}

/// The command of a name, the function that reads its arguments, and what they become.
macro_rules! own {
    ($name:literal, $args:ty, $read:ident, $command:ident) => {
        Own {
            name: $name,
            parse: |argv| <$args>::$read(argv).map(Command::$command),
            parser: <$args>::command,
        }
    };
}

/// All of them but `help`.
const OWN: [Own; 19] = [
    own!("probe", probe::Args, parse, Probe),
    own!("inspect", inspect::Args, parse, Inspect),
    own!("install", install::Args, try_parse_from, Install),
    own!("build", install::Args, try_parse_from, Install),
    own!("rebuild", install::Args, try_parse_from, Install),
    own!("update", update::Args, try_parse_from, Update),
    own!("list", store::ListArgs, try_parse_from, List),
    own!("clean", store::CleanArgs, try_parse_from, Clean),
    own!("wrap", wrap::Args, parse, Wrap),
    own!("unwrap", wrap::UnwrapArgs, try_parse_from, Unwrap),
    own!("config", config::Args, try_parse_from, Config),
    own!("doctor", doctor::Args, try_parse_from, Doctor),
    own!("audit", audit::Args, try_parse_from, Audit),
    own!("ps", live::PsArgs, try_parse_from, Ps),
    own!("watch", live::WatchArgs, try_parse_from, Watch),
    own!("allow", live::AllowArgs, try_parse_from, Allow),
    own!("deny", live::DenyArgs, try_parse_from, Deny),
    own!("completions", shell::CompletionsArgs, try_parse_from, Completions),
    own!("man", shell::ManArgs, try_parse_from, Man),
];

/// The names of npxc's own commands.
pub const NAMES: [&str; OWN.len() + 1] = {
    let mut names = ["help"; OWN.len() + 1];
    let mut at = 0;
    while at < OWN.len() {
        names[at] = OWN[at].name;
        at += 1;
    }
    names
};

const COMMANDS: &str = "\
Commands:
  probe SPEC [ARGS...]      Start it, list its tools, show what it tried to reach, stop
  inspect SPEC [ARGS...]    Show what it is granted, and which arguments are paths
  install SPEC...           Install now, so that the first start is fast
  build, rebuild SPEC...    The same; rebuild installs again
  update [SPEC...]          Show what is newer, and install it if that is wanted
  list                      Show what is installed
  clean SPEC... | --all | --older-than AGE
                            Remove what is installed
  wrap, unwrap [FILE...]    Put npxc in front of the servers in MCP clients' files, and take it away
  config path|edit|check|schema [SPEC]
                            The configuration files, one per package and one for all
  doctor                    Try what npxc needs, and explain what is missing
  audit list|show|verify|report|diff|suggest [LOG]
                            What packages did: for reviewers, and for your rules
  ps, watch [SESSION]       What runs, and what a running package reaches, as it happens
  allow, deny SESSION RULE...
                            Change what a running package may reach, until it ends
  completions SHELL, man    For bash, zsh and fish; manual pages
  Each has its own --help. To run a package of such a name: npxc -- probe

Rules:
  [tcp://|udp://]HOST[:PORT|:PORT-PORT], for example api.example.com:443 or @npm
  HOST is a name, *.name (anything below it), an address, a network (CIDR), or a
  @preset; IPv6 stands in brackets

Exit status:
  the package's own, or: 1 arguments or configuration, 2 no sandbox,
  3 not installed, 4 died, 130 interrupted";

/// Runs an npm package in a sandbox that reaches only what you allow
#[derive(Debug, Parser)]
#[command(name = "npxc", version, after_help = COMMANDS, override_usage = "npxc [OPTIONS] <PACKAGE-SPEC> [ARGS...]\n       npxc [OPTIONS] -p <NAME> <BIN> [ARGS...]\n       npxc <COMMAND> [OPTIONS] [ARGS...]")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Show everything that would be granted, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// As npm and npx have it
    #[arg(short = 'v', id = "npm's version", action = clap::ArgAction::Version, hide = true)]
    version: Option<bool>,
    /// The package and its arguments
    #[arg(trailing_var_arg = true, value_name = "PACKAGE-SPEC", hide = true)]
    words: Vec<OsString>,
    /// A `--` stood before the package: everything behind it is meant for the package.
    #[arg(skip)]
    marked: bool,
}

/// A command line that was understood.
#[derive(Debug)]
enum Command {
    Run(Args),
    Probe(probe::Args),
    Inspect(inspect::Args),
    Install(install::Args),
    Update(update::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
    List(store::ListArgs),
    Clean(store::CleanArgs),
    Wrap(wrap::Args),
    Unwrap(wrap::UnwrapArgs),
    Config(config::Args),
    Doctor(doctor::Args),
    Audit(audit::Args),
    Ps(live::PsArgs),
    Watch(live::WatchArgs),
    Allow(live::AllowArgs),
    Deny(live::DenyArgs),
}

/// Runs npxc. `argv` has the program's own name first.
pub fn main(argv: &[OsString]) -> ExitStatus {
    let command = match parse(argv) {
        Ok(command) => command,
        Err(error) => return usage::said(&error, argv),
    };
    match execute(command) {
        Ok(status) => status,
        Err(failure) => {
            say::failure(&failure);
            failure.status
        }
    }
}

fn execute(command: Command) -> Result<ExitStatus, Failure> {
    match command {
        Command::Run(args) => run::execute(&args),
        Command::Probe(args) => probe::execute(&args),
        Command::Inspect(args) => inspect::execute(&args),
        Command::Install(args) => install::execute(&args),
        Command::Update(args) => update::execute(&args),
        Command::Completions(args) => Ok(shell::completions(&args)),
        Command::Man(args) => shell::man(&args),
        Command::List(args) => store::list(&args),
        Command::Clean(args) => store::clean(&args),
        Command::Wrap(args) => wrap::execute(&args),
        Command::Unwrap(args) => wrap::unwrap(&args),
        Command::Config(args) => config::execute(&args),
        Command::Doctor(args) => doctor::execute(&args),
        Command::Audit(args) => audit::execute(&args),
        Command::Ps(args) => live::ps(&args),
        Command::Watch(args) => live::watch(&args),
        Command::Allow(args) => live::allow(&args),
        Command::Deny(args) => live::deny(&args),
    }
}

fn parse(argv: &[OsString]) -> Result<Command, clap::Error> {
    let command = understood(argv)?;
    // What is behind the package is its own.
    let behind = match &command {
        // Without a package that is what has to be said.
        Command::Run(args) if args.words.is_empty() => return Ok(command),
        Command::Run(args) => args.words.len(),
        Command::Probe(args) => args.words.len(),
        _ => 0,
    };
    let own = argv.get(..argv.len() - behind).unwrap_or_default();
    match slips::taken_for_rule(own) {
        Some((option, word)) => {
            let (what, tips) = slips::about_rule(option, &word);
            Err(mistake(&what, &tips))
        }
        None => Ok(command),
    }
}

/// The command of a line, without a look at whether its options' values are what was meant.
fn understood(argv: &[OsString]) -> Result<Command, clap::Error> {
    let mut args = Args::try_parse_from(argv)?;
    let at = argv.len() - args.words.len();
    args.marked = is_marked(argv, &args.words);
    let name = args.words.first().and_then(|word| word.to_str()).unwrap_or_default();
    if args.marked || !args.options.package.is_empty() {
        return Ok(Command::Run(args));
    }
    let instead = slips::instead(argv.get(1..at).unwrap_or_default(), &args.words);
    if instead.is_some() {
        return Err(unavailable(name, instead));
    }
    if name == "help" {
        return parse(&asking_for_help(&args.words));
    }
    let Some(own) = own(name) else { return Ok(Command::Run(args)) };
    // The command's own parser reads everything but its name, options before it included.
    let title = match name {
        "build" | "rebuild" => "install",
        other => other,
    };
    let mut rest: Vec<OsString> = vec![format!("npxc {title}").into()];
    rest.extend(
        argv.iter()
            .enumerate()
            .filter(|(index, _)| *index != 0 && *index != at)
            .map(|(_, word)| word.clone()),
    );
    if name == "rebuild" {
        rest.insert(1, "--force".into());
    }
    (own.parse)(&rest)
}

fn own(name: &str) -> Option<&'static Own> {
    OWN.iter().find(|own| own.name == name)
}

/// The parser of one of npxc's commands; `help` has none.
fn own_command(name: &str) -> Option<clap::Command> {
    own(name).map(|own| (own.parser)())
}

/// A word that is no command of npxc's, and is too likely one to install a package of that name.
fn unavailable(name: &str, instead: Option<String>) -> clap::Error {
    let own = format!("to run the package of that name: npxc -- {name}, or npxc {name}@latest");
    mistake(&format!("npxc has no command `{name}`"), &instead.into_iter().chain([own]).collect::<Vec<_>>())
}

/// A mistake with what to type instead, in clap's form.
fn mistake(what: &str, tips: &[String]) -> clap::Error {
    let tips: String = tips.iter().flat_map(|tip| [usage::TIP, tip]).collect();
    Args::command().error(ErrorKind::InvalidSubcommand, format!("{what}\n{tips}"))
}

/// `npxc help [COMMAND...]` as the command line whose answer is that help. A word that is no command's gets npxc's own.
fn asking_for_help(words: &[OsString]) -> Vec<OsString> {
    let named = words.get(1..).unwrap_or_default();
    let first = named.first().and_then(|word| word.to_str()).unwrap_or_default();
    let known = NAMES.contains(&first) && first != "help";
    let named = named.iter().take_while(|word| known && !word.as_encoded_bytes().starts_with(b"-"));
    ["npxc".into()].into_iter().chain(named.cloned()).chain(["--help".into()]).collect()
}

/// Whether a `--` stands right before the package's words, which end `argv`.
fn is_marked(argv: &[OsString], words: &[OsString]) -> bool {
    let at = argv.len() - words.len();
    at > 1 && argv.get(at - 1).is_some_and(|word| word == "--")
}

/// What the command line and the files grant.
fn resolve(options: &Options, words: &[OsString]) -> Result<Resolved, Failure> {
    let asked = options.asked(words)?;
    Ok(crate::config::load(asked, &HostEnv::current())?)
}

/// Warns of options that went to the package, and of paths that it will not find. `words` begin with the spec; `marked`
/// ones are meant as they are.
fn warn_of_slips(words: &[OsString], marked: bool, resolved: &Resolved, voice: Stderr) {
    if marked {
        return;
    }
    if let Some(option) = slips::behind_spec(words) {
        let (warning, hint) = slips::about_option(option);
        voice.warning(&warning);
        voice.hint(&hint);
    }
    // What is shared because it is an argument, under whatever name, is seen.
    let unseen = |path: &Path| path.exists() && !crate::session::is_shared(resolved, path);
    if let Some(path) = slips::unseen(words, &resolved.mounts, &resolved.directories.home, unseen) {
        voice.hint(&slips::about_path(&path));
    }
}

/// Starts npxc's own log on stderr.
fn log_to_stderr(level: level::Level) {
    let filter = tracing_subscriber::filter::LevelFilter::from(level);
    // Colours only for people.
    let colours = rustix::termios::isatty(std::io::stderr());
    let _ = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .try_init();
}

/// npxc's own program, to be started again.
fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        Failure::new(ExitStatus::Runtime, format!("npxc cannot find its own program: {error}"))
    })
}

/// Parses one of npxc's commands and keeps the matches, for handing options on.
fn parse_keeping<T: clap::CommandFactory + clap::FromArgMatches>(
    argv: &[impl AsRef<OsStr>],
) -> Result<(T, clap::ArgMatches), clap::Error> {
    let matches = T::command().try_get_matches_from(argv.iter().map(AsRef::as_ref))?;
    let parsed = T::from_arg_matches(&matches)?;
    Ok((parsed, matches))
}

#[cfg(test)]
mod tests;
