//! Which engines this host has, and what they are good for: for `--runtime`, `--link auto` and `npxc doctor`.

use std::path::PathBuf;

use super::{Engine, Facts, Kind};
use crate::runtime::RuntimeError;

/// One engine that was looked for.
#[derive(Debug)]
pub struct Found {
    /// Which.
    pub kind: Kind,
    /// What it can do, or why it cannot be used.
    pub facts: Result<Facts, RuntimeError>,
    /// Why it cannot be used although it answers; what it has to do without. Sentences.
    pub problem: Option<String>,
    /// What is worth knowing about it, in words.
    pub notes: Vec<String>,
}

impl Found {
    /// Whether npxc can run a package in its containers.
    pub fn usable(&self) -> bool {
        self.facts.is_ok() && self.problem.is_none()
    }

    /// The program is not there at all.
    pub fn missing(&self) -> bool {
        matches!(&self.facts, Err(RuntimeError::NoEngine { source, .. }) if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Asks each engine. Blocks for some 100 ms each.
pub fn detect(engines: &[&Engine]) -> Vec<Found> {
    engines.iter().map(|engine| found(engine.kind, engine.facts())).collect()
}

fn found(kind: Kind, facts: Result<Facts, RuntimeError>) -> Found {
    let mut found = Found { kind, facts, problem: None, notes: Vec::new() };
    let Ok(facts) = &found.facts else { return found };
    let oldest = match kind {
        Kind::Podman => (3, 0),
        Kind::Docker => (20, 10),
    };
    if facts.remote {
        found.problem =
            Some("its containers run on another machine, with which npxc cannot share files".into());
    } else if facts.number() < oldest {
        found.problem =
            Some(format!("version {} is too old: npxc needs {}.{}", facts.version, oldest.0, oldest.1));
    } else if !PathBuf::from("/dev/net/tun").exists() {
        found.problem = Some("/dev/net/tun is missing, which the link is made with (`modprobe tun`)".into());
    }
    let rights = if facts.rootless { "rootless" } else { "as root" };
    found
        .notes
        .push(format!("version {}, {rights}, control groups v{}", facts.version, facts.cgroup_version));
    if !(facts.limits.memory && facts.limits.pids) {
        found.notes.push("it cannot limit memory and processes here: npxc watches over them itself".into());
    }
    if let Some(why) = no_wireguard(kind, facts) {
        found.notes.push(format!("only the link `socket`: {why}"));
    }
    found
}

/// Why the link `wireguard` cannot be had, if that is known beforehand.
pub(super) fn no_wireguard(kind: Kind, facts: &Facts) -> Option<String> {
    match kind {
        // The namespace of its networks cannot be entered from outside.
        Kind::Docker if facts.rootless => {
            Some("rootless docker keeps its networks out of npxc's reach".into())
        }
        Kind::Podman if facts.rootless && facts.number() < (4, 0) => {
            Some(format!("rootless podman {} keeps its networks out of npxc's reach", facts.version))
        }
        Kind::Podman | Kind::Docker => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str, rootless: bool) -> Facts {
        Facts { version: version.into(), rootless, cgroup_version: 2, ..Facts::default() }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let old = found(Kind::Docker, Ok(facts("19.3.1", false)));
        assert!(!old.usable() && old.problem.is_some_and(|why| why.contains("20.10")));
        let remote = found(Kind::Podman, Ok(Facts { remote: true, ..facts("5.0.0", true) }));
        assert!(!remote.usable());
        let source = std::io::ErrorKind::NotFound.into();
        let missing = found(Kind::Podman, Err(RuntimeError::NoEngine { program: "podman".into(), source }));
        assert!(missing.missing() && !missing.usable());
    }

    #[test]
    fn rootless_networks_are_in_reach_of_podman_only() {
        assert_eq!(no_wireguard(Kind::Podman, &facts("4.3.1", true)), None);
        assert_eq!(no_wireguard(Kind::Docker, &facts("28.0.0", false)), None);
        assert!(no_wireguard(Kind::Docker, &facts("28.0.0", true)).is_some());
        assert!(no_wireguard(Kind::Podman, &facts("3.4.0", true)).is_some());
    }
}
