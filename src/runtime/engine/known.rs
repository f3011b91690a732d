//! What is known about an engine, and what was learnt about it in earlier sessions: so that a refusal costs its third
//! of a second once, and not at every start.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CanLimit, Facts, Kind, Manner};

/// What the engine said, and how it has to be asked.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) facts: Facts,
    pub(super) manner: Manner,
}

impl Known {
    /// Limits that the engine holds.
    pub(super) fn limits(&self) -> CanLimit {
        self.manner.limits(&self.facts)
    }
}

/// What is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// What has to be the same for the manner to be of use.
    of: String,
    manner: Manner,
}

/// The manner learnt for an engine with the same facts; the plain one otherwise.
pub(super) fn remembered(directory: &Path, kind: Kind, facts: &Facts) -> Manner {
    let note =
        fs::read(path(directory, kind)).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
    note.filter(|note| note.of == print(facts)).map(|note| note.manner).unwrap_or_default()
}

/// Writes down what was learnt. That it cannot be written costs time at the next start.
pub(super) fn remember(directory: &Path, kind: Kind, known: &Known) {
    if remembered(directory, kind, &known.facts) == known.manner {
        return;
    }
    let path = path(directory, kind);
    let note = Note { of: print(&known.facts), manner: known.manner.clone() };
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let Ok(text) = serde_json::to_vec(&note) else { return };
    // Another npxc may be reading.
    let new = path.with_extension(format!("{}", std::process::id()));
    if fs::write(&new, text).is_ok() && fs::rename(&new, &path).is_err() {
        let _ = fs::remove_file(new);
    }
}

fn path(directory: &Path, kind: Kind) -> PathBuf {
    directory.join(format!("{}.json", kind.as_str()))
}

fn print(facts: &Facts) -> String {
    format!("{facts:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_learnt_holds_as_long_as_the_facts() {
        let directory = tempfile::tempdir().unwrap();
        let facts = Facts { version: "4.3.1".into(), ..Facts::default() };
        let manner = Manner { runtime: Some("runc".into()), ..Manner::default() };
        let known = Known { facts: facts.clone(), manner: manner.clone() };
        remember(directory.path(), Kind::Podman, &known);
        assert_eq!(remembered(directory.path(), Kind::Podman, &facts), manner);
        assert_eq!(remembered(directory.path(), Kind::Docker, &facts), Manner::default());
        let newer = Facts { version: "5.0.0".into(), ..facts.clone() };
        assert_eq!(remembered(directory.path(), Kind::Podman, &newer), Manner::default());
        fs::write(path(directory.path(), Kind::Podman), "{").unwrap();
        assert_eq!(remembered(directory.path(), Kind::Podman, &facts), Manner::default());
    }

    #[test]
    fn without_control_groups_there_are_no_limits() {
        let limits = CanLimit { memory: true, pids: true, cpus: true };
        let mut known = Known { facts: Facts { limits, ..Facts::default() }, manner: Manner::default() };
        assert_eq!(known.limits(), limits);
        known.manner.unlimited = true;
        assert_eq!(known.limits(), CanLimit::default());
    }
}
