//! What can go wrong with a runtime: which operation, on what, and what the user can do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use npxc_guest::step::Failure;

use super::explain;

/// A sandbox that could not be started, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A step of building the sandbox failed.
    #[error("{}", explain::sentence(.0))]
    Step(Failure),
    /// A host path cannot be made visible inside.
    #[error("cannot mount {}: {why}", path.display())]
    Mount {
        /// The path on the host.
        path: PathBuf,
        /// Why not.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The sandbox's process ended or fell silent without a word.
    #[error("the sandbox ended unexpectedly{0}")]
    Lost(&'static str),
    /// The sandbox's process lives, and said nothing for too long.
    #[error("the sandbox did not stand after {} seconds of silence", patience.as_secs())]
    Silent {
        /// For how long it was waited.
        patience: Duration,
    },
    /// There is no such engine, or it cannot be executed.
    #[error("cannot run {}: {source}", program.display())]
    NoEngine {
        /// The engine's program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An engine refused a command.
    #[error("`{command}` failed: {said}")]
    Engine {
        /// The first words of the command.
        command: String,
        /// What it said about it.
        said: String,
    },
    /// An engine cannot do what was asked for.
    #[error("{what}")]
    Unfit {
        /// What it cannot do.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A system call on npxc's side failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl RuntimeError {
    /// What the user can do about it; may have several lines.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Step(failure) => explain::hint(failure),
            Self::Mount { hint, .. } | Self::Unfit { hint, .. } => hint.clone(),
            Self::Lost(_) => {
                Some("`npxc doctor` tries what this machine's runtimes need and says what is missing".into())
            }
            Self::Silent { .. } => {
                Some("a busy machine may need longer: try again when it has less to do".into())
            }
            Self::NoEngine { .. } => Some(
                "install the engine, or name its program by `program` below `[runtime]`; `npxc doctor` lists what is usable".into(),
            ),
            Self::Engine { said, .. } => Some(explain::refusal(said).into()),
            Self::Io { .. } => None,
        }
    }

    /// Waiting for the sandbox's word, for at most `patience` each time, has failed.
    pub(super) fn waiting(patience: Duration) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            // What a socket's timeout is called.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent { patience },
            _ => Self::io("waiting for the sandbox")(source),
        }
    }

    pub(super) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }
}
