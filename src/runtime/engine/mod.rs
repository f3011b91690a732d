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
//! for a session has the session's name and labels, goes with the [`Guest`], and if npxc is killed, [`leftovers`] finds
//! it. Nothing in here decides what may be reached.

mod arguments;
mod bind;
mod detect;
mod facts;
pub mod image;
mod known;
pub mod leftovers;
mod manner;
mod network;
mod owner;
mod peer;
mod place;
mod process;

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use npxc_guest::spec::{
    ContainerLink, HOME, INNER_ID, MTU, Place as Surroundings, Purpose, Spec, Supervise, Wireguard,
};
use npxc_guest::wire::Channel;

use self::arguments::{Bound, Container as Words};
pub use self::bind::dispatch;
pub use self::detect::{Found, detect};
pub use self::facts::{CanLimit, Facts};
pub use self::image::Image;
use self::known::Known;
pub use self::manner::Manner;
use self::network::Network;
use self::owner::Owner;
use self::peer::{Allowed, First};
use self::place::Place;
use self::process::Container;
pub(super) use self::process::Process;
pub use super::carried::guest_binary;
use super::command::{Client, essence};
use super::control::Control;
use super::native::cgroup::Watch;
use super::{Guest, Launch, Link, Runtime, RuntimeError, Stdio3, TunLink, WireGuardLink, mounts};

/// How long an engine may take for what. Each is ten times and more what it takes on an idle machine.
mod patience {
    use std::time::Duration;

    /// From `run` to the guest's connection: about 0.3 s, but the first container of an image may be copied for its
    /// user ids.
    pub(super) const START: Duration = Duration::from_secs(90);
    /// From the specification to the link's TUN.
    pub(super) const LINK: Duration = Duration::from_secs(20);
    /// The first handshake: longer than the guest tries, which then says why.
    pub(super) const HANDSHAKE: Duration = Duration::from_secs(15);
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
    pub(super) const PULL: Duration = Duration::from_secs(3600);
    pub(super) const SILENCE: Duration = Duration::from_secs(600);
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

/// Which link a container gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LinkChoice {
    /// WireGuard where it can be had, else the socket; the guest's warnings say which and why.
    #[default]
    Auto,
    /// A WireGuard tunnel over a network of the session's own.
    Wireguard,
    /// No network at all; the TUN's descriptor comes over the control socket.
    Socket,
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
    trusted: Vec<PathBuf>,
    protected: Vec<PathBuf>,
    known: Mutex<Option<Known>>,
    /// The last launch used the socket, whatever was preferred.
    socket: AtomicBool,
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
            trusted: Vec::new(),
            protected: Vec::new(),
            known: Mutex::new(None),
            socket: AtomicBool::new(false),
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

    /// Directories whose content npxc made or chose itself: mounts below them are not searched for sockets.
    pub fn trust(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.trusted.extend(directories);
        self
    }

    /// Directories that hold npxc's own state: a mount that contains one is refused.
    pub fn protect(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.protected.extend(directories);
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

    /// The image, once it was set.
    pub fn chosen_image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    /// Which engine.
    pub fn kind(&self) -> Kind {
        self.kind
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

impl Runtime for Engine {
    fn name(&self) -> &'static str {
        self.kind.as_str()
    }

    fn link(&self) -> &'static str {
        match self.link {
            LinkChoice::Socket => "socket",
            LinkChoice::Wireguard => "wireguard",
            LinkChoice::Auto if self.socket.load(Ordering::Relaxed) => "socket",
            LinkChoice::Auto => "wireguard",
        }
    }

    fn owner(&self) -> Result<Option<(u32, u32)>, RuntimeError> {
        // Every other engine maps this user to the workload's.
        let root = rustix::process::geteuid().is_root() && !self.facts()?.rootless;
        Ok(if root { Some(self.workload()?) } else { None })
    }

    fn launch(&self, launch: &Launch, stdio: Stdio3) -> Result<Guest, RuntimeError> {
        leftovers::look(self);
        let mut known = self.known()?;
        let prepared = self.prepare(launch, &known.facts)?;
        let mut warnings = prepared.warnings.clone();
        let mut way = first_link(self.link, self.kind, &known.facts, &mut warnings);
        loop {
            match self.attempt(launch, &prepared, &known, way, &stdio) {
                Ok((process, link)) => {
                    self.learn(&known);
                    self.socket.store(way == Way::Socket, Ordering::Relaxed);
                    warnings.extend(self.without_limits(&known, &launch.limits)?);
                    return Ok(Guest {
                        link: Some(link),
                        warnings,
                        process: super::Process::Engine(process),
                    });
                }
                Err(Unable::Refused { said, error }) => {
                    known.manner = known.manner.after(&known.facts, &said).ok_or(error)?;
                    // Before a container runs that would not be allowed to.
                    self.without_limits(&known, &launch.limits)?;
                }
                Err(Unable::NoNetwork(error)) if self.link == LinkChoice::Auto && way == Way::Wireguard => {
                    warnings
                        .push(format!("using the link `socket`, since `wireguard` cannot be had: {error}"));
                    way = Way::Socket;
                }
                Err(Unable::NoNetwork(error) | Unable::Failed(error)) => return Err(error),
            }
        }
    }
}

/// The link of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Wireguard,
    Socket,
}

/// Why an attempt came to nothing.
enum Unable {
    /// The engine refused; in another manner it may not.
    Refused { said: String, error: RuntimeError },
    /// There is no network for WireGuard.
    NoNetwork(RuntimeError),
    /// Nothing helps.
    Failed(RuntimeError),
}

impl From<RuntimeError> for Unable {
    fn from(error: RuntimeError) -> Self {
        Self::Failed(error)
    }
}

fn first_link(choice: LinkChoice, kind: Kind, facts: &Facts, warnings: &mut Vec<String>) -> Way {
    match choice {
        LinkChoice::Socket => Way::Socket,
        LinkChoice::Wireguard => Way::Wireguard,
        LinkChoice::Auto => match detect::no_wireguard(kind, facts) {
            None => Way::Wireguard,
            Some(why) => {
                warnings.push(format!("using the link `socket`, since {why}"));
                Way::Socket
            }
        },
    }
}

/// What is the same for every attempt.
struct Prepared {
    image: Image,
    bounds: Vec<Bound>,
    warnings: Vec<String>,
    identity: (u32, u32),
    allowed: Allowed,
}

impl Engine {
    fn prepare(&self, launch: &Launch, facts: &Facts) -> Result<Prepared, RuntimeError> {
        if facts.remote {
            return Err(RuntimeError::Unfit {
                what: format!("{} runs its containers on another machine", self.kind.as_str()),
                hint: Some(
                    "npxc shares files and sockets with its containers: they have to run where npxc runs"
                        .into(),
                ),
            });
        }
        let image = self.image.clone().ok_or_else(|| RuntimeError::Unfit {
            what: "no image was chosen for the container".into(),
            hint: Some("give one by `--image`, or as `node_image` in npxc.toml".into()),
        })?;
        let checked = mounts::check(&launch.mounts, &self.trusted, &self.protected)?;
        let points = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut warnings = checked.warnings;
        let mut bounds = Vec::new();
        for bind in checked.binds {
            if bind.guest.starts_with("/npxc") {
                let why = format!("{} inside is the sandbox's own", bind.guest.display());
                return Err(RuntimeError::Mount { path: bind.host, why, hint: None });
            }
            let nested = has_mounts_below(&bind.host, &points);
            if nested && !bind.writable {
                warnings.push(format!(
                    "what is mounted below {} is not visible inside: the engine cannot make it read-only",
                    bind.host.display()
                ));
            }
            bounds.push(Bound { host: bind.host, guest: bind.guest, writable: bind.writable, nested });
        }
        let identity = self.identity.unwrap_or_else(|| workload(self.kind, facts));
        Ok(Prepared { image, bounds, warnings, identity, allowed: Allowed::read(facts) })
    }

    /// Warnings about limits that the engine does not hold.
    ///
    /// # Errors
    /// There are some, and [`Engine::require_limits`] was asked for.
    fn without_limits(&self, known: &Known, limits: &super::Limits) -> Result<Vec<String>, RuntimeError> {
        let can = known.limits();
        let missing: Vec<&str> = [
            (can.memory, "memory"),
            (can.pids, "processes"),
            (can.cpus || limits.cpus.is_none(), "CPU time"),
        ]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let missing = missing.join(", ");
        if self.require_limits {
            return Err(RuntimeError::Unfit {
                what: format!("{} cannot limit {missing} on this host, and `require_limits` is set", self.kind.as_str()),
                hint: Some("delegate control groups (version 2) to your user, or let npxc watch over memory and processes itself: `require_limits = false`".into()),
            });
        }
        if !limits.chosen {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "{} cannot limit {missing} on this host: npxc watches memory and processes itself, twice a second",
            self.kind.as_str()
        )])
    }

    /// One try, from the session's directory to the link.
    fn attempt(
        &self,
        launch: &Launch,
        prepared: &Prepared,
        known: &Known,
        way: Way,
        stdio: &Stdio3,
    ) -> Result<(Process, Link), Unable> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let owner = Owner::this();
        let place = Place::create(&self.directory, &id, owner)?;
        let program = place.program(&self.guest_program()?)?;
        let listener = place.listen()?;
        let mut bounds = prepared.bounds.clone();
        bounds.extend(place.files(prepared.identity, &launch.files)?);
        let network = match way {
            Way::Socket => None,
            Way::Wireguard => Some(
                Network::create(self.kind, &self.client, &id, owner, self.mtu).map_err(Unable::NoNetwork)?,
            ),
        };
        let words = Words {
            id: &id,
            owner,
            image: &prepared.image.id,
            program: &program,
            run: &place.run(),
            network: network.as_ref().map(|network| network.name.as_str()),
            identity: prepared.identity,
            bounds: &bounds,
            limits: &launch.limits,
            extra: &self.extra,
        };
        let words = arguments::arguments(self.kind, &known.facts, &known.manner, &words).map_err(|path| {
            RuntimeError::Mount {
                path,
                why: "engines cannot be told a path with a comma or a quote in it".into(),
                hint: None,
            }
        })?;
        let mut command = self.client.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| self.client.not_started(source))?;
        let mut container = Container::new(self.client.clone(), arguments::name(&id), child, network, place)?;

        let (stream, pid) =
            match peer::accept(&listener, &container.pidfd, &prepared.allowed, patience::START)? {
                First::Guest(stream, pid) => (stream, pid),
                First::Ended => {
                    let said = container.said();
                    let error = self.client.failed(&["run"], essence(&said));
                    return Err(Unable::Refused { said, error });
                }
                First::Nothing => {
                    let said = "the container did not start in time".to_owned();
                    return Err(self.client.failed(&["run"], said).into());
                }
            };
        drop(listener);
        if let Some(place) = &container.place {
            place.close();
        }
        let watch = pid.map(Watch::of).unwrap_or_default();
        let control = Control::new(Channel::new(OwnedFd::from(stream)));
        let can = known.limits();
        let supervise = Supervise {
            memory: (!can.memory).then_some(launch.limits.memory),
            pids: (!can.pids).then_some(launch.limits.pids),
            nproc: None,
        };
        let awaits_link = way == Way::Wireguard;
        let mut process = Process { control, container, supervise, awaits_link, watch, outcome: None };
        let link = match way {
            Way::Socket => self.socket_link(&mut process, launch, prepared, stdio)?,
            Way::Wireguard => self.wireguard_link(&mut process, launch, prepared, known, stdio)?,
        };
        Ok((process, link))
    }

    fn socket_link(
        &self,
        process: &mut Process,
        launch: &Launch,
        prepared: &Prepared,
        stdio: &Stdio3,
    ) -> Result<Link, RuntimeError> {
        send(process, spec(launch, prepared, ContainerLink::Tun), stdio);
        let ready = process.ready(patience::LINK)?;
        let fd = process.control.channel.take_descriptor().ok_or(RuntimeError::Lost(": it sent no link"))?;
        process.control.set_nonblocking()?;
        Ok(Link::Tun(TunLink { fd, vnet_hdr: ready.vnet_hdr, tso: ready.offload, mtu: MTU }))
    }

    fn wireguard_link(
        &self,
        process: &mut Process,
        launch: &Launch,
        prepared: &Prepared,
        known: &Known,
        stdio: &Stdio3,
    ) -> Result<Link, Unable> {
        let subnet = process.container.network.as_ref().and_then(|network| network.addresses.link());
        let subnet = subnet.ok_or(RuntimeError::Lost(": its network has no address"))?;
        // Only now: some engines give the host its address with the first container.
        let bound = if known.facts.rootless {
            let program = self.helper_program()?;
            bind::rootless(&self.client, &program, subnet)
        } else {
            bind::here(subnet)
        };
        let bound = bound.map_err(Unable::NoNetwork)?;
        let (ours, theirs) =
            npxc_link::wg::key_pairs().map_err(RuntimeError::io("the system's random source"))?;
        let wireguard = Wireguard {
            private: theirs.private,
            peer_public: theirs.peer_public,
            preshared: theirs.preshared,
            endpoint: bound.address,
            mtu: bound.mtu,
        };
        send(process, spec(launch, prepared, ContainerLink::Wireguard(wireguard)), stdio);
        Ok(Link::WireGuard(WireGuardLink { socket: bound.socket, keys: ours, mtu: bound.mtu }))
    }

    fn guest_program(&self) -> Result<std::borrow::Cow<'static, [u8]>, RuntimeError> {
        if let Some(path) = &self.guest {
            return fs::read(path).map(Into::into).map_err(RuntimeError::io("reading the guest's program"));
        }
        let binary = guest_binary();
        if binary.is_empty() {
            return Err(RuntimeError::Unfit {
                what: "this npxc was built without the program that runs inside containers".into(),
                hint: Some("build npxc where a static one can be linked: `rustup target add x86_64-unknown-linux-musl`".into()),
            });
        }
        Ok(binary.into())
    }

    fn helper_program(&self) -> Result<PathBuf, RuntimeError> {
        // By name: /proc/self/exe would be podman there.
        self.helper
            .clone()
            .map_or_else(std::env::current_exe, Ok)
            .map_err(RuntimeError::io("npxc's own program"))
    }
}

fn spec(launch: &Launch, prepared: &Prepared, link: ContainerLink) -> Spec {
    let (user, group) = prepared.identity;
    Spec {
        purpose: Purpose::Run,
        command: launch.command.clone(),
        env: environment(&launch.env, prepared.image.path.as_deref()),
        cwd: launch.cwd.clone().into(),
        mounts: Vec::new(),
        files: Vec::new(),
        scratch: 0,
        place: Surroundings::Container(npxc_guest::spec::Container { user, group, link }),
    }
}

/// A guest that could not read it has said why, or its silence is the error.
fn send(process: &Process, spec: Spec, stdio: &Stdio3) {
    let descriptors = [stdio.stdin.as_fd(), stdio.stdout.as_fd(), stdio.stderr.as_fd()];
    let _ = process.control.channel.send(&spec, &descriptors);
}

/// The command's environment, with the few variables that belong to the container where they are missing.
fn environment(given: &[(OsString, OsString)], path: Option<&str>) -> Vec<(OsString, OsString)> {
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut all = given.to_vec();
    for (name, value) in [("HOME", HOME), ("USER", "user"), ("PATH", path)] {
        if !given.iter().any(|(present, _)| present == name) {
            all.push((name.into(), value.into()));
        }
    }
    all
}

/// Whether a file system is mounted somewhere below `directory`, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn has_mounts_below(directory: &Path, mountinfo: &str) -> bool {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| {
        let point = unescape(point);
        let point = Path::new(&point);
        point != directory && point.starts_with(directory)
    })
}

/// Octal escapes of white space and backslashes.
fn unescape(text: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests;
