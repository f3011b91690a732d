//! Engines for the containers of a run, with stores of its own and an image of this machine's node. What is missing is
//! noted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::common::process::installed;
use crate::common::record::note;
use crate::docker::Daemon;

/// The image in each store.
const IMAGE: &str = "localhost/npxc-bench:local";

/// podman and docker, as far as they are here.
pub struct Engines {
    /// Dropped before the directory that it lives in.
    daemon: Option<Daemon>,
    directory: TempDir,
    /// Those that can be used: `podman`, `docker`.
    pub kinds: Vec<&'static str>,
}

impl Engines {
    /// Without any.
    pub fn none() -> Result<Self> {
        // Short: sockets have little room for a path.
        let directory = tempfile::Builder::new().prefix("npxc-b").tempdir()?;
        Ok(Self { daemon: None, directory, kinds: Vec::new() })
    }

    /// Sets up what there is.
    pub fn start() -> Result<Self> {
        let mut engines = Self::none()?;
        for kind in ["podman", "docker"] {
            match engines.add(kind) {
                Ok(()) => engines.kinds.push(kind),
                Err(error) => note(format!("containers of {kind}: {error:#}")),
            }
        }
        Ok(engines)
    }

    fn add(&mut self, kind: &str) -> Result<()> {
        ensure!(installed(kind), "{kind} is missing");
        let own = self.directory.path().join(kind);
        let program = self.program(kind);
        fs::create_dir(&own)?;
        let command = if kind == "podman" {
            format!("podman --root '{0}/root' --runroot '{0}/run'", own.display())
        } else {
            ensure!(rustix::process::geteuid().is_root(), "its daemon takes root");
            self.daemon = Some(Daemon::start(&own).map_err(anyhow::Error::msg)?);
            format!("docker --host '{}'", Daemon::host(&own))
        };
        fs::write(&program, format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let text = format!(
            "[defaults]\nnode_image = \"{IMAGE}\"\n[defaults.runtime]\nname = \"{kind}\"\nprogram = \"{}\"\n",
            program.display()
        );
        fs::create_dir(self.config(kind))?;
        fs::write(self.config(kind).join("npxc.toml"), text)?;
        eprintln!("bench: making an image for {kind}");
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/local-node");
        let mut import = Command::new(recipe);
        import.arg(IMAGE).arg(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(import.status().context("running images/local-node")?.success(), "images/local-node failed");
        Ok(())
    }

    fn program(&self, kind: &str) -> PathBuf {
        self.directory.path().join(format!("{kind}-own"))
    }

    /// A directory of npxc's configuration that chooses this engine.
    pub fn config(&self, kind: &str) -> PathBuf {
        self.directory.path().join(format!("{kind}-config"))
    }

    /// What stands for `XDG_RUNTIME_DIR`.
    pub fn runtime(&self) -> &Path {
        self.directory.path()
    }
}
