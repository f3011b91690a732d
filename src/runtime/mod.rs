//! Where a package runs. A [`Runtime`] turns a [`Launch`] into a running, confined guest whose only way out is
//! the link that it hands back.
//!
//! Data comes from `session`, which resolves what a run is granted; it goes to the sandbox. Nothing in here
//! decides what may be reached.

pub mod apple;
mod carried;
#[cfg(target_os = "linux")]
mod cgroup;
mod command;
mod container;
mod control;
mod directory;
#[cfg(target_os = "linux")]
pub mod engine;
mod error;
mod etc;
mod explain;
pub mod fake;
mod mounts;
#[cfg(target_os = "linux")]
pub mod native;
#[allow(unsafe_code)] // tokio registers descriptors by number
mod ready;
mod report;
mod tunnel;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

pub use self::carried::guest_binary;
pub use self::error::RuntimeError;
pub use self::explain::apparmor_profile;
pub use self::mounts::KnownDirectories;
pub use self::report::{Outcome, StepReport};
pub use self::tunnel::WireGuardLink;

/// Tries what the embedded runtime needs, step by step; nothing where there is no embedded runtime.
pub fn check() -> Vec<StepReport> {
    #[cfg(target_os = "linux")]
    return native::check();
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// A way to run a guest.
pub trait Runtime {
    /// Its name, as on the command line and in the audit log.
    fn name(&self) -> &'static str;

    /// The kind of link that its guests are meant to have: `tun`, `wireguard` or `socket`. Which one a guest has,
    /// [`Guest::link`] says.
    fn link(&self) -> &'static str {
        "tun"
    }

    /// Whether a [`Layer`] can lie over a mount; otherwise that stays read-only.
    fn layers(&self) -> bool {
        false
    }

    /// User and group, as this machine counts, that what is mounted writable has to belong to, where these are not
    /// npxc's own.
    fn owner(&self) -> Result<Option<(u32, u32)>, RuntimeError> {
        Ok(None)
    }

    /// Builds the sandbox and returns when it stands: the link can be taken, the command waits for
    /// [`Guest::release`]. Blocks for some milliseconds.
    fn launch(&self, launch: &Launch, stdio: Stdio3) -> Result<Guest, RuntimeError>;
}

/// The guest's ends of its standard streams.
#[derive(Debug)]
pub struct Stdio3 {
    /// What the command reads from.
    pub stdin: OwnedFd,
    /// What the command writes to.
    pub stdout: OwnedFd,
    /// What the command complains to.
    pub stderr: OwnedFd,
}

/// Which link a container gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkChoice {
    /// The runtime's own: WireGuard for podman and docker, where it can be had, and the guest's warnings say if not and
    /// why; the socket for Apple's.
    #[default]
    Auto,
    /// A WireGuard tunnel over a network of the session's own.
    Wireguard,
    /// No network at all; the TUN's descriptor, or its packets, come over a socket.
    Socket,
}

/// npxc's end of the guest's only way out.
#[derive(Debug)]
pub enum Link {
    /// A descriptor of the TUN itself.
    Tun(TunLink),
    /// A WireGuard tunnel across a container network.
    WireGuard(WireGuardLink),
    /// Packets of a TUN over a byte stream.
    Stream(StreamLink),
}

/// npxc's end of a link over a byte stream, in [`npxc_link::frame`]'s frames: each packet behind its 10-byte
/// `virtio_net_hdr`.
#[derive(Debug)]
pub struct StreamLink {
    /// Connected to the guest, or to what relays it.
    pub socket: UnixStream,
    /// As in [`TunLink`].
    pub tso: bool,
    /// Largest packet without segmentation offload, bytes.
    pub mtu: u16,
}

/// npxc's end of the guest's only network interface: one `read` or `write` is one packet.
#[derive(Debug)]
pub struct TunLink {
    /// Non-blocking. Reading does not fail when the guest ends: watch [`Guest::wait`].
    pub fd: OwnedFd,
    /// Each packet has a 10-byte `virtio_net_hdr` in front.
    pub vnet_hdr: bool,
    /// The guest may send TCP segments up to 64 KiB and leave checksums to the reader, as the header says;
    /// the same may be written to it.
    pub tso: bool,
    /// Largest packet without segmentation offload, bytes.
    pub mtu: u16,
}

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What became of the command.
    pub status: Status,
    /// The limit that was hit, if one was: the reason for the status in most cases.
    pub limit: Option<LimitHit>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it; SIGKILL also stands for [`Guest::kill`] and for a limit.
    Signaled(i32),
}

/// A limit that a guest ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitHit {
    /// [`Limits::memory`]: processes were killed.
    Memory,
    /// [`Limits::pids`]: no more processes could be made, or all were killed.
    Pids,
}

/// A running guest. Dropping it kills everything inside and waits for that.
#[derive(Debug)]
pub struct Guest {
    link: Option<Link>,
    /// What kind of link that is, or was.
    kind: &'static str,
    warnings: Vec<String>,
    /// The directory of what it writes into its layer.
    written: Option<OwnedFd>,
    process: Process,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one per run
enum Process {
    #[cfg(target_os = "linux")]
    Native(native::Process),
    #[cfg(target_os = "linux")]
    Engine(engine::Process),
    Apple(apple::Process),
    Fake(fake::Process),
}

impl Guest {
    /// The kind of its link: `tun`, `wireguard` or `socket`.
    pub fn link(&self) -> &'static str {
        self.kind
    }

    /// The link, once.
    pub fn take_link(&mut self) -> Option<Link> {
        self.link.take()
    }

    /// What the sandbox has to do without on this machine, as sentences for people.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The directory of what it writes into a layer that ends with it, once. Its content is the guest's: nothing in it
    /// may be followed.
    pub fn take_written(&mut self) -> Option<OwnedFd> {
        self.written.take()
    }

    /// Starts the command; the router has to be up by now.
    pub fn release(&mut self) -> Result<(), RuntimeError> {
        match &mut self.process {
            #[cfg(target_os = "linux")]
            Process::Native(process) => process.release(),
            #[cfg(target_os = "linux")]
            Process::Engine(process) => process.release(),
            Process::Apple(process) => process.release(),
            Process::Fake(process) => process.release(),
        }
    }

    /// Waits for the end of the command and with it of everything inside. Cancel safe; how it ended can be asked for
    /// again. A command that could not be executed is an error, once: after that it counts as killed.
    pub async fn wait(&mut self) -> Result<Ended, RuntimeError> {
        match &mut self.process {
            #[cfg(target_os = "linux")]
            Process::Native(process) => process.wait().await,
            #[cfg(target_os = "linux")]
            Process::Engine(process) => process.wait().await,
            Process::Apple(process) => process.wait().await,
            Process::Fake(process) => process.wait().await,
        }
    }

    /// SIGTERM to every process inside.
    pub fn terminate(&self) {
        match &self.process {
            #[cfg(target_os = "linux")]
            Process::Native(process) => process.terminate(),
            #[cfg(target_os = "linux")]
            Process::Engine(process) => process.terminate(),
            Process::Apple(process) => process.terminate(),
            Process::Fake(process) => process.terminate(),
        }
    }

    /// SIGKILL to everything inside; [`wait`](Self::wait) then returns soon.
    pub fn kill(&self) {
        match &self.process {
            #[cfg(target_os = "linux")]
            Process::Native(process) => process.kill(),
            #[cfg(target_os = "linux")]
            Process::Engine(process) => process.kill(),
            Process::Apple(process) => process.kill(),
            Process::Fake(process) => process.kill(),
        }
    }
}

/// What a runtime has to start: everything is already resolved and granted.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments, as paths and words inside the guest.
    pub command: Vec<OsString>,
    /// The whole environment of the command; nothing is added but what the sandbox itself needs.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the guest; must exist there.
    pub cwd: PathBuf,
    /// Host directories and files made visible, in order.
    pub mounts: Vec<Mount>,
    /// What lets the guest write into one of the mounts, where the runtime can.
    pub layer: Option<Layer>,
    /// Resource limits.
    pub limits: Limits,
    /// Files to put under the guest's private `/etc` or home: path inside the guest, content.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// One host path made visible inside the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the host.
    pub host: PathBuf,
    /// Absolute path inside the guest.
    pub guest: PathBuf,
    /// Whether the guest may write there.
    pub access: Access,
}

/// A private layer over a read-only mount: the guest writes there, and the host's directory stays as it is. A runtime
/// without it leaves the mount read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Which mount: its path inside.
    pub guest: PathBuf,
    /// The same directories again, which their owner may write to, with writable copies of small data files in them.
    pub directories: PathBuf,
    /// `upper` and `work` in here take what the guest writes, and nobody else uses them meanwhile. `None`: that ends
    /// with the guest, and takes [`Limits::scratch`] bytes at the most.
    pub kept: Option<PathBuf>,
}

/// Whether the guest may write to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The guest can read only.
    ReadOnly,
    /// The guest can read and write.
    ReadWrite,
}

/// Resource limits of a guest. Enforced by cgroups where they are delegated, by rlimits and npxc's own
/// supervision elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Memory of all processes together, bytes.
    pub memory: u64,
    /// CPU time per wall time, in cores; `None` for no limit.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: u64,
    /// Size of each private writable file system (`/tmp`, home), bytes.
    pub scratch: u64,
    /// Somebody chose `memory`, `cpus` or `pids`, and wants to know if one is not kept exactly. Defaults are there
    /// to keep a package from taking the machine down, which approximate ones do as well.
    pub chosen: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 4 << 30, cpus: None, pids: 512, scratch: 1 << 30, chosen: false }
    }
}
