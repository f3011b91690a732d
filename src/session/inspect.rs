//! What would become of a path, without anything being copied: for `npxc inspect` and `--dry-run`. The answer is the
//! [`Workspace`]'s, as it would be in a session; only the words for people are found here.

use std::path::Path;

use super::{files, keeping};
use crate::audit::Recorder;
use crate::config::Resolved;
use crate::exit::Failure;
use crate::package::HostEnv;
use crate::rpc::identify::Named;
use crate::rpc::translate::{Answer, Files as _, Refusal};
use crate::runtime::Access;
use crate::workspace::scope::{Place, Scope};
use crate::workspace::shelf::Lease;
use crate::workspace::{Handle, Workspace};

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It leads to a copy, which is brought back where the package may write it.
    Copy(Access),
    /// A file may be made there, and is brought to the host.
    New,
    /// It leads into a mount: the guest's path.
    Mount(String),
    /// It stays as it is, for this reason.
    Left(String),
    /// The call is refused.
    Refused(Refusal),
}

/// Judges paths for one run.
pub struct Sights {
    files: Handle,
    scope: Scope,
    access: Access,
    /// Removes what was made for the judging.
    _lease: Lease,
}

impl Sights {
    /// With what the run would be granted.
    ///
    /// # Errors
    /// npxc's cache cannot be written, or the package is not there.
    pub fn of(resolved: &Resolved) -> Result<Self, Failure> {
        let host = HostEnv::current();
        let granted = keeping::foreseen(resolved, &host)?;
        let scope = || files::scope(resolved, &granted, host.home.clone());
        let (lease, shelf) = files::dry_shelf(resolved)?;
        let attic = resolved.directories.kept();
        let workspace = Workspace::new(scope(), shelf, Recorder::none(), attic, Box::new(|_| {}));
        Ok(Self { files: Handle::new(workspace), scope: scope(), access: resolved.mount_mode, _lease: lease })
    }

    /// What becomes of this one; `decides` if a call is refused where it is.
    pub fn of_path(&self, named: &Named, decides: bool) -> Sight {
        let path = self.scope.absolute(&named.written.path);
        match self.files.share(named) {
            Answer::At(guest) => Sight::Mount(guest),
            Answer::Shared { .. } if self.access == Access::ReadWrite && !path.exists() => Sight::New,
            Answer::Shared { .. } => Sight::Copy(self.access),
            Answer::Refused(refusal) if decides => Sight::Refused(refusal),
            Answer::Refused(refusal) => {
                Sight::Left(format!("it {}; where it stands nobody is refused for that", refusal.reason))
            }
            Answer::Leave => Sight::Left(self.why(&path, &named.written.path).to_owned()),
        }
    }

    /// What may be shared.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Why a path stays as it is.
    fn why(&self, path: &Path, written: &str) -> &'static str {
        match self.scope.place(path, !written.starts_with(['/', '~'])) {
            Place::Inside(_) => "it is mounted under this path",
            Place::Guest => "the sandbox has its own there, or it is a name inside it",
            Place::Outside if path.symlink_metadata().is_ok() => "the sandbox has its own there",
            Place::Scope { .. } | Place::Outside => "nothing is there, so something else may be meant",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;
    use crate::config::load;
    use crate::config::load::Asked;
    use crate::rpc::identify::{Reason, shape};

    #[test]
    fn the_file_that_grants_is_not_given_to_whom_it_grants() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("home")).unwrap();
        fs::write(root.join("server.toml"), "[paths]\nmount_mode = \"rw\"\n").unwrap();
        fs::write(root.join("notes.txt"), "notes").unwrap();
        let home = root.join("home");
        let vars = [(OsString::from("HOME"), home.clone().into_os_string())].into();
        let asked = Asked {
            packages: vec!["server".parse().unwrap()],
            config: Some("server.toml".to_owned()),
            ..Asked::default()
        };
        let resolved = load(asked, &HostEnv { vars, cwd: root, home }).unwrap();
        let sights = Sights::of(&resolved).unwrap();
        let sight = |text: &str| {
            let (written, reason) = (shape::read(text).unwrap(), Reason::Configured);
            sights.of_path(&Named { text: text.to_owned(), written, reason, makes: false }, true)
        };
        assert_eq!(sight("./notes.txt"), Sight::Copy(Access::ReadWrite));
        assert!(matches!(sight("./server.toml"), Sight::Refused(_)), "{:?}", sight("./server.toml"));
    }
}
