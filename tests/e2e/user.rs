//! Runs the whole file again as an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::User;
use super::world::{USER_DIRECTORY, remove};

/// Made for the run, and removed after it.
const USER: &str = "npxc-test";

/// `/dev/net/tun` is open to everybody on an ordinary machine; in a container it may not be.
const SCRIPT: &str = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && \
                      exec setpriv --reuid npxc-test --regid npxc-test --init-groups --inh-caps=-all \"$@\"";

#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() || std::env::var_os(USER_DIRECTORY).is_some() {
        return;
    }
    // A place that the user can enter, whoever owns the directories above the project.
    let place = Place(std::env::temp_dir().join("npxc-e2e-user"));
    // What a killed run left.
    place.clear();
    let directory = place.0.clone();
    fs::create_dir_all(&directory).unwrap();
    let user = User::make(USER, &directory);
    let tests = directory.join("tests");
    for (from, to) in [
        (std::env::current_exe().unwrap(), &tests),
        (PathBuf::from(env!("CARGO_BIN_EXE_npxc")), &directory.join("npxc")),
    ] {
        fs::copy(from, to).unwrap();
        fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let npmrc = directory.join("npmrc");
    fs::write(&npmrc, shareable_npmrc()).unwrap();
    user.own(&directory);

    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", SCRIPT, "sh"])
        .arg(&tests)
        .args(skipped())
        .current_dir(&directory)
        .env(USER_DIRECTORY, &directory)
        .env("HOME", &directory)
        .env("USER", USER)
        .env("npm_config_userconfig", &npmrc)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    drop(user);
    let report =
        format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "as {USER}:\n{report}");
    eprintln!("as {USER}:\n{report}");
}

/// Where the user works. It goes with the test, however that ends.
struct Place(PathBuf);

impl Place {
    fn clear(&self) {
        if std::env::var_os("NPXC_TEST_KEEP").is_none() {
            remove(&self.0);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What this run was told to skip. A filter that chose this test chooses all of them.
fn skipped() -> Vec<String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "--skip" || pair[0] == "--test-threads");
    pairs.flatten().cloned().collect()
}

/// Root's npm configuration without what is nobody else's business.
fn shareable_npmrc() -> String {
    let path = std::env::var_os("npm_config_userconfig").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".npmrc"),
        PathBuf::from,
    );
    let text = fs::read_to_string(path).unwrap_or_default();
    let secret = |line: &&str| {
        !line.trim_start().starts_with("//") && !line.contains("_auth") && !line.contains("_password")
    };
    text.lines().filter(secret).map(|line| format!("{line}\n")).collect()
}
