//! Who connects to the control socket: the guest's first process and nobody else.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::Facts;
use crate::runtime::RuntimeError;

/// Users that may be container root, as ranges of ids on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowed(Vec<(u32, u32)>);

impl Allowed {
    /// Root, this user, and this user's subordinate ids; those of docker's own user where it maps root away.
    pub(super) fn read(facts: &Facts) -> Self {
        let own = rustix::process::getuid().as_raw();
        let names = user_names(own, &fs::read_to_string("/etc/passwd").unwrap_or_default());
        let subordinate = fs::read_to_string("/etc/subuid").unwrap_or_default();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        if facts.remapped {
            names.push("dockremap");
        }
        Self::new(own, &names, &subordinate)
    }

    /// `names` are those under which the ids may be listed in `subuid(5)`.
    fn new(own: u32, names: &[&str], subordinate: &str) -> Self {
        let mut ranges = vec![(0, 1), (own, 1)];
        for line in subordinate.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if let (true, Ok(first), Ok(count)) =
                (names.contains(&name) || name == own.to_string(), first.trim().parse(), count.trim().parse())
            {
                ranges.push((first, count));
            }
        }
        Self(ranges)
    }

    fn contains(&self, uid: u32) -> bool {
        self.0.iter().any(|(first, count)| uid.checked_sub(*first).is_some_and(|offset| offset < *count))
    }
}

fn user_names(uid: u32, passwd: &str) -> Vec<String> {
    let uid = uid.to_string();
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        })
        .collect()
}

/// A program by its file, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProgramFile {
    device: u64,
    inode: u64,
}

impl ProgramFile {
    /// The file that `path` leads to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Whether this is what a process executes. Yes where that is nobody's business (docker's containers are root's,
    /// npxc may be another user's) or the process is in a pid namespace out of sight.
    fn is_run_by(self, pid: Option<u32>) -> bool {
        let Some(pid) = pid else { return true };
        match Self::of(Path::new(&format!("/proc/{pid}/exe"))) {
            Ok(other) => other == self,
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

/// What came first.
pub(super) enum First {
    /// The guest, with the pid of its first process on the host.
    Guest(UnixStream, Option<u32>),
    /// The engine's client ended.
    Ended,
    /// Neither, in all that time.
    Nothing,
}

/// Waits for the one connection, or the end of the engine's client. Nobody but `program` is let in.
pub(super) fn accept(
    listener: &UnixListener,
    client: &OwnedFd,
    allowed: &Allowed,
    program: ProgramFile,
    patience: Duration,
) -> Result<First, RuntimeError> {
    let fail = || RuntimeError::io("the control socket");
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| fail()(io::ErrorKind::InvalidInput.into()))?;
        let mut events = [PollFd::new(listener, PollFlags::IN), PollFd::new(client, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, Some(&timeout)))
            .map_err(|error| fail()(error.into()))?;
        let (called, ended) = (!events[0].revents().is_empty(), !events[1].revents().is_empty());
        if ready == 0 {
            return Ok(First::Nothing);
        }
        if called {
            match listener.accept() {
                Ok((stream, _)) => {
                    let peer = rustix::net::sockopt::socket_peercred(&stream)
                        .map_err(|error| fail()(error.into()))?;
                    // As seen from here it is 0 for a process in a pid namespace out of sight.
                    let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).ok().filter(|pid| *pid != 0);
                    if allowed.contains(peer.uid.as_raw()) && program.is_run_by(pid) {
                        stream.set_nonblocking(false).map_err(fail())?;
                        return Ok(First::Guest(stream, pid));
                    }
                    tracing::debug!(uid = peer.uid.as_raw(), "turned away from the control socket");
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(fail()(error)),
            }
        } else if ended {
            return Ok(First::Ended);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn root_the_user_and_its_subordinates_are_let_in() {
        let subordinate = "other:100000:65536\nme:165536:65536\n1003:300000:10\nbroken\nme:x:y\n";
        let allowed = Allowed::new(1003, &["me"], subordinate);
        for uid in [0, 1003, 165_536, 165_536 + 65_535, 300_009] {
            assert!(allowed.contains(uid), "{uid}");
        }
        for uid in [1, 1002, 1004, 100_000, 165_536 + 65_536, 300_010, u32::MAX] {
            assert!(!allowed.contains(uid), "{uid}");
        }
        assert_eq!(user_names(1003, "root:x:0:0:::\nme:x:1003:1003::/home/me:/bin/sh\n"), ["me"]);
    }

    #[test]
    fn a_stranger_is_turned_away_and_the_end_of_the_client_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (never, _keep) = std::io::pipe().unwrap();
        let never = OwnedFd::from(never);
        let this = ProgramFile::of(Path::new("/proc/self/exe")).unwrap();
        let wait = |allowed: &Allowed, client: &OwnedFd, patience| {
            accept(&listener, client, allowed, this, patience).unwrap()
        };
        let stranger = UnixStream::connect(&path).unwrap();
        assert!(matches!(wait(&Allowed(Vec::new()), &never, Duration::from_millis(20)), First::Nothing));
        drop(stranger);
        // The right user with another program.
        let other = ProgramFile::of(&path).unwrap();
        let own = Allowed::new(rustix::process::getuid().as_raw(), &[], "");
        let stranger = UnixStream::connect(&path).unwrap();
        let found = accept(&listener, &never, &own, other, Duration::from_millis(20)).unwrap();
        assert!(matches!(found, First::Nothing));
        drop(stranger);
        let _guest = UnixStream::connect(&path).unwrap();
        let First::Guest(_, pid) = wait(&own, &never, Duration::from_secs(20)) else { panic!("no guest") };
        assert_eq!(pid, Some(std::process::id()));
        let (ended, writer) = std::io::pipe().unwrap();
        drop(writer);
        assert!(matches!(wait(&own, &OwnedFd::from(ended), Duration::from_secs(20)), First::Ended));
    }
}
