//! Disks without room: what is said, and what helps. npm's own download is among the mistakes (`mistakes`).
//!
//! The disk is a small tmpfs in a mount namespace of the test's own.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::mcp::{Client, text_of};
use super::unfinished::{Greeter, only_the_end_is_missing};
use super::world::{Npxc, world};

/// Runs the rest of its words where `$DISK` is a tmpfs with `$OPTIONS`, of which `$TAKEN` KiB are taken.
const SMALL: [&str; 4] = [
    "sh",
    "-c",
    "exec unshare -Urm sh -ec 'mount -t tmpfs -o \"$OPTIONS\" tmpfs \"$DISK\"; \
     head -c \"${TAKEN}k\" /dev/zero >\"$DISK/taken\"; exec \"$@\"' sh \"$@\"",
    "sh",
];

/// As [`SMALL`]; when that has ended, what is on the disk is copied to `$OUT`.
const KEPT: [&str; 4] = [
    "sh",
    "-c",
    "exec unshare -Urm sh -ec 'mount -t tmpfs -o \"$OPTIONS\" tmpfs \"$DISK\"; status=0; \"$@\" || status=$?; \
     cp -R \"$DISK/.\" \"$OUT\"; exit $status' sh \"$@\"",
    "sh",
];

/// One of npxc's directories, by its variable, on a disk with these options.
fn npxc(variable: &str, options: &str, taken: u32, arguments: &[&str]) -> Npxc {
    let (disk, state) = (world().scratch("disk"), world().scratch("state"));
    let mut command = Command::new(SMALL[0]);
    world().environment(&mut command);
    command
        .args(&SMALL[1..])
        .arg(world().command(&[]).get_program())
        .args(arguments)
        .env("XDG_STATE_HOME", &state)
        .env(variable, &disk)
        .env("DISK", &disk)
        .env("OPTIONS", options)
        .env("TAKEN", taken.to_string());
    Npxc { command, audit: state.join("npxc/audit") }
}

/// The package is installed, so that nothing but what a test is about wants room.
fn installed() -> String {
    let fixture = world().fixture().display().to_string();
    let (output, _) = world().npxc(&["install", &fixture]).output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fixture
}

#[test]
fn a_directory_of_npxcs_own_on_a_full_disk_says_so() {
    let fixture = installed();
    let words = [fixture.as_str(), "exit", "0"];
    let full = "npxc: hint: the disk is full: `npxc clean --older-than 30d` gives back what is not used, ";
    for (variable, options, taken, status, error) in [
        ("XDG_DATA_HOME", "size=4k", 4, 3, "npxc: error: cannot write "),
        ("XDG_DATA_HOME", "size=4k,nr_inodes=4", 0, 3, "npxc: error: cannot make the directory "),
        ("XDG_CACHE_HOME", "size=4k", 4, 1, "npxc: error: cannot make a place for what the package writes: "),
    ] {
        let (output, _) = npxc(variable, options, taken, &words).output();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{variable}: {stderr}");
        assert!(stderr.contains(error) && stderr.contains("No space left on device"), "{variable}: {stderr}");
        assert!(stderr.contains(full), "{variable}: {stderr}");
    }
}

#[test]
fn a_log_on_a_full_disk_says_so_and_nothing_runs() {
    let fixture = installed();
    let words = [fixture.as_str(), "say", "hello"];
    let hint = "npxc: hint: the disk is full: free some space, or choose a place on another one with --audit-log PATH\n";
    let (output, _) = npxc("XDG_STATE_HOME", "nr_inodes=3", 0, &words).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("npxc: error: the directory for audit logs, ") && stderr.ends_with(hint),
        "{stderr}"
    );

    // The file can be made, and takes nothing.
    let (output, _) = npxc("XDG_STATE_HOME", "size=4k", 4, &words).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said =
        "cannot be written (No space left on device (os error 28)): no connection is allowed from now on\n";
    assert!(stderr.contains(&format!("{said}{hint}")), "{stderr}");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{stderr}");
}

#[test]
fn a_disk_that_is_full_in_the_middle_ends_the_log_and_every_connection() {
    let fixture = installed();
    let server = Greeter::start();
    let (disk, out) = (world().scratch("disk"), world().scratch("out"));
    let mut command = Command::new(KEPT[0]);
    world().environment(&mut command);
    command
        .args(&KEPT[1..])
        .arg(world().command(&[]).get_program())
        .args(["--allow", &server.rule(), &fixture, "storm", &server.url()])
        .env("XDG_STATE_HOME", &disk)
        .env("DISK", &disk)
        .env("OUT", &out)
        .env("OPTIONS", "size=256k");
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Flows were allowed, and from then on none: not even one that the package only hears of.
    let (answered, why) = stdout.trim_end().split_once(' ').unwrap_or_else(|| panic!("{stdout}{stderr}"));
    let answered: usize = answered.parse().unwrap();
    assert!(answered > 0 && why != "undefined", "{stdout}{stderr}");
    let accepted = server.accepted();
    assert!((answered..=answered + 1).contains(&accepted), "{accepted} of {answered}: {stderr}");
    assert!(
        stderr.contains(
            "cannot be written (No space left on device (os error 28)): no connection is allowed from now on\n\
             npxc: hint: the disk is full: free some space, or choose a place on another one with --audit-log PATH\n"
        ),
        "{stderr}"
    );

    // What was written, to the last line, is as npxc wrote it.
    let logs: Vec<_> =
        fs::read_dir(out.join("npxc/audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [log] = logs.as_slice() else { panic!("{logs:?}") };
    let text = fs::read_to_string(log).unwrap();
    assert!(text.len() > 100_000 && text.ends_with('\n'), "{}", text.len());
    only_the_end_is_missing(log, &text);
    let opened = text.matches("\"event\":\"flow.open\"").count();
    assert!((1..=accepted).contains(&opened), "{opened} of {accepted}");
}

#[test]
fn a_file_of_which_no_copy_fits_is_refused_and_others_are_not() {
    let fixture = installed();
    let cwd = world().scratch("cwd");
    fs::write(cwd.join("large.txt"), vec![b'x'; 3 << 20]).unwrap();
    fs::write(cwd.join("small.txt"), "small").unwrap();
    let directory = cwd.to_str().unwrap();
    let mut client =
        Client::start(npxc("XDG_CACHE_HOME", "size=2m", 0, &["--cwd", directory, &fixture, "reader"]));
    client.tools();
    let refused = client.refused("tools/call", json!({"name": "read", "arguments": {"file": "large.txt"}}));
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("cannot be copied: No space left on device"), "{message}");
    assert!(message.contains(&format!("--mount {directory}")), "{message}");
    let read = client.call("read", json!({"file": "small.txt"}));
    let said: Value = serde_json::from_str(&text_of(&read)).unwrap();
    assert_eq!(said["text"], "small", "what was begun takes no room");
    let (status, stderr, _) = client.close();
    assert!(status.success(), "{stderr}");
}
