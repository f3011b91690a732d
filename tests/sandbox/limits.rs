//! Limits that a package runs into.

use crate::*;

#[test]
fn too_much_memory_ends_the_sandbox_and_says_so() {
    let mut launch = launch(&["node", "-e", "const a = []; for (;;) a.push(Buffer.alloc(1 << 24, 1))"]);
    launch.limits.memory = 300 << 20;
    let (ended, _, _) = run(&launch);
    assert_eq!(ended.limit, Some(LimitHit::Memory), "{ended:?}");
    assert_ne!(ended.status, Status::Exited(0));
}

#[test]
fn too_many_processes_are_refused_and_reported() {
    let mut launch = sh("for i in $(seq 200); do sleep 1000 & done; wait");
    launch.limits.pids = 30;
    let (ended, out, err) = run(&launch);
    assert_eq!(ended.limit, Some(LimitHit::Pids), "{ended:?}{out}{err}");
    assert_ne!(ended.status, Status::Exited(0));
}

#[test]
fn scratch_space_is_limited() {
    let mut launch = sh("dd if=/dev/zero of=/tmp/x bs=1M count=20 2>&1 | grep -o 'No space left on device'");
    launch.limits.scratch = 8 << 20;
    assert_eq!(run(&launch).1, "No space left on device\n");
}
