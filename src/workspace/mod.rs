//! The files that a session shares with its package because a call named them.
//!
//! [`scope`] says what may be shared, [`beneath`] opens it so that what was checked is what is read, [`shelf`] holds
//! the copies, which `publish` makes. Where the scope may be written, `collect` takes what the guest has made of them and has
//! `replace` put it in the place of the host's files; `journal` knows what is beside one of them just then. `sweep` removes the copies in the end. Data
//! comes from `rpc`, which finds the paths in messages; it goes to the guest's [`GUEST_DIRECTORY`] and comes back from there. The package's own word never gets
//! anything shared or written: only what the client names is.

mod attributes;
pub mod beneath;
mod collect;
mod journal;
mod publish;
mod replace;
pub mod scope;
pub mod shelf;
mod stamp;
mod sweep;
mod tree;
mod words;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::publish::Copy;
use self::scope::{Place, Scope};
use self::shelf::Shelf;
use crate::audit::{Event, Recorder};
use crate::rpc::identify::{Named, Reason};
use crate::rpc::translate::{Answer, Files, GUEST_DIRECTORY, Refusal, Unsaved, Write};
use crate::runtime::Access;

/// Refusals that are in a session's log: a client that tries more of them does not fill the disk.
const MOST_REFUSED: usize = 1024;

/// A copy: the number of its place, and its path below that.
type Key = (usize, PathBuf);

/// One session's files.
pub struct Workspace {
    scope: Scope,
    shelf: Shelf,
    recorder: Recorder,
    /// What npxc has to say to people.
    voice: Box<dyn Fn(&str) + Send>,
    /// Where versions are kept that can be put nowhere else; npxc's own.
    attic: PathBuf,
    copies: HashMap<Key, Copy>,
    /// Directories that were named.
    trees: HashSet<Key>,
    /// Directories and links of theirs that the guest was given; of a link what it says.
    others: HashMap<Key, Option<PathBuf>>,
    /// What could not be saved when its copy was made anew, until a reply tells of it.
    unsaved: HashMap<Key, Unsaved>,
    /// What was refused, as it was written, and why; the log has it.
    refused: HashSet<(String, &'static str)>,
}

/// What a path that is in the scope was written as.
#[derive(Debug, Clone, Copy)]
struct Word {
    /// It may be anything else as well: a name in a repository, in an archive, of a mail folder.
    relative: bool,
    /// Something says that it is a path.
    sure: bool,
    /// It is a root of the client's, which a server asks for.
    root: bool,
    /// It is of a file that a tool makes.
    makes: bool,
}

impl Workspace {
    /// What is in `scope` is put on `shelf`, and `recorder` hears of it; `voice` says what a person has to know. What can
    /// be saved nowhere else goes to `attic`.
    pub fn new(
        scope: Scope,
        shelf: Shelf,
        recorder: Recorder,
        attic: PathBuf,
        voice: Box<dyn Fn(&str) + Send>,
    ) -> Self {
        let (copies, trees) = (HashMap::new(), HashSet::new());
        let (others, unsaved, refused) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { scope, shelf, recorder, voice, attic, copies, trees, others, unsaved, refused }
    }

    fn share(&mut self, named: &Named) -> Answer {
        self.judge(named).unwrap_or_else(|refusal| {
            self.note(named, &refusal);
            Answer::Refused(refusal)
        })
    }

    /// A refusal in the log, each once. It grants nothing: without its line it stands as well.
    fn note(&mut self, named: &Named, refusal: &Refusal) {
        if self.refused.len() < MOST_REFUSED && self.refused.insert((named.text.clone(), refusal.code)) {
            let (path, code) = (named.text.clone(), refusal.code.to_owned());
            let reason = refusal.reason.clone();
            let _ = self.recorder.record(Event::FileRefuse { path, code, reason });
        }
    }

    fn collect(&mut self, written: &[Write]) -> Vec<Unsaved> {
        self.bring_back(written)
    }

    fn writes(&self) -> bool {
        self.shelf.access() == Access::ReadWrite
    }

    fn judge(&mut self, named: &Named) -> Result<Answer, Refusal> {
        let written = &named.written.path;
        let sure = !matches!(named.reason, Reason::Shape);
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
            Place::Scope { directory, below } => self.shared(
                &directory,
                &below,
                &path,
                Word { relative, sure, root: named.reason == Reason::Root, makes: named.makes },
            ),
            Place::Outside => {
                let kind = std::fs::symlink_metadata(&path).map(|found| found.is_dir());
                match kind {
                    // The guest has directories of its own there; a root is the client's for sure.
                    Ok(true) if scope::is_private(&path) && named.reason != Reason::Root => Ok(Answer::Leave),
                    Ok(_) => Err(self.outside(&path)),
                    // What only looks like a path may be there or not: the server can tell as well.
                    Err(error) if sure && error.kind() == io::ErrorKind::PermissionDenied => {
                        Err(self.outside(&path))
                    }
                    Err(_) if sure && relative && named.makes => {
                        Err(words::unmade(&path, self.scope.cwd(), self.scope.is_open()))
                    }
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

/// A session's workspace, for the thread that forwards messages and for whoever ends the session.
#[derive(Clone)]
pub struct Handle(Arc<Mutex<Workspace>>);

impl Handle {
    /// The two ends of it.
    pub fn new(workspace: Workspace) -> Self {
        Self(Arc::new(Mutex::new(workspace)))
    }

    /// The guest has ended: what it has written and no reply has spoken of is brought to the host's files.
    pub fn finish(&self) {
        self.workspace().finish();
    }

    fn workspace(&self) -> MutexGuard<'_, Workspace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Handle {
    fn share(&self, named: &Named) -> Answer {
        self.workspace().share(named)
    }

    fn collect(&self, written: &[Write]) -> Vec<Unsaved> {
        self.workspace().collect(written)
    }

    fn say(&self, words: &str) {
        (self.workspace().voice)(words);
    }
}

/// The guest's path of a copy, for the log.
fn guest_path((place, below): &Key) -> String {
    let path = format!("{GUEST_DIRECTORY}/{place}/{}", logged(below));
    path.trim_end_matches('/').to_owned()
}

/// A path for the log, where no two may read alike: a byte that is not UTF-8 is `\xNN`, and a backslash is two.
fn logged(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text += &chunk.valid().replace('\\', "\\\\");
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
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
