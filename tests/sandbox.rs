//! The native runtime, for real: every test starts a sandbox and looks at it from inside. As root they run
//! twice, the second time as an ordinary user.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use npxc::runtime::native::Native;
use npxc::runtime::{
    Access, Ended, Guest, KnownDirectories, Launch, LimitHit, Limits, Link, Mount, Outcome, Runtime,
    RuntimeError, Status, Stdio3,
};

#[path = "support/machine.rs"]
mod machine;
#[path = "support/patience.rs"]
mod patience;

use self::patience::{PATIENCE, Patient};

mod sandbox {
    mod confined;
    mod layers;
    mod life;
    mod limits;
    mod link;
    mod mounts;
}

/// Set for the second run.
const AS_USER: &str = "NPXC_TEST_AS_USER";
/// Set for the second run: an npxc that the user may run, wherever the project stands.
const PROGRAM: &str = "NPXC_TEST_PROGRAM";

fn native() -> Native {
    let copy = std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_npxc").into());
    Native::with_program(copy.into())
}

fn launch(command: &[&str]) -> Launch {
    Launch {
        command: command.iter().map(Into::into).collect(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/home/user".into(),
        mounts: Vec::new(),
        layer: None,
        limits: Limits::default(),
        files: Vec::new(),
    }
}

fn sh(script: &str) -> Launch {
    launch(&["/bin/sh", "-c", script])
}

struct Running {
    guest: Guest,
    stdin: Option<std::io::PipeWriter>,
    stdout: Patient<std::io::PipeReader>,
    stderr: Patient<std::io::PipeReader>,
}

fn try_start(launch: &Launch) -> Result<Running, RuntimeError> {
    let (stdin, input) = std::io::pipe().unwrap();
    let (stdout, output) = std::io::pipe().unwrap();
    let (stderr, errors) = std::io::pipe().unwrap();
    let stdio = Stdio3 { stdin: stdin.into(), stdout: output.into(), stderr: errors.into() };
    let guest = native().launch(launch, stdio)?;
    Ok(Running { guest, stdin: Some(input), stdout: Patient(stdout), stderr: Patient(stderr) })
}

fn start(launch: &Launch) -> Running {
    let mut running = try_start(launch).unwrap_or_else(|error| panic!("{error}\nhint: {:?}", error.hint()));
    running.guest.release().unwrap();
    running
}

fn wait(guest: &mut Guest) -> Result<Ended, RuntimeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, guest.wait()).await });
    ended.expect("it does not end")
}

/// Runs a command to its end: how it ended, what it wrote.
fn run(launch: &Launch) -> (Ended, String, String) {
    let mut running = start(launch);
    drop(running.stdin.take());
    let (mut out, mut err) = (String::new(), String::new());
    running.stdout.read_to_string(&mut out).unwrap();
    running.stderr.read_to_string(&mut err).unwrap();
    (wait(&mut running.guest).unwrap(), out, err)
}

fn exited(code: i32) -> Ended {
    Ended { status: Status::Exited(code), limit: None }
}

/// What a script writes; it has to succeed.
fn output(script: &str) -> String {
    let (ended, out, err) = run(&sh(script));
    assert_eq!(ended, exited(0), "{out}\n{err}");
    out
}

/// A script that must fail, and does so for the reason given.
fn refused(script: &str, reason: &str) {
    let (ended, out, err) = run(&sh(script));
    assert!(matches!(ended.status, Status::Exited(code) if code != 0), "{script}: {out}\n{err}");
    assert!(err.contains(reason), "{script}: {err}");
}

fn mount(host: &Path, access: Access) -> Mount {
    Mount { host: host.to_owned(), guest: "/home/user/work".into(), access }
}

/// Starts the tests of this file again as an ordinary user, for whom `/dev/net/tun` is open as it usually is.
#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() || std::env::var_os(AS_USER).is_some() {
        return;
    }
    let script = "mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid 65534 \
                  --regid 65534 --clear-groups --inh-caps=-all \"$0\"";
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |from: PathBuf, name: &str| {
        let to = directory.path().join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    };
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(copy(std::env::current_exe().unwrap(), "tests"))
        .env(PROGRAM, copy(env!("CARGO_BIN_EXE_npxc").into(), "npxc"))
        .env(AS_USER, "1")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
