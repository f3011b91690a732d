//! What becomes of one server: left alone and why, or changed and how. Nothing is changed here; only whether a path is there, and
//! which variables are in an `envFile`, is asked of the disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::needs;
use crate::cli::{Args, Command, understood};
use crate::clients::change::{self, Kept, Plan};
use crate::clients::npx::{self, Launch};
use crate::clients::servers::{Program, Server, Start, Variable};
use crate::clients::variables::expanded;
use crate::rpc::json::Splice;

/// What is the same for all servers of a file.
pub(super) struct Wish<'a> {
    /// npxc, as this client will find it.
    pub(super) command: &'a str,
    /// Whether a client's command starts this npxc.
    pub(super) is_own: &'a dyn Fn(&str) -> bool,
    /// Options that the user gave, for every server.
    pub(super) options: &'a [String],
    /// Whether the server was named: only then one that is npxc already gets them.
    pub(super) named: bool,
    /// The home directory, which is not shown to a package because an argument names it.
    pub(super) home: &'a Path,
    /// Where a path really leads, if it is there.
    pub(super) real: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// What is in a file, if it can be read.
    pub(super) text: &'a dyn Fn(&Path) -> Option<String>,
    /// What the client replaces, as far as that is known.
    pub(super) known: &'a [(&'static str, PathBuf)],
    /// Whether the file is a project's, and may be somebody else's.
    pub(super) in_project: bool,
    /// The directory that the file is for, if it is for one.
    pub(super) project: Option<&'a Path>,
}

/// What becomes of a server.
#[derive(Debug)]
pub(super) enum Verdict {
    /// npxc comes in front of it.
    Wrap(Box<Change>),
    /// It is npxc's already; with these options.
    Already(String),
    /// It stays as it is; why.
    Leave(String),
}

/// How a server changes.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) splices: Vec<Splice>,
    pub(super) kept: Kept,
    /// npxc's arguments as the client will hand them over, as far as that is known.
    pub(super) words: Vec<String>,
    /// The variables that it gets from the client.
    pub(super) env: Vec<Variable>,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
    /// It is npxc already, and gets options.
    pub(super) again: bool,
}

/// Judges a server of the file `text`.
pub(super) fn judge(text: &str, server: &Server, wish: &Wish<'_>) -> Verdict {
    let program = match &server.start {
        Start::Program(program) => program,
        Start::Unknown(why) => return Verdict::Leave(why.clone()),
    };
    let npx = match npx::launch(program) {
        Launch::Npx(npx) => npx,
        Launch::Npxc if (wish.is_own)(&program.command.text) => return again(text, server, program, wish),
        Launch::Npxc => {
            return Verdict::Leave(format!("{} is another npxc than this one", program.command.text));
        }
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
    let env = needs::environment(program, wish, &mut notes);
    if let Some(why) = needs::usurps(&env, wish) {
        return Verdict::Leave(why);
    }
    options.extend(needs::by_name(&env, wish, &mut notes));
    options.extend(needs::mounts(program, npx.spec, wish, &mut notes));
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
        Some(splices) => {
            let words = words.iter().map(|word| expanded(word, wish.known)).collect();
            Verdict::Wrap(Box::new(Change { splices, kept, words, env, notes, again: false }))
        }
        None => Verdict::Leave("a comment stands between its first arguments".to_owned()),
    }
}

/// A server that is npxc already: with what is new of the user's options, if it was named.
fn again(text: &str, server: &Server, program: &Program, wish: &Wish<'_>) -> Verdict {
    let mut words: Vec<String> = program.args.iter().map(|arg| arg.text.clone()).collect();
    let already = || Verdict::Already(options(program));
    let Ok(spec) = package(&words) else { return already() };
    let new = |option: &&String| !words[..spec].contains(option);
    let options: Vec<String> = wish.options.iter().filter(new).cloned().collect();
    if options.is_empty() || !wish.named {
        return already();
    }
    let mut notes = Vec::new();
    let env = needs::environment(program, wish, &mut notes);
    notes.clear();
    let kept = change::keep(text, &server.path, program, spec);
    let splices = vec![change::add(text, program, spec, &options)];
    let at = spec - usize::from(spec > 0 && words[spec - 1] == "--");
    words.splice(at..at, options);
    let words = words.iter().map(|word| expanded(word, wish.known)).collect();
    Verdict::Wrap(Box::new(Change { splices, kept, words, env, notes, again: true }))
}

/// What npxc has before the package, and of the client's variables what it obeys; for people: without values that may be secrets.
fn options(program: &Program) -> String {
    let words: Vec<String> = program.args.iter().map(|arg| arg.text.clone()).collect();
    let end = package(&words).unwrap_or(words.len());
    let mut before = "";
    let shown =
        words[..end].iter().filter(|word| !["-y", "--yes", "--"].contains(&word.as_str())).map(|word| {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, value),
                Some(_) | None => (before, word.as_str()),
            };
            before = word;
            let begin = &word[..word.len() - value.len()];
            match (option, value.split_once('='), value.rsplit_once('@')) {
                ("--env", Some((name, _)), _) => format!("{begin}{name}=…"),
                ("--proxy", _, Some((_, host))) => format!("{begin}…@{host}"),
                _ => word.clone(),
            }
        });
    let env = program.env.iter().filter(|one| needs::obeyed(&one.name).is_some() && !one.handed);
    let env = env.map(|one| format!("{}=…", one.name));
    shown.chain(env).collect::<Vec<_>>().join(" ")
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

/// What a server's start needs installed.
pub(super) fn packages(change: &Change) -> Vec<String> {
    let Ok(args) = run(&change.words) else { return Vec::new() };
    if !args.options.package.is_empty() {
        return args.options.package;
    }
    args.words.first().map(|spec| spec.to_string_lossy().into_owned()).into_iter().collect()
}

/// A command line that runs a package, understood.
pub(super) fn run(words: &[String]) -> Result<Args, String> {
    let argv: Vec<OsString> =
        std::iter::once("npxc").chain(words.iter().map(String::as_str)).map(OsString::from).collect();
    match understood(&argv) {
        Ok(Command::Run(args)) if !args.dry_run => Ok(args),
        Ok(_) => Err("npxc would take its package for a command".to_owned()),
        Err(error) => {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Err(format!("npxc does not take its arguments: {first}"))
        }
    }
}

/// npxc as a client finds it: by name where its `PATH` surely leads there, else by its path. That is the one in `PATH` where
/// that leads to this program: a link there outlives an update. `None` if nothing leads here that is called npxc: what is
/// called otherwise would not be known again.
pub(super) fn command(own: &Path, search: &[PathBuf], desktop: bool) -> Option<PathBuf> {
    /// Directories that a program which the desktop starts has in its `PATH`.
    const EVERYWHERE: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
    // The first npxc counts: another one there would be started instead of this one.
    let first = search.iter().find(|directory| directory.join("npxc").is_file());
    let same = |directory: &&PathBuf| {
        directory
            .join("npxc")
            .canonicalize()
            .is_ok_and(|found| own.canonicalize().is_ok_and(|own| found == own))
    };
    match first.filter(same) {
        Some(directory) if !desktop || EVERYWHERE.iter().any(|known| directory == Path::new(known)) => {
            Some(PathBuf::from("npxc"))
        }
        Some(directory) if directory.is_absolute() => Some(directory.join("npxc")),
        Some(_) | None => {
            Some(own.to_owned()).filter(|own| own.file_name().is_some_and(|name| name == "npxc"))
        }
    }
}

/// Whether a client's command starts this program: by a path from the root, or as the first of its name in `PATH`.
pub(super) fn is_own(command: &str, own: &Path, search: &[PathBuf]) -> bool {
    let found = if command.contains('/') {
        Some(PathBuf::from(command)).filter(|path| path.is_absolute())
    } else {
        search.iter().map(|directory| directory.join(command)).find(|path| path.is_file())
    };
    let real = found.and_then(|path| path.canonicalize().ok());
    real.is_some_and(|real| own.canonicalize().is_ok_and(|own| own == real))
}
