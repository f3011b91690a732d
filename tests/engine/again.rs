//! Starts this file again: with podman as an ordinary user, and with docker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use npxc::runtime::guest_binary;

use super::account::User;
use super::docker::Daemon;
use super::machine::{carries, have_all, leave_out, root_for};
use super::world::{self, DIRECTORY, GUEST, KIND, PROGRAM};

/// The user of the run as an ordinary user; made for it, and removed after it.
const USER: &str = "npxc-engine-test";
/// Rootless podman wants a shared root, and `/dev/net/tun` as it is on an ordinary machine. In a mount namespace of its
/// own, so that nothing of it is seen outside.
const SCRIPT: &str = "mount --make-rshared / && mount -t tmpfs -o mode=755 tmpfs /dev/net && \
                      mknod -m 666 /dev/net/tun c 10 200 && \
                      exec setpriv --reuid npxc-engine-test --regid npxc-engine-test --init-groups --inh-caps=-all \"$@\"";

/// Whether this run starts others: those do not.
fn able(what: &str, tools: &[&str]) -> bool {
    !world::again()
        && root_for(what)
        && (world::guest().is_some() || carries(guest_binary()))
        && have_all(tools)
}

fn copy(from: PathBuf, to: PathBuf) -> PathBuf {
    fs::copy(from, &to).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    to
}

fn finish(name: &str, output: &std::process::Output) {
    let report =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "with {name}:\n{report}");
    eprintln!("with {name}:\n{report}");
}

#[test]
fn all_of_it_holds_with_podman_as_an_ordinary_user() {
    let tools = ["podman", "useradd", "newuidmap", "unshare", "setpriv"];
    if !able("containers of podman as another user", &tools) {
        return;
    }
    // Short: engines and sockets have little room for a path.
    let directory = tempfile::Builder::new().prefix("npxc-e").tempdir().unwrap();
    let path = directory.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let home = path.join("home");
    fs::create_dir(&home).unwrap();
    let user = User::make(USER, &home);
    let tests = copy(std::env::current_exe().unwrap(), path.join("tests"));
    let npxc = copy(env!("CARGO_BIN_EXE_npxc").into(), path.join("npxc"));
    let image = fs::File::create(home.join("image.tar")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/local-node");
    let made = Command::new(script).args(["x", "-"]).stdout(image).stderr(Stdio::null()).status().unwrap();
    assert!(made.success());
    fs::create_dir(home.join("run")).unwrap();
    user.own(&home);

    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(tests).args(["--test-threads", "2"]);
    command.env(KIND, "podman").env(DIRECTORY, &home).env(PROGRAM, npxc);
    command.env("HOME", &home).env("USER", USER).env("XDG_RUNTIME_DIR", home.join("run"));
    if let Some(guest) = world::guest() {
        command.env(GUEST, copy(guest, path.join("guest")));
    }
    let output = command.current_dir(&home).stdin(Stdio::null()).output().unwrap();
    drop(user);
    finish("podman as an ordinary user", &output);
}

#[test]
fn all_of_it_holds_with_docker() {
    if !able("containers of docker", &["docker", "dockerd"]) {
        return;
    }
    let directory = tempfile::Builder::new().prefix("npxc-d").tempdir().unwrap();
    let Some(daemon) = Daemon::start_or(leave_out, directory.path()) else { return };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--test-threads", "2"])
        .env(KIND, "docker")
        .env(DIRECTORY, directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    drop(daemon);
    finish("docker", &output);
}
