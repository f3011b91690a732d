//! How npxc ends: the statuses that scripts and clients see, and the failure every room's error becomes.

use std::process::ExitCode;

/// What to do where npxc's own directories have no room any more.
pub const FULL_DISK: &str = "the disk is full: `npxc clean --older-than 30d` gives back what is not used, XDG_DATA_HOME and \
                             XDG_CACHE_HOME can be on another one";

/// Whether a disk, or somebody's share of it, is full.
pub fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// npxc's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExitStatus {
    /// Everything went well, or the client closed stdin: 0.
    #[default]
    Success,
    /// The package's own status when it ended by itself.
    Package(u8),
    /// A configuration or argument error: 1.
    Config,
    /// The sandbox cannot be had: 2.
    Runtime,
    /// The package could not be installed: 3.
    Install,
    /// The package was killed or crashed: 4.
    GuestDied,
    /// A signal ended npxc: 130.
    Interrupted,
}

impl ExitStatus {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Package(code) => code,
            Self::Config => 1,
            Self::Runtime => 2,
            Self::Install => 3,
            Self::GuestDied => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// Why a command did not do what it was asked, ready to be said: one sentence, what to point at, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What npxc exits with.
    pub status: ExitStatus,
    /// What happened and why. Lines after the first are shown below it, indented (an excerpt with its caret).
    pub message: String,
    /// What to type or change next.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hints: Vec::new() }
    }

    /// One of npxc's own directories that cannot be used: `what` says for what, `error` why.
    pub fn of_directory(what: &str, error: &std::io::Error) -> Self {
        let hint = if is_full(error) { FULL_DISK } else { "`npxc doctor` tries npxc's directories" };
        Self::new(ExitStatus::Config, format!("{what}: {error}")).hint(hint)
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with those hints that there are.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }
}
