//! How a run ends: the exit status, and that nothing of the guest is left.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::Signal;

use super::processes::{descendants, eventually, signal, wait, wait_for_end};
use super::world::{Npxc, world};

fn fixture(arguments: &[&str]) -> Npxc {
    let fixture = world().fixture().display().to_string();
    let mut words = vec![fixture.as_str()];
    words.extend(arguments);
    world().npxc(&words)
}

fn status(arguments: &[&str]) -> (Option<i32>, String) {
    let (output, _) = fixture(arguments).output();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn by_hand_the_status_is_the_packages_own() {
    for code in ["0", "1", "7", "255"] {
        let (status, stderr) = status(&["exit", code]);
        assert_eq!(status, Some(code.parse().unwrap()), "{stderr}");
    }
}

#[test]
fn a_package_that_is_killed_died() {
    for name in ["SIGKILL", "SIGSEGV"] {
        let (status, stderr) = status(&["die", name]);
        assert_eq!(status, Some(4), "{name}: {stderr}");
        assert!(stderr.contains("signal"), "{stderr}");
    }
}

#[test]
fn bad_arguments_stop_it_before_anything_starts() {
    for arguments in [
        &["--allow", "*", "some-package"][..],
        &["--allow", "example.com:http", "some-package"],
        &["--no-such-option", "some-package"],
        &["--mount", "/no/such/directory", "some-package"],
        &["not a package"],
        &[],
    ] {
        let (output, audit) = world().npxc(arguments).output();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
        assert!(audit.events().is_empty(), "{arguments:?} started something");
    }
}

#[test]
fn a_clients_leaving_is_success_whatever_the_package_says() {
    let mut child =
        fixture(&["server"]).command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let message = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
    stdin.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(answer, message);
    drop(stdin);
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_server_that_dies_under_its_client_died_even_if_the_client_goes_on() {
    let mut child = fixture(&["crash"]).command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let client = std::thread::spawn(move || {
        // Until npxc is gone.
        while stdin.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").is_ok() {}
    });
    assert_eq!(wait(&mut child).code(), Some(4));
    client.join().unwrap();
}

#[test]
fn what_only_writes_is_told_when_the_package_reads_no_more() {
    let mut child = fixture(&["exit", "0"]).command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    while stdin.write_all(b"y\n").is_ok() {}
    assert_eq!(wait(&mut child).code(), Some(0));
}

/// Starts the tree that only SIGKILL ends; returns when all of it runs.
fn tree() -> Child {
    let mut child = fixture(&["tree"]).command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn the_whole_tree_goes_when_the_client_closes_stdin() {
    let mut child = tree();
    let guests = descendants(child.id());
    assert!(guests.len() >= 2, "{guests:?}");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n").unwrap();
    drop(stdin);
    assert_eq!(wait(&mut child).code(), Some(0));
    wait_for_end(&guests);
}

#[test]
fn the_whole_tree_goes_when_npxc_is_asked_to_end() {
    for asked in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = tree();
        let guests = descendants(child.id());
        signal(child.id(), asked);
        assert_eq!(wait(&mut child).code(), Some(130), "{asked:?}");
        wait_for_end(&guests);
    }
}

#[test]
fn a_client_that_does_not_read_keeps_nothing_alive() {
    let mut flood = fixture(&["flood", "16000000"]);
    let mut child = flood.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    let guests = descendants(child.id());
    // Once, and then it has to end, although what the package wrote has nowhere to go.
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(&mut child).code(), Some(130));
    wait_for_end(&guests);
    drop(stdout);
}

#[test]
fn the_whole_tree_goes_when_npxc_is_killed_outright() {
    let mut child = tree();
    let guests = descendants(child.id());
    assert!(guests.len() >= 2, "{guests:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for_end(&guests);
}

#[test]
fn a_signal_ends_it_while_an_engine_is_asked() {
    let fixture = world().fixture().display().to_string();
    for arguments in [&["install", &fixture][..], &["update", "some-package"], &[&fixture]] {
        let scratch = world().scratch("engine");
        let (pipe, program) = (scratch.join("pipe"), scratch.join("podman"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // It answers when somebody writes.
        fs::write(&program, format!("#!/bin/sh\nexec cat '{}'\n", pipe.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(scratch.join("npxc")).unwrap();
        let text = format!("[defaults.runtime]\nname = \"podman\"\nprogram = \"{}\"\n", program.display());
        fs::write(scratch.join("npxc/npxc.toml"), text).unwrap();
        let mut command = world().command(arguments);
        let mut child = command.env("XDG_CONFIG_HOME", &scratch).spawn().unwrap();
        let mut writer = None;
        eventually("the engine is asked", || {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            writer = rustix::fs::open(&pipe, flags, Mode::empty()).ok();
            writer.is_some()
        });
        signal(child.id(), Signal::TERM);
        assert_eq!(wait(&mut child).code(), Some(130), "{arguments:?}");
    }
}
