//! The embedded sandbox of Linux: namespaces, made by npxc itself, without a daemon, an image or root.
//!
//! This side starts the helper (`npxc __guest`, see [`npxc_guest`]), checks what may be mounted, puts it into a
//! cgroup where it may, and talks to it over the control socket. It never forks by itself: npxc has threads.

mod check;
mod process;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use npxc_guest::spec::{HOME, MTU, Place, Purpose, Report, Spec, Supervise};
use npxc_guest::wire::Channel;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub(super) use self::check::check;
pub(super) use self::process::Process;
use super::cgroup::{Cgroup, Held, OWN_PROCESSES};
use super::{Guest, KnownDirectories, Launch, Limits, Link, Runtime, RuntimeError, Stdio3, TunLink};

/// Longest silence of a helper that builds a sandbox. It takes milliseconds; a machine that swaps may need
/// seconds; a helper that hangs must not hang npxc.
const PATIENCE: Duration = Duration::from_secs(30);

/// The embedded runtime.
#[derive(Debug, Clone)]
pub struct Native {
    program: PathBuf,
    directories: KnownDirectories,
    require_limits: bool,
}

impl Default for Native {
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            directories: KnownDirectories::default(),
            require_limits: false,
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
        Self { program, ..Self::default() }
    }

    /// What is known of this machine's directories before mounts are looked at.
    pub fn directories(mut self, directories: KnownDirectories) -> Self {
        self.directories = directories;
        self
    }

    /// Whether to start nothing where no cgroup holds the limits.
    pub fn require_limits(mut self, require: bool) -> Self {
        self.require_limits = require;
        self
    }

    /// Starts the helper with its end of the control socket.
    fn helper(&self) -> Result<Process, RuntimeError> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
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
        Process::new(child, Channel::new(ours))
    }
}

impl Runtime for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn layers(&self) -> bool {
        true
    }

    fn launch(&self, launch: &Launch, stdio: Stdio3) -> Result<Guest, RuntimeError> {
        // From here on dropping the process ends and reaps the helper.
        let mut process = self.helper()?;
        let helper = process.id();
        let (cgroup, started) = std::thread::scope(|scope| {
            // Moving a process into a cgroup takes milliseconds of waiting in the kernel, during which the
            // sandbox can be built.
            let cgroup = scope.spawn(|| Cgroup::create(&launch.limits, Some(helper)));
            let started = self.start(&mut process, launch, stdio);
            (cgroup.join().unwrap_or_default(), started)
        });
        let mut warnings = Vec::new();
        process.supervise = without_cgroup(&launch.limits, &cgroup, &mut warnings);
        process.cgroup = cgroup;
        if self.require_limits {
            required(&launch.limits, process.cgroup.held())?;
        }
        let started = started?;
        process.cgroup.add(started.init).map_err(RuntimeError::io("joining the cgroup"))?;
        warnings.extend(started.warnings);
        let (link, process) = (Some(Link::Tun(started.link)), super::Process::Native(process));
        Ok(Guest { link, kind: self.link(), warnings, written: started.written, process })
    }
}

/// What a sandbox that stands has brought.
struct Started {
    init: u32,
    link: TunLink,
    written: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Native {
    /// Sends the specification and waits for the sandbox to stand.
    fn start(&self, process: &mut Process, launch: &Launch, stdio: Stdio3) -> Result<Started, RuntimeError> {
        let mut checked = self.directories.check(&launch.mounts)?;
        if let Some(layer) = &launch.layer {
            let over = checked.binds.iter_mut().filter(|bind| bind.guest == layer.guest);
            over.for_each(|bind| {
                let (directories, kept) = (layer.directories.clone(), layer.kept.clone());
                bind.layer = Some(npxc_guest::spec::Layer { directories, kept });
            });
        }
        let files = launch.files.iter().map(|(path, content)| (path.clone().into(), content.clone()));
        let spec = Spec {
            purpose: Purpose::Run,
            command: launch.command.clone(),
            env: environment(&launch.env),
            cwd: launch.cwd.clone().into(),
            mounts: checked.binds,
            files: files.collect(),
            scratch: launch.limits.scratch,
            place: Place::Namespaces,
        };
        let descriptors = [stdio.stdin.as_fd(), stdio.stdout.as_fd(), stdio.stderr.as_fd()];
        // A helper that could not read it has said why, or its silence is the error below.
        let _ = process.control.channel.send(&spec, &descriptors);
        drop(stdio);
        let (mut init, mut ready) = (None, None);
        loop {
            match process.control.channel.receive::<Report>() {
                Ok(Some(Report::Forked(pid))) => init = u32::try_from(pid).ok(),
                Ok(Some(Report::Ready(report))) => ready = Some(report),
                Ok(Some(Report::Failed(failure))) => return Err(RuntimeError::Step(failure)),
                Ok(Some(
                    Report::Passed { .. } | Report::Lacking { .. } | Report::Limit(_) | Report::Ended { .. },
                )) => {
                    return Err(RuntimeError::Lost(": it said something else than expected"));
                }
                Ok(None) => return Err(RuntimeError::Lost(" while it was built")),
                Err(source) => return Err(RuntimeError::waiting(PATIENCE)(source)),
            }
            if let (Some(init), Some(ready)) = (init, &mut ready) {
                let fd = process
                    .control
                    .channel
                    .take_descriptor()
                    .ok_or(RuntimeError::Lost(": it sent no link"))?;
                let written = process.control.channel.take_descriptor();
                process.control.set_nonblocking()?;
                let link = TunLink { fd, vnet_hdr: ready.vnet_hdr, tso: ready.offload, mtu: MTU };
                let mut warnings = checked.warnings;
                warnings.append(&mut ready.warnings);
                return Ok(Started { init, link, written, warnings });
            }
        }
    }
}

/// Refuses limits that no cgroup holds.
fn required(limits: &Limits, held: Held) -> Result<(), RuntimeError> {
    let missing: Vec<&str> =
        [(held.memory, "memory"), (held.pids, "processes"), (held.cpu || limits.cpus.is_none(), "CPU time")]
            .into_iter()
            .filter_map(|(has, name)| (!has).then_some(name))
            .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(RuntimeError::Unfit {
        what: format!(
            "no cgroup of one's own limits {} here, and `require_limits` is set",
            missing.join(", ")
        ),
        hint: Some(format!(
            "{}, or let npxc watch over memory and processes itself: leave `--require-limits` out (`require_limits = \
             false`)",
            own_cgroup(has_systemd())
        )),
    })
}

/// Whether systemd runs this machine, as `sd_booted(3)` asks.
fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// How npxc gets a cgroup of its own.
fn own_cgroup(systemd: bool) -> &'static str {
    if systemd {
        "start npxc below a delegated cgroup: `systemd-run --user --scope npxc ...`"
    } else {
        "start npxc in a cgroup that you may write to, or as root where cgroups are writable; there is no systemd here that \
         would delegate one"
    }
}

/// What the sandbox has to do by itself because no cgroup does it.
fn without_cgroup(limits: &Limits, cgroup: &Cgroup, warnings: &mut Vec<String>) -> Supervise {
    let held = cgroup.held();
    let mut supervise = Supervise::default();
    if !held.memory {
        supervise.memory = Some(limits.memory);
    }
    if !held.pids {
        // The kernel exempts root, and counts all of a user's processes before 5.14.
        if !rustix::process::geteuid().is_root() && kernel_at_least(5, 14) {
            supervise.nproc = Some(limits.pids + OWN_PROCESSES);
        }
        supervise.pids = Some(limits.pids);
    }
    if limits.chosen && !(held.memory && held.pids) {
        warnings.push(format!(
            "no cgroup of one's own here: memory and process limits are watched by npxc, twice a second (for exact \
             ones, {})",
            own_cgroup(has_systemd())
        ));
    }
    if limits.cpus.is_some() && !held.cpu {
        warnings.push("the CPU limit needs a cgroup of one's own and is not enforced".into());
    }
    supervise
}

/// Whether the running kernel is at least this version.
fn kernel_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// The command's environment, with the few variables that belong to the sandbox where they are missing.
fn environment(given: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let mut all = given.to_vec();
    for (name, value) in [("HOME", HOME), ("USER", "user"), ("PATH", "/usr/local/bin:/usr/bin:/bin")] {
        if !given.iter().any(|(present, _)| present == name) {
            all.push((name.into(), value.into()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_named_only_where_it_runs() {
        assert!(own_cgroup(true).contains("systemd-run") && !own_cgroup(false).contains("systemd-run"));
    }

    #[test]
    fn required_limits_are_held_or_refused() {
        let held = |memory, pids, cpu| Held { memory, pids, cpu };
        let cpus = Limits { cpus: Some(0.5), ..Limits::default() };
        assert!(required(&Limits::default(), held(true, true, false)).is_ok());
        assert!(required(&cpus, held(true, true, true)).is_ok());
        for (limits, held, missing) in [
            (&Limits::default(), held(false, false, true), "memory, processes"),
            (&Limits::default(), held(true, false, true), "processes"),
            (&cpus, held(true, true, false), "CPU time"),
        ] {
            let Err(error) = required(limits, held) else { panic!("{missing}") };
            assert!(error.to_string().contains(missing), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("require_limits = false")));
            assert!(error.hint().is_some_and(|hint| hint.contains("leave `--require-limits` out")));
        }
    }

    #[test]
    fn limits_that_nobody_chose_are_no_reason_to_warn() {
        let mut warnings = Vec::new();
        let supervise = without_cgroup(&Limits::default(), &Cgroup::default(), &mut warnings);
        assert!(supervise.memory.is_some() && supervise.pids.is_some());
        assert!(warnings.is_empty(), "{warnings:?}");
        let limits = Limits { chosen: true, cpus: Some(1.0), ..Limits::default() };
        without_cgroup(&limits, &Cgroup::default(), &mut warnings);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }
}
