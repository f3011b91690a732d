//! One running container as npxc sees it: the engine's client, the control socket, and what has to go at the end.

use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use npxc_guest::spec::{Ready, Supervise};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::network::Network;
use super::patience;
use super::place::Place;
use crate::runtime::cgroup::Watch;
use crate::runtime::command::{Client, Gather, essence};
use crate::runtime::control::Control;
use crate::runtime::ready::readable;
use crate::runtime::{Ended, RuntimeError};

/// How often removing a container is tried.
const TRIES: u32 = 4;
/// Between two tries, the first time; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(200);

/// A container from the engine's `run` to its end. Dropping it removes the container, its network and its directory,
/// in that order.
#[derive(Debug)]
pub(in crate::runtime) struct Process {
    pub(super) control: Control,
    pub(super) container: Container,
    pub(super) supervise: Supervise,
    /// Where the kernel counts what the container ran into.
    pub(super) watch: Watch,
    pub(super) outcome: Option<Ended>,
}

/// What an engine has made for a session.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) pidfd: Arc<OwnedFd>,
    pub(super) stderr: Option<Gather>,
    /// The engine's client has ended by itself, which it does after the container.
    pub(super) over: bool,
    /// Somebody sees to the removal already.
    removed: Arc<AtomicBool>,
    // In the order in which they go, after the container: see `drop`.
    pub(super) network: Option<Network>,
    pub(super) place: Option<Place>,
}

impl Container {
    pub(super) fn new(
        client: Client,
        name: String,
        mut child: Child,
        network: Option<Network>,
        place: Place,
    ) -> Result<Self, RuntimeError> {
        let stderr = Some(crate::runtime::command::gather(child.stderr.take()));
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pidfd = pid
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK));
        let pidfd = match pidfd {
            Ok(pidfd) => Arc::new(pidfd),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                remove(&client, &name);
                return Err(RuntimeError::io("pidfd_open")(error.into()));
            }
        };
        let removed = Arc::new(AtomicBool::new(false));
        Ok(Self { client, name, child, pidfd, stderr, over: false, removed, network, place: Some(place) })
    }

    /// How the engine's client ended, which it does with the container's exit status if there was one.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().ok()
    }

    /// What the engine said, once its client has ended. Nothing of it is the container's.
    pub(super) fn said(&mut self) -> String {
        let _ = self.child.wait();
        self.stderr.take().map(|stderr| stderr.finish(patience::LAST_WORDS)).unwrap_or_default()
    }
}

impl Process {
    pub(in crate::runtime) fn release(&mut self) -> Result<(), RuntimeError> {
        self.control.release(self.supervise)
    }

    /// Waits for the guest's word that its link stands.
    pub(super) fn ready(&mut self, patience: Duration) -> Result<Ready, RuntimeError> {
        self.control.ready(patience)?.ok_or_else(|| self.lost())
    }

    /// The guest ended without a word on the control socket; the engine may know why.
    fn lost(&mut self) -> RuntimeError {
        let said = essence(&self.container.said());
        if said.is_empty() {
            return RuntimeError::Lost(" while its link was built");
        }
        self.container.client.failed(&["run", self.container.name.as_str()], said)
    }

    pub(in crate::runtime) fn terminate(&self) {
        self.control.terminate();
    }

    pub(in crate::runtime) fn kill(&self) {
        self.control.cut();
        if self.outcome.is_some() || self.container.removed.swap(true, Ordering::Relaxed) {
            return;
        }
        // A container that does not end by itself (frozen, paused) is removed. Not here: that takes its time.
        let (client, name) = (self.container.client.clone(), self.container.name.clone());
        let ended = Arc::clone(&self.container.pidfd);
        std::thread::spawn(move || {
            if !has_ended(&ended, patience::GRACE) {
                remove(&client, &name);
            }
        });
    }

    pub(in crate::runtime) async fn wait(&mut self) -> Result<Ended, RuntimeError> {
        if let Some(ended) = self.outcome {
            return Ok(ended);
        }
        self.control.last_words().await?;
        // While its control group is still there.
        let held = self.watch.limit_hit();
        // The guest is the first process: with it, everything inside is being killed, and the client ends after that.
        let end = readable(&*self.container.pidfd);
        match tokio::time::timeout(patience::END, end).await {
            Ok(ended) => {
                ended.map_err(RuntimeError::io("waiting for the container"))?;
                self.container.child.wait().map_err(RuntimeError::io("waiting for the container"))?;
                self.container.over = true;
            }
            // Dropping removes the container by force.
            Err(_) => {
                tracing::debug!(name = self.container.name, "the engine's client outlives its container");
            }
        }
        let ended = self.control.conclude(held)?;
        self.outcome = Some(ended);
        Ok(ended)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.control.channel, rustix::net::Shutdown::Both);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.over && !has_ended(&self.pidfd, patience::GRACE) {
            remove(&self.client, &self.name);
            has_ended(&self.pidfd, patience::GRACE);
        }
        // Has no effect on a client that has ended.
        let _ = self.child.kill();
        let status = self.child.wait();
        // A client that was killed, or failed before the container's start, may not have removed it.
        let orderly = status.is_ok_and(|status| status.code().is_some_and(|code| code < FAILED));
        if !orderly {
            remove(&self.client, &self.name);
        }
        self.network.take();
        self.place.take();
    }
}

/// Exit statuses from here on are the engine's own errors (125: its own, 126 and 127: the container's start) or
/// signals.
const FAILED: i32 = 125;
/// The last of the engine's own errors; what is higher are signals.
const NOT_FOUND: i32 = 127;

/// Whether an engine's client may have ended like this because it could not start the container.
pub(super) fn is_refusal(status: Option<ExitStatus>) -> bool {
    status.and_then(|status| status.code()).is_some_and(|code| (FAILED..=NOT_FOUND).contains(&code))
}

/// Waits for the end of the process.
fn has_ended(pidfd: &OwnedFd, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).ok();
    let mut events = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, timeout.as_ref()))
        .is_ok_and(|ready| ready > 0)
}

/// Removes a container, running or not, with the volumes that were made for it. Whether it is gone.
pub(super) fn remove(client: &Client, name: &str) -> bool {
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        match client.ask(&["rm", "--force", "--volumes", name], patience::REMOVE) {
            Ok(output) if output.success || output.stderr.to_lowercase().contains("no such container") => {
                return true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    false
}
