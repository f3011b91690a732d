//! podman plays the engine, and the program is the static one that npxc carries: npxc has to be built in this target
//! directory, as it is with the whole workspace's tests.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use npxc_guest::spec::ContainerLink;

use crate::machine::{have_all, leave_out, root_for};
use crate::patience::PATIENCE;
use crate::play::{Entered, Outside, null, sh, start, unique};

/// What this machine's podman needs: see what `npxc doctor` finds out for other ones.
const ENGINE: [&str; 2] = ["--runtime", "runc"];
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
/// How long one command may take that starts no workload: an image is taken in, a container is removed.
const CHORE: Duration = Duration::from_mins(3);
const CAPABILITIES: &str = "NET_ADMIN,SETUID,SETGID,SETPCAP";

fn podman(arguments: &[&str]) -> Result<String, String> {
    let patience = format!("--kill-after={}", PATIENCE.as_secs());
    let mut command = Command::new("timeout");
    command.args([&patience, &CHORE.as_secs().to_string(), "podman"]).args(ENGINE).args(arguments);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The static program, which npxc's build script has made; the newest.
fn program() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_npxc-guest")).parent()?.parent()?.join("guest");
    let built = fs::read_dir(target).ok()?.flatten().map(|entry| entry.path().join("guest/npxc-guest"));
    let here = built.filter(|path| path.is_file() && path.to_string_lossy().contains(std::env::consts::ARCH));
    here.max_by_key(|path| path.metadata().and_then(|found| found.modified()).ok())
}

/// An image, a network, containers: all gone when dropped.
struct Engine {
    name: String,
    program: PathBuf,
    network: bool,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = podman(&["rm", "--force", "--ignore", "--time", "0", &self.name]);
        if self.network {
            let _ = podman(&["network", "rm", "--force", &self.name]);
        }
        let _ = podman(&["image", "rm", "--force", &self.name]);
    }
}

impl Engine {
    /// With an image of nothing but busybox. `None`, and a word, where this cannot be had.
    fn new() -> Option<Self> {
        if !root_for("the first process in containers of podman") || !have_all(&["podman", "runc", "busybox"])
        {
            return None;
        }
        // Nobody builds it for another architecture.
        if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            leave_out("the first process in containers of podman (npxc has none for this architecture)");
            return None;
        }
        let program =
            program().expect("npxc is not built here (`cargo build`), or its build says why it has no guest");
        let busybox = Path::new("/usr/bin/busybox");
        let engine = Self { name: format!("npxc-guest-test-{}", unique()), program, network: false };
        let tree = std::env::temp_dir().join(&engine.name);
        for name in ["bin", "proc", "sys", "dev", "tmp", "npxc/run", "etc"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        fs::copy(busybox, tree.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", tree.join("bin/sh")).unwrap();
        let archive = tree.with_extension("tar");
        let tar = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&tree).arg(".").status();
        let imported = podman(&["import", "--quiet", &archive.to_string_lossy(), &engine.name]);
        fs::remove_dir_all(tree).unwrap();
        fs::remove_file(archive).unwrap();
        assert!(tar.unwrap().success());
        imported.unwrap();
        Some(engine)
    }

    fn enter(&self, spec: &npxc_guest::spec::Spec, network: &str, capabilities: &str) -> Entered {
        start(spec, null().as_fd(), |directory| {
            let mut engine = Command::new("podman");
            engine
                .args(ENGINE)
                .args(["run", "--rm", "--name", &self.name, "--network", network, "--log-driver", "none"])
                .args([
                    "--read-only",
                    "--tmpfs",
                    "/tmp:mode=1777,notmpcopyup",
                    "--cap-drop",
                    "ALL",
                    "--cap-add",
                    capabilities,
                ])
                .args(["--device", "/dev/net/tun", "--user", "0:0", "--entrypoint", "/npxc/guest"])
                .args(LIMITS)
                .arg("-v")
                .arg(format!("{}:/npxc/guest:ro", self.program.display()))
                .arg("-v")
                .arg(format!("{}:/npxc/run:ro", directory.display()))
                .args([&self.name, "enter", "/npxc/run/control"])
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            engine
        })
    }
}

/// The applets of busybox as they are called without links.
const APPLETS: &str =
    "for name in cat ls sort tr id nslookup nc ip sleep; do alias $name=\"busybox $name\"; done\n";

#[test]
fn the_link_socket_works_in_podman() {
    let Some(engine) = Engine::new() else { return };
    for user in [1000, 0] {
        let script = format!(
            "{APPLETS} id -u; ls /proc/sys/net/ipv4/conf; cat /proc/net/if_inet6; cat /proc/self/status; \
             for path in /probe /npxc/probe /npxc/run/probe /proc/self/comm /sys/probe; do \
                 (echo probe > $path) 2>/dev/null && echo written $path; \
             done; echo probe > /tmp/probe && echo fine; ls -l /proc/1/fd 2>/dev/null; true"
        );
        let mut entered = engine.enter(&sh(&script, user, ContainerLink::Tun), "none", CAPABILITIES);
        let ready = entered.ready();
        assert!(ready.vnet_hdr && ready.offload && ready.ipv6, "{ready:?}");
        let _tun = entered.channel.take_descriptor().unwrap();
        entered.go();
        let (text, code) = entered.finish();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with(&format!("{user}\nall\ndefault\nlo\nnpxc0\n")), "{text}");
        assert!(text.contains("CapBnd:\t0000000000000000\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with("npxc0")).count(), 2, "{text}");
        assert!(text.contains("fine\n"), "{text}");
        assert!(!text.contains("written") && !text.contains("socket:"), "{text}");
    }
}

#[test]
fn the_link_wireguard_works_in_podman() {
    let Some(mut engine) = Engine::new() else { return };
    podman(&["network", "create", "--internal", &engine.name]).unwrap();
    engine.network = true;
    let inspected = podman(&["network", "inspect", &engine.name]).unwrap();
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let gateway = inspected[0]["subnets"][0]["gateway"].as_str().unwrap().to_owned();
    // The bridge comes with the first container.
    let holder = format!("{}-holder", engine.name);
    let mut held = vec!["run", "--detach", "--rm", "--name", &holder, "--network", &engine.name];
    held.extend(LIMITS);
    held.extend([&engine.name, "/bin/busybox", "sleep", "600"]);
    podman(&held).unwrap();
    let outside = Outside::at(&gateway);
    let port = outside.service.local_addr().unwrap().port();

    let reach = format!(
        "ls /proc/sys/net/ipv4/conf | tr '\\n' ' '; ls /sys/class/net /sys/devices/virtual/net | tr '\\n' ' '; \
         nc -w 1 {gateway} {port} </dev/null && echo reached; true"
    );
    let script = format!(
        "{APPLETS} {reach}; nslookup example.com 198.51.100.1 >/dev/null 2>&1; echo started; sleep 1000"
    );
    let spec = sh(&script, 1000, outside.link());
    let mut entered = engine.enter(&spec, &engine.name, &format!("{CAPABILITIES},SYS_ADMIN"));
    entered.ready();
    entered.go();
    let text = entered.until("started\n");
    assert!(text.starts_with("all default lo wg0 "), "{text}");
    let question = |packet: &Vec<u8>| packet[0] >> 4 == 4 && packet[9] == 17 && packet[22..24] == [0, 53];
    assert!(outside.seen.try_iter().any(|packet| question(&packet)));

    // Someone who may execute in the container, with all that it was started with and more.
    let run = format!("{APPLETS} {reach}; ip route; busybox ls /proc/*/fd >/dev/null");
    let inside = podman(&["exec", "--privileged", &engine.name, "/bin/sh", "-c", &run]);
    let _ = podman(&["rm", "--force", "--time", "0", &holder]);
    let inside = inside.unwrap_or_else(|error| error);
    assert!(inside.starts_with("all default lo wg0 "), "{inside}");
    assert!(!text.contains("reached") && !inside.contains("reached"), "{text}{inside}");
    assert!(outside.service.accept().is_err());
    assert!(!text.contains("eth0") && !inside.contains("eth0"), "{text}{inside}");
    drop(entered);
}
