//! Containers of podman and docker, by their command lines.
//!
//! ```text
//! npxc ── podman run ──> container: npxc-guest (process 1) ── connects to ──> control socket (mounted) ── npxc
//! ```
//!
//! The engine makes the container: its image, mounts, limits, capabilities. The guest's program in it connects to
//! the control socket, gets the specification and the workload's stdio over it, and sets the link up: a TUN whose
//! descriptor comes back (link *socket*), or a WireGuard tunnel over a network of the session's own (link
//! *wireguard*). The socket is also the lifeline.
//!
//! What the engine can do on this host is found out: [`Facts`] by asking, [`Manner`] by its refusals. Everything made
//! for a session has the session's name and labels, goes with the [`super::Guest`], and if npxc is killed, [`leftovers`] finds
//! it. Nothing in here decides what may be reached.

mod arguments;
mod bind;
mod detect;
mod facts;
pub mod image;
mod known;
mod launch;
pub mod leftovers;
mod manner;
mod mountinfo;
mod network;
mod owner;
mod peer;
mod place;
mod process;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use npxc_guest::spec::INNER_ID;

pub use self::bind::dispatch;
pub use self::detect::{Found, detect};
pub use self::facts::{CanLimit, Facts};
pub use self::image::Image;
use self::known::Known;
pub use self::manner::Manner;
pub(super) use self::process::Process;
use super::command::Client;
use super::{KnownDirectories, LinkChoice, RuntimeError};

/// How long an engine may take for what. Each is ten times and more what it takes on an idle machine.
mod patience {
    use std::time::Duration;

    /// From `run` to the guest's connection: about 0.3 s, but the first container of an image may be copied for its
    /// user ids.
    pub(super) const START: Duration = Duration::from_secs(90);
    /// From the specification to the link's TUN.
    pub(super) const LINK: Duration = Duration::from_secs(20);
    /// Making, inspecting or deleting a network.
    pub(super) const NETWORK: Duration = Duration::from_secs(20);
    /// Inspecting an image.
    pub(super) const IMAGE: Duration = Duration::from_secs(20);
    /// Removing a container.
    pub(super) const REMOVE: Duration = Duration::from_secs(15);
    /// Listing what is there.
    pub(super) const LIST: Duration = Duration::from_secs(20);
    /// From the guest's end to its client's.
    pub(super) const END: Duration = Duration::from_secs(10);
    /// How long a container may take to end by itself once its lifeline is cut, before it is removed.
    pub(super) const GRACE: Duration = Duration::from_secs(3);
    /// For a stream to end whose program has ended.
    pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);
    /// A whole pull, and the longest silence in it: a large layer over a slow line.
    pub(super) const PULL: Duration = Duration::from_hours(1);
    pub(super) const SILENCE: Duration = Duration::from_mins(10);
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// podman 3 or later.
    Podman,
    /// docker 20.10 or later.
    Docker,
}

impl Kind {
    /// Its name on the command line, and its program's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }
}

/// podman or docker as a runtime.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    client: Client,
    /// Where sessions' directories are: this user's, on this machine.
    directory: PathBuf,
    image: Option<Image>,
    link: LinkChoice,
    mtu: Option<u16>,
    require_limits: bool,
    extra: Vec<OsString>,
    guest: Option<PathBuf>,
    helper: Option<PathBuf>,
    identity: Option<(u32, u32)>,
    directories: KnownDirectories,
    known: Mutex<Option<Known>>,
    /// The last launch had no tunnel: where that is left to npxc, the next one does not try again.
    no_wireguard: AtomicBool,
}

impl Engine {
    /// An engine by its own program, found in `PATH`. `directory` is for the sessions' own files: it is made, belongs
    /// to this user alone, and should be short (a socket's path has 107 bytes) and not in a network file system.
    pub fn new(kind: Kind, directory: PathBuf) -> Self {
        let client = Client { program: kind.as_str().into(), arguments: Vec::new() };
        Self::with_client(kind, client, directory)
    }

    fn with_client(kind: Kind, client: Client, directory: PathBuf) -> Self {
        Self {
            kind,
            client,
            directory,
            image: None,
            link: LinkChoice::default(),
            mtu: None,
            require_limits: false,
            extra: Vec::new(),
            guest: None,
            helper: None,
            identity: None,
            directories: KnownDirectories::default(),
            known: Mutex::new(None),
            no_wireguard: AtomicBool::new(false),
        }
    }

    /// Another program, and arguments that precede every command of it (`--root DIRECTORY`, `--host SOCKET`).
    pub fn program(mut self, program: PathBuf, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.client = Client { program, arguments: arguments.into_iter().collect() };
        self
    }

    /// Arguments that are added to every `run`.
    pub fn run_arguments(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.extra.extend(arguments);
        self
    }

    /// The image that containers are made of, from [`image::ensure`]. Nothing can be launched without.
    pub fn image(mut self, image: Image) -> Self {
        self.image = Some(image);
        self
    }

    /// Which link.
    pub fn link(mut self, link: LinkChoice) -> Self {
        self.link = link;
        self
    }

    /// MTU of the network under a WireGuard link, where it shall not be the engine's usual one. Larger is faster.
    pub fn network_mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Refuses to run where the engine cannot hold the limits, instead of warning.
    pub fn require_limits(mut self, require: bool) -> Self {
        self.require_limits = require;
        self
    }

    /// Another guest program than the one that npxc carries: static, for the image's architecture.
    pub fn guest(mut self, program: PathBuf) -> Self {
        self.guest = Some(program);
        self
    }

    /// Another npxc to be started as a helper; for tests, whose own program is none.
    pub fn helper(mut self, program: PathBuf) -> Self {
        self.helper = Some(program);
        self
    }

    /// Another user and group of the workload than [`Engine::workload`] would choose.
    pub fn identity(mut self, user: u32, group: u32) -> Self {
        self.identity = Some((user, group));
        self
    }

    /// What is known of this machine's directories before mounts are looked at.
    pub fn directories(mut self, directories: KnownDirectories) -> Self {
        self.directories = directories;
        self
    }

    /// What the engine can do on this host. Asked once.
    pub fn facts(&self) -> Result<Facts, RuntimeError> {
        Ok(self.known()?.facts)
    }

    /// User and group of the workload, as the container counts; what is mounted writable has to belong to it.
    /// A rootless engine's is this user, mapped to 1000 inside; docker's for an ordinary user is that user; for root
    /// it is 1000, so that what root owns is not the workload's.
    pub fn workload(&self) -> Result<(u32, u32), RuntimeError> {
        let facts = self.facts()?;
        Ok(self.identity.unwrap_or_else(|| workload(self.kind, &facts)))
    }

    fn client(&self) -> &Client {
        &self.client
    }

    fn known(&self) -> Result<Known, RuntimeError> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let facts = Facts::ask(self.kind, &self.client)?;
        let manner = known::remembered(&self.directory, self.kind, &facts);
        Ok(known.insert(Known { facts, manner }).clone())
    }

    fn learn(&self, learnt: &Known) {
        known::remember(&self.directory, self.kind, learnt);
        *self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(learnt.clone());
    }
}

fn workload(kind: Kind, facts: &Facts) -> (u32, u32) {
    let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let inner = (INNER_ID, INNER_ID);
    match kind {
        Kind::Podman if facts.rootless && !arguments::keeps_any_id(facts) => own,
        Kind::Podman => inner,
        // Rootless docker maps this user to root inside, and has no way to map it elsewhere.
        Kind::Docker if facts.rootless => (0, 0),
        Kind::Docker if own.0 == 0 => inner,
        Kind::Docker => own,
    }
}
