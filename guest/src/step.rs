//! The names of everything that can fail while a sandbox is built, so that the host can say which step it was
//! and what to do about it.

use serde::{Deserialize, Serialize};

/// One step of building the sandbox, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Connecting to npxc, receiving the specification over the control socket.
    Start,
    /// `unshare` of all namespaces.
    Namespaces,
    /// Writing `uid_map` and `gid_map`.
    IdentityMap,
    /// Forking the first process of the new pid namespace.
    Fork,
    /// The new root file system.
    Root,
    /// Binding the host's `/usr` and what belongs to it.
    System,
    /// The private `/etc`.
    Etc,
    /// Mounting `/proc`.
    Proc,
    /// The private `/dev`.
    Dev,
    /// `/tmp` and the home directory.
    Scratch,
    /// The loopback interface.
    Loopback,
    /// Opening `/dev/net/tun`.
    TunOpen,
    /// Creating the interface on it.
    TunCreate,
    /// Addresses and routes.
    Addresses,
    /// IPv6 on the link.
    Ipv6,
    /// Host paths made visible.
    Mounts,
    /// Files handed in.
    Files,
    /// `pivot_root` into the new root.
    Pivot,
    /// Resource limits by `setrlimit`.
    Limits,
    /// Dropping every capability.
    Capabilities,
    /// The Landlock rule set.
    Landlock,
    /// The seccomp filters.
    Seccomp,
    /// Becoming the workload's user, in a container.
    User,
    /// The WireGuard link: its socket, its process, and that it keeps running.
    Tunnel,
    /// The first WireGuard handshake.
    Handshake,
    /// Handing the link over.
    HandOver,
    /// Changing to the working directory.
    WorkingDirectory,
    /// Executing the command.
    Exec,
}

/// A step that failed, as it travels over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step:?}: {detail}{}", answer(*errno))]
pub struct Failure {
    /// Which step it was.
    pub step: Step,
    /// The kernel's answer; 0 where there is none.
    pub errno: i32,
    /// What was attempted: a path or a call.
    pub detail: String,
}

fn answer(errno: i32) -> String {
    if errno == 0 { String::new() } else { format!(": {}", std::io::Error::from_raw_os_error(errno)) }
}

impl Failure {
    /// A failure with the errno of `error`.
    pub fn new(step: Step, detail: impl Into<String>, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        let mut detail = detail.into();
        if errno == 0 {
            detail = format!("{detail}: {error}");
        }
        Self { step, errno, detail }
    }
}

/// Attaches a step and what was attempted to an I/O error.
#[cfg(target_os = "linux")]
pub(crate) trait At<T> {
    fn at(self, step: Step, detail: impl Into<String>) -> Result<T, Failure>;
}

#[cfg(target_os = "linux")]
impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step, detail: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(step, detail, &error.into()))
    }
}
