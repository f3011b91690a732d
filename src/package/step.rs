//! One sandboxed run of npm, described and not run: an install makes steps, `session` runs
//! them. A step says everything that its sandbox is granted; a runner adds nothing to it.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;

use crate::audit;
use crate::policy::Rule;
use crate::runtime::{Launch, Limits, Mount};

/// Which of the two steps of an install this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// npm downloads: it has the user's tokens, reaches the registries and runs no script.
    Fetch,
    /// Install scripts run: no token, no egress unless it was allowed by name.
    Build,
}

impl Purpose {
    /// As it stands in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Build => "build",
        }
    }
}

/// Everything one run of npm is granted.
#[derive(Debug, Clone)]
pub struct Step {
    /// Fetch or build.
    pub purpose: Purpose,
    /// What is installed, for the audit log: the request's specs.
    pub package: String,
    /// Program and arguments inside the guest.
    pub command: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the guest.
    pub cwd: PathBuf,
    /// What is mounted: the staging directory (writable), local sources, node and npm.
    pub mounts: Vec<Mount>,
    /// Files in the guest's private home and `/etc`. They may hold tokens: never logged.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Rules of the step's allowlist; none means no network at all.
    pub allow: Vec<Rule>,
    /// Rules that may also reach private addresses: registries that the user configured.
    pub allow_private: Vec<Rule>,
}

impl Step {
    /// The launch that a runtime needs, with the session's limits.
    pub fn launch(&self, limits: Limits) -> Launch {
        Launch {
            command: self.command.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            mounts: self.mounts.clone(),
            layer: None,
            limits,
            files: self.files.clone(),
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Default)]
pub struct StepOutcome {
    /// The command exited with status 0.
    pub success: bool,
    /// How it ended otherwise, for people: `exit status 1`, `killed: memory limit`.
    pub ended: String,
    /// The last of what it wrote on stdout, [`OUTPUT_TAIL`] bytes at most.
    pub stdout_tail: String,
    /// The last of what it wrote on stderr, [`OUTPUT_TAIL`] bytes at most.
    pub stderr_tail: String,
    /// The denials of the run ([`audit::Event::FlowDeny`], refused [`audit::Event::Dns`], and the
    /// [`audit::Event::FlowClose`] of what the proxy did not connect), in order; a runner may
    /// stop at [`MAX_DENIALS`].
    pub denials: Vec<audit::Event>,
}

/// How much of each stream a runner keeps: npm's error report and a compiler's last words fit.
pub const OUTPUT_TAIL: usize = 64 << 10;
/// How many denials a runner keeps for the hint; all of them are in the audit log anyway.
pub const MAX_DENIALS: usize = 256;

/// Runs steps in a sandbox.
pub trait StepRunner {
    /// Runs one step to its end. Dropping the future ends the guest.
    fn run(&self, step: Step) -> impl Future<Output = Result<StepOutcome, StepError>>;
}

/// The sandbox could not be made, or failed under the step.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct StepError {
    /// What failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl StepError {
    /// Wraps the runner's own error.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>, hint: Option<String>) -> Self {
        Self { source: source.into(), hint }
    }
}
