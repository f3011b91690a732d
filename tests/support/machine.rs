//! What a run of the tests may go without on this machine, and how it says so.
//!
//! A tool that is missing fails the test, unless `NPXC_TEST_LEAVE_OUT` names it (separated by commas): no run is green
//! because nothing ran. What is left out is said on stderr and, since nobody sees what a test says that passes, in the
//! file that `NPXC_TEST_LEFT_OUT` names.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fs::OpenOptions;
use std::io::Write;

/// Names the file that gets a line for whatever is left out.
const LEFT_OUT: &str = "NPXC_TEST_LEFT_OUT";
/// Names the tools that this machine cannot have.
const LEAVE_OUT: &str = "NPXC_TEST_LEAVE_OUT";

/// Whether a tool is there. One that is missing fails the test, unless it was left out on purpose.
#[track_caller]
pub(super) fn have(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    there_is(tool, std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()))
}

/// The same for what is no program: `found` says whether it is there.
#[track_caller]
pub(super) fn there_is(tool: &str, found: bool) -> bool {
    if found {
        return true;
    }
    assert!(left_out(tool), "this test needs {tool} (tests/run installs it)");
    leave_out(&format!("no {tool} here"));
    false
}

/// Whether this machine is known to go without.
pub(super) fn left_out(tool: &str) -> bool {
    std::env::var(LEAVE_OUT).unwrap_or_default().split(',').any(|name| name == tool)
}

/// Whether all of them are there; as [`have`].
#[track_caller]
pub(super) fn have_all(tools: &[&str]) -> bool {
    tools.iter().all(|tool| have(tool))
}

/// Whether this is root, which `what` takes; an ordinary user goes without.
pub(super) fn root_for(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        leave_out(&format!("{what} (this is an ordinary user)"));
    }
    root
}

/// Whether npxc carries a program for the first process of a container. Its build makes one for these architectures.
#[track_caller]
pub(super) fn carries(program: &[u8]) -> bool {
    let made = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    assert!(!made || !program.is_empty(), "npxc carries no guest program: its build says why in a warning");
    if !made {
        leave_out(&format!("containers (npxc has no guest program for {})", std::env::consts::ARCH));
    }
    made
}

/// Says that something does not run. One line.
#[track_caller]
pub(super) fn leave_out(what: &str) {
    let lines = what.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" / ");
    eprintln!("left out: {line}");
    let Some(path) = std::env::var_os(LEFT_OUT) else { return };
    // In one piece: other tests write there, too.
    let noted = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    assert!(noted.is_ok(), "cannot write into {LEFT_OUT}={}: {noted:?}", path.display());
}

/// Whether the long versions run (`NPXC_TEST_FULL=1`).
pub(super) fn full() -> bool {
    std::env::var_os("NPXC_TEST_FULL").is_some_and(|value| value == "1")
}
