//! One running sandbox as npxc sees it: a helper process, a control socket, perhaps a cgroup.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use npxc_guest::spec::Supervise;
use npxc_guest::wire::Channel;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::PidfdFlags;

use crate::runtime::cgroup::Cgroup;
use crate::runtime::control::Control;
use crate::runtime::ready::readable;
use crate::runtime::{Ended, RuntimeError};

/// How long dropping a guest waits for the kernel to kill everything inside before it kills the helper, too. The
/// lifeline needs milliseconds.
const GRACE: Duration = Duration::from_secs(2);

/// A sandbox from its helper's start to its end.
#[derive(Debug)]
pub(in crate::runtime) struct Process {
    child: Child,
    pidfd: OwnedFd,
    pub(super) control: Control,
    pub(super) cgroup: Cgroup,
    /// What the sandbox watches over by itself.
    pub(super) supervise: Supervise,
    /// The helper is reaped, so everything inside is gone.
    outcome: Option<Ended>,
}

impl Process {
    pub(super) fn new(mut child: Child, channel: Channel) -> Result<Self, RuntimeError> {
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pidfd = pid
            .ok_or(io::ErrorKind::InvalidData.into())
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from));
        match pidfd {
            Ok(pidfd) => Ok(Self {
                child,
                pidfd,
                control: Control::new(channel),
                cgroup: Cgroup::default(),
                supervise: Supervise::default(),
                outcome: None,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(RuntimeError::io("pidfd_open")(error))
            }
        }
    }

    /// The helper's pid.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(in crate::runtime) fn release(&mut self) -> Result<(), RuntimeError> {
        self.control.release(self.supervise)
    }

    pub(in crate::runtime) fn terminate(&self) {
        self.control.terminate();
    }

    pub(in crate::runtime) fn kill(&self) {
        self.control.cut();
    }

    pub(in crate::runtime) async fn wait(&mut self) -> Result<Ended, RuntimeError> {
        if let Some(ended) = self.outcome {
            return Ok(ended);
        }
        self.control.last_words().await?;
        readable(&self.pidfd).await.map_err(RuntimeError::io("waiting for the sandbox"))?;
        self.child.wait().map_err(RuntimeError::io("waiting for the sandbox"))?;
        let held = self.cgroup.limit_hit();
        self.cgroup.remove();
        let ended = self.control.conclude(held)?;
        self.outcome = Some(ended);
        Ok(ended)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        let _ = rustix::net::shutdown(&self.control.channel, rustix::net::Shutdown::Both);
        let timeout = Timespec::try_from(GRACE).ok();
        let mut events = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, timeout.as_ref()));
        // Has no effect on a helper that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.cgroup.remove();
    }
}
