//! Brings what the guest has made of its copies to the host's files.
//!
//! Of the guest's side only regular files are taken, reached without following a link. On the host's side every
//! directory is reached from the scope's root without following a link, so what is written lies in the scope, wherever names lead
//! meanwhile. A file that is not as it was shared is not written over: both versions are kept.
//! What the guest deletes stays on the host.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, Stat, fstat, mkdirat};

use super::beneath::{self, Links, OpenError, Opened, OpenedDirectory};
use super::publish::{Copy, MOST_NAMES};
use super::replace::{Fresh, Site, Standing, may_write, standing};
use super::shelf::MOST_OF_ONE;
use super::stamp::{self, Digest, Seen, Stamp};
use super::tree::{self, Kind};
use super::{Key, Workspace, guest_path, logged, words};
use crate::audit::{Collected, Event};
use crate::rpc::translate::{Refusal, Unsaved, Write};

/// Files that were not saved and are said one by one.
const MOST_SAID: usize = 3;

/// Largest copy, bytes, that is compared at each reply: more takes longer than a call should.
const MOST_COMPARED: i64 = 16 << 20;

/// By what a copy is known to be as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// By its times, where they are old enough to tell.
    Times,
    /// By what is in it: what is written through a mapping may leave the times as they are.
    Content,
}

/// What becomes of a file of the guest's.
enum Fate {
    /// It is as it was shared, or as it was kept the last time.
    Same,
    /// It is on the host now, or was already.
    Saved(Seen, Digest),
    /// It is kept elsewhere: why, and where.
    Kept(Digest, Refusal),
}

impl Workspace {
    /// What a call named, when its reply is there.
    pub(super) fn bring_back(&mut self, written: &[Write]) -> Vec<Unsaved> {
        let mut unsaved = Vec::new();
        for write in written {
            let key = (write.place, PathBuf::from(&write.name));
            self.named(&key, By::Times, &mut unsaved);
            let rescued = |(place, name): &Key, _: &mut Unsaved| *place == key.0 && name.starts_with(&key.1);
            for (_, earlier) in self.unsaved.extract_if(rescued) {
                if !unsaved.contains(&earlier) {
                    unsaved.push(earlier);
                }
            }
        }
        unsaved
    }

    /// Everything, when the session ends; what cannot be saved is said.
    pub(super) fn finish(&mut self) {
        if !self.writes() {
            return;
        }
        let mut unsaved = Vec::new();
        let keys: Vec<Key> = self.copies.keys().chain(&self.trees).cloned().collect();
        for key in keys {
            self.named(&key, By::Content, &mut unsaved);
        }
        self.say(&unsaved);
    }

    /// What would be lost when a copy is made anew. A call that waits may have written it, or one that was answered, so it
    /// is said, and kept for the reply of whichever call names it next.
    pub(super) fn rescue(&mut self, key: &Key) {
        if self.writes() && self.copies.contains_key(key) {
            let told = self.copies.get(key).and_then(|copy| copy.told.clone());
            let mut unsaved = Vec::new();
            self.one(key, By::Content, &mut unsaved);
            self.say(&unsaved);
            // What a reply has told already is not told again.
            unsaved.retain(|unsaved| told.as_ref() != Some(&unsaved.refusal));
            if self.unsaved.len() < MOST_NAMES {
                self.unsaved.extend(unsaved.pop().map(|unsaved| (key.clone(), unsaved)));
            }
        }
    }

    fn say(&self, unsaved: &[Unsaved]) {
        for Unsaved { path, refusal } in unsaved.iter().take(MOST_SAID) {
            (self.voice)(&format!("{path} {}", refusal.reason));
        }
        let more = unsaved.len().saturating_sub(MOST_SAID);
        if more > 0 {
            (self.voice)(&format!("{more} more files of the package's were not written (npxc audit show)"));
        }
    }

    /// What a call named. Of a directory's files, which may be many, and of large ones the times tell, unless `by` says more.
    fn named(&mut self, key: &Key, by: By, unsaved: &mut Vec<Unsaved>) {
        let is_tree = self.trees.contains(key);
        let opened = self.shelf.open(key.0, &key.1);
        let is_large = opened.as_ref().is_ok_and(|opened| opened.stat.st_size > MOST_COMPARED);
        match opened {
            Err(OpenError::Directory)
                if is_tree || self.copies.get(key).is_some_and(|c| c.host.is_none()) =>
            {
                self.whole(key, by, unsaved);
            }
            _ if is_tree => {}
            _ => self.one(key, if is_large { by } else { By::Content }, unsaved),
        }
    }

    /// All files of a directory of the guest's.
    fn whole(&mut self, key: &Key, by: By, unsaved: &mut Vec<Unsaved>) {
        let path = self.copies.get(key).map_or_else(|| self.scope_path(key), |copy| copy.path.clone());
        let opened = self.shelf.root(key.0).map_err(OpenError::from);
        let opened = opened.and_then(|root| beneath::open_directory(root, &key.1, Links::No));
        let found = opened.and_then(|opened| Ok(tree::walk(&opened.fd, &|_| false)?));
        let found = match found {
            Ok(found) => found,
            Err(error) => return unsaved.push(lost(&path, words::untaken(&error))),
        };
        if found.is_cut {
            unsaved.push(lost(&path, words::too_much(&path)));
        }
        if found.entries.is_empty() && !self.trees.contains(key) {
            let target = self.copies.get(key).map(|copy| copy.target.clone());
            match self.directory_for(key.0, &target.unwrap_or_else(|| key.1.clone())) {
                Ok(_) => {}
                Err(NotWritten::Refused(refusal)) => unsaved.push(lost(&path, refusal)),
                Err(NotWritten::System(error)) => unsaved.push(lost(&path, words::unwritten(&error))),
            }
        }
        for (name, kind) in found.entries {
            if kind != Kind::File {
                continue;
            }
            let inner = (key.0, key.1.join(&name));
            if !self.copies.contains_key(&inner) {
                if self.room().is_err() {
                    unsaved.push(lost(&path, words::too_many_made()));
                    break;
                }
                let target = self.target_of(&inner.1);
                let copy = Copy::of_nothing(path.join(&name), target);
                self.copies.insert(inner.clone(), copy);
            }
            self.one(&inner, by, unsaved);
        }
    }

    /// The client's path of a directory that was named.
    fn scope_path(&self, key: &Key) -> PathBuf {
        self.shelf
            .directory_of(key.0)
            .map_or_else(PathBuf::new, |directory| Path::new(directory).join(&key.1))
    }

    /// One file.
    fn one(&mut self, key: &Key, by: By, unsaved: &mut Vec<Unsaved>) {
        let Some(refusal) = self.brought(key, by) else { return };
        let Some(copy) = self.copies.get_mut(key) else { return };
        copy.told = Some(refusal.clone());
        unsaved.push(lost(&copy.path, refusal));
    }

    /// Brings a file to the host, if there is anything to bring; why it could not be.
    fn brought(&mut self, key: &Key, by: By) -> Option<Refusal> {
        let copy = self.copies.get(key)?;
        let opened = match self.shelf.open(key.0, &key.1) {
            Ok(opened) => opened,
            // Not made, or taken away: the host's file stays.
            Err(error) if error.is_missing() => return None,
            Err(error) => return Some(words::untaken(&error)),
        };
        let (seen, stamp) = (Seen::of(&opened.stat), Stamp::of(&opened.stat));
        if by == By::Times && copy.guest.is_some_and(|before| before.is_still(&stamp)) {
            return None;
        }
        let fate = match self.taken(key, copy, opened) {
            Ok(fate) => fate,
            Err(refusal) => return Some(refusal),
        };
        let copy = self.copies.get_mut(key)?;
        copy.guest = Some(seen);
        match fate {
            Fate::Same => None,
            Fate::Saved(host, digest) => {
                copy.host = Some((host, Some(digest)));
                None
            }
            // It is not kept again at every reply.
            Fate::Kept(digest, refusal) => {
                copy.kept = Some(digest);
                Some(refusal)
            }
        }
    }

    /// Takes a file of the guest's.
    fn taken(&self, key: &Key, copy: &Copy, mut opened: Opened) -> Result<Fate, Refusal> {
        if is_linked(&opened.stat) {
            return Err(words::linked());
        }
        if u64::try_from(opened.stat.st_size).unwrap_or(u64::MAX) > MOST_OF_ONE {
            return Err(words::too_large());
        }
        let digest =
            stamp::digest(&opened.file, MOST_OF_ONE).map_err(|error| words::unwritten(&error.into()))?;
        let before = copy.host.as_ref().and_then(|(_, before)| *before);
        if [before, copy.kept].contains(&Some(digest)) {
            return Ok(Fate::Same);
        }
        self.save(key, copy, &mut opened.file, digest)
    }

    /// Writes it to the host, or keeps it elsewhere.
    fn save(&self, key: &Key, copy: &Copy, file: &mut File, digest: Digest) -> Result<Fate, Refusal> {
        let written = self.in_place(key, copy, file, digest);
        let error = match written {
            Ok(fate) => return Ok(fate),
            Err(NotWritten::Refused(refusal)) => return Err(refusal),
            Err(NotWritten::System(error)) => error,
        };
        let why = words::unwritten(&error);
        let kept = self.in_attic(key, copy, file).map_err(|_| words::nowhere(&why))?;
        Ok(Fate::Kept(digest, words::kept(&why, &kept)))
    }

    fn in_place(&self, key: &Key, copy: &Copy, file: &mut File, digest: Digest) -> Result<Fate, NotWritten> {
        let name = copy.target.file_name().ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let parent = self.directory_for(key.0, copy.target.parent().unwrap_or(Path::new("")))?;
        if self.scope.is_own(parent.path.as_deref()) {
            return Err(NotWritten::Refused(words::own()));
        }
        let site = Site { parent: &parent.fd, path: parent.path.as_deref(), journal: &self.shelf.journal };
        let parent = &parent.fd;
        let mut why: fn(&Path) -> Refusal = words::conflict;
        let as_shared = match (standing(parent, name)?, &copy.host) {
            (Standing::Nothing, None) => Some(None),
            (Standing::File(there, stat), before) => {
                let stamp = Stamp::of(&stat);
                let still = before.as_ref().is_some_and(|(seen, _)| seen.is_still(&stamp));
                let content = if still { None } else { Some(stamp::digest(&there, MOST_OF_ONE)?) };
                if content == Some(digest) {
                    return Ok(Fate::Saved(Seen::of(&stat), digest));
                }
                let same = still || before.as_ref().is_some_and(|(_, before)| *before == content);
                if same && is_linked(&stat) {
                    why = words::shared_names;
                }
                (same && !is_linked(&stat)).then_some(Some((there, stat)))
            }
            (Standing::Nothing | Standing::Other, _) => None,
        };
        if let Some(Some(_)) = as_shared
            && !may_write(parent, name)
        {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
        }
        io::Seek::rewind(file)?;
        let like = as_shared.as_ref().and_then(Option::as_ref).map(|(file, stat)| (file, stat));
        let mut fresh = Fresh::write(site, file, MOST_OF_ONE, like)?;
        let how = match &as_shared {
            None => Collected::Kept,
            Some(None) => Collected::New,
            Some(Some(_)) => Collected::Changed,
        };
        self.record(key, &copy.path, fresh.bytes, how)?;
        let placed = match &as_shared {
            None => false,
            Some(None) => fresh.place_new(name)?,
            Some(Some((_, stat))) => fresh.place_over(name, stat)?,
        };
        if placed {
            let stat = fresh.is_now(name)?;
            return Ok(Fate::Saved(Seen::of(&stat), fresh.digest));
        }
        if how != Collected::Kept {
            self.record(key, &copy.path, fresh.bytes, Collected::Kept)?;
        }
        let beside = fresh.keep_beside(name)?;
        Ok(Fate::Kept(digest, why(&copy.path.with_file_name(beside))))
    }

    /// No record, no write.
    fn record(&self, key: &Key, path: &Path, bytes: u64, how: Collected) -> Result<(), NotWritten> {
        let event = Event::FileCollect { path: logged(path), guest: guest_path(key), bytes, how };
        self.recorder.record(event).map_err(|_| NotWritten::Refused(words::unrecorded_write()))
    }

    /// A directory of the scope's to write in, made if it has to be, and recorded before; no link is followed.
    fn directory_for(&self, place: usize, below: &Path) -> Result<OpenedDirectory, NotWritten> {
        let root = self.scope.root()?;
        let mut at = PathBuf::new();
        for part in below.components() {
            let Component::Normal(name) = part else { return Err(OpenError::Leaves.into()) };
            let parent = beneath::open_directory(root, &at, Links::No)?;
            at.push(name);
            match beneath::open_directory(root, &at, Links::No) {
                Ok(_) => continue,
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
            if self.scope.is_own(parent.path.as_deref()) {
                return Err(OpenError::Leaves.into());
            }
            // With a slash, as a directory.
            let made = self.scope.cwd().join(&at).join("");
            self.record(&(place, at.clone()), &made, 0, Collected::New)?;
            match mkdirat(&parent.fd, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(beneath::open_directory(root, below, Links::No)?)
    }

    /// Where nothing can be written beside the file: npxc's own directory.
    fn in_attic(&self, key: &Key, copy: &Copy, file: &mut File) -> Result<PathBuf, NotWritten> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.attic)?;
        let directory = beneath::directory(&self.attic)?;
        let name = copy.target.file_name().unwrap_or(OsStr::new("file"));
        io::Seek::rewind(file)?;
        let site = Site { parent: &directory, path: Some(&self.attic), journal: &self.shelf.journal };
        let mut fresh = Fresh::write(site, file, MOST_OF_ONE, None)?;
        self.record(key, &copy.path, fresh.bytes, Collected::Kept)?;
        let name = fresh.keep_beside(name)?;
        Ok(fs::canonicalize(&self.attic)?.join(name))
    }
}

/// Why a file was not written where it belongs.
enum NotWritten {
    /// It must not be, and nothing is kept.
    Refused(Refusal),
    /// It cannot be.
    System(OpenError),
}

impl From<OpenError> for NotWritten {
    fn from(error: OpenError) -> Self {
        Self::System(error)
    }
}

impl From<io::Error> for NotWritten {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

impl Fresh<'_> {
    /// What has the name now.
    fn is_now(&self, name: &OsStr) -> io::Result<Stat> {
        match standing(self.directory(), name)? {
            Standing::File(file, _) => Ok(fstat(&file)?),
            Standing::Nothing | Standing::Other => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Whether a file has more names than one.
fn is_linked(stat: &Stat) -> bool {
    stat.st_nlink != 1
}

fn lost(path: &Path, refusal: Refusal) -> Unsaved {
    Unsaved { path: path.display().to_string(), refusal }
}
