//! The native runtime, for real: every test starts a sandbox and looks at it from inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use npxc::runtime::native::Native;
use npxc::runtime::{Ended, Guest, Launch, Limits, Runtime, Status, Stdio3};

fn native() -> Native {
    Native::with_program(env!("CARGO_BIN_EXE_npxc").into())
}

fn launch(command: &[&str]) -> Launch {
    Launch {
        command: command.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/home/user".into(),
        mounts: Vec::new(),
        limits: Limits::default(),
        files: Vec::new(),
    }
}

struct Running {
    guest: Guest,
    stdin: Option<std::io::PipeWriter>,
    stdout: std::io::PipeReader,
    stderr: std::io::PipeReader,
}

fn start(launch: &Launch) -> Running {
    let (stdin, input) = std::io::pipe().unwrap();
    let (stdout, output) = std::io::pipe().unwrap();
    let (stderr, errors) = std::io::pipe().unwrap();
    let stdio = Stdio3 {
        stdin: OwnedFd::from(stdin),
        stdout: output.into(),
        stderr: errors.into(),
    };
    let guest = native().launch(launch, stdio).unwrap();
    Running {
        guest,
        stdin: Some(input),
        stdout,
        stderr,
    }
}

/// Runs a command to its end: how it ended, what it wrote.
fn run(launch: &Launch, input: &[u8]) -> (Ended, String, String) {
    let mut running = start(launch);
    running.guest.release().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    running.stdout.read_to_string(&mut out).unwrap();
    running.stderr.read_to_string(&mut err).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(running.guest.wait()).unwrap();
    (ended, out, err)
}

fn shell(script: &str) -> (Ended, String, String) {
    run(&launch(&["/bin/sh", "-c", script]), b"")
}

#[test]
fn a_command_runs_and_its_status_passes_through() {
    let (ended, out, _) = shell("id -u; pwd; exit 7");
    assert_eq!(out, "1000\n/home/user\n");
    assert_eq!(ended.status, Status::Exited(7));
}
