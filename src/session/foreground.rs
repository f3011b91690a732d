//! How a run in the foreground ends: the package exits, the client leaves, a signal comes, or a limit is hit.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::{Session, SessionError};
use crate::rpc::proxy::{Notice, Source};
use crate::runtime::Ended;

/// How long a guest may take to end after its client closed stdin, before it gets SIGTERM. Servers have state
/// to write; MCP clients themselves wait a few seconds before they lose patience.
const AFTER_EOF: Duration = Duration::from_secs(5);
/// How long it may take after SIGTERM, before it is killed.
pub(super) const AFTER_TERM: Duration = Duration::from_secs(3);

/// How a run ended, and at whose wish.
#[derive(Debug)]
pub(super) struct Conclusion {
    pub(super) ended: Result<Ended, SessionError>,
    pub(super) cause: Cause,
}

/// Why the guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// By itself.
    Itself,
    /// The client closed stdin or went away.
    Client,
    /// npxc got SIGINT, SIGTERM or SIGHUP.
    Interrupted,
}

impl Cause {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Itself => "package exited",
            Self::Client => "client closed stdin",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The signals that end a session.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over; before the guest starts, so that none is lost.
    pub(super) fn take() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// What comes of `work`, or nothing if a signal comes first.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.next() => None,
        }
    }
}

/// Waits for the end, and brings it about when it is due.
pub(super) async fn conclude(
    session: &mut Session,
    signals: &mut Signals,
    notices: &mut UnboundedReceiver<Notice>,
) -> Conclusion {
    let mut cause = Cause::Itself;
    let mut terminate_at: Option<Instant> = None;
    let mut kill_at: Option<Instant> = None;
    loop {
        let due = terminate_at.or(kill_at);
        tokio::select! {
            // What brought the end about comes before the end.
            biased;
            () = signals.next() => {
                // The second one is impatience.
                if cause == Cause::Interrupted {
                    session.kill();
                } else {
                    session.terminate();
                }
                cause = Cause::Interrupted;
                terminate_at = None;
                kill_at = Some(Instant::now() + AFTER_TERM);
            }
            Some(notice) = notices.recv() => {
                let leaves = matches!(notice, Notice::StdinEnded(Source::Client) | Notice::StdoutClosed);
                if leaves && cause == Cause::Itself {
                    cause = Cause::Client;
                    terminate_at = Some(Instant::now() + AFTER_EOF);
                }
            }
            ended = session.wait() => return Conclusion { ended, cause },
            () = sleep_until(due), if due.is_some() => {
                if terminate_at.take().is_some() {
                    session.terminate();
                    kill_at = Some(Instant::now() + AFTER_TERM);
                } else {
                    kill_at = None;
                    session.kill();
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
