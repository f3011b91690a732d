//! The package's own arguments and the variables it is given: those that are paths which it sees under another name get that
//! name. Nothing is refused here: what cannot be shared stays as it is, and is the package's to complain of.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::files;
use crate::config::Resolved;
use crate::package::HostEnv;
use crate::rpc::identify::Named;
use crate::rpc::identify::word::{variable, word};
use crate::rpc::translate::{Files, GUEST_DIRECTORY, Translator};
use crate::runtime::Launch;
use crate::workspace::scope::{Place, Scope};

/// A path at start, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// As it was given; a variable by its name.
    pub given: String,
    /// What the package gets.
    pub inside: String,
}

/// Puts what the package sees in the place of what was given.
pub(super) fn translate(
    launch: &mut Launch,
    resolved: &Resolved,
    translator: &mut Translator,
    files: &mut dyn Files,
) {
    let mut inside = |named: &Named| translator.started(named, files.share(named));
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

/// Whether copies would be made for it: then the log has to have begun.
pub(super) fn shares(resolved: &Resolved, scope: &Scope) -> bool {
    paths(resolved).any(|(_, named)| matches!(place(scope, &named), Some(Place::Scope { .. })))
}

/// What [`translate`] would do, without making a copy: for `--dry-run`.
pub fn preview(resolved: &Resolved) -> Vec<Translated> {
    let scope = files::scope(resolved, &resolved.mounts, HostEnv::current().home);
    let translated = paths(resolved).filter_map(|(given, named)| {
        let inside = match place(&scope, &named)? {
            Place::Inside(guest) if guest == Path::new(&named.written.path) => return None,
            Place::Inside(guest) => guest.display().to_string(),
            Place::Scope { .. } => format!("a copy below {GUEST_DIRECTORY}"),
            Place::Guest | Place::Outside => return None,
        };
        Some(Translated { given, inside })
    });
    translated.collect()
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

/// Where it is, if that can be shown.
fn place(scope: &Scope, named: &Named) -> Option<Place> {
    let written = &named.written.path;
    let path = scope.absolute(written);
    let relative = !written.starts_with(['/', '~']);
    let place = scope.place(&path, relative);
    // In a mount it is the same path, whether it is there or not.
    (matches!(place, Place::Inside(_)) || path.exists()).then_some(place)
}

fn is_given(resolved: &Resolved, name: &OsStr) -> bool {
    resolved.env.keys().any(|given| name == given.as_str())
}
