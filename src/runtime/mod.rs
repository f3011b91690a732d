//! Where a package runs. A [`Runtime`] turns a [`Launch`] into a running, confined guest whose only way out is
//! the link that it hands back.
//!
//! Data comes from `session`, which resolves what a run is granted; it goes to the sandbox. Nothing in here
//! decides what may be reached.

use std::ffi::OsString;
use std::path::PathBuf;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 4 << 30,
            cpus: None,
            pids: 512,
            scratch: 1 << 30,
        }
    }
}
