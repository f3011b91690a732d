//! Starts this file's program again, with podman under npxc: as root and as an ordinary user, over both links.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::ground::{self, DIRECTORY, LINK, OWNER, ground};
use super::harness::root;

/// The user of the runs as an ordinary user; made for them, and removed after them.
const USER: &str = "npxc-security-test";
/// Rootless podman wants a shared root, and `/dev/net/tun` and `/dev/fuse` as they are on an ordinary machine; the machine's
/// own are left alone.
const SCRIPT: &str = "mount --make-rshared / && mount -t tmpfs -o mode=755 tmpfs /dev/net && \
                      mknod -m 666 /dev/net/tun c 10 200 && mknod -m 666 /dev/net/fuse c 10 229; \
                      mount --bind /dev/net/fuse /dev/fuse; exec \"$@\"";
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

pub(super) fn full() -> bool {
    std::env::var_os("NPXC_TEST_FULL").is_some()
}

fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// Whether this run cannot have containers, or is one that was started for them.
fn unable(programs: &[&str]) -> bool {
    if ground().is_some() {
        return true;
    }
    let missing: Vec<&&str> = programs.iter().filter(|program| !have(program)).collect();
    let why = if !root() {
        "this is an ordinary user".to_owned()
    } else if npxc::runtime::engine::guest_binary().is_empty() {
        "this npxc carries no guest program".to_owned()
    } else if !missing.is_empty() {
        format!("missing: {missing:?}")
    } else {
        return false;
    };
    eprintln!("left out: attacks from containers of podman ({why})");
    true
}

fn run(link: &str, filters: &[&str], directory: &Path, owner: Option<(u32, u32)>) -> Output {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(filters.iter().map(|filter| format!("security::{filter}")));
    command.args(["--test-threads", "2", "--show-output"]);
    command.env(LINK, link).env(DIRECTORY, directory);
    if let Some((user, group)) = owner {
        command.env(OWNER, format!("{user}:{group}"));
    }
    command.stdin(Stdio::null()).output().unwrap()
}

/// Both links, one after the other, and what they say.
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

/// Nothing of the run's stays mounted, and no process of its.
fn reset(directory: &Path, owner: Option<(u32, u32)>) {
    let mut command = Command::new(directory.join("podman"));
    command.args(["system", "migrate"]).stdout(Stdio::null()).stderr(Stdio::null());
    let ground = ground::Ground { link: String::new(), directory: directory.to_owned(), owner };
    let _ = ground.surround(&mut command).status();
}

#[test]
fn the_same_from_containers_of_podman_as_root() {
    if !full() {
        eprintln!("left out: attacks from containers of podman as root (NPXC_TEST_FULL=1 has them)");
        return;
    }
    if unable(&["podman", "runc", "busybox", "unshare"]) {
        return;
    }
    let directory = tempfile::Builder::new().prefix("npxc-s").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    ground::prepare(directory.path());
    let failed = both("podman as root", directory.path(), None);
    reset(directory.path(), None);
    assert!(failed.is_empty(), "{failed:?}");
}

/// Whether a user without subordinate ids, or with this file system, can have a container. Nothing is started.
fn makes_containers(directory: &Path, (user, group): (u32, u32)) -> bool {
    let podman = directory.join("podman").display().to_string();
    let steps = format!(
        "'{podman}' import --quiet '{}' localhost/probe && \
         '{podman}' create --network none --userns=keep-id:uid=1000,gid=1000 localhost/probe true && \
         '{podman}' rm --all --force && '{podman}' rmi --force localhost/probe",
        directory.join("image.tar").display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh", "setpriv", "--clear-groups"]);
    command.args([format!("--reuid={user}"), format!("--regid={group}")]).args(["sh", "-c", &steps]);
    command.env("HOME", directory.join("home")).env("XDG_RUNTIME_DIR", directory.join("run"));
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success()
}

/// A user for the time of a test.
struct User;

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(USER).stderr(Stdio::null()).status();
    }
}

#[test]
fn the_same_from_containers_of_podman_as_an_ordinary_user() {
    if !full() {
        eprintln!(
            "left out: attacks from containers of podman as an ordinary user (NPXC_TEST_FULL=1 has them)"
        );
        return;
    }
    if unable(&["podman", "runc", "busybox", "unshare", "useradd", "newuidmap", "slirp4netns"]) {
        return;
    }
    let directory = tempfile::Builder::new().prefix("npxc-u").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join("user");
    // useradd gives subordinate ids only where these files are.
    for file in ["/etc/subuid", "/etc/subgid"] {
        fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    }
    let made = Command::new("useradd").args(["--no-create-home", "--home-dir"]).arg(&path).arg(USER).status();
    assert!(made.unwrap().success(), "cannot make the user {USER}");
    let _user = User;
    let id = |option: &str| {
        let output = Command::new("id").args([option, USER]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    let owner = (id("-u"), id("-g"));
    fs::create_dir(&path).unwrap();
    ground::prepare(&path);
    let owned = Command::new("chown").args(["-R", &format!("{}:{}", owner.0, owner.1)]).arg(&path).status();
    assert!(owned.unwrap().success());
    if !makes_containers(&path, owner) {
        eprintln!("left out: podman can make no container here as an ordinary user");
        return;
    }
    let failed = both("podman as an ordinary user", &path, Some(owner));
    reset(&path, Some(owner));
    assert!(failed.is_empty(), "{failed:?}");
}
