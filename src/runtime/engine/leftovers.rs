//! What npxc left behind when it was killed: containers, networks and directories whose owner is no more. Exactly those
//! are removed; what has no label of ours, belongs to another user or another pid namespace, or to a living npxc, stays.
//!
//! Containers normally go by themselves (the lifeline, `--rm`); this is for what did not.

use std::collections::BTreeMap;
use std::path::Path;

use super::arguments::{self, LABEL, LABEL_PID, LABEL_REALM, LABEL_START, PREFIX};
use super::network::{self, labels};
use super::owner::Owner;
use super::{Engine, Kind, patience, place, process};
use crate::runtime::RuntimeError;
use crate::runtime::command::Client;

/// Most directories that are looked at, or objects of an engine that are inspected, in one go: a start shall not take
/// longer because of many.
const MOST: usize = 500;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Containers, by name.
    pub containers: Vec<String>,
    /// Networks, by name.
    pub networks: Vec<String>,
    /// Directories of sessions.
    pub directories: usize,
    /// What could not be removed.
    pub failed: Vec<String>,
}

impl Removed {
    /// Nothing was there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks the engine for everything of dead sessions, and removes it. Blocks for as long as the engine takes.
pub fn remove(engine: &Engine) -> Result<Removed, RuntimeError> {
    let removed = remove_from(engine.client())?;
    Ok(directories(&engine.directory, engine.kind, removed))
}

/// At a start: cheap when there is nothing, which the directories tell; in the background when there is something.
pub(super) fn look(engine: &Engine) {
    if place::dead(&engine.directory, engine.kind, MOST).is_empty() {
        return;
    }
    let (client, directory, kind) = (engine.client().clone(), engine.directory.clone(), engine.kind);
    std::thread::spawn(move || match remove_from(&client) {
        // A directory says that there may be more: it goes last.
        Ok(removed) => {
            let removed = directories(&directory, kind, removed);
            tracing::debug!(?removed, "cleared away what dead sessions left");
        }
        Err(error) => tracing::debug!(%error, "cannot clear away what dead sessions left"),
    });
}

fn directories(directory: &Path, kind: Kind, mut removed: Removed) -> Removed {
    for (id, path) in place::dead(directory, kind, MOST) {
        let name = arguments::name(&id);
        if removed.failed.contains(&name) {
            continue;
        }
        if place::remove(&path) {
            removed.directories += 1;
        } else {
            removed.failed.push(path.display().to_string());
        }
    }
    removed
}

fn remove_from(client: &Client) -> Result<Removed, RuntimeError> {
    let mut removed = Removed::default();
    let filter = format!("label={LABEL}");
    let containers =
        client.run(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter], patience::LIST)?;
    for name in inspect(client, "container", &lines(&containers)) {
        let list = if process::remove(client, &name) { &mut removed.containers } else { &mut removed.failed };
        list.push(name);
    }
    let networks = client.run(&["network", "ls", "--quiet", "--filter", &filter], patience::LIST)?;
    for name in inspect(client, "network", &lines(&networks)) {
        let list = if network::remove(client, &name) { &mut removed.networks } else { &mut removed.failed };
        list.push(name);
    }
    Ok(removed)
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MOST).collect()
}

/// The names of those among `ids` that dead sessions left: labels are anybody's to write, so the name has to be one of
/// npxc's as well. One after the other: one that goes meanwhile would spoil the
/// answer for all.
fn inspect(client: &Client, what: &str, ids: &[&str]) -> Vec<String> {
    let mut dead = Vec::new();
    for id in ids {
        let Ok(answer) = client.run(&[what, "inspect", id], patience::LIST) else { continue };
        dead.extend(
            described(what, &answer)
                .into_iter()
                .filter(|(name, labels)| name.starts_with(PREFIX) && is_dead(labels))
                .map(|(name, _)| name),
        );
    }
    dead
}

/// Names and labels in an answer to `inspect`.
fn described(what: &str, answer: &str) -> Vec<(String, BTreeMap<String, String>)> {
    if what == "network" {
        return labels(answer);
    }
    let containers: Vec<serde_json::Value> = serde_json::from_str(answer).unwrap_or_default();
    let describe = |container: &serde_json::Value| {
        // docker writes a slash before it.
        let name = container.get("Name")?.as_str()?.trim_start_matches('/').to_owned();
        let labels = container.pointer("/Config/Labels")?.as_object()?;
        let text =
            |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Some((name, labels.iter().filter_map(text).collect()))
    };
    containers.iter().filter_map(describe).collect()
}

/// Whether the labels name an owner that is no more. Labels that cannot be read name nobody.
fn is_dead(labels: &BTreeMap<String, String>) -> bool {
    let owner = || {
        Some(Owner {
            pid: labels.get(LABEL_PID)?.parse().ok()?,
            start: labels.get(LABEL_START)?.parse().ok()?,
            realm: labels.get(LABEL_REALM)?.parse().ok()?,
        })
    };
    labels.contains_key(LABEL) && owner().is_some_and(|owner| owner.is_dead())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn labels_of(owner: Owner) -> BTreeMap<String, String> {
        let split = |label: String| {
            label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap()
        };
        arguments::labels("7", owner).into_iter().map(split).collect()
    }

    #[test]
    fn the_dead_are_told_from_the_living_by_their_labels() {
        let this = Owner::this();
        assert!(!is_dead(&labels_of(this)));
        assert!(is_dead(&labels_of(Owner { start: 1, ..this })));
        for missing in [LABEL, LABEL_PID, LABEL_START, LABEL_REALM] {
            let mut labels = labels_of(Owner { start: 1, ..this });
            labels.remove(missing);
            assert!(!is_dead(&labels), "{missing}");
        }
    }

    #[test]
    fn exactly_what_the_dead_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let this = Owner::this();
        let json = |owner| serde_json::to_string(&labels_of(owner)).unwrap();
        let (dead, alive) = (json(Owner { start: 1, ..this }), json(this));
        let log = directory.path().join("log");
        let script = format!(
            r#"case "$1 $2" in
               "ps --all") printf 'c1\nc2\nc3\n';;
               "container inspect") case $3 in
                 c1) echo '[{{"Name": "/npxc-dead", "Config": {{"Labels": {dead}}}}}]';;
                 c2) echo '[{{"Name": "npxc-alive", "Config": {{"Labels": {alive}}}}}]';;
                 c3) echo '[{{"Name": "database", "Config": {{"Labels": {dead}}}}}]';;
                 esac;;
               "network ls") printf 'n1\nn2\nn3\n';;
               "network inspect") case $3 in
                 n1) echo '[{{"name": "npxc-dead", "labels": {dead}}}]';;
                 n2) echo '[{{"Name": "npxc-alive", "Labels": {alive}}}]';;
                 n3) echo '[{{"Name": "company-database", "Labels": {dead}}}]';;
                 esac;;
               *) echo "$@" >> '{}';;
            esac"#,
            log.display()
        );
        let client =
            Client { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into(), "sh".into()] };
        let engine = Engine::with_client(Kind::Podman, client, directory.path().to_owned());
        let removed = remove(&engine).unwrap();
        assert_eq!(removed.containers, ["npxc-dead"]);
        assert_eq!(removed.networks, ["npxc-dead"]);
        assert!(removed.failed.is_empty() && !removed.is_empty());
        assert_eq!(
            std::fs::read_to_string(log).unwrap(),
            "rm --force --volumes npxc-dead\nnetwork rm npxc-dead\n"
        );
    }
    #[test]
    fn what_another_engine_still_has_keeps_its_trace() {
        let directory = tempfile::tempdir().unwrap();
        let gone = Owner { start: 1, ..Owner::this() };
        let labels = serde_json::to_string(&labels_of(gone)).unwrap();
        // docker has a network of its dead session; podman has nothing.
        let script = format!(
            r#"case "$1 $2" in
               "network ls") echo n1;;
               "network inspect") echo '[{{"Name": "npxc-docker", "Labels": {labels}}}]';;
            esac"#
        );
        let engine = |kind, script: &str| {
            let client = Client {
                program: "/bin/sh".into(),
                arguments: vec!["-c".into(), script.into(), "sh".into()],
            };
            Engine::with_client(kind, client, directory.path().to_owned())
        };
        for kind in [Kind::Podman, Kind::Docker] {
            let place = place::Place::create(directory.path(), kind, kind.as_str(), gone).unwrap();
            std::mem::forget(place);
        }
        let podman = engine(Kind::Podman, "");
        assert_eq!(remove(&podman).unwrap(), Removed { directories: 1, ..Removed::default() });
        assert!(!directory.path().join("npxc-podman").exists() && remove(&podman).unwrap().is_empty());
        assert!(directory.path().join("npxc-docker").exists());
        let removed = remove(&engine(Kind::Docker, &script)).unwrap();
        assert_eq!((removed.networks, removed.directories), (vec!["npxc-docker".to_owned()], 1));
        assert!(!directory.path().join("npxc-docker").exists());
    }
}
