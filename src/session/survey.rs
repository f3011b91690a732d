//! What a run would find on this machine, without running anything of it: for `--dry-run` and for hints.

use std::collections::BTreeMap;

use super::run::presets;
use crate::config::Resolved;
use crate::exit::Failure;
use crate::package::{HostEnv, Node, NpmConfig, Store};
use crate::policy::Rule;

/// What a run would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// What would be started, as `name@version`; `None` if a run would install it first.
    pub installed: Option<String>,
    /// What each preset stands for, by name without the `@`.
    pub presets: BTreeMap<String, Vec<Rule>>,
    /// The host's node, as people name it.
    pub node: String,
}

/// Looks at node, npm's configuration and the store.
///
/// # Errors
/// What would stop a run as well: no node, a broken npm configuration, a local package that is not there.
pub fn survey(resolved: &Resolved) -> Result<Survey, Failure> {
    let host = HostEnv::current();
    let node = Node::find(&host, &resolved.directories.cache)?;
    let npm = NpmConfig::read(&host, &node, false)?;
    let request = resolved.request.resolve(&host)?;
    let entry = Store::at(&resolved.directories.data).lookup(&request, &node)?;
    let ready = entry.filter(|entry| entry.manifest.is_ready(resolved.install.ignore_scripts));
    Ok(Survey {
        installed: ready.map(|entry| entry.manifest.title()),
        presets: presets(&npm),
        node: format!("{} ({})", node.version, node.exec.display()),
    })
}
