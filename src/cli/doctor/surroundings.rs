//! What npxc stands on besides the sandbox and node: names, the clock, disks, the configuration, and what earlier sessions
//! left. Nothing is changed, and nothing is asked over a network.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::{Line, State};
use crate::cli::config::wrong_files;
use crate::cli::table::bytes;
use crate::config::Directories;
use crate::package::{HostEnv, Store};

/// Free space below which an install of a common server (some 100 MB with its cache) fails.
const TOO_LITTLE: u64 = 128 << 20;
/// Free space below which a few installs and sessions fill the disk.
const LITTLE: u64 = 1 << 30;
/// Files that may still be made, below which an install of a common server fails.
const FEW_FILES: u64 = 20_000;
/// How far a clock may be behind the file that npxc is: time zones on shared disks.
const SLACK: u64 = 24 * 3600;

pub(super) fn look(host: &HostEnv, directories: &Directories) -> Vec<Line> {
    let mut lines = vec![names(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())];
    let built = std::env::current_exe().and_then(fs::metadata).and_then(|program| program.modified());
    lines.extend(built.ok().map(|built| clock(SystemTime::now(), built)));
    lines.extend(disks(directories));
    lines.extend(configuration(host));
    lines.extend(leftovers(directories));
    lines
}

/// Whom npxc asks for addresses.
fn names(text: &str) -> Line {
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    if servers.is_empty() {
        let hint = "connect to a network, or write one into /etc/resolv.conf: nameserver ADDRESS";
        return Line::new(
            "surroundings",
            "DNS",
            State::Warning,
            "/etc/resolv.conf names no server, so no name is found",
        )
        .hints([hint.to_owned()]);
    }
    Line::new("surroundings", "DNS", State::Passed, format!("{} (/etc/resolv.conf)", servers.join(", ")))
}

/// A clock that is before npxc's own file makes certificates look as if they were not valid yet.
fn clock(now: SystemTime, built: SystemTime) -> Line {
    let day = |time: SystemTime| {
        jiff::Timestamp::try_from(time)
            .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%d").to_string())
    };
    let behind = built.duration_since(now).map_or(0, |behind| behind.as_secs());
    if behind <= SLACK {
        return Line::new("surroundings", "clock", State::Passed, format!("{} (UTC)", day(now)));
    }
    let detail =
        format!("it is {} here, and npxc was made on {}: certificates will be refused", day(now), day(built));
    let hint = "set it: sudo timedatectl set-ntp true";
    Line::new("surroundings", "clock", State::Warning, detail).hints([hint.to_owned()])
}

/// Room where npxc writes, once per file system.
fn disks(directories: &Directories) -> Vec<Line> {
    let mut seen = BTreeSet::new();
    [&directories.data, &directories.cache, &directories.state]
        .into_iter()
        .filter_map(|path| {
            let device = fs::metadata(path).ok()?.dev();
            let room = seen.insert(device).then(|| rustix::fs::statvfs(path).ok()).flatten()?;
            let files = (room.f_files > 0).then_some(room.f_favail);
            Some(disk(path, room.f_bavail.saturating_mul(room.f_frsize), files))
        })
        .collect()
}

/// `files` is how many may still be made, where the file system counts them.
fn disk(path: &Path, free: u64, files: Option<u64>) -> Line {
    let few = files.filter(|files| *files < FEW_FILES);
    let detail = match few {
        Some(files) => format!("{} has room for {files} more files only", path.display()),
        None => format!("{} free in {}", bytes(free), path.display()),
    };
    let state = match (free, few) {
        (0..TOO_LITTLE, _) => State::Failed,
        (TOO_LITTLE..LITTLE, _) | (_, Some(_)) => State::Warning,
        (_, None) => State::Passed,
    };
    let line = Line::new("surroundings", "disk", state, detail);
    if state == State::Passed {
        return line;
    }
    line.hints(["npxc list shows what is installed, npxc clean PACKAGE removes it".to_owned()])
}

/// Files that npxc does not start with. A package's is that package's failure only.
fn configuration(host: &HostEnv) -> Vec<Line> {
    match wrong_files(host) {
        Err(failure) => {
            vec![Line::new("surroundings", "configuration", State::Warning, failure.message)]
        }
        Ok(wrong) => wrong
            .into_iter()
            .map(|error| {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default().to_owned();
                Line::new("surroundings", "configuration", State::Warning, first).hints(error.hint)
            })
            .collect(),
    }
}

/// What no session has any more. The next run clears most of it away.
fn leftovers(directories: &Directories) -> Vec<Line> {
    let mut lines = Vec::new();
    let line = |detail: String, hint: &str| {
        Line::new("surroundings", "leftovers", State::Warning, detail).hints([hint.to_owned()])
    };
    let staged = Store::at(&directories.data).abandoned();
    if staged > 0 {
        lines.push(line(format!("{staged} installs that were killed"), "npxc clean --orphans removes them"));
    }
    let kept = directories.kept();
    let count = fs::read_dir(&kept).map_or(0, Iterator::count);
    if count > 0 {
        let detail =
            format!("in {} is what packages wrote and did not fit anywhere else ({count})", kept.display());
        lines.push(line(detail, "look through it, and remove what nobody wants"));
    }
    if lines.is_empty() {
        lines.push(Line::new("surroundings", "leftovers", State::Passed, "none"));
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn said(line: &Line) -> (State, &str) {
        (line.state, &line.detail)
    }

    #[test]
    fn resolvers_are_named() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # two\n";
        assert_eq!(said(&names(text)), (State::Passed, "192.0.2.1, 2001:db8::1 (/etc/resolv.conf)"));
        let none = names("search example.com\n");
        assert_eq!(said(&none), (State::Warning, "/etc/resolv.conf names no server, so no name is found"));
        assert_eq!(none.hints.len(), 1);
    }

    #[test]
    fn a_clock_before_npxc_itself_is_wrong() {
        let built = UNIX_EPOCH + Duration::from_secs(1_750_000_000);
        let at = |time: SystemTime| clock(time, built);
        assert_eq!(said(&at(built)), (State::Passed, "2025-06-15 (UTC)"));
        assert_eq!(at(built - Duration::from_secs(SLACK)).state, State::Passed);
        assert_eq!(
            said(&at(UNIX_EPOCH + Duration::from_hours(24))),
            (
                State::Warning,
                "it is 1970-01-02 here, and npxc was made on 2025-06-15: certificates will be refused"
            )
        );
    }

    #[test]
    fn a_disk_without_room_fails_and_one_with_little_warns() {
        let path = Path::new("/data");
        let state = |free, files| disk(path, free, files).state;
        assert_eq!(said(&disk(path, 5 << 30, None)), (State::Passed, "5.0 GiB free in /data"));
        assert_eq!((state(TOO_LITTLE - 1, None), state(TOO_LITTLE, None)), (State::Failed, State::Warning));
        assert_eq!(
            (state(LITTLE - 1, None), state(LITTLE, Some(FEW_FILES))),
            (State::Warning, State::Passed)
        );
        assert_eq!(
            said(&disk(path, LITTLE, Some(7))),
            (State::Warning, "/data has room for 7 more files only")
        );
        assert_eq!(disk(path, 0, None).hints.len(), 1);
    }

    #[test]
    fn wrong_files_and_what_was_left_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_owned();
        let packages = home.join(".config/npxc/packages");
        fs::create_dir_all(&packages).unwrap();
        fs::write(packages.join("a.toml"), "[network]\nalow = []\n").unwrap();
        fs::write(packages.join("b.toml"), "").unwrap();
        let host = HostEnv { vars: [("HOME".into(), home.clone().into())].into(), cwd: home.clone(), home };
        let lines = configuration(&host);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].detail.ends_with("a.toml:2:1: unknown key `alow`"), "{lines:?}");
        assert_eq!(lines[0].hints, ["did you mean `allow`?"]);

        let directories = Directories::new(|name| host.vars.get(name).cloned()).unwrap();
        assert_eq!(said(&leftovers(&directories)[0]), (State::Passed, "none"));
        fs::create_dir_all(directories.data.join("store/staging/x")).unwrap();
        fs::create_dir_all(directories.kept().join("y")).unwrap();
        let told = leftovers(&directories);
        assert_eq!((told.len(), told[0].detail.as_str()), (2, "1 installs that were killed"));
        assert!(told[1].detail.ends_with("(1)") && told[1].state == State::Warning);
        let disks = disks(&directories);
        assert_eq!(disks.len(), 1, "one file system is told once: {disks:?}");
    }
}
