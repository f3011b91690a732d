//! Which log is meant: by file, by directory, by session or by package.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::audit::report::Report;
use crate::audit::shelf::{self, Shelved};
use crate::cli::say;
use crate::config::Directories;
use crate::exit::{ExitStatus, Failure};
use crate::package::PackageName;
use crate::package::spec::PackageSpec;

/// Fewest characters of a session's id that name it.
const SHORTEST: usize = 4;

/// npxc's own directory of logs.
pub(super) fn own() -> Result<PathBuf, Failure> {
    Ok(Directories::new(|name| std::env::var_os(name))?.audit())
}

/// The log that is meant; the newest one, said aloud, when it was not named.
pub(super) fn one(named: Option<&str>) -> Result<PathBuf, Failure> {
    let Some(text) = named else {
        let directory = own()?;
        return newest(&directory, &shelved(&directory)?);
    };
    if is_path(text) {
        return at(Path::new(text));
    }
    let directory = own()?;
    let matching: Vec<_> = shelved(&directory)?.into_iter().filter(|log| is_meant(log, text)).collect();
    if matching.is_empty() && Path::new(text).exists() {
        return at(Path::new(text));
    }
    match matching.as_slice() {
        [] => Err(Failure::new(
            ExitStatus::Config,
            format!(
                "`{text}` is no file, and no log in {} is of such a session or package",
                directory.display()
            ),
        )
        .hint("npxc audit list shows what there is")),
        [only] => Ok(only.path.clone()),
        [..] => newest(&directory, &matching),
    }
}

/// Whether it is a path and nothing else. A word is a session or a package first: what lies in a working directory, which may be
/// somebody else's, does not answer for npxc's own logs.
pub(super) fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    let separated = text.contains(std::path::is_separator) && !text.starts_with('@');
    separated || matches!(text, "." | "..") || path.extension().is_some_and(|extension| extension == "jsonl")
}

/// A file, or the newest log in a directory.
fn at(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() { newest(path, &shelved(path)?) } else { Ok(path.to_owned()) }
}

/// All logs that are meant: those of a directory, of a package, or one.
pub(super) fn several(named: &str) -> Result<Vec<PathBuf>, Failure> {
    let path = Path::new(named);
    let mut logs = Vec::new();
    if !is_path(named) {
        logs.extend(shelved(&own()?)?.into_iter().filter(|log| is_package(log, named)));
    }
    if logs.is_empty() && path.is_dir() {
        logs = shelved(path)?;
    }
    if logs.is_empty() {
        Ok(vec![one(Some(named))?])
    } else {
        Ok(logs.into_iter().map(|log| log.path).collect())
    }
}

/// By a part of the session's id, at its beginning or at its end, or by the package's name with or without a version.
pub(super) fn is_meant(log: &Shelved, text: &str) -> bool {
    names_session(log.session, text) || is_package(log, text)
}

/// By a part of its id, at the beginning or at the end.
pub(in crate::cli) fn names_session(session: Uuid, text: &str) -> bool {
    let session = session.to_string();
    text.len() >= SHORTEST && (session.starts_with(text) || session.ends_with(text))
}

/// By the package's name, with or without a version.
pub(super) fn is_package(log: &Shelved, text: &str) -> bool {
    let spec = text.parse::<PackageSpec>();
    let name = spec.ok().and_then(|spec| spec.name().map(PackageName::path_component));
    log.package == text || name.is_some_and(|name| log.package == name)
}

pub(super) fn shelved(directory: &Path) -> Result<Vec<Shelved>, Failure> {
    shelf::all(directory).map_err(|error| super::unreadable(directory, &error))
}

fn newest(directory: &Path, logs: &[Shelved]) -> Result<PathBuf, Failure> {
    // An installation is what somebody asks for by name.
    let Some(log) = logs.iter().find(|log| is_of_run(&log.path)).or(logs.first()) else {
        return Err(Failure::new(ExitStatus::Config, format!("there is no log in {}", directory.display()))
            .hint("run a package first, or name a log: npxc audit show FILE"));
    };
    say::note(&format!("the newest log is {}", log.path.display()));
    Ok(log.path.clone())
}

/// Whether a package was run, and not only installed; of what cannot be read, not.
fn is_of_run(log: &Path) -> bool {
    super::read(log).is_ok_and(|report| is_run(&report))
}

/// The same of a log that was read.
pub(super) fn is_run(report: &Report) -> bool {
    report.runs.iter().any(|run| run.purpose == "run")
}

/// Whether a session began longer ago than that.
pub(super) fn is_older(log: &Shelved, age: Duration) -> bool {
    let began = log.session.get_timestamp().map(|time| time.to_unix()).map_or(0, |(seconds, _)| seconds);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    now.saturating_sub(began) > age.as_secs()
}
