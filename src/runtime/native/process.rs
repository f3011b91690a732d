//! One running sandbox as npxc sees it: a helper process, a control socket, perhaps a cgroup.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use npxc_guest::spec::{Limit, Order, Report, Supervise};
use npxc_guest::wire::Channel;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{PidfdFlags, Signal};

use super::cgroup::Cgroup;
use super::ready::readable;
use crate::runtime::{Ended, LimitHit, RuntimeError, Status};

/// How long dropping a guest waits for the kernel to kill everything inside before it kills the helper, too. The
/// lifeline needs milliseconds.
const GRACE: Duration = Duration::from_secs(2);

/// A sandbox from its helper's start to its end.
#[derive(Debug)]
pub(in crate::runtime) struct Process {
    child: Child,
    pidfd: OwnedFd,
    pub(super) channel: Channel,
    pub(super) cgroup: Cgroup,
    /// What the sandbox watches over by itself.
    pub(super) supervise: Supervise,
    /// The control socket's end of file was seen.
    silent: bool,
    /// The last words.
    report: Option<Report>,
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
                channel,
                cgroup: Cgroup::default(),
                supervise: Supervise::default(),
                silent: false,
                report: None,
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

    pub(super) fn set_nonblocking(&self) -> Result<(), RuntimeError> {
        rustix::io::ioctl_fionbio(&self.channel, true)
            .map_err(|error| RuntimeError::io("non-blocking socket")(error.into()))
    }

    pub(in crate::runtime) fn release(&mut self) -> Result<(), RuntimeError> {
        // Fails only if init is gone, and then `wait` knows more.
        self.channel.send(&Order::Go(self.supervise), &[]).map_err(RuntimeError::io("starting the command"))
    }

    pub(in crate::runtime) fn terminate(&self) {
        let _ = self.channel.send(&Order::Terminate, &[]);
    }

    pub(in crate::runtime) fn kill(&self) {
        // The lifeline: init ends at the end of file, and everything inside with it.
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Write);
    }

    pub(in crate::runtime) async fn wait(&mut self) -> Result<Ended, RuntimeError> {
        if let Some(ended) = self.outcome {
            return Ok(ended);
        }
        while self.report.is_none() && !self.silent {
            readable(&self.channel).await.map_err(RuntimeError::io("waiting for the sandbox"))?;
            match self.channel.fill() {
                Ok(0) => self.silent = true,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(RuntimeError::io("control socket")(error));
                }
                Ok(_) | Err(_) => {}
            }
            self.report = self.channel.buffered().map_err(RuntimeError::io("control socket"))?;
        }
        readable(&self.pidfd).await.map_err(RuntimeError::io("waiting for the sandbox"))?;
        self.child.wait().map_err(RuntimeError::io("waiting for the sandbox"))?;
        self.finish()
    }

    /// What it all came to; the helper is reaped.
    fn finish(&mut self) -> Result<Ended, RuntimeError> {
        let killed = Status::Signaled(Signal::KILL.as_raw());
        let mut limit = self.cgroup.limit_hit();
        self.cgroup.remove();
        let status = match self.report.take() {
            Some(Report::Failed(failure)) => return Err(RuntimeError::Step(failure)),
            Some(Report::Ended { code, signal, limit: reached }) => {
                limit = limit.or(reached.map(hit));
                match (code, signal) {
                    (Some(code), _) => Status::Exited(code),
                    (None, Some(signal)) => Status::Signaled(signal),
                    (None, None) => killed,
                }
            }
            Some(Report::Limit(exceeded)) => {
                limit = Some(hit(exceeded));
                killed
            }
            Some(Report::Passed { .. } | Report::Lacking { .. } | Report::Forked(_) | Report::Ready(_))
            | None => killed,
        };
        // A limit that the command survived was met, not hit.
        let limit = limit.filter(|_| status != Status::Exited(0));
        let ended = Ended { status, limit };
        self.outcome = Some(ended);
        Ok(ended)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both);
        let timeout = Timespec::try_from(GRACE).ok();
        let mut events = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, timeout.as_ref()));
        // Has no effect on a helper that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.cgroup.remove();
    }
}

fn hit(limit: Limit) -> LimitHit {
    match limit {
        Limit::Memory => LimitHit::Memory,
        Limit::Pids => LimitHit::Pids,
    }
}
