//! Whose a session is: a pid and the time at which that process started, so that a pid used again is not mistaken;
//! with the user and pid namespace where that pid means something, since an engine may serve several.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

/// A process that owns a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    /// Clock ticks since boot (`proc_pid_stat(5)`, field 22).
    pub(super) start: u64,
    /// Where the pid means something.
    pub(super) realm: Realm,
}

/// A user in a pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Realm {
    pub(super) uid: u32,
    /// Inode of the pid namespace.
    pub(super) namespace: u64,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> Self {
        let pid = std::process::id();
        Self { pid, start: start(pid).unwrap_or(0), realm: Realm::this() }
    }

    /// Whether the session can be cleared away: this user's, of a process that is no more. In doubt it is not.
    pub(super) fn is_dead(&self) -> bool {
        self.realm == Realm::this() && start(self.pid) != Some(self.start)
    }
}

impl Realm {
    fn this() -> Self {
        let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
        Self { uid: rustix::process::getuid().as_raw(), namespace }
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.uid, self.namespace)
    }
}

impl FromStr for Realm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (uid, namespace) = text.split_once('.').ok_or(())?;
        Ok(Self { uid: uid.parse().map_err(|_| ())?, namespace: namespace.parse().map_err(|_| ())? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.pid, self.start, self.realm)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_whitespace();
        let (Some(pid), Some(start), Some(realm), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(());
        };
        Ok(Self {
            pid: pid.parse().map_err(|_| ())?,
            start: start.parse().map_err(|_| ())?,
            realm: realm.parse()?,
        })
    }
}

/// When a process started; `None` if there is none, or only what is left of one.
fn start(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows its last parenthesis are numbers.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_living_are_not_dead() {
        let this = Owner::this();
        assert!(this.start > 0 && !this.is_dead());
        assert_eq!(this.to_string().parse(), Ok(this));
        // Another process under the same number.
        assert!(Owner { start: this.start + 1, ..this }.is_dead());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let theirs = Owner { pid: child.id(), start: 1, ..this };
        child.wait().unwrap();
        assert!(theirs.is_dead());
    }

    #[test]
    fn what_is_somebody_elses_is_never_dead() {
        let this = Owner::this();
        let other = Owner { start: 1, realm: Realm { uid: this.realm.uid + 1, ..this.realm }, ..this };
        assert!(!other.is_dead());
        let elsewhere = Owner { start: 1, realm: Realm { namespace: 1, ..this.realm }, ..this };
        assert!(!elsewhere.is_dead());
        for text in ["", "1", "1 2", "1 2 3", "1 2 3.x", "x 2 3.4", "1 2 3.4 5"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
    }
}
