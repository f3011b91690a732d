//! The composition root: puts one sandboxed run together and takes it apart again.
//!
//! Start order: the audit log, the sandbox (which hands out its link and waits), the datapath on that link, then
//! the command. Teardown is the reverse: the guest tree ends first, then its flows, then the log is closed. The
//! guest never runs without a router, and the router never without a log.
//!
//! [`run()`] is the main job, `step` a sandboxed step of an install. What goes into them: `host` what is found on the host
//! (`ground` the runtime and its node), `network` what was configured about it, `arguments` the paths that a package is started
//! with, `files` what its client may share, `keeping` what it may write. `record` writes the log's first and last line, `live`
//! lets its user ask and change it meanwhile, `observed` counts what observe mode let through, `refusals` says what a proxy did
//! not do, `foreground` how a run ends, `survey`, `inspect` and `lookup` what a run would find.

mod arguments;
mod files;
mod foreground;
mod ground;
mod host;
mod inspect;
mod keeping;
mod live;
mod lookup;
#[allow(unsafe_code)] // the allocator's setting has no safe wrapper
mod memory;
mod network;
mod observed;
pub mod online;
mod record;
mod refusals;
mod run;
mod step;
mod survey;
mod witness;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

pub use self::arguments::{Translated, is_shared, preview, shares_its_cwd};
pub use self::ground::chosen_apple;
#[cfg(target_os = "linux")]
pub use self::ground::chosen_engine;
pub use self::inspect::{Sight, Sights};
pub use self::keeping::lasting;
pub use self::lookup::{Found, look_up};
pub use self::memory::give_back_buffers;
pub use self::network::no_presets;
pub use self::run::{install, run, until_signal, update};
pub use self::survey::{Installed, Survey, survey};
use crate::audit::{AuditError, Event, Recorder};
use crate::egress::driver::{self, Datapath, Published};
use crate::egress::resolver::{self, Pinned};
use crate::exit::{ExitStatus, Failure};
use crate::net::dns::{self, Responder};
use crate::net::pins::Pins;
use crate::net::proxy::Proxying;
use crate::net::router::{Journal, MOST_FLOWS, Options};
use crate::package::{PackageError, Progress};
use crate::policy::Policy;
use crate::runtime::{Ended, Guest, Launch, Runtime, RuntimeError, Stdio3};

/// Descriptors that npxc needs beside those of flows: stdio, log, epoll, resolver, store.
const OTHER_DESCRIPTORS: usize = 128;

/// Everything one sandboxed run consists of.
pub struct Parts {
    /// What runs, and what it is granted of the host.
    pub launch: Launch,
    /// What it may reach.
    pub policy: Policy,
    /// How its resolver answers.
    pub dns: dns::Options,
    /// Names whose addresses are given (`--add-host`).
    pub pinned: Pinned,
    /// The proxy that connections go through.
    pub proxy: Option<Proxying>,
    /// Host ports that lead into the guest.
    pub published: Vec<Published>,
    /// Where verdicts go.
    pub journal: Box<dyn Journal>,
}

/// A guest and the datapath it hangs on.
#[derive(Debug)]
pub struct Session {
    guest: Guest,
    datapath: Option<Datapath>,
    cut_off: Arc<Notify>,
}

/// Why a session could not be started, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The sandbox could not be built, or failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The datapath could not be started.
    #[error("cannot start the datapath: {0}")]
    Datapath(std::io::Error),
    /// npxc's own stdio could not be tied to the guest's.
    #[error("cannot relay stdio: {0}")]
    Stdio(std::io::Error),
    /// The log does not take the session's first line.
    #[error("the audit log {} cannot be written, so nothing may run", .0.display())]
    Unrecorded(PathBuf),
    /// What an install writes could not be given to whom the container runs as, or taken back.
    #[error("cannot change the owner of what the installation writes: {0}")]
    Owner(String),
    /// The datapath ended while the guest was running; the guest was cut off with it and killed.
    #[error("npxc's own datapath failed; the guest was cut off and ended")]
    CutOff,
}

impl SessionError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(error) => error.hint(),
            Self::Datapath(_) | Self::Stdio(_) | Self::Unrecorded(_) | Self::Owner(..) => None,
            Self::CutOff => Some("this is a defect in npxc: please report it with the audit log".to_owned()),
        }
    }
}

impl Session {
    /// Builds the sandbox and the datapath on its link. The command waits for [`Session::release`].
    pub fn start(runtime: &dyn Runtime, parts: Parts, stdio: Stdio3) -> Result<Self, SessionError> {
        let mut guest = runtime.launch(&parts.launch, stdio)?;
        let link = guest.take_link().ok_or(RuntimeError::Lost(" before it handed out its link"))?;
        let cut_off = Arc::new(Notify::new());
        let ended = Arc::clone(&cut_off);
        let Parts { policy, dns, pinned, proxy, published, journal, .. } = parts;
        let options = move |link| Options {
            policy,
            responder: Responder::new(dns),
            pins: Pins::new(),
            journal,
            proxy,
            link,
            flows: most_flows(),
            epoch: Instant::now(),
            seed: seed(),
        };
        let datapath =
            Datapath::start(link, published, options, resolver::start(pinned), move || ended.notify_one())
                .map_err(SessionError::Datapath)?;
        Ok(Self { guest, datapath: Some(datapath), cut_off })
    }

    /// The kind of its link.
    pub fn link(&self) -> &'static str {
        self.guest.link()
    }

    /// What the sandbox has to do without on this machine.
    pub fn warnings(&self) -> &[String] {
        self.guest.warnings()
    }

    /// What it writes into a layer that ends with it, once ([`Guest::take_written`]).
    pub fn take_written(&mut self) -> Option<OwnedFd> {
        self.guest.take_written()
    }

    /// What tells the datapath things; none once it has ended.
    fn datapath(&self) -> Option<driver::Handle> {
        self.datapath.as_ref().map(Datapath::handle)
    }

    /// Starts the command.
    pub fn release(&mut self) -> Result<(), SessionError> {
        Ok(self.guest.release()?)
    }

    /// Waits for the command's end. Cancel safe.
    pub async fn wait(&mut self) -> Result<Ended, SessionError> {
        tokio::select! {
            biased;
            ended = self.guest.wait() => Ok(ended?),
            () = self.cut_off.notified() => {
                self.guest.kill();
                Err(SessionError::CutOff)
            }
        }
    }

    /// Asks everything inside to end.
    pub fn terminate(&self) {
        self.guest.terminate();
    }

    /// Ends everything inside.
    pub fn kill(&self) {
        self.guest.kill();
    }

    /// Ends what is left of the guest, then its flows.
    pub fn finish(mut self) {
        self.guest.kill();
        if let Some(datapath) = self.datapath.take() {
            datapath.stop();
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let status = if matches!(error, SessionError::Unrecorded(_)) {
            ExitStatus::Config
        } else {
            ExitStatus::Runtime
        };
        Failure::new(status, error.to_string()).hints(error.hint())
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        let status = match &error {
            // A step that could not even start lacks its sandbox, and so does a package without a node to run it.
            PackageError::Step(_)
            | PackageError::NodeMissing
            | PackageError::NodeUnusable { .. }
            | PackageError::NodeTooOld { .. }
            | PackageError::NpmMissing { .. } => ExitStatus::Runtime,
            // What is installed has programs, and another was named, or none where one has to be.
            PackageError::Bin { bins, .. } if !bins.is_empty() => ExitStatus::Config,
            PackageError::Io { .. }
            | PackageError::Spec(_)
            | PackageError::PackageCount { .. }
            | PackageError::NotAPackage { .. }
            | PackageError::Config { .. }
            | PackageError::Install(_)
            | PackageError::Refused { .. }
            | PackageError::Bin { .. } => ExitStatus::Install,
        };
        Failure::new(status, error.to_string()).hints(error.hints())
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Failure::new(ExitStatus::Config, error.to_string()).hints(error.hint())
    }
}

/// Something that a person should hear of while a session runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) words: String,
    pub(crate) hint: Option<String>,
}

impl Said {
    /// Tells it.
    fn tell(&self, words: &dyn Progress) {
        words.warning(&self.words);
        if let Some(hint) = &self.hint {
            words.hint(hint);
        }
    }
}

impl Journal for Recorder {
    fn record(&mut self, event: Event) -> bool {
        Recorder::record(self, event).is_ok()
    }

    fn healthy(&self) -> bool {
        Recorder::healthy(self)
    }
}

/// Flows that the process's descriptors allow; each may have two connection attempts under way.
fn most_flows() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = limit.map_or(MOST_FLOWS * 2, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    (descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2).clamp(16, MOST_FLOWS)
}

/// Raises this process's limit of descriptors as far as it may, so that a busy guest does not run into it.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Some((MOST_FLOWS * 2 + OTHER_DESCRIPTORS) as u64);
    let current = match (limit.maximum, most) {
        (Some(maximum), Some(most)) => Some(maximum.min(most)),
        (maximum, most) => maximum.or(most),
    };
    // Refused: then there are fewer flows, which `most_flows` takes into account.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
}

/// Unpredictable bits for sequence numbers.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hasher is keyed from the system's random source.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
