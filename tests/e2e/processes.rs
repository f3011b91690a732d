//! Looks at processes through /proc, to tell that a tree is gone.

use std::fs;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How long anything that must happen may take before it counts as not happening.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A process, by its number and its start: numbers are used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    parent: u32,
    start: u64,
    zombie: bool,
}

/// Everything below a process, itself left out.
pub(super) fn descendants(pid: u32) -> Vec<Process> {
    let all = all();
    let mut tree = vec![pid];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        for process in all.iter().filter(|process| process.parent == parent) {
            tree.push(process.pid);
            found.push(process.clone());
        }
        next += 1;
    }
    found
}

/// Waits until none of these is left.
pub(super) fn wait_for_end(processes: &[Process]) {
    eventually("the guest's processes end", || {
        let now = all();
        processes
            .iter()
            .all(|was| !now.iter().any(|is| is.pid == was.pid && is.start == was.start && !is.zombie))
    });
}

/// Waits for a child, and for no longer than is reasonable.
pub(super) fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    eventually("npxc ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Waits until something holds.
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The most memory that a process has had, in bytes.
pub(super) fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Sends a signal to a process.
pub(super) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// `proc_pid_stat(5)`; what follows the name in parentheses, which may hold anything.
fn stat(pid: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 2..];
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        zombie: *fields.first()? == "Z",
    })
}
