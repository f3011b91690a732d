//! A docker daemon of a run's own, with everything of its below one directory. It makes no rules for the machine's
//! firewall, and no network that it is not asked for.

#![allow(dead_code, reason = "the benchmarks need less of it")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends when dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    /// A daemon that answers on [`Daemon::host`], or why there is none: the last that it said about what this machine
    /// does not let it do, if it ended for that, else the last at all.
    pub(super) fn start(directory: &Path) -> Result<Self, String> {
        let log = fs::File::create(directory.join("log")).map_err(|error| error.to_string())?;
        let option = |name: &str, path: &str| format!("--{name}={}", directory.join(path).display());
        let child = Command::new("dockerd")
            .arg(format!("--host={}", Self::host(directory)))
            .args([option("data-root", "data"), option("exec-root", "exec"), option("pidfile", "pid")])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut daemon = Self { child };
        let deadline = Instant::now() + PATIENCE;
        while !Self::answers(directory) {
            let ended = !matches!(daemon.child.try_wait(), Ok(None));
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it said nothing");
                let why = log.lines().rfind(|line| forbidden(line)).unwrap_or(last);
                return Err(if ended { why.to_owned() } else { format!("it does not answer: {last}") });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }

    /// A daemon for a test. Where this machine does not let it run, and it says so itself, there is none and
    /// `leave_out` hears why; whatever else keeps it from starting fails the test.
    pub(super) fn start_or(leave_out: fn(&str), directory: &Path) -> Option<Self> {
        let why = match Self::start(directory) {
            Ok(daemon) => return Some(daemon),
            Err(why) => why,
        };
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(forbidden(&why), "docker's daemon does not start: {why}\n{log}");
        leave_out(&format!("containers of docker (its daemon: {why})"));
        None
    }

    /// What `docker --host` takes.
    pub(super) fn host(directory: &Path) -> String {
        format!("unix://{}", directory.join("docker.sock").display())
    }

    fn answers(directory: &Path) -> bool {
        let mut command = Command::new("docker");
        command
            .args(["--host", &Self::host(directory), "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Whether these are last words, the daemon's own or its containerd's, about what only the machine can give. What it
/// can do without is a warning or an error in its log, and no such line.
fn forbidden(line: &str) -> bool {
    const LAST: [&str; 2] = ["failed to ", "containerd: "];
    const REASONS: [&str; 4] =
        ["operation not permitted", "permission denied", "read-only file system", "cgroup isn't mounted"];
    let fatal = line.starts_with("time=") && line.contains(" level=fatal ");
    (fatal || LAST.iter().any(|word| line.starts_with(word)))
        && REASONS.iter().any(|reason| line.to_lowercase().contains(reason))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0)) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
