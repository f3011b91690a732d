//! Copies what a call names to where the guest sees it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::beneath::{self, Links, OpenError, Opened};
use super::shelf::MOST_OF_ONE;
use super::stamp::{self, Digest, Seen, Stamp};
use super::tree::{self, Kind};
use super::{Key, Word, Workspace, guest_path, logged, words};
use crate::audit::Event;
use crate::rpc::translate::{Answer, Refusal};

/// Names that are remembered, those of files that are still to be made included.
pub(super) const MOST_NAMES: usize = 8192;

/// Why a link of a directory is left out.
const LEADS_OUT: &str = "is a link that leads out of the directory";

/// What is known of a copy.
#[derive(Debug)]
pub(super) struct Copy {
    /// The client's path.
    pub(super) path: PathBuf,
    /// Where the file really is, below the scope's root: where it is written.
    pub(super) target: PathBuf,
    /// The host's file as it was copied, or written; none where there was none.
    pub(super) host: Option<(Seen, Option<Digest>)>,
    /// The copy when it was as that.
    pub(super) guest: Option<Seen>,
    /// What was kept elsewhere the last time.
    pub(super) kept: Option<Digest>,
    /// Why it could not be saved the last time.
    pub(super) told: Option<Refusal>,
}

impl Copy {
    /// Of a file that is still to be made.
    pub(super) fn of_nothing(path: PathBuf, target: PathBuf) -> Self {
        Self { path, target, host: None, guest: None, kept: None, told: None }
    }
}

impl Workspace {
    /// Shares what is `below` the scope's root, which the client calls `directory`.
    pub(super) fn shared(
        &mut self,
        directory: &Path,
        below: &Path,
        path: &Path,
        word: Word,
    ) -> Result<Answer, Refusal> {
        let (Some(directory), Some(name)) = (directory.to_str(), below.to_str()) else {
            return Err(words::not_text());
        };
        let opened = match self.scope.open(below) {
            Err(error) if error.is_missing() => {
                let may = self.writes() && (word.sure || !word.relative);
                if !(may && self.may_be_made(below, word.sure)?) {
                    let leaves = !word.sure || (word.relative && !word.makes);
                    return if leaves {
                        Ok(Answer::Leave)
                    } else {
                        Err(words::unopened(&error, path, self.writes()))
                    };
                }
                None
            }
            Err(OpenError::Directory) => None,
            Err(error) => return Err(words::unopened(&error, path, self.writes())),
            Ok(opened) => Some(opened),
        };
        let place = self.shelf.place(directory).map_err(|error| words::unkept(&error.into()))?;
        let key = (place, below.to_owned());
        match opened {
            Some(opened) => self.file(&key, path, opened)?,
            None => match self.scope.open_directory(below) {
                // The server asked for it: nothing is copied for its question.
                Ok(_) if word.root => return Err(words::root(path)),
                Ok(_) => self.tree(&key, path)?,
                Err(error) if error.is_missing() => self.nothing(&key, path)?,
                Err(error) => return Err(words::unopened(&error, path, self.writes())),
            },
        }
        Ok(Answer::Shared {
            place,
            directory: directory.to_owned(),
            name: name.to_owned(),
            writable: self.writes(),
        })
    }

    /// Whether a file may be made at a path where nothing is: in a directory that is there, or, when it is surely a path, in
    /// one that is to be made as well.
    fn may_be_made(&self, below: &Path, sure: bool) -> Result<bool, Refusal> {
        for (steps, parent) in below.ancestors().skip(1).enumerate() {
            match self.scope.open_directory(parent) {
                Ok(opened) if self.scope.is_own(opened.path.as_deref()) => return Err(words::own()),
                Ok(_) => return Ok(sure || steps == 0),
                Err(error) if error.is_missing() => {}
                // A file, or a link that leads out.
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// A file, as it is now.
    pub(super) fn file(&mut self, key: &Key, path: &Path, opened: Opened) -> Result<(), Refusal> {
        if self.scope.is_own(opened.path.as_deref()) {
            return Err(words::own());
        }
        let (seen, stamp) = (Seen::of(&opened.stat), Stamp::of(&opened.stat));
        let known = self.copies.get(key).and_then(|copy| copy.host);
        if let Some((before, digest)) = known.filter(|(before, _)| before.is(&stamp))
            && self.is_in_place(key)
        {
            if before.is_still(&stamp) {
                return Ok(());
            }
            // It may have changed within one tick of the file system's clock.
            if self.is_as_copied(key, &opened.file, digest)
                && let Some(copy) = self.copies.get_mut(key)
            {
                copy.host = Some((seen, digest));
                return Ok(());
            }
        }
        let target = opened.path.as_deref().and_then(|path| self.scope.below_root(path));
        let target = target.unwrap_or_else(|| key.1.clone());
        self.rescue(key);
        self.room()?;
        let Self { shelf, recorder, .. } = self;
        let record = |bytes| {
            let (path, guest) = (logged(path), guest_path(key));
            recorder.record(Event::FilePublish { path, guest, bytes })
        };
        let put = shelf.put(key.0, &key.1, opened, record).map_err(|error| words::unkept(&error))?;
        let copy = Copy {
            path: path.to_owned(),
            target,
            host: Some((seen, put.digest)),
            guest: put.seen,
            kept: None,
            told: None,
        };
        self.copies.insert(key.clone(), copy);
        Ok(())
    }

    /// The guest cannot change a copy that it can only read.
    fn is_in_place(&self, key: &Key) -> bool {
        !self.writes() || self.shelf.has(key.0, &key.1)
    }

    /// Whether a file's content is what was copied. Where the guest cannot write, no digest is taken when a file is copied,
    /// and the copy itself tells.
    fn is_as_copied(&self, key: &Key, file: &File, before: Option<Digest>) -> bool {
        let of_copy = || {
            let opened = self.shelf.open(key.0, &key.1).ok().filter(|_| !self.writes())?;
            stamp::digest(&opened.file, MOST_OF_ONE).ok()
        };
        let copied = before.or_else(of_copy);
        copied.is_some() && copied == stamp::digest(file, MOST_OF_ONE).ok()
    }

    /// A path at which nothing is: the guest may make a file or a directory there.
    fn nothing(&mut self, key: &Key, path: &Path) -> Result<(), Refusal> {
        if self.copies.get(key).is_some_and(|copy| copy.host.is_none()) {
            return self.directories_of(key);
        }
        // The host's file is gone.
        self.rescue(key);
        self.shelf.remove(key.0, &key.1);
        self.room()?;
        let copy = Copy::of_nothing(path.to_owned(), self.target_of(&key.1));
        self.copies.insert(key.clone(), copy);
        self.directories_of(key)
    }

    /// The directories that are there on the host are there for the guest as well.
    fn directories_of(&self, (place, below): &Key) -> Result<(), Refusal> {
        let there = below.ancestors().skip(1).find(|parent| self.scope.open_directory(parent).is_ok());
        let made = self.shelf.make_directories(*place, there.unwrap_or(Path::new("")));
        made.map(drop).map_err(|error| words::unkept(&error.into()))
    }

    /// Where a file that is still to be made will really be.
    pub(super) fn target_of(&self, below: &Path) -> PathBuf {
        let real = below.ancestors().skip(1).find_map(|parent| {
            let opened = self.scope.open_directory(parent).ok()?;
            let real = self.scope.below_root(opened.path.as_deref()?)?;
            Some(real.join(below.strip_prefix(parent).ok()?))
        });
        real.unwrap_or_else(|| below.to_owned())
    }

    /// A directory with all that is in it, within bounds.
    fn tree(&mut self, key: &Key, path: &Path) -> Result<(), Refusal> {
        let opened = self
            .scope
            .open_directory(&key.1)
            .map_err(|error| words::unopened(&error, path, self.writes()))?;
        if self.scope.is_own(opened.path.as_deref()) {
            return Err(words::own());
        }
        let found = tree::walk(&opened.fd, &|path| self.scope.is_own(path))
            .map_err(|error| words::unopened(&error.into(), path, self.writes()))?;
        if found.is_cut {
            return Err(words::too_wide(path));
        }
        let first = self.trees.insert(key.clone());
        let mut left = found.left;
        let (mut files, mut others) = (HashSet::new(), HashMap::new());
        for (name, kind) in &found.entries {
            match kind {
                Kind::File => drop(files.insert(key.1.join(name))),
                Kind::Directory => drop(others.insert(key.1.join(name), None)),
                Kind::Link(target) => drop(others.insert(key.1.join(name), Some(target.clone()))),
            }
        }
        // First, since a directory may stand where a file stood.
        self.forget(key, &files, &others);
        let system = |error: std::io::Error| words::unkept(&error.into());
        self.shelf.make_directories(key.0, &key.1).map_err(system)?;
        for (name, kind) in found.entries {
            let inner = (key.0, key.1.join(&name));
            match kind {
                Kind::Directory => {
                    self.remember(inner.clone(), None)?;
                    self.shelf.make_directories(inner.0, &inner.1).map_err(system)?;
                }
                Kind::Link(target) => {
                    // Where its text leads, not the name: that may be another thing by now.
                    let leads_to = name.parent().unwrap_or(Path::new("")).join(&target);
                    if beneath::leads_inside(&opened.fd, &leads_to) {
                        self.remember(inner.clone(), Some(target.clone()))?;
                        self.shelf.link(inner.0, &inner.1, &target).map_err(system)?;
                    } else {
                        left.push((name, LEADS_OUT));
                    }
                }
                Kind::File => match beneath::open_file(&opened.fd, &name, Links::No) {
                    Ok(file) => self.file(&inner, &path.join(&name), file)?,
                    Err(error) if error.is_missing() => {}
                    Err(_) => left.push((name, "cannot be read")),
                },
            }
        }
        if first {
            self.say_left(path, &left);
        }
        Ok(())
    }

    /// A directory or link of a tree that the guest is given.
    fn remember(&mut self, key: Key, link: Option<PathBuf>) -> Result<(), Refusal> {
        if !self.others.contains_key(&key) {
            self.room()?;
        }
        self.others.insert(key, link);
        Ok(())
    }

    /// What is gone on the host is gone for the guest; directories in which the guest has something of its own stay.
    fn forget(
        &mut self,
        (place, below): &Key,
        files: &HashSet<PathBuf>,
        others: &HashMap<PathBuf, Option<PathBuf>>,
    ) {
        let gone: Vec<Key> = self
            .copies
            .iter()
            .filter(|((at, name), copy)| {
                at == place && name.starts_with(below) && copy.host.is_some() && !files.contains(name)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.rescue(&key);
            self.shelf.remove(key.0, &key.1);
            self.copies.remove(&key);
        }
        let is_gone = |(at, name): &Key, link: &Option<PathBuf>| {
            at == place && name != below && name.starts_with(below) && others.get(name) != Some(link)
        };
        let mut gone: Vec<(Key, Option<PathBuf>)> =
            self.others.extract_if(|key, link| is_gone(key, link)).collect();
        // What is in a directory before the directory itself.
        gone.sort_by(|(one, _), (other, _)| other.cmp(one));
        for ((place, name), link) in gone {
            match link {
                Some(_) => self.shelf.unlink(place, &name),
                None => self.shelf.remove_directory(place, &name),
            }
        }
    }

    fn say_left(&self, path: &Path, left: &[(PathBuf, &'static str)]) {
        for (name, reason) in left {
            let path = logged(&path.join(name));
            // It grants nothing: what is left out needs no line to be left out.
            let _ = self.recorder.record(Event::FileLeave { path, reason: (*reason).to_owned() });
        }
        // A link that leads out is refused, with its reason, when a call names it.
        let left: Vec<_> = left.iter().filter(|(_, reason)| *reason != LEADS_OUT).collect();
        if let Some((name, reason)) = left.first() {
            let more = match left.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more (npxc audit show)"),
            };
            let first = path.join(name);
            (self.voice)(&format!("left out of what is shared: {} {reason}{more}", first.display()));
        }
    }

    /// Whether one more name can be remembered.
    pub(super) fn room(&self) -> Result<(), Refusal> {
        if self.copies.len() + self.others.len() < MOST_NAMES { Ok(()) } else { Err(words::too_many_names()) }
    }
}
