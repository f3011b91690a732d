//! The logs in a directory, by what their names say: when a session started, its package and its id.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

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
    /// The file.
    pub path: PathBuf,
}

impl Shelved {
    fn of(path: PathBuf) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
        let at = stem.len().checked_sub(UUID)?;
        let session = stem.get(at..)?.parse().ok()?;
        let package = stem.get(STAMP..at)?.strip_suffix('-')?.to_owned();
        Some(Self { session, package, path })
    }

    /// The session's id as it is shown: its last eight digits, which are random.
    pub fn short(&self) -> String {
        let id = self.session.to_string();
        id.get(UUID - 8..).unwrap_or_default().to_owned()
    }

    /// Whether a session writes it at this moment.
    pub fn is_written(&self) -> io::Result<bool> {
        let file = std::fs::File::open(&self.path)?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// The logs in a directory, the newest first; none where there is no such directory.
pub fn all(directory: &Path) -> io::Result<Vec<Shelved>> {
    let mut all = Vec::new();
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        entries => entries?,
    };
    for entry in entries {
        all.extend(Shelved::of(entry?.path()));
    }
    all.sort_unstable_by(|one, other| other.cmp(one));
    Ok(all)
}

/// Removes the logs in a directory of sessions that began before `oldest`, seconds since 1970, and are over. How many.
pub fn sweep(directory: &Path, oldest: u64) -> io::Result<usize> {
    let mut gone = 0;
    for log in all(directory)? {
        let began = log.session.get_timestamp().map_or(u64::MAX, |time| time.to_unix().0);
        if began < oldest && !log.is_written()? {
            std::fs::remove_file(&log.path)?;
            gone += 1;
        }
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
        let writer = std::fs::File::open(&held).unwrap();
        flock(&writer, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(sweep(dir.path(), 2000).unwrap(), 1);
        assert!(!old.exists() && held.exists() && new.exists() && dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_log_is_written_as_long_as_its_session_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("20260101T000000Z-p-{}.jsonl", Uuid::now_v7()));
        std::fs::write(&path, "").unwrap();
        let log = all(dir.path()).unwrap().remove(0);
        assert!(!log.is_written().unwrap());
        let held = std::fs::File::open(&path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(log.is_written().unwrap());
    }
}
