//! What the host tells the helper, and what the helper tells the host. Plain data.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::step::{Failure, Step};

/// User and group id inside the sandbox.
pub const INNER_ID: u32 = 1000;
/// Home directory inside the sandbox.
pub const HOME: &str = "/home/user";
/// The guest's end of the link.
pub const GUEST_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(198, 18, 0, 2);
/// npxc's end of the link: gateway and resolver.
pub const GATEWAY_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(198, 18, 0, 1);
/// The guest's end of the link.
pub const GUEST_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd6e, 0x7078, 0x6300, 0, 0, 0, 0, 2);
/// npxc's end of the link: gateway and resolver.
pub const GATEWAY_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd6e, 0x7078, 0x6300, 0, 0, 0, 0, 1);
/// Largest packet on the link, bytes.
pub const MTU: u16 = 1500;

/// Everything a sandbox is made of. The workload's stdin, stdout and stderr travel beside it as descriptors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Whether to start a command, or only to try and report every step.
    pub purpose: Purpose,
    /// Program and arguments. A program without a slash is looked up in `PATH` of `env`, inside.
    pub command: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside.
    pub cwd: OsString,
    /// Host paths made visible, in order. In a container the engine has mounted them, and they are only compared.
    pub mounts: Vec<Bind>,
    /// Files written inside: path, content. In a container only if it is a machine of its own.
    pub files: Vec<(OsString, Vec<u8>)>,
    /// Size of each writable file system, bytes.
    pub scratch: u64,
    /// Who makes the namespaces.
    pub place: Place,
}

/// Where the sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In namespaces that the helper makes, with all that is in them.
    Namespaces,
    /// In a container that an engine made: `scratch` is the engine's, and 0 here.
    Container(Container),
}

/// What is left to do in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// User id of the workload, as the container counts.
    pub user: u32,
    /// Group id of the workload, as the container counts.
    pub group: u32,
    /// How packets get to npxc.
    pub link: ContainerLink,
    /// It is a virtual machine of its own, which no descriptor and no single file can be handed into: the workload's
    /// stdio is that of the first process, which writes `files` as well and then makes the root read-only. It has
    /// `SYS_ADMIN` and `MKNOD` for that.
    #[serde(default)]
    pub machine: bool,
}

/// The link of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerLink {
    /// A TUN in the container's network namespace, which has no other interface; its descriptor travels with
    /// [`Report::Ready`].
    Tun,
    /// A WireGuard tunnel over the container's network, which the workload does not see.
    Wireguard(Wireguard),
    /// A TUN in a network namespace of its own, whose packets are framed onto a unix socket.
    Stream(Stream),
}

/// The guest's end of a link over a byte stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The socket inside to connect to; not the control socket.
    pub socket: PathBuf,
    /// Largest packet that is not a segment to be cut, bytes.
    pub mtu: u16,
}

/// The guest's end of a WireGuard tunnel. Secret: wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wireguard {
    /// The guest's private key.
    pub private: [u8; 32],
    /// npxc's public key.
    pub peer_public: [u8; 32],
    /// The preshared key.
    pub preshared: [u8; 32],
    /// npxc's socket.
    pub endpoint: SocketAddr,
    /// Largest packet in the tunnel, bytes.
    pub mtu: u16,
}

impl Wireguard {
    /// Everything but the keys, which are zero.
    pub fn without_keys(&self) -> Self {
        let Self { endpoint, mtu, .. } = *self;
        Self { private: [0; 32], peer_public: [0; 32], preshared: [0; 32], endpoint, mtu }
    }
}

impl Drop for Wireguard {
    fn drop(&mut self) {
        self.private.zeroize();
        self.preshared.zeroize();
    }
}

impl fmt::Debug for Wireguard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, mtu, .. } = self;
        formatter
            .debug_struct("Wireguard")
            .field("endpoint", endpoint)
            .field("mtu", mtu)
            .finish_non_exhaustive()
    }
}

/// What a helper is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Start the command at [`Order::Go`].
    Run,
    /// Try every step, report each, end.
    Check,
}

/// Limits that the sandbox enforces by itself because no cgroup does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervise {
    /// Memory of all processes together, bytes; pid 1 looks at `/proc` from time to time.
    pub memory: Option<u64>,
    /// Processes and threads together, the same way.
    pub pids: Option<u64>,
    /// Processes and threads by `RLIMIT_NPROC`, where that counts per user namespace.
    pub nproc: Option<u64>,
}

/// One host path made visible.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute path on the host, resolved.
    pub host: PathBuf,
    /// Absolute path inside.
    pub guest: PathBuf,
    /// Whether the guest may write.
    pub writable: bool,
    /// Device and inode of what was checked on the host: something else in its place is refused.
    pub identity: (u64, u64),
    /// The guest may write all the same, elsewhere; read-only where the kernel cannot do that. Not in a container.
    #[serde(default)]
    pub layer: Option<Layer>,
}

/// What lies over a read-only directory, so that the guest can write into it and the host's stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// On the host: the same directories again, which their owner may write to, with writable copies of small data files.
    pub directories: PathBuf,
    /// On the host: `upper` and `work` in here take what the guest writes. Without it that is a file system of the
    /// sandbox's own, of [`Spec::scratch`] bytes, whose descriptor travels with [`Report::Ready`] after the link's.
    pub kept: Option<PathBuf>,
}

/// From npxc to init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Start the command, under these limits.
    Go(Supervise),
    /// SIGTERM to every process inside.
    Terminate,
}

/// From the helper or init to npxc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A step went well; only when checking.
    Passed {
        /// Which.
        step: Step,
        /// What is worth knowing about it.
        note: String,
    },
    /// A step went well, but without something that is good to have; only when checking.
    Lacking {
        /// Which.
        step: Step,
        /// What is missing, as a sentence.
        why: String,
    },
    /// The helper has forked init; its pid as npxc sees it. May come after what init says. Not in a container.
    Forked(i32),
    /// A step failed, and with it the start; when checking, others may follow.
    Failed(Failure),
    /// The sandbox stands; [`Order::Go`] is awaited. The TUN descriptor travels beside this, except where the link
    /// is WireGuard or a stream: then it means that the handshake is complete, or that the stream is connected.
    Ready(Ready),
    /// A limit that init watches over was exceeded; everything inside is being killed.
    Limit(Limit),
    /// The command ended.
    Ended {
        /// Exit status, where it exited.
        code: Option<i32>,
        /// Signal, where one killed it.
        signal: Option<i32>,
        /// A limit that was reached at that moment.
        limit: Option<Limit>,
    },
}

/// What a finished sandbox can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Packets carry a 10-byte `virtio_net_hdr`.
    pub vnet_hdr: bool,
    /// The guest may send segments larger than the MTU and partial checksums.
    pub offload: bool,
    /// The link has an IPv6 address.
    pub ipv6: bool,
    /// What was done without, in words.
    pub warnings: Vec<String>,
    /// What is worth knowing and nothing to worry about, in words.
    pub notes: Vec<String>,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Memory of all processes together.
    Memory,
    /// Number of processes and threads.
    Pids,
}
