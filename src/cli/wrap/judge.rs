//! What becomes of one server: left alone and why, or changed and how. Nothing is changed here; only whether a path is there is
//! asked of the disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::{Args, Command, parse, slips};
use crate::clients::change::{self, Kept, Plan};
use crate::clients::npx::{self, Launch};
use crate::clients::servers::{Program, Server, Start, Text, Variable};
use crate::config::values::EnvName;
use crate::rpc::json::Splice;

/// Variables that npxc itself reads, or that name places which are others inside: they are not for the package.
const NPXCS: [&str; 2] = ["PATH", "HOME"];
const NPXCS_BEGIN: [&str; 3] = ["XDG_", "NPXC_", "npm_config_"];

/// What is the same for all servers of a file.
pub(super) struct Wish<'a> {
    /// npxc, as this client will find it.
    pub(super) command: &'a str,
    /// Options that the user gave, for every server.
    pub(super) options: &'a [String],
    /// The home directory, which is not shown to a package because an argument names it.
    pub(super) home: &'a Path,
    /// Where a path really leads, if it is there.
    pub(super) real: &'a dyn Fn(&Path) -> Option<PathBuf>,
}

/// What becomes of a server.
#[derive(Debug)]
pub(super) enum Verdict {
    /// npxc comes in front of it.
    Wrap(Box<Change>),
    /// It is npxc's already.
    Already,
    /// It stays as it is; why.
    Leave(String),
}

/// How a server changes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) splices: Vec<Splice>,
    pub(super) kept: Kept,
    /// npxc's arguments as they will be.
    pub(super) words: Vec<String>,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

/// Judges a server of the file `text`.
pub(super) fn judge(text: &str, server: &Server, wish: &Wish<'_>) -> Verdict {
    let program = match &server.start {
        Start::Program(program) => program,
        Start::Unknown(why) => return Verdict::Leave(why.clone()),
    };
    let npx = match npx::launch(program) {
        Launch::Npx(npx) => npx,
        Launch::Npxc => return Verdict::Already,
        Launch::Other(why) => return Verdict::Leave(why),
    };
    let mut notes = Vec::new();
    if server.twice {
        notes.push("its name is there twice; the last one counts, and is changed".to_owned());
    }
    if program.command.text.starts_with('/') {
        notes.push("npx was called by its path; npxc takes the first node in the client's PATH".to_owned());
    }
    let mut options = wish.options.to_vec();
    options.extend(environment(program, wish.options, &mut notes));
    options.extend(mounts(program, npx.spec, wish, &mut notes));
    let mut plan = Plan { command: wish.command.to_owned(), options };
    let asked = &program.args[npx.spec..];
    let mut understood = package(&plan.words(program, npx));
    let count = |index: Option<usize>| index.map(|index| plan.words(program, npx).len() - index);
    if count(understood.as_ref().ok().copied()) != Some(asked.len()) && npx.at == npx.spec {
        // The package has a name that would be a command of npxc's.
        plan.options.push("--".to_owned());
        understood = package(&plan.words(program, npx));
    }
    let words = plan.words(program, npx);
    match understood {
        Err(why) => return Verdict::Leave(why),
        Ok(index) if words.len() - index != asked.len() => {
            return Verdict::Leave("npxc would take its arguments for its own".to_owned());
        }
        Ok(_) => {}
    }
    let kept = change::keep(text, &server.path, program, npx.spec);
    match change::wrap(text, program, npx, &plan) {
        Some(splices) => Verdict::Wrap(Box::new(Change { splices, kept, words, notes })),
        None => Verdict::Leave("a comment stands between its first arguments".to_owned()),
    }
}

/// Where the package stands in arguments of npxc's, by npxc's own parser.
///
/// # Errors
/// Why npxc would not take them.
pub(super) fn package(words: &[String]) -> Result<usize, String> {
    let args = run(words)?;
    match args.options.asked(&args.words) {
        Ok(_) => Ok(words.len() - args.words.len()),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// A command line that runs a package, understood.
pub(super) fn run(words: &[String]) -> Result<Args, String> {
    let argv: Vec<OsString> =
        std::iter::once("npxc").chain(words.iter().map(String::as_str)).map(OsString::from).collect();
    match parse(&argv) {
        Ok(Command::Run(args)) if !args.dry_run => Ok(args),
        Ok(_) => Err("npxc would take its package for a command".to_owned()),
        Err(error) => {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Err(format!("npxc does not take its arguments: {first}"))
        }
    }
}

/// The client's variables, by name: their values stay where they are.
fn environment(program: &Program, given: &[String], notes: &mut Vec<String>) -> Vec<String> {
    let own = |name: &str| {
        let begins =
            |start: &str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
        NPXCS.contains(&name) || NPXCS_BEGIN.iter().any(|start| begins(start))
    };
    let mut options = Vec::new();
    for Variable { name, handed, .. } in &program.env {
        let option = format!("--env={name}");
        if *handed {
            notes.push(format!("{name} has to be set where the client is started, or npxc does not start"));
        }
        if own(name) {
            notes.push(format!("{name} stays with npxc and is not given to the package"));
        } else if name.parse::<EnvName>().is_err() {
            notes.push(format!("the variable `{name}` has a name that npxc cannot give to the package"));
        } else if !given.iter().any(|known| *known == option || known.starts_with(&format!("{option}="))) {
            options.push(option);
        }
    }
    if program.env_file {
        notes.push("the variables of its envFile have to be named: --env NAME for each".to_owned());
    }
    options
}

/// Arguments that are files or directories of this machine, read-only.
fn mounts(program: &Program, spec: usize, wish: &Wish<'_>, notes: &mut Vec<String>) -> Vec<String> {
    let words: Vec<OsString> = program.args[spec..].iter().map(|arg| OsString::from(&arg.text)).collect();
    let mut options: Vec<String> = Vec::new();
    for path in slips::every_unseen(&words, &[]) {
        let (Some(name), Some(real)) = (path.to_str(), (wish.real)(path)) else { continue };
        let home = (wish.real)(wish.home).unwrap_or_else(|| wish.home.to_owned());
        let option = format!("--mount={name}");
        let given = |known: &String| {
            let mount = known.strip_prefix("--mount=").map(|mount| mount.split(':').next().unwrap_or(mount));
            mount.is_some_and(|mount| path.starts_with(mount))
        };
        if home.starts_with(real) {
            notes.push(format!(
                "{name} holds all of your files and is not shown to it; --mount shows it what it needs"
            ));
        } else if name.contains(':') {
            notes.push(format!("{name} cannot be mounted under this name: --mount HOST:GUEST"));
        } else if !wish.options.iter().any(given) && !options.iter().any(given) {
            notes.push(format!("it can read {name}, and not write there: --mount {name}:rw lets it"));
            options.push(option);
        }
    }
    let has_variable = |arg: &&Text| arg.text.contains("${");
    if let Some(arg) = program.args[spec..].iter().skip(1).find(has_variable) {
        notes.push(format!("if {} is a path, it has to be shown: --mount '{}'", arg.text, arg.text));
    }
    options
}

/// npxc as a client finds it: by name where its `PATH` surely leads there, else by its path.
pub(super) fn command(own: &Path, search: &[PathBuf], desktop: bool) -> PathBuf {
    /// Directories that a program which the desktop starts has in its `PATH`.
    const EVERYWHERE: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
    let same = |directory: &PathBuf| {
        let found = directory.join("npxc").canonicalize().ok()?;
        (found == own.canonicalize().ok()?).then(|| directory.clone())
    };
    // The first npxc counts: another one there would be started instead of this one.
    let first = search.iter().find(|directory| directory.join("npxc").is_file());
    let by_name = first
        .and_then(same)
        .is_some_and(|directory| !desktop || EVERYWHERE.iter().any(|known| directory == Path::new(known)));
    if by_name { PathBuf::from("npxc") } else { own.to_owned() }
}
