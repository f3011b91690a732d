//! Where npxc's sandboxes stand: on the host itself, or in containers of podman, as root or as an ordinary user, over
//! either link. The tests are the same. For containers this file's program is started again ([`super::again`]), with
//! a store, networks and an image of the run's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::sys::Setup;

/// The link of a run that was started by another: `socket` or `wireguard`.
pub(super) const LINK: &str = "NPXC_TEST_LINK";
/// The directory of its engine.
pub(super) const DIRECTORY: &str = "NPXC_TEST_LINK_DIRECTORY";
/// User and group that the engine belongs to, where it is not root's: `uid:gid`.
pub(super) const OWNER: &str = "NPXC_TEST_LINK_OWNER";
/// The image, in the engine's own store.
pub(super) const IMAGE: &str = "localhost/npxc-node:test";

/// podman, with everything of its own below one directory.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) link: String,
    pub(super) directory: PathBuf,
    /// Whose it is; root's otherwise.
    pub(super) owner: Option<(u32, u32)>,
}

/// The engine of this run; `None` on the host itself.
pub(super) fn ground() -> Option<&'static Ground> {
    static GROUND: OnceLock<Option<Ground>> = OnceLock::new();
    GROUND.get_or_init(Ground::find).as_ref()
}

impl Ground {
    fn find() -> Option<Self> {
        let link = std::env::var(LINK).ok()?;
        let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
        let owner = std::env::var(OWNER).ok().map(|text| {
            let (user, group) = text.split_once(':').unwrap();
            (user.parse().unwrap(), group.parse().unwrap())
        });
        let ground = Self { link, directory, owner };
        if !ground.engine(&["image", "exists", IMAGE]).0 {
            let archive = ground.directory.join("image.tar");
            let archive = archive.to_str().unwrap();
            let (done, said) =
                ground.engine(&["import", "--change", "ENV PATH=/usr/bin:/bin", archive, IMAGE]);
            assert!(done, "{said}");
        }
        Some(ground)
    }

    /// The engine's program: podman with a store and networks of the run's own.
    pub(super) fn program(&self) -> PathBuf {
        self.directory.join("podman")
    }

    /// Where the sessions' directories are.
    pub(super) fn runtime(&self) -> PathBuf {
        self.directory.join("run")
    }

    pub(super) fn wireguard(&self) -> bool {
        self.link == "wireguard"
    }

    /// The engine, as a person would call it: whether it succeeded, and all that it said.
    pub(super) fn engine(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(self.program());
        command.args(words);
        let output = self.surround(&mut command).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// The environment and the user of a command.
    pub(super) fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("HOME", self.directory.join("home"))
            .env("XDG_RUNTIME_DIR", self.runtime())
            .current_dir(&self.directory);
        Setup { identity: self.owner, ..Setup::default() }.apply(command);
        command
    }

    /// What npxc's configuration says about it.
    pub(super) fn config(&self) -> String {
        format!(
            "[defaults.runtime]\nname = \"podman\"\nlink = \"{}\"\nimage = \"{IMAGE}\"\nprogram = \"{}\"\n",
            self.link,
            self.program().display()
        )
    }

    /// Every container and network of npxc's that the engine knows, and every directory of a session.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for words in [
            ["ps", "--all", "--format", "container {{.Names}}", "--filter", "name=npxc-"].as_slice(),
            &["network", "ls", "--format", "network {{.Name}}", "--filter", "name=npxc-"],
        ] {
            let (done, said) = self.engine(words);
            assert!(done, "{said}");
            left.extend(said.lines().map(str::to_owned));
        }
        let sessions = fs::read_dir(self.runtime().join("npxc")).into_iter().flatten().flatten();
        let names = sessions.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names = names.filter(|name| name.starts_with("npxc-") || name.starts_with("making-"));
        // One that is being made says in its name whose it is, after a blank.
        left.extend(names.map(|name| format!("directory {}", name.split(' ').next().unwrap_or_default())));
        left
    }
}

/// Prepares a directory for an engine that keeps its layers by this storage driver; the image is imported by the first
/// run.
pub(super) fn prepare(directory: &Path, driver: &str) {
    for name in ["home", "run"] {
        fs::create_dir_all(directory.join(name)).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let options: String = ["root", "runroot", "tmpdir", "network-config-dir"]
        .map(|name| format!(" --{name} {}", directory.join(name).display()))
        .concat();
    let program = directory.join("podman");
    fs::write(&program, format!("#!/bin/sh\nexec podman{options} --storage-driver {driver} \"$@\"\n"))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let image = fs::File::create(directory.join("image.tar")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/local-node");
    let made = Command::new(script).args(["x", "-"]).stdout(image).stderr(Stdio::null()).status().unwrap();
    assert!(made.success(), "images/local-node failed");
}
