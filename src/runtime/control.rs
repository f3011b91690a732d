//! npxc's end of a guest's control socket: orders in, reports out. Every runtime with a guest program speaks this.

use std::io;
use std::time::Duration;

use npxc_guest::spec::{Limit, Order, Ready, Report, Supervise};
use npxc_guest::wire::Channel;

use super::ready::readable;
use super::{Ended, LimitHit, RuntimeError, Status};

/// The number of SIGKILL, which is the same everywhere: how a guest ended that nobody asked.
const KILLED: Status = Status::Signaled(9);

/// A control socket, and what was heard on it.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) channel: Channel,
    /// The socket's end of file was seen.
    silent: bool,
    /// The last words.
    report: Option<Report>,
}

impl Control {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, silent: false, report: None }
    }

    /// From now on only [`last_words`](Self::last_words) reads.
    pub(super) fn set_nonblocking(&self) -> Result<(), RuntimeError> {
        rustix::io::ioctl_fionbio(&self.channel, true)
            .map_err(|error| RuntimeError::io("non-blocking socket")(error.into()))
    }

    /// Waits for a container's word that its link stands; nothing where it closed without one.
    pub(super) fn ready(&mut self, patience: Duration) -> Result<Option<Ready>, RuntimeError> {
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&self.channel, timeout, Some(patience))
            .map_err(|error| RuntimeError::io("socket timeout")(error.into()))?;
        match self.channel.receive::<Report>() {
            Ok(Some(Report::Ready(ready))) => {
                for note in &ready.notes {
                    tracing::debug!(note, "the container's link stands");
                }
                Ok(Some(ready))
            }
            Ok(Some(Report::Failed(failure))) => Err(RuntimeError::Step(failure)),
            Ok(Some(
                Report::Passed { .. }
                | Report::Lacking { .. }
                | Report::Forked(_)
                | Report::Limit(_)
                | Report::Ended { .. },
            )) => Err(RuntimeError::Lost(": it said something else than expected")),
            Ok(None) => Ok(None),
            Err(source) => Err(RuntimeError::waiting(patience)(source)),
        }
    }

    /// Starts the command.
    pub(super) fn release(&self, supervise: Supervise) -> Result<(), RuntimeError> {
        // Fails only if init is gone, and then `wait` knows more.
        self.channel.send(&Order::Go(supervise), &[]).map_err(RuntimeError::io("starting the command"))
    }

    pub(super) fn terminate(&self) {
        let _ = self.channel.send(&Order::Terminate, &[]);
    }

    /// The lifeline: init ends at the end of file, and everything inside with it.
    pub(super) fn cut(&self) {
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Write);
    }

    /// Waits until the guest has said how it ended, or said nothing and closed. Cancel safe.
    pub(super) async fn last_words(&mut self) -> Result<(), RuntimeError> {
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
        Ok(())
    }

    /// What the last words come to; everything inside is gone. `held` is a limit that the host saw being hit.
    pub(super) fn conclude(&mut self, held: Option<LimitHit>) -> Result<Ended, RuntimeError> {
        let mut limit = held;
        let status = match self.report.take() {
            Some(Report::Failed(failure)) => return Err(RuntimeError::Step(failure)),
            Some(Report::Ended { code, signal, limit: reached }) => {
                limit = limit.or(reached.map(hit));
                match (code, signal) {
                    (Some(code), _) => Status::Exited(code),
                    (None, Some(signal)) => Status::Signaled(signal),
                    (None, None) => KILLED,
                }
            }
            Some(Report::Limit(exceeded)) => {
                limit = Some(hit(exceeded));
                KILLED
            }
            Some(Report::Passed { .. } | Report::Lacking { .. } | Report::Forked(_) | Report::Ready(_))
            | None => KILLED,
        };
        // A limit that the command survived was met, not hit.
        let limit = limit.filter(|_| status != Status::Exited(0));
        Ok(Ended { status, limit })
    }
}

fn hit(limit: Limit) -> LimitHit {
    match limit {
        Limit::Memory => LimitHit::Memory,
        Limit::Pids => LimitHit::Pids,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_in_words_and_with_what_to_do() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut control = Control::new(Channel::new(ours.into()));
        let error = control.ready(Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, RuntimeError::Silent { .. }) && error.hint().is_some(), "{error:?}");
        let error = RuntimeError::Silent { patience: Duration::from_secs(20) };
        assert_eq!(error.to_string(), "the sandbox did not stand after 20 seconds of silence");
    }
}
