//! Starts this file's program again, with podman under npxc: as root and as an ordinary user, over both links.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use npxc::runtime::guest_binary;

use super::account::User;
use super::ground::{self, DIRECTORY, LINK, OWNER, ground};
use super::machine::{carries, full, have_all, root_for};

/// The user of the runs as an ordinary user; made for them, and removed after them.
const USER: &str = "npxc-security-test";
/// Rootless podman wants a shared root, and `/dev/net/tun` and `/dev/fuse` as they are on an ordinary machine; the machine's
/// own are left alone. podman as root has one resolver for all networks of a machine, which it finds below
/// `/run/containers`: so this run has its own.
const SCRIPT: &str = "mount --make-rshared / && mount -t tmpfs -o mode=755 tmpfs /dev/net && \
                      mknod -m 666 /dev/net/tun c 10 200 && mknod -m 666 /dev/net/fuse c 10 229; \
                      mount --bind /dev/net/fuse /dev/fuse; \
                      mkdir -p /run/containers && mount -t tmpfs tmpfs /run/containers && exec \"$@\"";
/// What is about reach, row by row. The other tests of these modules follow with `NPXC_TEST_FULL=1`: what they are
/// about happens in npxc's own process, whatever the link is.
const ROWS: [&str; 18] = [
    "reach::row_01",
    "reach::row_02",
    "reach::row_03",
    "reach::row_17",
    "reach::row_19",
    "reach::row_20",
    "reach::row_26",
    "sniff::row_04",
    "sniff::row_08",
    "names::row_14_names",
    "names::row_15_the",
    "names::row_16",
    "dns::row_21_no",
    "dns::row_23",
    "packets::row_27",
    "packets::row_28",
    "packets::row_30",
    "contained::row_",
];
/// What is repeated as an ordinary user, whose containers start slowly; the rest, too, with `NPXC_TEST_FULL=1`.
const FEW: [&str; 4] = ["reach::row_01", "reach::row_17", "dns::row_23", "contained::row_"];
const MODULES: [&str; 6] = ["reach::", "sniff::", "names::", "dns::", "packets::", "contained::row_"];
/// It looks at every session there is, and so stands alone.
const KILLED: [&str; 1] = ["killed::row_"];

/// Whether this run has its attacks from containers: one that was started for them has not.
fn able(programs: &[&str]) -> bool {
    ground().is_none()
        && root_for("attacks from containers of podman")
        && carries(guest_binary())
        && have_all(programs)
}

/// A command in a mount namespace of its own, made as [`SCRIPT`] says.
fn aside(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(program).stdin(Stdio::null());
    command
}

fn run(link: &str, filters: &[&str], directory: &Path, owner: Option<(u32, u32)>) -> Output {
    let mut command = aside(&std::env::current_exe().unwrap());
    command.args(filters.iter().map(|filter| format!("security::{filter}")));
    command.args(["--test-threads", "2", "--show-output"]);
    command.env(LINK, link).env(DIRECTORY, directory);
    if let Some((user, group)) = owner {
        command.env(OWNER, format!("{user}:{group}")).env("USER", USER);
    }
    command.output().unwrap()
}

/// Both links, one after the other, and which of them failed.
fn both(name: &str, directory: &Path, owner: Option<(u32, u32)>) -> Vec<String> {
    let mut failed = Vec::new();
    let runs: &[&[&str]] = match owner {
        _ if full() => &[&MODULES, &KILLED],
        None => &[&ROWS, &KILLED],
        Some(_) => &[&FEW],
    };
    for link in ["socket", "wireguard"] {
        for filters in runs {
            let output = run(link, filters, directory, owner);
            let said = [output.stdout, output.stderr].concat();
            eprintln!("{name} over {link}:\n{}", String::from_utf8_lossy(&said));
            if !output.status.success() {
                failed.push(format!("{name} over {link}"));
            }
        }
    }
    failed
}

#[test]
fn the_same_from_containers_of_podman_as_root() {
    if !able(&["podman", "runc", "busybox", "unshare"]) {
        return;
    }
    let directory = tempfile::Builder::new().prefix("npxc-s").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    ground::prepare(directory.path(), "overlay");
    let failed = both("podman as root", directory.path(), None);
    assert!(failed.is_empty(), "{failed:?}");
}

/// Whether this user can have a container with layers kept in this way. Nothing is started.
fn makes_containers(directory: &Path, user: &User) -> bool {
    let podman = directory.join("podman").display().to_string();
    let steps = format!(
        "'{podman}' import --quiet '{}' localhost/probe && \
         '{podman}' create --network none --userns=keep-id:uid=1000,gid=1000 localhost/probe true && \
         '{podman}' rm --all --force && '{podman}' rmi --force localhost/probe",
        directory.join("image.tar").display()
    );
    let mut command = aside(Path::new("setpriv"));
    command.args([format!("--reuid={}", user.id), format!("--regid={}", user.group)]);
    command.args(["--clear-groups", "sh", "-c", &steps]);
    // podman goes by the name in the environment, which may still be root's.
    command.env("USER", USER).env("HOME", directory.join("home"));
    command.env("XDG_RUNTIME_DIR", directory.join("run"));
    command.current_dir(directory).stdout(Stdio::null()).status().unwrap().success()
}

#[test]
fn the_same_from_containers_of_podman_as_an_ordinary_user() {
    if !able(&["podman", "runc", "busybox", "unshare", "useradd", "newuidmap", "slirp4netns"]) {
        return;
    }
    let directory = tempfile::Builder::new().prefix("npxc-u").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let user = User::make(USER, directory.path());
    // overlay takes a file system below it that carries it; vfs copies, and works everywhere.
    let path = ["overlay", "vfs"].into_iter().map(|driver| {
        let path = directory.path().join(driver);
        fs::create_dir(&path).unwrap();
        ground::prepare(&path, driver);
        user.own(&path);
        path
    });
    let path = path.into_iter().find(|path| makes_containers(path, &user));
    let path = path.expect("podman can make no container here as an ordinary user: it says above why");
    let failed = both("podman as an ordinary user", &path, Some((user.id, user.group)));
    drop(user);
    assert!(failed.is_empty(), "{failed:?}");
}
