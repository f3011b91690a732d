//! Where a log goes, and opening it so that nobody else reads it and nothing else is written to.
//!
//! A directory gets a file of its own per session. A named file is created, or continued: the chain then goes on
//! from its last line, in the [file](super::segments) that is the last one. Anything that is not a regular file (a symbolic link, a pipe, a device) is refused.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::Event;
use super::chain;
use super::error::AuditError;
use super::segments;

/// Where a session's log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file of its own in this directory: `<time>-<package>-<session>.jsonl`.
    Directory {
        /// The directory; made (0700) when it is missing.
        directory: PathBuf,
        /// The package's name in the form that is safe in file names.
        package: String,
    },
    /// This file; continued when it exists.
    File(PathBuf),
}

impl Target {
    /// The directory, or the file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory { directory: path, .. } | Self::File(path) => path,
        }
    }
}

/// What the writer needs of a file. A test double stands in for a full disk.
pub(super) trait Sink: Send {
    /// As [`io::Write::write`]: some bytes, in order.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Takes the last `bytes` written away again.
    fn take_back(&mut self, bytes: u64) -> io::Result<()>;
    /// Makes what was written survive a crash of the machine.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self, bytes)
    }

    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.stream_position()?.saturating_sub(bytes);
        self.set_len(end)?;
        self.seek(SeekFrom::Start(end)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// An open log file and the `prev` of the next line.
pub(super) struct Opened {
    pub(super) file: File,
    /// The file in which the log begins.
    pub(super) path: PathBuf,
    pub(super) prev: String,
    pub(super) files: Files,
}

/// The files that a log is written to, one after the other.
pub(super) struct Files {
    /// Where it begins.
    first: PathBuf,
    /// That file, locked as long as the log is written.
    _lock: File,
    /// Which one is written.
    number: u32,
    /// Its size.
    pub(super) size: u64,
}

impl Files {
    /// Makes the next one, and says its name.
    pub(super) fn next(&mut self) -> io::Result<(File, String)> {
        let path = segments::numbered(&self.first, self.number + 1);
        // One that is empty is of an npxc that was killed before it could say that it goes on there.
        let file = options().create(true).truncate(false).open(&path)?;
        if !file.metadata().is_ok_and(|found| found.is_file() && found.len() == 0) {
            return Err(io::Error::other(format!("{} is there already", path.display())));
        }
        lock(&file, &path).map_err(io::Error::other)?;
        self.number += 1;
        Ok((file, segments::name(&path)))
    }
}

impl Target {
    /// The file that a session of this id, started then, writes to; its directory is made when it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn file(&self, session: Uuid, time: jiff::Timestamp) -> Result<PathBuf, AuditError> {
        match self {
            Self::Directory { directory, package } => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)
                    .map_err(|source| AuditError::Directory { path: directory.clone(), source })?;
                let stamp = time.strftime("%Y%m%dT%H%M%SZ");
                Ok(directory.join(format!("{stamp}-{package}-{session}.jsonl")))
            }
            Self::File(path) => Ok(path.clone()),
        }
    }

    pub(super) fn open(&self, session: Uuid, time: jiff::Timestamp) -> Result<Opened, AuditError> {
        match self {
            Self::Directory { .. } => {
                let path = self.file(session, time)?;
                let file = options()
                    .create_new(true)
                    .open(&path)
                    .map_err(|source| AuditError::Open { path: path.clone(), source })?;
                lock(&file, &path)?;
                let held =
                    file.try_clone().map_err(|source| AuditError::Open { path: path.clone(), source })?;
                let files = Files { first: path.clone(), _lock: held, number: 1, size: 0 };
                Ok(Opened { file, path, prev: chain::START.to_owned(), files })
            }
            Self::File(path) => continued(path),
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // O_NONBLOCK: opening a pipe that nobody reads must not hang; it has no effect on a regular file.
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn continued(path: &Path) -> Result<Opened, AuditError> {
    let failed = |source| AuditError::Open { path: path.to_owned(), source };
    let odd = || AuditError::NotAFile { path: path.to_owned() };
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => return Err(odd()),
        Ok(_) | Err(_) => {}
    }
    let mut file = options().create(true).truncate(false).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(odd());
    }
    lock(&file, path)?;
    let held = file.try_clone().map_err(failed)?;
    let mut files = Files { first: path.to_owned(), _lock: held, number: 1, size: 0 };
    loop {
        let written = segments::numbered(path, files.number);
        let prev = match last_line(&mut file).map_err(failed)? {
            Last::None if files.number == 1 => chain::START.to_owned(),
            Last::Whole(line) if serde_json::from_slice::<chain::Header>(&line).is_ok() => {
                if matches!(serde_json::from_slice(&line), Ok(Event::LogRotate { .. })) {
                    files.number += 1;
                    let next = segments::numbered(path, files.number);
                    file = options().create(true).truncate(false).open(&next).map_err(failed)?;
                    let found = file.metadata().map_err(failed)?;
                    if !found.is_file() {
                        return Err(AuditError::NotAFile { path: next });
                    }
                    lock(&file, &next)?;
                    if found.len() > 0 {
                        continue;
                    }
                }
                chain::hash(&line)
            }
            Last::Torn(line) if line.starts_with(b"{\"v\":") => {
                // The machine stopped in the middle of a line. It stays, closed, for `audit verify` to find.
                file.write_all(b"\n").map_err(failed)?;
                chain::hash(&line)
            }
            Last::None | Last::Whole(_) | Last::Torn(_) => return Err(AuditError::NotALog { path: written }),
        };
        files.size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        return Ok(Opened { file, path: path.to_owned(), prev, files });
    }
}

fn lock(file: &File, path: &Path) -> Result<(), AuditError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditError::InUse { path: path.to_owned() }),
        Err(source) => Err(AuditError::Open { path: path.to_owned(), source: source.into() }),
    }
}

enum Last {
    None,
    Whole(Vec<u8>),
    Torn(Vec<u8>),
}

/// The last line without its line feed; leaves the file at its end.
fn last_line(file: &mut File) -> io::Result<Last> {
    let end = file.seek(SeekFrom::End(0))?;
    let from = end.saturating_sub(chain::MAX_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.last() == Some(&b'\n');
    if whole {
        tail.pop();
    } else if tail.is_empty() {
        return Ok(Last::None);
    }
    let start = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = tail.split_off(start);
    Ok(if whole { Last::Whole(line) } else { Last::Torn(line) })
}
