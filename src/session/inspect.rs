//! Where a path would lead that a call names, for `npxc inspect`: what [`Workspace`](crate::workspace::Workspace) would
//! answer, without a copy being made.

use std::path::Path;

use crate::config::Resolved;
use crate::package::HostEnv;
use crate::paths::shell_word;
use crate::rpc::identify::{Named, Reason};
use crate::workspace::scope::{Place, Scope};

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// To a copy, made when the call is.
    Copy,
    /// Into a mount: the guest's path.
    Mount(String),
    /// It stays as it is, for this reason.
    Left(&'static str),
    /// The call is refused: the reason, and what helps.
    Refused(&'static str, String),
}

/// Judges paths for one run.
pub struct Sights {
    scope: Scope,
    open: bool,
}

impl Sights {
    /// With what the run would be granted.
    pub fn of(resolved: &Resolved) -> Self {
        let scope = super::files::scope(resolved, &resolved.mounts, HostEnv::current().home);
        let open = scope.is_open();
        Self { scope, open }
    }

    /// Where this one leads.
    pub fn of_path(&self, named: &Named) -> Sight {
        let written = &named.written.path;
        let relative = !written.starts_with(['/', '~']);
        let sure = !matches!(named.reason, Reason::Shape | Reason::Text);
        let path = self.scope.absolute(written);
        let outside = |what| {
            let mount = format!("--mount {}", shell_word(&path.to_string_lossy()));
            let hint =
                if self.open { mount } else { format!("{mount}, or --cwd and the directory you work in") };
            if named.reason == Reason::Text {
                return Sight::Left("it stands in a text and cannot be shared; nobody is refused for that");
            }
            Sight::Refused(what, hint)
        };
        match self.scope.place(&path, relative) {
            Place::Inside(guest) if guest == Path::new(written) => {
                Sight::Left("it is mounted under this path")
            }
            Place::Inside(guest) => Sight::Mount(guest.display().to_string()),
            Place::Guest => Sight::Left("the sandbox has its own there, or it is a name inside it"),
            Place::Scope { .. } if !path.exists() && (relative || !sure) => {
                Sight::Left("nothing is there, so something else may be meant")
            }
            Place::Scope { .. } if !path.exists() => outside("is not there"),
            Place::Scope { .. } => match path.canonicalize() {
                Ok(real) if matches!(self.scope.place(&real, false), Place::Outside) => {
                    outside("is or goes through a link that leads out of the working directory")
                }
                Ok(_) | Err(_) => Sight::Copy,
            },
            Place::Outside if path.symlink_metadata().is_ok() => {
                outside("is outside of what the package may see")
            }
            Place::Outside => Sight::Left("nothing is there, so something else may be meant"),
        }
    }
}
