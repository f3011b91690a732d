//! What tells one state of a file from another: its stamp, cheap, and its digest, certain.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

/// Bytes read at once.
const BLOCK: usize = 128 * 1024;
/// How long ago a file must have changed for its stamp to tell a later change: times are those of the kernel's tick, some
/// milliseconds, and a file system of another machine's may count in seconds.
const SETTLED: Duration = Duration::from_millis(2100);

/// A file's state by what `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// A content.
pub(super) type Digest = [u8; 32];

/// A stamp, and whether it would be another one if the file had been changed since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    stamp: Stamp,
    settled: bool,
}

impl Stamp {
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, clippy::cast_sign_loss)]
    // their types differ by system
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: (stat.st_dev as u64, stat.st_ino as u64),
            size: stat.st_size as i64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// What a rename leaves as it is, in words.
    pub(super) fn moved(&self) -> String {
        format!("{:?} {} {:?}", self.inode, self.size, self.modified)
    }

    /// Whether it is the same but for what a rename changes.
    pub(super) fn is_moved(&self, other: &Self) -> bool {
        (self.inode, self.size, self.modified) == (other.inode, other.size, other.modified)
    }
}

impl Seen {
    pub(super) fn of(stat: &Stat) -> Self {
        let stamp = Stamp::of(stat);
        let (seconds, nanos) = stamp.changed;
        let changed = Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX / 2), 0)
            .saturating_add(Duration::from_nanos(nanos));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { stamp, settled: now.saturating_sub(changed) > SETTLED }
    }

    /// One that is old enough to tell, however young the file is.
    #[cfg(test)]
    pub(super) fn long_ago(stat: &Stat) -> Self {
        Self { stamp: Stamp::of(stat), settled: true }
    }

    /// Whether it was this file, in whatever state.
    #[cfg(test)]
    pub(super) fn is_of(&self, stat: &Stat) -> bool {
        self.stamp.inode == Stamp::of(stat).inode
    }

    /// Whether it is this stamp.
    pub(super) fn is(&self, stamp: &Stamp) -> bool {
        self.stamp == *stamp
    }

    /// Whether a file with this stamp is surely as it was.
    pub(super) fn is_still(&self, stamp: &Stamp) -> bool {
        self.settled && self.stamp == *stamp
    }
}

/// Copies at most `most` bytes; returns how many, and their digest.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write, most: u64) -> io::Result<(u64, Digest)> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut copied = 0;
    loop {
        let count = match from.read(&mut block) {
            Ok(0) => return Ok((copied, hash.finalize().into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        copied += count as u64;
        if copied > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        hash.update(&block[..count]);
        to.write_all(&block[..count])?;
    }
}

/// The digest of a file of at most `most` bytes, from its start.
pub(super) fn digest(mut file: &File, most: u64) -> io::Result<Digest> {
    io::Seek::rewind(&mut file)?;
    let digest = copy(&mut file, &mut io::sink(), most)?.1;
    io::Seek::rewind(&mut file)?;
    Ok(digest)
}
