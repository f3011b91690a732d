//! The logs in a directory, by what their names say: when a session started, its package and its id.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::segments;

/// Characters of a session's id.
const UUID: usize = 36;
/// Characters of a time as it is in a name, with what follows it.
const STAMP: usize = "20260101T000000Z-".len();

/// A log that has its session's id in its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shelved {
    /// A version 7 UUID, which begins with the time: ordered as the sessions started.
    pub session: Uuid,
    /// The package's name in the form that is safe in file names.
    pub package: String,
    /// The file, the first of those that there are.
    pub path: PathBuf,
}

impl Shelved {
    /// The session that a file is a log of, as its name says.
    pub fn of(path: PathBuf) -> Option<Self> {
        let first = segments::number(&path).map(|(first, _)| first);
        let stem = first.as_ref().unwrap_or(&path).file_name()?.to_str()?.strip_suffix(".jsonl")?;
        let at = stem.len().checked_sub(UUID)?;
        let session = stem.get(at..)?.parse().ok()?;
        let package = stem.get(STAMP..at)?.strip_suffix('-')?.to_owned();
        Some(Self { session, package, path })
    }

    /// The session's id as it is shown: its last eight digits, which are random.
    pub fn short(&self) -> String {
        short(self.session)
    }

    /// When, seconds since 1970.
    fn began(&self) -> u64 {
        self.session.get_timestamp().map_or(u64::MAX, |time| time.to_unix().0)
    }

    /// Opens it for reading: follows no link, and waits for nobody. The directory may be one that others write in.
    ///
    /// # Errors
    /// It cannot be opened, or is no file.
    pub fn open(&self) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(&self.path)?;
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
        }
    }

    /// Whether a session writes it at this moment.
    ///
    /// # Errors
    /// As [`open`](Self::open); locks are not to be had there.
    pub fn is_written(&self) -> io::Result<bool> {
        is_written(&self.open()?)
    }
}

/// Whether a session writes an open log at this moment.
///
/// # Errors
/// Locks are not to be had there.
pub fn is_written(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => flock(file, FlockOperation::Unlock).map(|()| false).map_err(Into::into),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A session's id as it is shown: its last eight digits, which are random.
pub fn short(session: Uuid) -> String {
    session.to_string().get(UUID - 8..).unwrap_or_default().to_owned()
}

/// How old an empty log is before whoever made it is gone.
const SETTLED: Duration = Duration::from_mins(1);

/// Which logs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those of sessions that began in so much time before now.
    For(Duration),
    /// Those of so many sessions, the newest.
    Newest(usize),
}

/// The logs in a directory, the newest first; none where there is no such directory. Links, pipes and the like are no logs.
///
/// # Errors
/// The directory cannot be read.
pub fn all(directory: &Path) -> io::Result<Vec<Shelved>> {
    let files = files(directory)?;
    Ok(files.chunk_by(|one, other| one.session == other.session).filter_map(<[_]>::last).cloned().collect())
}

/// Every file of theirs, the newest session's first, of a session the last first.
fn files(directory: &Path) -> io::Result<Vec<Shelved>> {
    let mut all = Vec::new();
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            all.extend(Shelved::of(entry.path()));
        }
    }
    let number = |log: &Shelved| segments::number(&log.path).map_or(1, |(_, number)| number);
    all.sort_unstable_by(|one, other| {
        (other.session, number(other), other).cmp(&(one.session, number(one), one))
    });
    Ok(all)
}

/// Removes the logs in a directory that are not kept, of sessions that are over. How many. `now` is the time since 1970.
///
/// # Errors
/// The directory cannot be read, or a log not removed.
pub fn sweep(directory: &Path, keep: Keep, now: Duration) -> io::Result<usize> {
    let mut gone = 0;
    let files = files(directory)?;
    for (newer, log) in files.chunk_by(|one, other| one.session == other.session).enumerate() {
        let began = log.iter().map(Shelved::began).max().unwrap_or(u64::MAX);
        let old = match keep {
            Keep::Newest(most) => newer >= most,
            Keep::For(age) => began < now.saturating_sub(age).as_secs(),
        };
        // One that begins is not locked at once, and empty until then.
        let settled = began < now.saturating_sub(SETTLED).as_secs();
        if !old || !settled && log.iter().any(|file| file.path.metadata().is_ok_and(|found| found.len() == 0))
        {
            continue;
        }
        if log.last().map_or(Ok(true), Shelved::is_written)? {
            continue;
        }
        // The first one last: without it the others would be nobody's.
        for file in log {
            std::fs::remove_file(&file.path)?;
        }
        gone += 1;
    }
    Ok(gone)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_log_is_the_session_that_started_last() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(all(dir.path()).unwrap(), []);
        assert_eq!(all(&dir.path().join("none")).unwrap(), []);
        let ids = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
        // Within a second the package's name would decide.
        let names = [("20260101T000000Z-z", 0), ("20260101T000000Z-a-b", 2), ("20260101T000000Z-m", 1)];
        for (name, id) in names {
            std::fs::write(dir.path().join(format!("{name}-{}.jsonl", ids[id])), "").unwrap();
        }
        let long = format!("20260101-{}.jsonl", ids[0]);
        for other in ["zzz.jsonl", "note.txt", &long] {
            std::fs::write(dir.path().join(other), "").unwrap();
        }
        let found = all(dir.path()).unwrap();
        let packages: Vec<_> = found.iter().map(|log| log.package.as_str()).collect();
        assert_eq!(packages, ["a-b", "m", "z"]);
        assert!(found[0].path.ends_with(format!("20260101T000000Z-a-b-{}.jsonl", ids[2])));
        assert!(ids[2].to_string().ends_with(&found[0].short()));
    }

    #[test]
    fn only_old_logs_of_sessions_that_are_over_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds| Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
        let put = |session: Uuid| {
            let path = dir.path().join(format!("20260101T000000Z-p-{session}.jsonl"));
            std::fs::write(&path, "").unwrap();
            path
        };
        let [old, held, new] = [at(1000), at(1001), at(3000)].map(put);
        std::fs::write(dir.path().join("notes.txt"), "").unwrap();
        let writer = File::open(&held).unwrap();
        flock(&writer, FlockOperation::NonBlockingLockExclusive).unwrap();
        let (age, now) = (Keep::For(Duration::from_secs(500)), Duration::from_secs(2500));
        assert_eq!(sweep(dir.path(), age, now).unwrap(), 1);
        assert!(!old.exists() && held.exists() && new.exists() && dir.path().join("notes.txt").exists());
    }

    /// A pipe would be waited for, and a link read where it leads.
    #[test]
    fn only_a_file_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let [file, pipe, link, folder] = ["file", "pipe", "link", "folder"]
            .map(|name| dir.path().join(format!("20260101T000000Z-{name}-{}.jsonl", Uuid::now_v7())));
        std::fs::write(&file, "").unwrap();
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let packages: Vec<_> = all(dir.path()).unwrap().into_iter().map(|log| log.package).collect();
        assert_eq!(packages, ["file"]);
        // What was put there after the look at the directory.
        for (path, is_log) in [(&file, true), (&pipe, false), (&link, false), (&folder, false)] {
            let log = Shelved::of(path.clone()).unwrap();
            assert_eq!(
                (log.open().is_ok(), log.is_written().is_ok()),
                (is_log, is_log),
                "{}",
                path.display()
            );
        }
        assert_eq!(sweep(dir.path(), Keep::Newest(0), Duration::MAX).unwrap(), 1);
        assert!(pipe.exists() && link.is_symlink() && folder.exists());
    }

    #[test]
    fn of_so_many_sessions_the_newest_are_kept_with_all_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds| Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
        let put = |session: Uuid, end: &str| {
            let path = dir.path().join(format!("20260101T000000Z-p.3-{session}{end}"));
            std::fs::write(&path, "").unwrap();
            path
        };
        let [oldest, older, new] = [1, 2, 3].map(at);
        let gone = [".2.jsonl", ".jsonl", ".10.jsonl"].map(|end| put(oldest, end));
        let held = [".10.jsonl", ".jsonl"].map(|end| put(older, end));
        // Of a session whose first file is missing.
        let kept = [".3.jsonl", ".2.jsonl"].map(|end| put(new, end));
        let writer = std::fs::File::open(&held[1]).unwrap();
        flock(&writer, FlockOperation::NonBlockingLockExclusive).unwrap();
        let found = all(dir.path()).unwrap();
        let paths: Vec<_> = found.iter().map(|log| &log.path).collect();
        assert_eq!(paths, [&kept[1], &held[1], &gone[1]]);
        assert_eq!(sweep(dir.path(), Keep::Newest(3), Duration::MAX).unwrap(), 0);
        assert_eq!(sweep(dir.path(), Keep::Newest(1), Duration::MAX).unwrap(), 1);
        assert!(gone.iter().all(|path| !path.exists()));
        assert!(held.iter().chain(&kept).all(|path| path.exists()));
    }

    /// Between its making and its lock there is nothing in it.
    #[test]
    fn a_log_that_just_begins_is_not_one_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let began = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1000, 0));
        let path = dir.path().join(format!("20260101T000000Z-p-{began}.jsonl"));
        std::fs::write(&path, "").unwrap();
        let sweep = |seconds| sweep(dir.path(), Keep::Newest(0), Duration::from_secs(seconds)).unwrap();
        assert_eq!((sweep(1001), sweep(1060), sweep(1061)), (0, 0, 1));
        std::fs::write(&path, "a line\n").unwrap();
        assert_eq!(sweep(1001), 1);
    }

    #[test]
    fn a_log_is_written_as_long_as_its_session_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("20260101T000000Z-p-{}.jsonl", Uuid::now_v7()));
        std::fs::write(&path, "").unwrap();
        let log = all(dir.path()).unwrap().remove(0);
        assert!(!log.is_written().unwrap());
        let held = File::open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(log.is_written().unwrap());
    }
}
