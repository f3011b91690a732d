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
use crate::rpc::identify::word::{variable, word};
use crate::rpc::translate::{Answer, Files as _, GUEST_DIRECTORY, Translator};
use crate::runtime::Launch;
use crate::workspace::Handle;
use crate::workspace::scope::{Place, Scope};

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
    let mut inside = |named: &Named| {
        let answer = files.share(named);
        if let Answer::Refused(refusal) = &answer
            && shared.contains(named)
        {
            words.warning(&format!(
                "the package is started with {}, which {}; it stays as it is",
                named.text, refusal.reason
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
        if let Some((before, path)) = found.and_then(|(before, named)| Some((before, inside(&named)?))) {
            *text = OsString::from(format!("{before}{path}"));
        }
    }
    for (name, value) in &mut launch.env {
        if is_given(resolved, name)
            && let Some(path) = value.to_str().and_then(variable).and_then(|named| inside(&named))
        {
            *value = path.into();
        }
    }
}

/// What [`translate`] would do, without making a copy: for `--dry-run`. What stays as it is is left out, unless that is for a
/// reason that somebody may want to change.
///
/// # Errors
/// [`Sights::of`]'s.
pub fn preview(resolved: &Resolved) -> Result<Vec<Translated>, Failure> {
    let sights = Sights::of(resolved)?;
    let translated = paths(resolved).filter_map(|(given, named)| {
        let inside = match sights.of_path(&named, true) {
            Sight::Mount(guest) => guest,
            Sight::Copy | Sight::New => format!("a copy below {GUEST_DIRECTORY}"),
            Sight::Refused(refusal) => {
                let hint = refusal.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                format!("stays as it is: it {}{hint}", refusal.reason)
            }
            Sight::Left(_) => return None,
        };
        Some(Translated { given, inside })
    });
    Ok(translated.collect())
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
        .filter_map(|(name, value)| Some((format!("variable {name}"), variable(value.0.to_str()?)?)));
    words.chain(values)
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
