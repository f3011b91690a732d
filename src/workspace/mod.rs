//! The files that a session shares with its package because a call named them.
//!
//! [`scope`] says what may be shared, [`beneath`] opens it so that what was checked is what is read, [`shelf`] holds
//! the copies, in a directory that the guest sees read-only. Data comes from `rpc`, which finds the paths in messages; it
//! goes to the guest's [`GUEST_DIRECTORY`](crate::rpc::translate::GUEST_DIRECTORY). The package's own word never gets
//! anything shared: only what the client names is.

pub mod beneath;
pub mod scope;
pub mod shelf;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use self::scope::{Place, Scope};
use self::shelf::Shelf;
use crate::audit::{Event, Recorder};
use crate::rpc::identify::{Named, Reason};
use crate::rpc::translate::{Answer, Files, Refusal};

/// One session's files.
#[derive(Debug)]
pub struct Workspace {
    scope: Scope,
    shelf: Shelf,
    recorder: Recorder,
}

impl Workspace {
    /// What is in `scope` is put on `shelf`, and `recorder` hears of it.
    pub fn new(scope: Scope, shelf: Shelf, recorder: Recorder) -> Self {
        Self { scope, shelf, recorder }
    }

    fn copy(&mut self, root: &Path, below: &Path, path: &Path) -> Result<Answer, Refusal> {
        let (Some(directory), Some(name)) =
            (path.parent().and_then(Path::to_str), path.file_name().and_then(std::ffi::OsStr::to_str))
        else {
            return Err(words::not_text());
        };
        let opened = self.scope.open(root, below).map_err(|error| words::unopened(&error, path))?;
        if self.scope.is_own(&opened) {
            return Err(words::own());
        }
        let kept = self.shelf.keep(directory, name, opened).map_err(|error| words::unkept(&error))?;
        if let Some(bytes) = kept.copied {
            let guest = format!("{}/{}/{name}", crate::rpc::translate::GUEST_DIRECTORY, kept.place);
            let event = Event::FilePublish { path: path.display().to_string(), guest, bytes };
            if self.recorder.record(event).is_err() {
                return Err(words::unrecorded());
            }
        }
        Ok(Answer::Shared { place: kept.place, directory: directory.to_owned(), name: name.to_owned() })
    }

    fn judge(&mut self, named: &Named) -> Result<Answer, Refusal> {
        let written = &named.written.path;
        let sure = !matches!(named.reason, Reason::Shape);
        // A word that may be anything else as well: a name in a repository, in an archive, of a mail folder.
        let relative = !written.starts_with('/') && !written.starts_with("~/") && written != "~";
        let path = self.scope.absolute(written);
        match self.scope.place(&path, relative) {
            Place::Inside(guest) => {
                let same = guest == Path::new(written);
                Ok(guest
                    .to_str()
                    .filter(|_| !same)
                    .map_or(Answer::Leave, |guest| Answer::At(guest.to_owned())))
            }
            Place::Guest => Ok(Answer::Leave),
            Place::Scope { root, below } => match self.copy(&root, &below, &path) {
                Err(refusal) if refusal.code == words::MISSING && (relative || !sure) => Ok(Answer::Leave),
                Err(refusal) if refusal.code == words::DIRECTORY && relative => Ok(Answer::Leave),
                answer => answer,
            },
            Place::Outside => {
                let kind = std::fs::symlink_metadata(&path).map(|found| found.is_dir());
                match kind {
                    // The guest has directories of its own there.
                    Ok(true) if scope::is_private(&path) => Ok(Answer::Leave),
                    Ok(_) => Err(self.outside(&path)),
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(self.outside(&path)),
                    Err(_) if sure && !relative && scope::is_plausible(&path) => Err(self.outside(&path)),
                    Err(_) => Ok(Answer::Leave),
                }
            }
        }
    }

    fn outside(&self, path: &Path) -> Refusal {
        words::outside(path, self.scope.cwd(), self.scope.is_open())
    }
}

impl Files for Workspace {
    fn share(&mut self, named: &Named) -> Answer {
        self.judge(named).unwrap_or_else(Answer::Refused)
    }
}

/// What a session's workspace is made of.
#[derive(Debug)]
pub struct Ground {
    /// The client's working directory.
    pub cwd: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
    /// npxc's own directories, which are never shared.
    pub own: Vec<PathBuf>,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
