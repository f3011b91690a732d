//! Every end of a container is the end of everything that was made for it.

use std::io::Read;

use npxc::runtime::Status;
use npxc::runtime::engine::{Kind, leftovers};

use super::docker::Daemon;
use super::machine::leave_out;
use super::world::{Running, alone, sh, start, try_start, wait, world};

const KILLED: Status = Status::Signaled(9);

/// Waits until the workload has started.
fn started(running: &mut Running) {
    let mut byte = [0];
    running.stdout.read_exact(&mut byte).unwrap();
}

const FOREVER: &str = "echo; sleep 600 & sleep 600 & wait";

#[test]
fn nothing_remains_of_any_end() {
    let Some(world) = world() else { return };
    let _alone = alone();
    let sessions = tempfile::tempdir_in(&world.directory).unwrap();
    let engine = world.engine_in(sessions.path().to_owned());
    let left = || -> Vec<_> {
        let entries = std::fs::read_dir(sessions.path()).unwrap().flatten();
        entries
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().starts_with("npxc-"))
            .collect()
    };

    // By itself.
    let mut running = start(&engine, &sh("exit 3"));
    wait(&mut running.guest).unwrap();
    drop(running);
    assert!(left().is_empty());
    // Asked to.
    let mut running = start(&engine, &sh("trap 'exit 5' TERM; echo; while :; do sleep 0.05; done"));
    started(&mut running);
    running.guest.terminate();
    assert_eq!(wait(&mut running.guest).unwrap().status, Status::Exited(5));
    drop(running);
    // Killed.
    let mut running = start(&engine, &sh(FOREVER));
    started(&mut running);
    running.guest.kill();
    assert_eq!(wait(&mut running.guest).unwrap().status, KILLED);
    drop(running);
    // Dropped, while it runs and before.
    let mut running = start(&engine, &sh(FOREVER));
    started(&mut running);
    drop(running);
    drop(try_start(&engine, &sh(FOREVER)).unwrap());

    assert!(left().is_empty(), "{:?}", left());
    let known = world.known();
    assert!(!known.contains("npxc-"), "{known}");
}

#[test]
fn a_container_that_is_frozen_is_removed() {
    let Some(world) = world() else { return };
    let _alone = alone();
    let mut running = start(&world.engine(), &sh(FOREVER));
    started(&mut running);
    let name = world.known().trim().to_owned();
    let paused = world.command(&["pause", &name]);
    if !paused.status.success() {
        // Without a control group of its own, or one with a freezer, an engine cannot, and says so.
        let said = String::from_utf8_lossy(&paused.stderr).to_lowercase();
        assert!(said.contains("cgroup") || said.contains("freezer"), "{said}");
        leave_out(&format!("a frozen container of {} ({said})", world.kind.as_str()));
        return;
    }
    running.guest.kill();
    assert_eq!(wait(&mut running.guest).unwrap().status, KILLED);
    drop(running);
    assert_eq!(world.known(), "");
}

#[test]
fn a_container_removed_by_somebody_else_is_a_killed_one() {
    let Some(world) = world() else { return };
    let _alone = alone();
    let mut running = start(&world.engine(), &sh(FOREVER));
    started(&mut running);
    let name = world.known().trim().to_owned();
    assert!(world.command(&["rm", "--force", &name]).status.success());
    assert_eq!(wait(&mut running.guest).unwrap().status, KILLED);
}

#[test]
fn a_daemon_that_is_restarted_takes_its_containers_along_and_nothing_is_left() {
    let Some(world) = world() else { return };
    if world.kind != Kind::Docker {
        return;
    }
    let directory = tempfile::Builder::new().prefix("npxc-x").tempdir().unwrap();
    let daemon = Daemon::start(directory.path()).unwrap();
    let engine = world.elsewhere(directory.path());
    let mut running = start(&engine, &sh(FOREVER));
    started(&mut running);
    drop(daemon);
    let ended = wait(&mut running.guest).unwrap();
    assert!(matches!(ended.status, Status::Signaled(_)), "{ended:?}");
    let _daemon = Daemon::start(directory.path()).unwrap();
    drop(running);
    let left = leftovers::remove(&engine).unwrap();
    assert!(left.failed.is_empty(), "{left:?}");
    let sessions = std::fs::read_dir(directory.path().join("s")).unwrap().flatten();
    let left: Vec<_> = sessions.filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    // And it works again.
    drop(start(&engine, &sh("true")));
}
