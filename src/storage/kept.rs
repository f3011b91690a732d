//! What lasts of one package: `/data`, and what it writes into its own folder.
//!
//! Below the package's place:
//! - `data/`: what the guest has as `/data`. Sessions at the same time share it.
//! - `folder/upper`, `folder/work`: the layer over its own folder. It belongs to the package, not to a version, and one
//!   session at a time has it: the file `lock`.
//! - `over`: the installed folder that the layer was last mounted over ([`stamp`]).
//! - `replaced/`: what [`rebase`] moved away.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::{lock_file, open_directory, private, stamp};

/// Deepest nesting that is looked at: nothing that npm installs is nested deeper, and an open directory is held for each.
const MOST_DEPTH: usize = 128;
/// The kernel's note that a directory hides the one below it.
#[cfg(target_os = "linux")]
const OPAQUE: &str = "user.overlay.opaque";

/// What the guest has as `/data`, below the package's place.
pub(super) const DATA: &str = "data";

/// A package's place.
#[derive(Debug)]
pub(super) struct Kept {
    place: PathBuf,
    /// The lock on the layer; without it another session has the layer.
    folder: Option<File>,
}

impl Kept {
    /// Makes what is missing at `place`. The layer is over `folder`, if over anything.
    pub(super) fn open(
        place: &Path,
        folder: Option<&Path>,
        owner: Option<(u32, u32)>,
        warnings: &mut Vec<String>,
    ) -> io::Result<Self> {
        private(&place.join(DATA))?;
        give(&open_directory(&place.join(DATA))?, owner)?;
        let mut kept = Self { place: place.to_owned(), folder: None };
        let Some(folder) = folder else { return Ok(kept) };
        for name in ["upper", "work"] {
            private(&place.join("folder").join(name))?;
        }
        let lock = lock_file(place.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => match kept.follow(folder) {
                Ok(None) => kept.folder = Some(lock),
                Ok(Some(said)) => {
                    warnings.push(said);
                    kept.folder = Some(lock);
                }
                Err(error) => warnings.push(format!(
                    "what the package writes into its own folder is not kept this time: what it kept there before \
                     cannot be put over the version that is installed now: {error}"
                )),
            },
            Err(Errno::WOULDBLOCK) => warnings.push(
                "another session of this package is running and keeps what it writes into its own folder; of this \
                 one only /data lasts"
                    .into(),
            ),
            Err(error) => return Err(error.into()),
        }
        Ok(kept)
    }

    /// What the guest has as `/data`.
    pub(super) fn data(&self) -> PathBuf {
        self.place.join(DATA)
    }

    /// Where the layer is kept, if this session has it.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|_| self.place.join("folder"))
    }

    /// Makes the layer one over `folder`; says what that took.
    fn follow(&self, folder: &Path) -> io::Result<Option<String>> {
        let (now, note) = (stamp(folder)?, self.place.join("over"));
        let before = match fs::read(&note) {
            Ok(before) => before,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        if before == now.as_bytes() {
            return Ok(None);
        }
        let aside = self.place.join("replaced").join(&now);
        let moved = rebase(&self.place.join("folder/upper"), folder, &aside)?;
        fs::write(&note, now)?;
        Ok((moved > 0).then(|| {
            let what = if moved == 1 { "1 file".to_owned() } else { format!("{moved} files") };
            format!(
                "{what} of the package's that it had changed come from the version that is installed now; the changed \
                 ones are in {}",
                aside.display()
            )
        }))
    }
}

/// Makes an open directory `owner`'s, or npxc's user's.
fn give(directory: &File, owner: Option<(u32, u32)>) -> io::Result<()> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (user, group) = owner.unwrap_or(own);
    let stat = rustix::fs::fstat(directory)?;
    if stat.st_uid == user {
        return Ok(());
    }
    let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
    Ok(rustix::fs::fchown(directory, Some(user), Some(group))?)
}

/// Makes a layer that was written over another version one over `folder`: what the new version has is the new version's,
/// so no old code shadows it. What stood in its place goes to `aside`; says how many files and directories that were.
///
/// Works through descriptors and follows no link: a guest of a killed npxc may have a moment to live.
fn rebase(upper: &Path, folder: &Path, aside: &Path) -> io::Result<usize> {
    let mut rebase = Rebase { aside, open: None, moved: 0, number: 0 };
    rebase.directory(&open_directory(upper)?.into(), &open_directory(folder)?.into(), 1)?;
    Ok(rebase.moved)
}

struct Rebase<'a> {
    aside: &'a Path,
    open: Option<File>,
    moved: usize,
    /// The last name that was found for a file whose own was taken: not looked for from the start each time.
    number: u64,
}

impl Rebase<'_> {
    fn directory(&mut self, upper: &OwnedFd, lower: &OwnedFd, depth: usize) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        match rustix::fs::fremovexattr(upper, OPAQUE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let names = rustix::fs::Dir::read_from(upper)?
            .map(|entry| Ok(entry?.file_name().to_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        for name in names.iter().filter(|name| ![&b"."[..], b".."].contains(&name.to_bytes())) {
            let kind = |directory: &OwnedFd| {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                Ok::<_, Errno>((FileType::from_raw_mode(stat.st_mode), stat.st_rdev))
            };
            let (above, device) = kind(upper)?;
            if above == FileType::CharacterDevice && device == 0 {
                // A file of the version before that was removed.
                rustix::fs::unlinkat(upper, name, AtFlags::empty())?;
                continue;
            }
            match kind(lower) {
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
                Ok((FileType::Directory, _)) if above == FileType::Directory && depth < MOST_DEPTH => {
                    self.directory(&open_below(upper, name)?, &open_below(lower, name)?, depth + 1)?;
                }
                Ok(_) => self.away(upper, name)?,
            }
        }
        Ok(())
    }

    fn away(&mut self, from: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
        if self.open.is_none() {
            private(self.aside)?;
            self.open = Some(open_directory(self.aside)?);
        }
        let Some(aside) = &self.open else { return Ok(()) };
        // Two directories may have a file of the same name, and this may be the second time.
        let mut copy = name.to_owned();
        loop {
            match rustix::fs::renameat_with(from, name, aside, &copy, rustix::fs::RenameFlags::NOREPLACE) {
                Ok(()) => break,
                Err(Errno::EXIST) => {
                    self.number += 1;
                    copy = std::ffi::CString::new(self.number.to_string())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.moved += 1;
        Ok(())
    }
}

fn open_below(directory: &OwnedFd, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty())?)
}
