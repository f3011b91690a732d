//! What an update would change: what is installed beside what npm resolves now. Pure.

use std::collections::BTreeSet;
use std::fmt;

use super::super::entry::{Installed, Manifest};
use super::lock::{Lock, name_of};

/// What an update would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Packages, the requested ones first, then by name.
    pub packages: Vec<Change>,
    /// Packages whose install scripts would run and have not run as they are now.
    pub scripts: Vec<String>,
}

/// What becomes of one package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// It is a dependency, and was not asked for itself.
    pub dependency: bool,
    /// Its name in `node_modules`.
    pub name: String,
    /// The version that is installed; `None` for a new package.
    pub from: Option<String>,
    /// The version that would be; `None` for one that goes.
    pub to: Option<String>,
}

impl Changes {
    /// Whether everything would stay as it is.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.scripts.is_empty()
    }

    pub(super) fn between(old: &Manifest, new: &Lock) -> Self {
        let roots: BTreeSet<&str> = new.roots.iter().map(|root| root.name.as_str()).collect();
        let paths: BTreeSet<&String> = old.packages.keys().chain(new.packages.keys()).collect();
        let mut packages: Vec<Change> = paths
            .into_iter()
            .filter_map(|path| {
                let (from, to) = (old.packages.get(path), new.packages.get(path));
                if from == to {
                    return None;
                }
                let version = |of: Option<&Installed>| of.map(|package| package.version.clone());
                let name = name_of(path);
                // One that was asked for stands at the top; another of its name further down is somebody's dependency.
                let dependency = !(roots.contains(name) && path.matches("node_modules/").count() == 1);
                Some(Change { dependency, name: name.to_owned(), from: version(from), to: version(to) })
            })
            .collect();
        packages.sort();
        packages.dedup();
        let is_new = |path: &&String| {
            !old.install_scripts.contains(path) || old.packages.get(*path) != new.packages.get(*path)
        };
        let scripts: BTreeSet<String> =
            new.install_scripts.iter().filter(is_new).map(|path| name_of(path).to_owned()).collect();
        Self { packages, scripts: scripts.into_iter().collect() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match (&self.from, &self.to) {
            (None, Some(to)) => write!(f, "+ {name} {to}"),
            (Some(from), None) => write!(f, "- {name} {from}"),
            (Some(from), Some(to)) if from == to => {
                write!(f, "! {name} {to}: the same version, and not what was installed")
            }
            (Some(from), Some(to)) => write!(f, "  {name} {from} -> {to}"),
            (None, None) => f.write_str(name),
        }
    }
}
