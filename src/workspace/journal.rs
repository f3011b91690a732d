//! Which file npxc has beside one of the user's right now, written down before it is made: when npxc is killed, the next
//! one takes it away.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat, statat, unlinkat};

use super::beneath::{self, Links};
use super::stamp::Stamp;

/// What the names of such files begin with; the rest is random.
pub(super) const PREFIX: &str = ".npxc-";
const NAME: &str = "beside";

/// One session's. It has one such file at a time.
#[derive(Debug)]
pub(super) struct Journal {
    file: PathBuf,
}

impl Journal {
    /// In a session's directory of npxc's own.
    pub(super) fn new(directory: &Path) -> Self {
        Self { file: directory.join(NAME) }
    }

    /// `path` is about to be npxc's; or, when `states` are given, about to be one of these. Where that cannot be written,
    /// the file only stays if npxc is killed.
    pub(super) fn note(&self, path: &Path, states: &[&Stat]) {
        let mut entry = path.as_os_str().as_bytes().to_vec();
        for state in states {
            entry.push(0);
            entry.extend(words(state).as_bytes());
        }
        let fresh = self.file.with_extension("new");
        let _ = fs::write(&fresh, entry).and_then(|()| fs::rename(&fresh, &self.file));
    }
}

/// Takes away what an npxc that was killed left beside a file; `directory` was its session's.
pub(super) fn clear(directory: &Path) {
    let Ok(entry) = fs::read(directory.join(NAME)) else { return };
    let mut parts = entry.split(|byte| *byte == 0);
    let path = Path::new(OsStr::from_bytes(parts.next().unwrap_or_default()));
    let states: Vec<&[u8]> = parts.collect();
    // What cannot be looked at stays.
    let _ = take_away(path, &states);
}

fn take_away(path: &Path, states: &[&[u8]]) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let Ok(below) = parent.strip_prefix("/") else { return Ok(()) };
    let root = beneath::directory(Path::new("/"))?;
    // Where the names lead by now may be elsewhere: no link is followed.
    let Ok(parent) = beneath::open_directory(&root, below, Links::No) else { return Ok(()) };
    let stat = statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_own = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && name.as_bytes().starts_with(PREFIX.as_bytes())
        // After an exchange of the two names it may be anybody's.
        && (states.is_empty() || states.contains(&words(&stat).as_bytes()));
    if is_own {
        unlinkat(&parent.fd, name, AtFlags::empty())?;
    }
    Ok(())
}

/// A state of a file, but for what a rename changes.
fn words(stat: &Stat) -> String {
    Stamp::of(stat).moved()
}
