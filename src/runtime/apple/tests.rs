#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use super::arguments::{Container, arguments};
use super::network::Network;
use super::*;
use crate::runtime::Limits;

/// The stand-in, with a state of the test's own.
fn standin(state: &Path) -> Apple {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/container");
    Apple::new(state.join("s")).program(program, [state.into()])
}

fn failures(apple: &Apple) -> Vec<&'static str> {
    let failed = |report: &StepReport| matches!(report.outcome, Outcome::Failed { .. });
    apple.check().iter().filter(|report| failed(report)).map(|report| report.step).collect()
}

#[test]
fn the_checks_name_what_is_missing() {
    let state = tempfile::tempdir().unwrap();
    let apple = standin(state.path());
    assert!(failures(&apple).is_empty());
    std::fs::write(state.path().join("stopped"), "").unwrap();
    assert_eq!(failures(&apple), ["service"]);
    std::fs::write(state.path().join("old"), "").unwrap();
    assert_eq!(failures(&apple), ["version", "service"]);
    assert_eq!(failures(&standin(state.path()).program("/nonexistent/container".into(), [])), ["container"]);
}

#[test]
fn networks_come_and_go() {
    let state = tempfile::tempdir().unwrap();
    let apple = standin(state.path());
    let network = Network::create(&apple, "npxc-1").unwrap();
    assert_eq!(network.gateway.to_string(), "192.168.65.1");
    assert!(Network::create(&apple, "npxc-1").unwrap_err().to_string().contains("already exists"));
    let made = state.path().join("network-npxc-1");
    assert!(made.exists(), "it is another session's");
    let gateway = network.gateway;
    drop(network);
    assert!(!made.exists() && !apple.remove_network("npxc-1"));
    std::fs::write(state.path().join("old"), "").unwrap();
    assert_eq!(Network::create(&apple, "npxc-2").unwrap().gateway, gateway);
}

#[test]
fn a_network_that_cannot_be_looked_at_is_deleted_again() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("log");
    let script = format!(
        "echo \"$@\" >> '{}'; [ \"$2\" != inspect ] || {{ echo 'no such thing' >&2; exit 1; }}",
        log.display()
    );
    let words = ["-c".into(), script.into(), "sh".into()];
    let apple = Apple::new(state.path().join("s")).program("/bin/sh".into(), words);
    assert!(Network::create(&apple, "npxc-1").unwrap_err().to_string().contains("no such thing"));
    let said = std::fs::read_to_string(log).unwrap();
    assert_eq!(said, "network create --internal npxc-1\nnetwork inspect npxc-1\nnetwork delete npxc-1\n");
}

#[test]
fn a_container_is_run_with_arguments_that_are_known_and_its_stdio_is_the_workloads() {
    let state = tempfile::tempdir().unwrap();
    let apple = standin(state.path());
    let control = state.path().join("control");
    let _listener = std::os::unix::net::UnixListener::bind(&control).unwrap();
    let bin = state.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let limits = Limits { cpus: Some(2.0), ..Limits::default() };
    let _network = Network::create(&apple, "npxc-1").unwrap();
    let container = Container {
        name: "npxc-1",
        image: "node:22",
        directory: &bin,
        control: &control,
        link: None,
        network: Some("npxc-1"),
        mounts: &[],
        limits: &limits,
        extra: &[],
    };
    let run = |container: &Container<'_>| {
        let mut command = apple.client.command(arguments(container).unwrap());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        // The stand-in may have refused, and be gone.
        let _ = child.stdin.take().unwrap().write_all(b"over and back");
        child.wait_with_output().unwrap()
    };
    let output = run(&container);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "over and back", "{output:?}");
    assert_eq!(apple.containers().unwrap(), ["npxc-1"]);
    assert!(apple.remove("npxc-1") && apple.containers().unwrap().is_empty());
    // It would refuse what it does not know.
    let output = run(&Container { network: Some("npxc-2"), ..container });
    assert!(!output.status.success());
}

#[test]
fn a_client_that_hangs_is_ended_while_its_container_is_removed() {
    let state = tempfile::tempdir().unwrap();
    let apple = standin(state.path());
    let place = super::place::Place::create(&apple.directory, "npxc-1").unwrap();
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    // What `kill` says from its thread: the removal is seen to.
    let over = std::sync::Arc::new(true.into());
    let errors = super::process::Errors::new(None, nowhere.into());
    drop(super::process::Container {
        apple: apple.clone(),
        name: "npxc-1".into(),
        child,
        errors,
        over,
        network: None,
        place: Some(place),
    });
    assert!(!apple.directory.join("npxc-1").exists());
}

#[test]
fn an_image_is_pulled_once() {
    let state = tempfile::tempdir().unwrap();
    let apple = standin(state.path());
    let mut said = Vec::new();
    let mut find = || apple.find_image("node:22", &mut |line| said.push(line.to_owned())).unwrap();
    let image = find();
    assert_eq!((image.path.as_deref(), &image), (Some("/usr/bin:/bin"), &find()));
    assert_eq!(said, ["pulling node:22"]);
}

#[test]
fn what_the_dead_left_is_removed_and_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let apple = standin(state.path());
    let _alive = super::place::Place::create(&apple.directory, "npxc-1").unwrap();
    let dead = apple.directory.join("npxc-2");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    for name in ["npxc-1", "npxc-2", "other"] {
        std::fs::write(state.path().join(format!("container-{name}")), "").unwrap();
        std::fs::write(state.path().join(format!("network-{name}")), "").unwrap();
    }
    assert_eq!(apple.remove_leftovers(), ["npxc-2"]);
    assert_eq!(apple.containers().unwrap(), ["npxc-1", "other"]);
    assert!(!state.path().join("network-npxc-2").exists() && state.path().join("network-npxc-1").exists());
    assert!(!dead.exists() && apple.remove_leftovers().is_empty());
}
