//! The main job in containers of podman and docker, over both links: a real package from the registry, and a denial
//! whose hint is true. As an ordinary user podman is rootless; docker is root's.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::json;

use super::docker::Daemon;
use super::machine::{have, have_all, leave_out, root_for};
use super::mcp::Client;
use super::world::{Npxc, USER_DIRECTORY, world};

const SERVER: &str = "package-registry-mcp@1.1.0";
const IMAGE: &str = "localhost/npxc-e2e:local";
/// As a file that an ordinary user can be given: the project may stand where that user cannot read.
const RECIPE: &str = include_str!("../../images/local-node");

/// A podman with a store of the run's own, as a program.
fn podman() -> Option<&'static Path> {
    static PODMAN: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let directory = world().directory.join("podman");
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("podman");
        // overlay needs a file system below it that carries it; vfs copies, and works everywhere.
        let works = ["overlay", "vfs"].into_iter().any(|driver| {
            let store = directory.join(driver);
            let store = store.display();
            script(
                &program,
                &format!("podman --root '{store}/root' --runroot '{store}/run' --storage-driver {driver}"),
            );
            import(&program) && makes_containers(&program)
        });
        // Somebody may lack subordinate ids, or a file system that podman can use without root; not root, and not the
        // user that root has made for this (`super::user`).
        let somebody = !rustix::process::geteuid().is_root() && std::env::var_os(USER_DIRECTORY).is_none();
        assert!(works || somebody, "podman can make no container here: it says above why");
        works.then_some(program)
    });
    PODMAN.as_deref()
}

/// An engine's command with options of the run's own, as a program.
fn script(program: &Path, command: &str) {
    fs::write(program, format!("#!/bin/sh\nexec {command} \"$@\"\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether the image's layers can become a container's, ids mapped as npxc has them mapped. Nothing is started.
fn makes_containers(program: &Path) -> bool {
    let mut create = Command::new(program);
    world().environment(&mut create);
    create.args(["create", "--network", "none"]);
    if !rustix::process::geteuid().is_root() {
        create.arg("--userns=keep-id:uid=1000,gid=1000");
    }
    let created = create.args([IMAGE, "true"]).stdout(Stdio::null()).status().unwrap();
    let mut clear = Command::new(program);
    world().environment(&mut clear);
    let _ = clear.args(["rm", "--all", "--force"]).stdout(Stdio::null()).status();
    created.success()
}

/// Makes the image of this machine's node.
fn import(program: &Path) -> bool {
    let mut recipe = Command::new("sh");
    world().environment(&mut recipe);
    let mut recipe =
        recipe.args(["-s", IMAGE]).arg(program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    recipe.stdin.take().unwrap().write_all(RECIPE.as_bytes()).unwrap();
    recipe.wait().unwrap().success()
}

/// An engine of the run's own, and a short directory of this user's for sockets.
struct Ground<'a> {
    kind: &'a str,
    program: &'a Path,
    runtime: &'a Path,
}

impl Ground<'_> {
    fn npxc(&self, link: &str, arguments: &[&str]) -> Npxc {
        let config = world().scratch("config");
        let text = format!(
            "[defaults]\nnode_image = \"{IMAGE}\"\n[defaults.runtime]\nprogram = \"{}\"\n",
            self.program.display()
        );
        fs::write(config.join("npxc.toml"), text).unwrap();
        let config = config.to_str().unwrap().to_owned();
        let mut all = vec!["--config", &config, "--runtime", self.kind, "--link", link];
        all.extend(arguments);
        let mut npxc = world().npxc(&all);
        npxc.command.env("XDG_RUNTIME_DIR", self.runtime);
        npxc
    }
}

fn the_main_job_over(link: &str, ground: &Ground) {
    let arguments = json!({"name": "left-pad"});
    let mut client = Client::start(ground.npxc(link, &["--allow", "@npm", SERVER]));
    let text = client.text("get-npm-package-details", arguments.clone());
    assert!(text.contains("left-pad"), "{text}");
    let (status, said, audit) = client.close();
    assert!(status.success(), "{said}");
    let events = audit.events();
    let start = events.iter().find(|event| event["purpose"] == "run").unwrap();
    assert_eq!((&start["runtime"], &start["link"]), (&json!(ground.kind), &json!(link)));

    let mut client = Client::start(ground.npxc(link, &[SERVER]));
    let denied = client.call("get-npm-package-details", arguments.clone());
    let (_, _, audit) = client.close();
    assert!(!audit.events().iter().any(|event| event["event"] == "flow.open"), "a flow was opened: {denied}");
    let hints = audit.hints();
    assert!(!hints.is_empty(), "no denial: {:?}", audit.events());

    let mut options: Vec<&str> = hints.iter().flat_map(|hint| hint.split_whitespace()).collect();
    options.push(SERVER);
    let mut client = Client::start(ground.npxc(link, &options));
    let text = client.text("get-npm-package-details", arguments);
    assert!(text.contains("left-pad"), "{options:?}: {text}");
    let (status, _, audit) = client.close();
    assert!(status.success());
    assert!(audit.hints().is_empty(), "{options:?} was not enough: {:?}", audit.hints());

    let left = Command::new(ground.program).args(["ps", "--all", "--quiet"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "a container is left");
    let networks = Command::new(ground.program)
        .args(["network", "ls", "--quiet", "--filter", "label=npxc.session"])
        .output();
    assert_eq!(String::from_utf8_lossy(&networks.unwrap().stdout), "", "a network is left");
}

/// What calls name is read and written by the client's paths, and the files stay this user's.
fn files_over(link: &str, ground: &Ground) {
    let cwd = world().scratch("contained");
    let file = cwd.join("a note.txt");
    fs::write(&file, "one").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let (directory, path) = (cwd.display().to_string(), file.display().to_string());
    let fixture = world().fixture().display().to_string();
    let start = |option: &[&str]| {
        let before = ["--cwd", directory.as_str()];
        let mut client = Client::start(ground.npxc(link, &[&before, option, &[&fixture, "writer"]].concat()));
        client.tools();
        client
    };
    let mut client = start(&[]);
    assert_eq!(client.text("read", json!({"file": path})), "one");
    let outside = world().scratch("contained-outside").join("secret.txt");
    fs::write(&outside, "secret").unwrap();
    let named = json!({"name": "read", "arguments": {"file": outside.display().to_string()}});
    assert_eq!(client.refused("tools/call", named)["data"]["code"], "outside-scope");
    assert!(client.close().0.success());

    let mut client = start(&["--write"]);
    assert_eq!(client.text("write", json!({"file": path, "text": "two"})), format!("done {path}"));
    assert_eq!(fs::read(&file).unwrap(), b"two");
    let new = cwd.join("new.txt");
    client.text("save_by_rename", json!({"file": new.display().to_string(), "text": "three"}));
    assert_eq!(fs::read(&new).unwrap(), b"three");
    for (path, mode) in [(&file, 0o640), (&new, 0o644)] {
        let found = fs::metadata(path).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o7777),
            (rustix::process::geteuid().as_raw(), mode),
            "{}",
            path.display()
        );
    }
    assert!(client.close().0.success());
}

#[test]
fn the_main_job_with_podman_over_the_socket_and_over_wireguard() {
    if !have("podman") {
        return;
    }
    let Some(podman) = podman() else {
        leave_out("containers of podman: it can make none here for this user");
        return;
    };
    let runtime = tempfile::Builder::new().prefix("npxc-r").tempdir().unwrap();
    let ground = Ground { kind: "podman", program: podman, runtime: runtime.path() };
    // One after the other: both install into the same store.
    for link in ["socket", "wireguard"] {
        the_main_job_over(link, &ground);
        files_over(link, &ground);
    }
}

#[test]
fn the_main_job_with_docker_over_the_socket_and_over_wireguard() {
    // The user that root has made leaves it to root.
    if std::env::var_os(USER_DIRECTORY).is_some()
        || !root_for("containers of docker")
        || !have_all(&["docker", "dockerd"])
    {
        return;
    }
    let runtime = tempfile::Builder::new().prefix("npxc-d").tempdir().unwrap();
    let Some(_daemon) = Daemon::start_or(leave_out, runtime.path()) else { return };
    let program = runtime.path().join("docker");
    script(&program, &format!("docker --host '{}'", Daemon::host(runtime.path())));
    assert!(import(&program), "docker takes no image");
    let ground = Ground { kind: "docker", program: &program, runtime: runtime.path() };
    for link in ["socket", "wireguard"] {
        the_main_job_over(link, &ground);
        files_over(link, &ground);
    }
}

#[test]
fn a_link_that_a_runtime_does_not_have_is_a_mistake_with_a_hint() {
    for option in [
        ["--runtime", "native", "--link", "wireguard"].as_slice(),
        &["--link", "wireguard"],
        &["--image", "node"],
    ] {
        let output = world().command(&[option, &["some-package"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{option:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let wrong = option[option.len() - 2];
        assert!(said.contains(wrong) && said.contains("--runtime podman"), "{said}");
    }
}
