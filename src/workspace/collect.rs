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
use super::whole::stopped;
use super::{Key, Workspace, guest_path, logged, words};
use crate::audit::{Collected, Event};
use crate::rpc::translate::{Refusal, Unsaved, Write};

/// Largest copy, bytes, that is compared at each reply: more takes longer than a call should.
const MOST_COMPARED: i64 = 16 << 20;

/// By what a copy is known to be as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// By its times, where they are old enough to tell.
    Times,
    /// By what is in it: what is written through a mapping may leave the times as they are.
    Content,
}

/// What becomes of a file of the guest's.
enum Fate {
    /// It is as it was shared, or as it was kept the last time.
    Same,
    /// It is on the host now, or was already; and how many bytes were written.
    Saved(Seen, Digest, u64),
    /// It is kept elsewhere: its bytes, why, and where.
    Kept(Digest, u64, Refusal),
}

impl Workspace {
    /// What a call named, when its reply is there.
    pub(super) fn bring_back(&mut self, written: &[Write]) -> Vec<Unsaved> {
        let mut unsaved = Vec::new();
        for write in written {
            let key = (write.place, PathBuf::from(&write.name));
            if !self.is_stopped() {
                self.named(&key, By::Times, &mut unsaved);
            }
            let rescued = |(place, name): &Key, _: &mut Unsaved| *place == key.0 && name.starts_with(&key.1);
            for (_, earlier) in self.unsaved.extract_if(rescued) {
                if !unsaved.contains(&earlier) {
                    unsaved.push(earlier);
                }
            }
            if self.is_stopped() {
                unsaved.push(lost(&self.path_of(&key), stopped()));
            }
        }
        unsaved
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

    /// What a call named. Of a directory's files, which may be many, and of large ones the times tell, unless `by` says more.
    pub(super) fn named(&mut self, key: &Key, by: By, unsaved: &mut Vec<Unsaved>) {
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

    /// One file.
    pub(super) fn one(&mut self, key: &Key, by: By, unsaved: &mut Vec<Unsaved>) {
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
            Err(error) => return Some(self.untaken(key, words::untaken(&error))),
        };
        let (seen, stamp) = (Seen::of(&opened.stat), Stamp::of(&opened.stat));
        if by == By::Times && copy.guest.is_some_and(|before| before.is_still(&stamp)) {
            return None;
        }
        let fate = match self.taken(key, copy, opened) {
            Ok(fate) => fate,
            Err(refusal) => return Some(self.untaken(key, refusal)),
        };
        let copy = self.copies.get_mut(key)?;
        copy.guest = Some(seen);
        match fate {
            Fate::Same => None,
            Fate::Saved(host, digest, bytes) => {
                self.growth.add(bytes.saturating_sub(copy.bytes));
                copy.bytes = copy.bytes.max(bytes);
                copy.host = Some((host, Some(digest)));
                None
            }
            // It is not kept again at every reply.
            Fate::Kept(digest, bytes, refusal) => {
                self.growth.add(bytes);
                copy.kept = Some(digest);
                Some(refusal)
            }
        }
    }

    /// What is kept elsewhere is on record as that; what is not taken is on record as refused.
    fn untaken(&mut self, key: &Key, refusal: Refusal) -> Refusal {
        self.note(logged(&self.path_of(key)), &refusal, true);
        refusal
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
        self.growth.admits(file.metadata().map_or(u64::MAX, |found| found.len()))?;
        let (kept, bytes) = self.in_attic(key, copy, file).map_err(|_| words::nowhere(&why))?;
        Ok(Fate::Kept(digest, bytes, words::kept(&why, &kept)))
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
                    // That the guest guesses what is in a file does not make it one that was shared.
                    let saved = Fate::Saved(Seen::of(&stat), digest, 0);
                    return Ok(if before.is_some() { saved } else { Fate::Same });
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
        let size = file.metadata()?.len();
        let grows = if as_shared.is_some() { size.saturating_sub(copy.bytes) } else { size };
        self.growth.admits(grows).map_err(NotWritten::Refused)?;
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
            return Ok(Fate::Saved(Seen::of(&stat), fresh.digest, fresh.bytes));
        }
        if how != Collected::Kept {
            self.record(key, &copy.path, fresh.bytes, Collected::Kept)?;
        }
        let beside = fresh.keep_beside(name)?;
        Ok(Fate::Kept(digest, fresh.bytes, why(&copy.path.with_file_name(beside))))
    }

    /// No record, no write.
    fn record(&self, key: &Key, path: &Path, bytes: u64, how: Collected) -> Result<(), NotWritten> {
        let event = Event::FileCollect { path: logged(path), guest: guest_path(key), bytes, how };
        self.recorder.record(event).map_err(|_| NotWritten::Refused(words::unrecorded_write()))
    }

    /// A directory of the scope's to write in, made if it has to be, and recorded before; no link is followed.
    pub(super) fn directory_for(&self, place: usize, below: &Path) -> Result<OpenedDirectory, NotWritten> {
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

    /// Where nothing can be written beside the file: npxc's own directory. Where it is then, and its bytes.
    fn in_attic(&self, key: &Key, copy: &Copy, file: &mut File) -> Result<(PathBuf, u64), NotWritten> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.attic)?;
        let directory = beneath::directory(&self.attic)?;
        let name = copy.target.file_name().unwrap_or(OsStr::new("file"));
        io::Seek::rewind(file)?;
        let site = Site { parent: &directory, path: Some(&self.attic), journal: &self.shelf.journal };
        let mut fresh = Fresh::write(site, file, MOST_OF_ONE, None)?;
        self.record(key, &copy.path, fresh.bytes, Collected::Kept)?;
        let name = fresh.keep_beside(name)?;
        Ok((fs::canonicalize(&self.attic)?.join(name), fresh.bytes))
    }
}

/// Why a file was not written where it belongs.
pub(super) enum NotWritten {
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

pub(super) fn lost(path: &Path, refusal: Refusal) -> Unsaved {
    Unsaved { path: path.display().to_string(), refusal }
}
