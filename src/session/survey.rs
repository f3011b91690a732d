//! What a run would find on this machine, without running anything of it: for `--dry-run` and for hints.

use std::collections::BTreeMap;

use super::ground::DEFAULT_IMAGE;
use super::network::presets;
use crate::config::{Resolved, RuntimeChoice};
use crate::exit::Failure;
use crate::package::{HostEnv, Node, NpmConfig, Store};
use crate::policy::Rule;

/// What a run would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// What would be started.
    pub installed: Installed,
    /// What each preset stands for, by name without the `@`.
    pub presets: BTreeMap<String, Vec<Rule>>,
    /// The node that would run it, as people name it.
    pub node: String,
    /// The image of a container, unless there is none.
    pub image: Option<String>,
}

/// Whether a run would install the package first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// No: this is there, as `name@version`.
    Ready(String),
    /// Yes.
    Missing,
    /// It depends on the image's node, and no container is started to ask.
    Unknown,
}

/// Looks at node, npm's configuration and the store.
///
/// # Errors
/// What would stop a run as well: no node, a broken npm configuration, a local package that is not there.
pub fn survey(resolved: &Resolved) -> Result<Survey, Failure> {
    let host = HostEnv::current();
    if resolved.runtime.name != RuntimeChoice::Native {
        return contained(resolved, &host);
    }
    let node = Node::find(&host, &resolved.directories.cache)?;
    let npm = NpmConfig::read(&host, &node, false)?;
    let request = resolved.request.resolve(&host)?;
    let entry = Store::at(&resolved.directories.data).lookup(&request, &node)?;
    let ready = entry.filter(|entry| entry.manifest.is_ready(resolved.install.ignore_scripts));
    Ok(Survey {
        installed: ready.map_or(Installed::Missing, |entry| Installed::Ready(entry.manifest.title())),
        presets: presets(&npm),
        node: format!("{} ({})", node.version, node.exec.display()),
        image: None,
    })
}

/// In a container node is the image's. npm's configuration is the user's there as well; what the host's npm comes with
/// is looked at where there is one.
fn contained(resolved: &Resolved, host: &HostEnv) -> Result<Survey, Failure> {
    resolved.request.resolve(host)?;
    let presets = match Node::find(host, &resolved.directories.cache) {
        Ok(node) => presets(&NpmConfig::read(host, &node, false)?),
        Err(_) => BTreeMap::new(),
    };
    let image = resolved.runtime.image.as_deref().unwrap_or(DEFAULT_IMAGE).to_owned();
    Ok(Survey { installed: Installed::Unknown, presets, node: "the image's".to_owned(), image: Some(image) })
}
