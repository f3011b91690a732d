//! Puts a new content in a file's place on the host: written beside it, then renamed over it.
//!
//! Nothing here follows a link, and nothing is written outside of the directory that is held open. What the rename takes
//! away is looked at once more: when it is not what was expected, it is put back. A file system that cannot exchange two
//! names leaves a window: there the name is looked at right before a plain rename, and what another program puts there
//! between the two is lost. Contents are on the disk before they get their name: a power cut leaves the old file or the
//! new one, whole.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, accessat, fchmod, fchown, fstat,
    openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::attributes;
use super::journal::{self, Journal};
use super::stamp::{self, Digest, Stamp};

/// Names that are tried for a version that is kept beside a file.
const MOST_KEPT: usize = 100;

/// What stands where a file is to be written.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// A regular file.
    File(File, Stat),
    /// A directory, a link, a FIFO, a device.
    Other,
}

/// Looks at a name without following a link.
pub(super) fn standing(parent: &OwnedFd, name: &OsStr) -> io::Result<Standing> {
    let found = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Standing::Nothing),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Ok(Standing::Other);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File = match openat(parent, name, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(Errno::LOOP | Errno::NOENT) => return Ok(Standing::Other),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(if regular { Standing::File(file, stat) } else { Standing::Other })
}

/// Where files are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    /// The directory.
    pub(super) parent: &'a OwnedFd,
    /// Where it really is, if that is known.
    pub(super) path: Option<&'a Path>,
    pub(super) journal: &'a Journal,
}

/// A file beside another one, which goes when it was not put in place.
#[derive(Debug)]
pub(super) struct Fresh<'a> {
    parent: &'a OwnedFd,
    journal: &'a Journal,
    path: Option<PathBuf>,
    name: OsString,
    /// What was written.
    pub(super) bytes: u64,
    /// Its digest.
    pub(super) digest: Digest,
    stat: Stat,
    /// What has its name now is not to be removed.
    placed: bool,
}

/// What has a name, a link itself included.
type Look = fn(&OwnedFd, &OsStr) -> rustix::io::Result<Stat>;

fn look(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<Stat> {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

impl<'a> Fresh<'a> {
    /// Copies `from`, at most `most` bytes, to a new file. It has the mode of `like`, without setuid and its kin, its
    /// attributes, and its owner, as far as npxc may give that; or, if there is none, those of any new file.
    pub(super) fn write(
        site: Site<'a>,
        from: &mut File,
        most: u64,
        like: Option<(&File, &Stat)>,
    ) -> io::Result<Self> {
        let Site { parent, journal, path } = site;
        let name = OsString::from(format!("{}{}", journal::PREFIX, uuid::Uuid::new_v4().simple()));
        let path = path.map(|path| path.join(&name));
        if let Some(path) = &path {
            journal.note(path, &[]);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if like.is_some() { 0o600 } else { 0o666 };
        let mut file: File = openat(parent, &name, flags, Mode::from_raw_mode(mode))?.into();
        // From here on it is removed, whatever happens.
        let stat = fstat(&file)?;
        let digest = Digest::default();
        let mut fresh = Self { parent, journal, path, name, bytes: 0, digest, stat, placed: false };
        (fresh.bytes, fresh.digest) = stamp::copy(from, &mut file, most)?;
        if let Some((old, like)) = like {
            let mut mode = like.st_mode & 0o777;
            if (fresh.stat.st_uid, fresh.stat.st_gid) != (like.st_uid, like.st_gid) {
                // Only root may give files away; for anybody else the file is their own now, and of its group if that is one
                // of theirs.
                let (user, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
                let given =
                    fchown(&file, Some(user), Some(group)).or_else(|_| fchown(&file, None, Some(group)));
                if given.is_err() && fresh.stat.st_gid != like.st_gid {
                    // Another group is not to have what this one had.
                    mode &= !0o070;
                }
            }
            attributes::carry(old, &file)?;
            // Last: it bounds what the list of others gives.
            fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        file.sync_all()?;
        fresh.stat = fstat(&file)?;
        Ok(fresh)
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &OwnedFd {
        self.parent
    }

    /// Gives it a name that nothing has; whether it got it.
    pub(super) fn place_new(&mut self, name: &OsStr) -> io::Result<bool> {
        match renameat_with(self.parent, &self.name, self.parent, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.placed = true;
                self.sync_names();
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.place_by_link(name),
            Err(error) => Err(error.into()),
        }
    }

    /// The same where the file system knows no rename that replaces nothing. The name beside goes when this is dropped.
    fn place_by_link(&self, name: &OsStr) -> io::Result<bool> {
        match rustix::fs::linkat(self.parent, &self.name, self.parent, name, AtFlags::empty()) {
            Ok(()) => {
                self.sync_names();
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Has the directory written to the disk. Where that fails the file has its name all the same, and a power cut may give
    /// the old one back, whole.
    fn sync_names(&self) {
        let _ = rustix::fs::fsync(self.parent);
    }

    /// Takes the place of the file `of`; whether it did, and nothing else was there.
    pub(super) fn place_over(&mut self, name: &OsStr, of: &Stat) -> io::Result<bool> {
        match self.begin_over(name, of) {
            Ok(()) => self.recognise(name, of, look),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.rename_over(name, of),
            Err(error) => Err(error.into()),
        }
    }

    /// The first half of it: what is beside then is npxc's own, or `of`, or another program's, which stays.
    pub(super) fn begin_over(&mut self, name: &OsStr, of: &Stat) -> rustix::io::Result<()> {
        if let Some(path) = &self.path {
            self.journal.note(path, &[&self.stat, of]);
        }
        self.exchange(name)
    }

    /// Changes places with `name`. What is beside then may be anybody's: it stays until it is recognised.
    fn exchange(&mut self, name: &OsStr) -> rustix::io::Result<()> {
        renameat_with(self.parent, &self.name, self.parent, name, RenameFlags::EXCHANGE)?;
        self.placed = true;
        Ok(())
    }

    /// After an exchange: whether what it took away was `of`, which goes. Anything else goes back to where it was.
    fn recognise(&mut self, name: &OsStr, of: &Stat, look: Look) -> io::Result<bool> {
        let out = look(self.parent, &self.name);
        if out.is_ok_and(|out| Stamp::of(&out).is_moved(&Stamp::of(of))) {
            self.sync_names();
            // The old one; `drop` removes it.
            self.placed = false;
            return Ok(true);
        }
        self.exchange(name).map_err(|error| {
            let there = self.name.display();
            io::Error::other(format!("{error}; what was there before is beside it now, as {there}"))
        })?;
        let back = look(self.parent, &self.name)?;
        // Unless it is npxc's own again, it is a third one, and stays.
        self.placed = !Stamp::of(&back).is_moved(&Stamp::of(&self.stat));
        if self.placed {
            return Err(io::Error::other("other programs change it at the same time"));
        }
        Ok(false)
    }

    /// The same where the file system cannot exchange names: what comes to have the name after the look is lost.
    fn rename_over(&mut self, name: &OsStr, of: &Stat) -> io::Result<bool> {
        let there = match look(self.parent, name) {
            Ok(there) => there,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !Stamp::of(&there).is_moved(&Stamp::of(of)) {
            return Ok(false);
        }
        renameat(self.parent, &self.name, self.parent, name)?;
        self.placed = true;
        self.sync_names();
        Ok(true)
    }

    /// Stays beside `name` under a name of its own; returns that.
    pub(super) fn keep_beside(&mut self, name: &OsStr) -> io::Result<OsString> {
        for number in 1..=MOST_KEPT {
            let mut beside = name.to_owned();
            beside.push(format!(".npxc-{number}"));
            if self.place_new(&beside)? {
                return Ok(beside);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = unlinkat(self.parent, &self.name, AtFlags::empty());
        }
    }
}

/// Whether the user may write to the file.
pub(super) fn may_write(parent: &OwnedFd, name: &OsStr) -> bool {
    accessat(parent, Path::new(name), Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
