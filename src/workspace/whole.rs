//! Brings back a directory of the guest's, within the bounds of one that is shared, and everything when the session ends.
//!
//! Files that the guest has made in a directory are written below the very directory that was named: a link in it, which
//! may lead to what was left out of the copy, is not followed.

use std::path::{Path, PathBuf};

use super::beneath::{self, Links, OpenError};
use super::collect::{By, NotWritten, lost};
use super::publish::Copy;
use super::tree::{self, Kind};
use super::{Key, Workspace, logged, words};
use crate::rpc::translate::{Refusal, Unsaved};

/// Files that were not saved and are said one by one.
const MOST_SAID: usize = 3;

impl Workspace {
    /// Everything, when the session ends; what cannot be saved is said.
    pub(super) fn finish(&mut self) {
        if !self.writes() {
            return;
        }
        let mut unsaved = Vec::new();
        let keys: Vec<Key> = self.copies.keys().chain(&self.trees).cloned().collect();
        let mut left = keys.len();
        for key in keys {
            if !self.is_stopped() {
                self.named(&key, By::Content, &mut unsaved);
            }
            if !self.is_stopped() {
                left -= 1;
            }
        }
        self.say(&unsaved);
        if left > 0 {
            let what = "what the package may have written last was not looked at, nor brought back";
            (self.voice)(&format!("npxc was told to end: of {left} files and directories {what}"));
        }
    }

    pub(super) fn say(&self, unsaved: &[Unsaved]) {
        for Unsaved { path, refusal } in unsaved.iter().take(MOST_SAID) {
            (self.voice)(&format!("{path} {}", refusal.reason));
        }
        let more = unsaved.len().saturating_sub(MOST_SAID);
        if more > 0 {
            (self.voice)(&format!("{more} more files of the package's were not written (npxc audit show)"));
        }
    }

    /// All files of a directory of the guest's.
    pub(super) fn whole(&mut self, key: &Key, by: By, unsaved: &mut Vec<Unsaved>) {
        let path = self.path_of(key);
        let opened = self.shelf.root(key.0).map_err(OpenError::from);
        let opened = opened.and_then(|root| beneath::open_directory(root, &key.1, Links::No));
        let found = match opened.and_then(|opened| Ok(tree::walk(&opened.fd, &|_| false)?)) {
            Ok(found) => found,
            Err(error) => return self.lose(&path, words::untaken(&error), unsaved),
        };
        let known = self.copies.get(key).map(|copy| copy.target.clone());
        let target = known.unwrap_or_else(|| self.real_directory(&key.1));
        if found.entries.is_empty() && !self.trees.contains(key) {
            match self.directory_for(key.0, &target) {
                Ok(_) => {}
                Err(NotWritten::Refused(refusal)) => self.lose(&path, refusal, unsaved),
                Err(NotWritten::System(error)) => self.lose(&path, words::unwritten(&error), unsaved),
            }
        }
        let mut is_cut = found.is_cut;
        let names = if is_cut {
            self.lose(&path, words::too_much(&path), unsaved);
            self.on_host_below(key)
        } else {
            let files = found.entries.into_iter().filter(|(_, kind)| *kind == Kind::File);
            files.map(|(name, _)| name).collect()
        };
        let before = self.growth.bytes();
        for name in names {
            if self.is_stopped() {
                return;
            }
            // The guest may make them larger while they are taken.
            if !is_cut && self.growth.bytes() - before > tree::MOST_BYTES {
                self.lose(&path, words::too_much(&path), unsaved);
                is_cut = true;
            }
            let inner = (key.0, key.1.join(&name));
            if is_cut && !self.is_on_host(&inner) {
                continue;
            }
            if !self.copies.contains_key(&inner) {
                if self.room().is_err() {
                    self.lose(&path, words::too_many_made(), unsaved);
                    return;
                }
                let copy = Copy::of_nothing(path.join(&name), target.join(&name));
                self.copies.insert(inner.clone(), copy);
            }
            self.one(&inner, by, unsaved);
        }
    }

    /// Whether the copy is of a file of the host's, and not only the guest's own.
    fn is_on_host(&self, key: &Key) -> bool {
        self.copies.get(key).is_some_and(|copy| copy.host.is_some())
    }

    /// Those in a directory, by their names in it.
    fn on_host_below(&self, (place, below): &Key) -> Vec<PathBuf> {
        let inside = self.copies.iter().filter(|((at, _), copy)| at == place && copy.host.is_some());
        let names = inside.filter_map(|((_, name), _)| name.strip_prefix(below).ok());
        names.filter(|name| *name != Path::new("")).map(Path::to_owned).collect()
    }

    /// The client's path of what a call named.
    pub(super) fn path_of(&self, key: &Key) -> PathBuf {
        let of_place = || Some(Path::new(self.shelf.directory_of(key.0)?).join(&key.1));
        let known = self.copies.get(key).map(|copy| copy.path.clone());
        known.or_else(of_place).unwrap_or_default()
    }

    fn lose(&mut self, path: &Path, refusal: Refusal, unsaved: &mut Vec<Unsaved>) {
        self.note(logged(path), &refusal, true);
        unsaved.push(lost(path, refusal));
    }
}

/// npxc is told to end.
pub(super) fn stopped() -> Refusal {
    let reason = "may not be written: npxc was told to end while it was brought back".to_owned();
    Refusal { code: "not-saved", reason, hint: None }
}
