//! An ordinary user for the time of a test that root runs, as a fresh machine would have one: with the subordinate ids
//! that rootless containers take (subuid(5)).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How many subordinate ids a user has by default (`SUB_UID_COUNT` of login.defs(5)).
const SUBORDINATE: u64 = 65_536;
/// Where they begin (`SUB_UID_MIN`).
const FIRST: u64 = 100_000;
/// How long processes may take to end that were killed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Removed when dropped, with every process of theirs.
#[derive(Debug)]
pub(super) struct User {
    name: &'static str,
    pub(super) id: u32,
    pub(super) group: u32,
}

impl User {
    /// A user of this name; one that a killed run left is taken over.
    pub(super) fn make(name: &'static str, home: &Path) -> Self {
        if number("-u", name).is_none() {
            let mut command = Command::new("useradd");
            command.arg("--no-create-home").arg("--home-dir").arg(home).arg(name);
            assert!(command.status().unwrap().success(), "cannot make the user {name}");
        }
        for (file, option) in [("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")] {
            let known = fs::read_to_string(file).unwrap_or_default();
            if !known.lines().any(|line| line.split(':').next() == Some(name)) {
                let first = free(&known);
                let range = format!("{first}-{}", first + SUBORDINATE - 1);
                // usermod wants the file to be there.
                fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
                let given = Command::new("usermod").args([option, &range, name]).status().unwrap();
                assert!(given.success(), "cannot give {name} subordinate ids ({option} {range})");
            }
        }
        Self { name, id: number("-u", name).unwrap(), group: number("-g", name).unwrap() }
    }

    /// Gives this user a directory with everything in it.
    pub(super) fn own(&self, directory: &Path) {
        let owner = format!("{}:{}", self.id, self.group);
        assert!(Command::new("chown").args(["-R", &owner]).arg(directory).status().unwrap().success());
    }

    /// Rootless podman keeps a process that holds its namespaces, and more while it has networks. Of this system only:
    /// another one, below another root, may have given the same number to somebody else.
    fn processes(&self) -> Vec<Pid> {
        let own = fs::metadata("/").map(|root| (root.dev(), root.ino())).unwrap();
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let root = fs::metadata(entry.path().join("root")).ok()?;
            let owner = entry.metadata().ok()?.uid();
            Pid::from_raw(pid).filter(|_| owner == self.id && (root.dev(), root.ino()) == own)
        });
        pids.collect()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            for pid in &left {
                let _ = kill_process(*pid, Signal::KILL);
            }
            // It takes the subordinate ids as well, and removes nobody who has a process: one that nobody has waited
            // for is one, and so is one with such an id.
            if left.is_empty() {
                let _ = Command::new("userdel").arg(self.name).stderr(Stdio::null()).status();
                if number("-u", self.name).is_none() {
                    return;
                }
            }
            if Instant::now() > deadline {
                eprintln!("the user {} cannot be removed: it has {left:?}", self.name);
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn number(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([option, name]).stderr(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().ok()
}

/// The first id behind everybody's.
fn free(known: &str) -> u64 {
    let ends = known.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1).map(str::parse::<u64>);
        Some(fields.next()?.ok()? + fields.next()?.ok()?)
    });
    ends.max().unwrap_or(0).max(FIRST)
}
