//! A docker daemon of a run's own, with everything of its below one directory. It makes no rules for the machine's
//! firewall, and no network that it is not asked for.

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
    /// A daemon that answers on [`Daemon::host`], or why there is none.
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
            if !matches!(daemon.child.try_wait(), Ok(None)) || Instant::now() > deadline {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(log.lines().last().unwrap_or("it said nothing").to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(daemon)
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

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0)) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
