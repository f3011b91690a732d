//! What a package stands on: the runtime that was chosen, and the node that it will find there.

use std::path::PathBuf;

use crate::config::Resolved;
use crate::exit::Failure;
use crate::package::{HostEnv, Node};
use crate::runtime::Runtime;

/// A runtime with its node.
pub(super) struct Ground {
    pub(super) runtime: Box<dyn Runtime>,
    pub(super) node: Node,
}

impl Ground {
    /// The one that the user chose. `own` are files that npxc lays over others.
    pub(super) fn of(resolved: &Resolved, host: &HostEnv, own: Vec<PathBuf>) -> Result<Self, Failure> {
        Self::native(resolved, host, own)
    }

    #[cfg(target_os = "linux")]
    fn native(resolved: &Resolved, host: &HostEnv, own: Vec<PathBuf>) -> Result<Self, Failure> {
        let node = Node::find(host, &resolved.directories.cache)?;
        let trusted = node.mounts.iter().map(|mount| mount.host.clone());
        let trusted = trusted.chain([resolved.directories.data.clone()]).chain(own);
        let runtime = crate::runtime::native::Native::new()
            .trust(trusted.collect::<Vec<_>>())
            .protect(resolved.directories.own().into_iter().cloned());
        Ok(Self { runtime: Box::new(runtime), node })
    }

    #[cfg(not(target_os = "linux"))]
    fn native(_: &Resolved, _: &HostEnv, _: Vec<PathBuf>) -> Result<Self, Failure> {
        Err(Failure::new(crate::exit::ExitStatus::Runtime, "the native runtime takes Linux"))
    }
}
