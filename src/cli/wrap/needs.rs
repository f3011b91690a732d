//! What a server has of its client's beside the package: variables, and paths among its arguments. Both become options of npxc,
//! or a sentence where npxc cannot know what is meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::judge::Wish;
use crate::cli::slips;
use crate::clients::servers::{MOST_VARIABLES, Program, Variable};
use crate::clients::variables::{self, expanded, is_open};
use crate::config::values::{EnvName, EnvValue};

/// Variables that npxc itself reads, or that name places which are others inside: they are not for the package.
const NPXCS: [&str; 2] = ["PATH", "HOME"];
const NPXCS_BEGIN: [&str; 3] = ["XDG_", "NPXC_", "npm_config_"];

/// Begins of names that the programs of this machine obey before they do anything else: loaders, node, npm, libraries.
const OBEYED_BEGIN: [&str; 10] =
    ["LD_", "DYLD_", "GLIBC_", "MALLOC_", "GCONV_", "LOCPATH", "NODE_", "NPM_", "SSL_", "RUST_"];
const OBEYED: [&str; 6] = ["TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "RES_OPTIONS"];

/// Whether npxc itself, or what it starts outside a sandbox, would do something else with this variable.
pub(super) fn is_obeyed(name: &str) -> bool {
    let begins =
        |start: &&str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    NPXCS.contains(&name)
        || OBEYED.iter().any(|obeyed| name.eq_ignore_ascii_case(obeyed))
        || NPXCS_BEGIN.iter().chain(&OBEYED_BEGIN).any(begins)
}

/// The variables that the client gives the server: those of its `envFile`, and the others over them.
pub(super) fn environment(program: &Program, wish: &Wish<'_>, notes: &mut Vec<String>) -> Vec<Variable> {
    let mut all = program.env_file.as_deref().map_or_else(Vec::new, |file| env_file(file, wish, notes));
    all.retain(|one| program.env.iter().all(|known| known.name != one.name));
    all.truncate(MOST_VARIABLES.saturating_sub(program.env.len()));
    all.extend(program.env.iter().map(|one| {
        let value = one.value.as_ref().and_then(|value| value.0.to_str());
        let value = value.map(|value| EnvValue(expanded(value, wish.known).into()));
        Variable { value, ..one.clone() }
    }));
    all
}

/// The variables of a file that the client reads, where that is.
fn env_file(file: &str, wish: &Wish<'_>, notes: &mut Vec<String>) -> Vec<Variable> {
    let path = PathBuf::from(expanded(file, wish.known));
    let path = wish.project.map_or_else(|| path.clone(), |project| project.join(&path));
    let Some(text) = (wish.text)(&path).filter(|_| path.is_absolute()) else {
        notes.push("the variables of its envFile have to be named: --env NAME for each".to_owned());
        return Vec::new();
    };
    notes.push("what is added to its envFile later has to be named as well: --env NAME".to_owned());
    variables::read(&text)
}

/// Options that hand variables on, by name: their values stay where they are.
pub(super) fn by_name(env: &[Variable], wish: &Wish<'_>, notes: &mut Vec<String>) -> Vec<String> {
    let own = |name: &str| {
        let begins =
            |start: &str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
        NPXCS.contains(&name) || NPXCS_BEGIN.iter().any(|start| begins(start))
    };
    let mut options = Vec::new();
    for Variable { name, value, handed } in env {
        let option = format!("--env={name}");
        let given = |known: &String| *known == option || known.starts_with(&format!("{option}="));
        if *handed {
            notes.push(format!("{name} has to be set where the client is started, or npxc does not start"));
        }
        if own(name) {
            notes.push(format!("{name} stays with npxc and is not given to the package"));
        } else if name.parse::<EnvName>().is_err() {
            notes.push(format!("the variable `{name}` has a name that npxc cannot give to the package"));
        } else if !wish.options.iter().any(given) {
            options.push(option);
            let words = [OsString::new(), value.as_ref().map(|value| value.0.clone()).unwrap_or_default()];
            if let Some(path) = slips::every_unseen(&words, &[]).find(|path| (wish.real)(path).is_some()) {
                let path = path.display();
                notes.push(format!("{name} names {path}, which it cannot see: --mount {path} shows it"));
            }
        }
    }
    options
}

/// Options that show it arguments which are files or directories of this machine, read-only.
pub(super) fn mounts(
    program: &Program,
    spec: usize,
    wish: &Wish<'_>,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut shown: Vec<PathBuf> = wish
        .options
        .iter()
        .filter_map(|known| known.strip_prefix("--mount="))
        .map(|mount| PathBuf::from(mount.split(':').next().unwrap_or(mount)))
        .collect();
    let home = (wish.real)(wish.home).unwrap_or_else(|| wish.home.to_owned());
    for arg in program.args[spec..].iter().skip(1) {
        // As the file has it: the client puts the same in its place there.
        let written = match arg.text.split_once('=') {
            Some((option, value)) if option.starts_with('-') => value,
            Some(_) | None => &arg.text,
        };
        let words = [OsString::new(), expanded(written, wish.known).into()];
        let unseen = slips::every_unseen(&words, &[]).next().map(Path::to_owned);
        if words[1].to_str().is_some_and(is_open) {
            let named = if written.contains(':') { "PATH".to_owned() } else { format!("'{written}'") };
            notes.push(format!("if {written} is a path, it has to be shown: --mount {named}"));
        } else if let Some((path, real)) = unseen.and_then(|path| Some((path.clone(), (wish.real)(&path)?))) {
            if home.starts_with(real) {
                notes.push(format!(
                    "{written} holds all of your files and is not shown to it; --mount shows it what it needs"
                ));
            } else if path.to_string_lossy().contains(':') {
                notes.push(format!("{written} cannot be mounted under this name: --mount HOST:GUEST"));
            } else if !shown.iter().any(|shown| path.starts_with(shown)) {
                notes.push(format!(
                    "it can read {written}, and not write there: --mount {written}:rw lets it"
                ));
                options.push(format!("--mount={written}"));
                shown.push(path);
            }
        }
    }
    options
}
