//! The embedded sandbox of Linux: namespaces, made by npxc itself, without a daemon, an image or root.
//!
//! This side starts the helper (`npxc __guest`, see [`npxc_guest`]), checks what may be mounted, puts it into a
//! cgroup where it may, and talks to it over the control socket. It never forks by itself: npxc has threads.

mod cgroup;
mod check;
pub(super) mod explain;
mod mounts;
mod process;
#[allow(unsafe_code)] // tokio registers descriptors by number
mod ready;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use npxc_guest::spec::{HOME, MTU, Purpose, Ready, Report, Spec, Supervise};
use npxc_guest::wire::Channel;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use self::cgroup::Cgroup;
pub use self::check::{Outcome, StepReport, check};
pub(super) use self::process::Process;
use super::{Guest, Launch, Limits, Runtime, RuntimeError, Stdio3, TunLink};

/// Longest silence of a helper that builds a sandbox. It takes milliseconds; a machine that swaps may need
/// seconds; a helper that hangs must not hang npxc.
const PATIENCE: Duration = Duration::from_secs(30);
/// Processes of the sandbox itself that a pid limit has to leave room for: the helper and init.
const OWN_PROCESSES: u64 = 2;

/// The embedded runtime.
#[derive(Debug, Clone)]
pub struct Native {
    program: PathBuf,
    trusted: Vec<PathBuf>,
    protected: Vec<PathBuf>,
}

impl Default for Native {
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            trusted: Vec::new(),
            protected: Vec::new(),
        }
    }
}

impl Native {
    /// The runtime of this program, whose `main` calls [`npxc_guest::dispatch`] first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses another npxc program as the helper; for tests, whose own program is none.
    pub fn with_program(program: PathBuf) -> Self {
        Self {
            program,
            ..Self::default()
        }
    }

    /// Directories whose content npxc made or chose itself (the store, node): mounts below them are not
    /// searched for sockets, which takes time with many files.
    pub fn trust(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.trusted.extend(directories);
        self
    }

    /// Directories that hold npxc's own state: a mount that contains one is refused.
    pub fn protect(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.protected.extend(directories);
        self
    }

    /// Starts the helper with its end of the control socket.
    fn helper(&self) -> Result<(Child, Channel), RuntimeError> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| RuntimeError::io("socketpair")(error.into()))?;
        rustix::net::sockopt::set_socket_timeout(&ours, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))
            .map_err(|error| RuntimeError::io("socket timeout")(error.into()))?;
        // No pre_exec: this way std can use vfork, which does not copy page tables.
        let child = Command::new(&self.program)
            .arg(npxc_guest::MARK)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(RuntimeError::io("starting the sandbox's helper"))?;
        Ok((child, Channel::new(ours)))
    }
}

impl Runtime for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn launch(&self, launch: &Launch, stdio: Stdio3) -> Result<Guest, RuntimeError> {
        let checked = mounts::check(&launch.mounts, &self.trusted, &self.protected)?;
        let mut warnings = checked.warnings;
        let cgroup = Cgroup::create(&launch.limits);
        let (nproc, supervise) = without_cgroup(&launch.limits, &cgroup, &mut warnings);
        let spec = Spec {
            purpose: Purpose::Run,
            command: launch.command.clone(),
            env: environment(&launch.env),
            cwd: launch.cwd.clone().into(),
            mounts: checked.binds,
            files: launch
                .files
                .iter()
                .map(|(path, content)| (path.clone().into(), content.clone()))
                .collect(),
            scratch: launch.limits.scratch,
            nproc,
            supervise,
        };
        let (child, channel) = self.helper()?;
        // From here on dropping the process ends and reaps the helper.
        let mut process = Process::new(child, channel, cgroup)?;
        let (ready, tun) = process.start(&spec, stdio)?;
        warnings.extend(ready.warnings.iter().cloned());
        let link = TunLink {
            fd: tun,
            vnet_hdr: ready.vnet_hdr,
            tso: ready.offload,
            mtu: MTU,
        };
        Ok(Guest {
            link: Some(link),
            warnings,
            process: super::Process::Native(process),
        })
    }
}

impl Process {
    /// Sends the specification and waits for the sandbox to stand.
    fn start(&mut self, spec: &Spec, stdio: Stdio3) -> Result<(Ready, OwnedFd), RuntimeError> {
        self.join_cgroup()?;
        let descriptors = [stdio.stdin.as_fd(), stdio.stdout.as_fd(), stdio.stderr.as_fd()];
        let channel = self.channel();
        // A helper that could not read it has said why, or its silence is the error below.
        let _ = channel.send(spec, &descriptors);
        drop(stdio);
        match channel.receive::<Report>() {
            Ok(Some(Report::Ready(ready))) => {
                let tun = channel
                    .take_descriptor()
                    .ok_or(RuntimeError::Lost(": it sent no link"))?;
                self.set_nonblocking()?;
                Ok((ready, tun))
            }
            Ok(Some(Report::Failed(failure))) => Err(RuntimeError::Step(failure)),
            Ok(Some(Report::Passed { .. } | Report::Limit(_) | Report::Ended { .. })) => {
                Err(RuntimeError::Lost(": it said something else than expected"))
            }
            Ok(None) => Err(RuntimeError::Lost(" while it was built")),
            Err(source) => Err(RuntimeError::Io {
                operation: "waiting for the sandbox",
                source,
            }),
        }
    }
}

/// What the sandbox has to do by itself because no cgroup does it.
fn without_cgroup(limits: &Limits, cgroup: &Cgroup, warnings: &mut Vec<String>) -> (Option<u64>, Supervise) {
    let held = cgroup.held();
    let mut supervise = Supervise::default();
    let mut nproc = None;
    if !held.memory {
        supervise.memory = Some(limits.memory);
    }
    if !held.pids {
        // The kernel exempts root, and counts all of a user's processes before 5.14.
        if !rustix::process::geteuid().is_root() && explain::kernel_at_least(5, 14) {
            nproc = Some(limits.pids + OWN_PROCESSES);
        }
        supervise.pids = Some(limits.pids);
    }
    if !(held.memory && held.pids) {
        warnings.push(
            "no cgroup of one's own here: memory and process limits are watched by npxc, twice a second \
             (start npxc with `systemd-run --user --scope` for exact ones)"
                .into(),
        );
    }
    if limits.cpus.is_some() && !held.cpu {
        warnings.push("the CPU limit needs a cgroup of one's own and is not enforced".into());
    }
    (nproc, supervise)
}

/// The command's environment, with the few variables that belong to the sandbox where they are missing.
fn environment(given: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let mut all = given.to_vec();
    for (name, value) in [
        ("HOME", HOME),
        ("USER", "user"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ] {
        if !given.iter().any(|(present, _)| present == name) {
            all.push((name.into(), value.into()));
        }
    }
    all
}
