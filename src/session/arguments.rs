//! The package's own arguments and the variables it is given: those that are paths which it sees under another name get that
//! name. Nothing is refused here: what cannot be shared stays as it is, with a warning.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::files;
use super::inspect::{Sight, Sights};
use crate::config::Resolved;
use crate::exit::Failure;
use crate::package::{HostEnv, Progress};
use crate::rpc::identify::Named;
use crate::rpc::identify::word::{bare, variable, word};
use crate::rpc::translate::{Answer, Files as _, GUEST_DIRECTORY, Translator};
use crate::runtime::Launch;
use crate::storage::GUEST_DATA;
use crate::workspace::Handle;
use crate::workspace::scope::{Place, Scope};

const NO_DATA: &str = "`/data` is there only with --persist";
/// How variables are spoken of; their values are not shown.
const VARIABLE: &str = "variable";

/// A path at start, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// As it was given; a variable by its name.
    pub given: String,
    /// What becomes of it.
    pub inside: String,
}

/// Those of the paths which lie in the scope, so that copies would be made of them: then the log has to have begun.
pub(super) fn shared(resolved: &Resolved, scope: &Scope) -> Vec<Named> {
    let paths = paths(resolved).map(|(_, named)| named);
    paths.filter(|named| matches!(place(scope, named), Some(Place::Scope { .. }))).collect()
}

/// Warns of what is probably meant otherwise than it is taken.
pub(super) fn warn(resolved: &Resolved, scope: &Scope, words: &dyn Progress) {
    for Translated { given, inside } in bare_words(resolved, scope) {
        words.warning(&format!("`{given}` is {inside}"));
    }
    for (given, named) in paths(resolved) {
        if is_lost_data(resolved, scope, &named) {
            words.warning(&format!("the package is started with {given}, but {NO_DATA}"));
        }
    }
}

/// Puts what the package sees in the place of what was given. `shared` are [`shared`]'s: if one of them cannot be shared after
/// all, `words` hears of it.
pub(super) fn translate(
    launch: &mut Launch,
    resolved: &Resolved,
    shared: &[Named],
    translator: &mut Translator,
    files: &Handle,
    words: &dyn Progress,
) {
    let mut inside = |given: &str, named: &Named, tells: bool| {
        let answer = files.share(named);
        if let Answer::Refused(refusal) = &answer
            && (tells || shared.contains(named))
        {
            words.warning(&format!(
                "the package is started with {given}, which {}; it stays as it is",
                refusal.reason
            ));
            if let Some(hint) = &refusal.hint {
                words.hint(hint);
            }
        }
        translator.started(named, answer)
    };
    let own = launch.command.len().saturating_sub(resolved.args.len());
    for text in launch.command.iter_mut().skip(own) {
        let found = text.to_str().and_then(word);
        // What lies elsewhere is told of with the command line.
        if let Some((before, path)) =
            found.and_then(|(before, named)| Some((before, inside(&named.text, &named, false)?)))
        {
            *text = OsString::from(format!("{before}{path}"));
        }
    }
    for (name, value) in &mut launch.env {
        let given = format!("a path in {}", of_variable(&name.to_string_lossy()));
        if is_given(resolved, name)
            && let Some(path) =
                value.to_str().and_then(variable).and_then(|named| inside(&given, &named, true))
        {
            *value = path.into();
        }
    }
}

/// What [`translate`] would do, without making a copy: for `--dry-run`. Arguments that stay as they are are left out, unless
/// that is for a reason that somebody may want to change.
///
/// # Errors
/// [`Sights::of`]'s.
pub fn preview(resolved: &Resolved) -> Result<Vec<Translated>, Failure> {
    let sights = Sights::of(resolved)?;
    let mut translated = bare_words(resolved, sights.scope());
    translated.extend(paths(resolved).filter_map(|(given, named)| {
        let inside = match sights.of_path(&named, true) {
            _ if is_lost_data(resolved, sights.scope(), &named) => format!("stays as it is: {NO_DATA}"),
            Sight::Mount(guest) => guest,
            Sight::Copy(_) | Sight::New => format!("a copy below {GUEST_DIRECTORY}"),
            Sight::Refused(refusal) => {
                let hint = refusal.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                format!("stays as it is: it {}{hint}", refusal.reason)
            }
            Sight::Left(why) if given.starts_with(&of_variable("")) => format!("stays as it is: {why}"),
            Sight::Left(_) => return None,
        };
        Some(Translated { given, inside })
    }));
    Ok(translated)
}

/// Whether files of the working directory can be shared at all; it may be too wide.
pub fn shares_its_cwd(resolved: &Resolved) -> bool {
    files::scope(resolved, &resolved.mounts, HostEnv::current().home).is_open()
}

/// Whether the package gets this path of the host under whatever name, because it is one of its arguments.
pub fn is_shared(resolved: &Resolved, path: &Path) -> bool {
    let scope = files::scope(resolved, &resolved.mounts, HostEnv::current().home);
    let place = scope.place(path, false);
    matches!(place, Place::Inside(_) | Place::Scope { .. })
}

/// What may be a path, with how it was given.
fn paths(resolved: &Resolved) -> impl Iterator<Item = (String, Named)> {
    let words = resolved.args.iter().filter_map(|text| text.to_str());
    let words = words.filter_map(|text| Some((text.to_owned(), word(text)?.1)));
    let values = resolved
        .env
        .iter()
        .filter_map(|(name, value)| Some((of_variable(name.as_str()), variable(value.0.to_str()?)?)));
    words.chain(values)
}

/// Words that are passed as they are although something of the working directory has such a name, each once.
fn bare_words(resolved: &Resolved, scope: &Scope) -> Vec<Translated> {
    let mut found: Vec<Translated> = Vec::new();
    for given in resolved.args.iter().filter_map(|text| text.to_str()) {
        let Some(Place::Scope { .. }) = bare(given).and_then(|named| place(scope, &named)) else { continue };
        let what = if scope.absolute(given).is_dir() { "directory" } else { "file" };
        let inside = format!("passed as it is; write ./{given} if the {what} is meant");
        let one = Translated { given: given.to_owned(), inside };
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// Whether a path is one of what lasts, where nothing does and nothing else is meant.
fn is_lost_data(resolved: &Resolved, scope: &Scope, named: &Named) -> bool {
    let path = scope.absolute(&named.written.path);
    let is_data = path.starts_with(GUEST_DATA) && !resolved.persist;
    is_data && !path.exists() && scope.place(&path, false) == Place::Outside
}

fn of_variable(name: &str) -> String {
    format!("{VARIABLE} {name}")
}

/// Where it is, if anything is there.
fn place(scope: &Scope, named: &Named) -> Option<Place> {
    let written = &named.written.path;
    let path = scope.absolute(written);
    path.exists().then(|| scope.place(&path, !written.starts_with(['/', '~'])))
}

fn is_given(resolved: &Resolved, name: &OsStr) -> bool {
    resolved.env.keys().any(|given| name == given.as_str())
}
