//! What a server has of its client's beside the package: variables, and paths among its arguments. Both become options of npxc,
//! or a sentence where npxc cannot know what is meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::judge::Wish;
use crate::cli::slips;
use crate::clients::servers::{MOST_VARIABLES, Program, Variable};
use crate::clients::variables::{self, expanded, is_open};
use crate::config::values::{EnvName, EnvValue};
use crate::package::GUEST_HOME;
use crate::storage::GUEST_DATA;

/// Variables that npxc itself reads, or that name places which are others inside: they are not for the package.
const NPXCS: [&str; 2] = ["PATH", "HOME"];
const NPXCS_BEGIN: [&str; 3] = ["XDG_", "NPXC_", "npm_config_"];

/// Those that what npxc starts outside a sandbox obeys (loaders, node or what stands in its place, engines, shells), and begins
/// of their names. A package may want them, too.
const OBEYED: [&str; 19] = [
    "ALL_PROXY",
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LOCPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_USE_ENV_PROXY",
    "NODE_USE_SYSTEM_CA",
    "NO_PROXY",
    "REGISTRY_AUTH_FILE",
    "RES_OPTIONS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
];
const OBEYED_BEGIN: [&str; 18] = [
    "ASDF_",
    "BUILDAH_",
    "CONTAINERS_",
    "CONTAINER_",
    "DBUS_",
    "DOCKER_",
    "DYLD_",
    "FNM_",
    "GLIBC_",
    "LD_",
    "MALLOC_",
    "MISE_",
    "NODENV_",
    "NVM_",
    "OPENSSL_",
    "PODMAN_",
    "RTX_",
    "VOLTA_",
];

/// Who does something else with a variable than the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obeyed {
    /// npxc itself, and it is not given to the package.
    Npxc,
    /// What npxc starts outside a sandbox.
    Programs,
}

/// Who obeys a variable of this name, outside a sandbox.
pub(super) fn obeyed(name: &str) -> Option<Obeyed> {
    let begins =
        |start: &&str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    if NPXCS.contains(&name) || NPXCS_BEGIN.iter().any(begins) {
        Some(Obeyed::Npxc)
    } else if OBEYED.iter().any(|known| name.eq_ignore_ascii_case(known)) || OBEYED_BEGIN.iter().any(begins) {
        Some(Obeyed::Programs)
    } else {
        None
    }
}

/// Why a server of a project's file has to stay as it is: a variable with which it would grant itself what it likes.
pub(super) fn usurps(env: &[Variable], wish: &Wish<'_>) -> Option<String> {
    let set = env.iter().find(|one| !one.handed && obeyed(&one.name).is_some()).filter(|_| wish.in_project);
    set.map(|one| match obeyed(&one.name) {
        Some(Obeyed::Programs) => {
            format!("its env sets {}, which programs that npxc starts outside the sandbox obey", one.name)
        }
        Some(Obeyed::Npxc) | None => {
            format!("its env sets {}, which npxc itself obeys, outside the sandbox", one.name)
        }
    })
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
        notes.push(
            "what its envFile says to npxc itself (PATH, NPXC_ALLOW and the like) is obeyed".to_owned(),
        );
        return Vec::new();
    };
    notes.push("what is added to its envFile later has to be named as well: --env NAME".to_owned());
    variables::read(&text)
}

/// Options that hand variables on, by name: their values stay where they are.
pub(super) fn by_name(env: &[Variable], wish: &Wish<'_>, notes: &mut Vec<String>) -> Vec<String> {
    let mut options = Vec::new();
    for Variable { name, value, handed } in env {
        let option = format!("--env={name}");
        let given = |known: &String| *known == option || known.starts_with(&format!("{option}="));
        if *handed {
            notes.push(format!("{name} has to be set where the client is started, or npxc does not start"));
        }
        let obeyed = obeyed(name);
        if obeyed == Some(Obeyed::Programs) && !handed {
            notes.push(format!("{name} is obeyed by programs that npxc starts outside the sandbox, too"));
        }
        if obeyed == Some(Obeyed::Npxc) {
            notes.push(format!(
                "{name} is obeyed by npxc itself, outside the sandbox, and not given to the package"
            ));
        } else if name.parse::<EnvName>().is_err() {
            notes.push(format!("the variable `{name}` has a name that npxc cannot give to the package"));
        } else if !wish.options.iter().any(given) {
            options.push(option);
            let words = [OsString::new(), value.as_ref().map(|value| value.0.clone()).unwrap_or_default()];
            let unseen = slips::every_unseen(&words, &[], wish.home).next();
            if let Some(path) = unseen.filter(|path| !shown(wish).any(|shown| path.starts_with(shown))) {
                if (wish.real)(&path).is_some() {
                    let path = path.display();
                    notes.push(format!(
                        "{name} names {path}, which it cannot see: --mount {path} shows it, and {path}:rw lets it write there"
                    ));
                } else {
                    let about = format!("{name} names {}, which", path.display());
                    notes.extend(to_be_made(&about, &path, wish));
                }
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
    let mut shown: Vec<PathBuf> = shown(wish).collect();
    let home = home(wish);
    let project = wish.project.map(|project| (wish.real)(project).unwrap_or_else(|| project.to_owned()));
    for arg in program.args[spec..].iter().skip(1) {
        // As the file has it: the client puts the same in its place there.
        let written = match arg.text.split_once('=') {
            Some((option, value)) if option.starts_with('-') => value,
            Some(_) | None => &arg.text,
        };
        let words = [OsString::new(), expanded(written, wish.known).into()];
        let unseen = slips::every_unseen(&words, &[], wish.home).next();
        if words[1].to_str().is_some_and(is_open) {
            let named = if written.contains(':') { "PATH".to_owned() } else { format!("'{written}'") };
            notes.push(format!("if {written} is a path, it has to be shown: --mount {named}"));
        } else if let Some(path) = unseen.filter(|path| !shown.iter().any(|shown| path.starts_with(shown))) {
            let Some(real) = (wish.real)(&path) else {
                notes.extend(to_be_made(written, &path, wish));
                continue;
            };
            if home.starts_with(&real) {
                notes.push(format!(
                    "{written} holds all of your files and is not shown to it; --mount shows it what it needs"
                ));
            } else if project.as_ref().is_some_and(|project| !real.starts_with(project)) {
                // Somebody else may have named it.
                notes.push(format!(
                    "{written} is outside of the project and is not shown to it: --mount {written} shows it"
                ));
            } else if path.to_string_lossy().contains(':') {
                notes.push(format!("{written} cannot be mounted under this name: --mount HOST:GUEST"));
            } else {
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

/// Where nothing is yet, what lets it be made, which npxc does not grant by itself. `None` where no directory of this machine
/// is meant, as in the path of a URL.
fn to_be_made(about: &str, path: &Path, wish: &Wish<'_>) -> Option<String> {
    let parent = path.parent()?;
    let known = parent.ancestors().find(|known| (wish.real)(known).is_some())?;
    // These it has of its own; a directory of the host's in there it has not.
    let is_own = path.starts_with(GUEST_HOME) || path.starts_with(GUEST_DATA) || parent == Path::new("/tmp");
    if known.parent().is_none() || is_own {
        return None;
    }
    let (path, directory) = (path.display(), parent.display());
    let what = match (wish.real)(parent) {
        // All of the user's files are in there.
        Some(real) if home(wish).starts_with(&real) => {
            format!("make it first, and --mount {path}:rw lets it write there")
        }
        Some(_) => format!("--mount {directory}:rw lets it"),
        None => format!("make {directory} first, and --mount {directory}:rw lets it write there"),
    };
    Some(format!("{about} is not there, and it cannot make it: {what}"))
}

/// What the user's own options show it.
fn shown(wish: &Wish<'_>) -> impl Iterator<Item = PathBuf> {
    let mounts = wish.options.iter().filter_map(|known| known.strip_prefix("--mount="));
    mounts.map(|mount| {
        let path = mount.split(':').next().unwrap_or(mount);
        path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |below| wish.home.join(below))
    })
}

/// Where the home directory really is.
fn home(wish: &Wish<'_>) -> PathBuf {
    (wish.real)(wish.home).unwrap_or_else(|| wish.home.to_owned())
}
