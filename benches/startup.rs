//! From spawning a real MCP server to its reply to `initialize`, as a client sees it: npxc in each runtime that is here,
//! `npx -y` at a pinned version, and node with the program's path. All warm: each has run once before, and nothing is
//! downloaded. The first run of all needs the npm registry. What it installs stays under the target directory.
//!
//! Two more, for information ([`beside`]): `npxc inspect` of an installed package, and the start of one that is not
//! installed yet.

mod beside;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::gates::{DOCKER, DOCKER_WIREGUARD, NODE, NPX, NPXC, PODMAN, PODMAN_WIREGUARD};
use crate::common::process::{Talker, installed, resident};
use crate::common::record::{note, sample};
use crate::common::scale::Scale;
use crate::engines::Engines;

/// What is started, and the metric it counts for.
const PACKAGES: [(&str, &str, &str); 2] = [
    ("start-everything", "@modelcontextprotocol/server-everything", "2026.8.31"),
    ("start-registry", "package-registry-mcp", "2.1.0"),
];

/// npxc's other runtimes: who is measured, the engine, the link.
const CONTAINED: [(&str, &str, &str); 4] = [
    (PODMAN, "podman", "socket"),
    (PODMAN_WIREGUARD, "podman", "wireguard"),
    (DOCKER, "docker", "socket"),
    (DOCKER_WIREGUARD, "docker", "wireguard"),
];

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;

/// How long a first start, with its downloads, may take.
const COLD: Duration = Duration::from_mins(4);
/// How long a warm one may.
const WARM: Duration = Duration::from_secs(30);
/// How long a server has to end by itself.
const GRACE: Duration = Duration::from_secs(3);
/// After the reply, before an idle session's memory is read.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures and prints records.
pub fn run(scale: Scale) -> Result<()> {
    if !installed("npx") {
        note("node and npx are missing");
        return Ok(());
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("startup");
    let scratch = Scratch::at(place, Engines::start()?)?;
    warm(&scratch, scale)?;
    beside::inspecting(&scratch, scale)?;
    beside::cold(&scratch, scale)
}

fn warm(scratch: &Scratch, scale: Scale) -> Result<()> {
    for (metric, package, version) in PACKAGES {
        let mut ways = Vec::new();
        for name in scratch.ways() {
            // Once for the downloads, once more so that every cache is warm.
            let warm = scratch
                .command(name, package, version)
                .and_then(|mut command| start(&mut command, scratch, COLD).map(|_| command))
                .and_then(|mut command| start(&mut command, scratch, WARM));
            match warm {
                Ok(_) => ways.push(name),
                Err(error) => note(format!("{package} with {name}: {error:#}")),
            }
        }
        for round in 0..scale.starts() {
            eprintln!("bench: {package}, start {} of {}", round + 1, scale.starts());
            let step = 1.min(ways.len());
            ways.rotate_left(step);
            for name in &ways {
                let mut command = scratch.command(name, package, version)?;
                match start(&mut command, scratch, WARM) {
                    Ok(started) => {
                        sample(round, metric, name, started.milliseconds);
                        if *name == NPXC && metric == PACKAGES[0].0 {
                            sample(round, "rss-idle", NPXC, started.megabytes.context("npxc has gone")?);
                        }
                    }
                    Err(error) => note(format!("{package} with {name}: {error:#}")),
                }
            }
        }
    }
    Ok(())
}

struct Started {
    milliseconds: f64,
    megabytes: Option<f64>,
}

/// Starts a server, waits for its reply, and ends it.
fn start(command: &mut Command, scratch: &Scratch, patience: Duration) -> Result<Started> {
    let complaints = scratch.directory.join("stderr");
    let before = Instant::now();
    // A group of its own: npx leaves its server behind when it is ended.
    let mut server = Talker::start(command.process_group(0).stderr(Stdio::from(File::create(&complaints)?)))?;
    let group = Pid::from_raw(i32::try_from(server.id())?).ok_or_else(|| anyhow!("no process"))?;
    server.say(INITIALIZE)?;
    let reply = reply(&mut server, patience);
    let milliseconds = before.elapsed().as_secs_f64() * 1e3;
    let mut megabytes = None;
    if reply.is_ok() {
        std::thread::sleep(SETTLE);
        megabytes = resident(server.id());
    }
    if !server.finish(GRACE) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    reply.with_context(|| last_line(&complaints))?;
    Ok(Started { milliseconds, megabytes })
}

fn reply(server: &mut Talker, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        let line = server.hear(until.saturating_duration_since(Instant::now()))?;
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if message.get("id") == Some(&0.into()) {
            ensure!(message.get("result").is_some(), "initialize was refused: {line}");
            return Ok(());
        }
    }
}

fn last_line(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    match (read, text.lines().rfind(|line| !line.trim().is_empty())) {
        (Ok(_), Some(line)) => format!("it said {line:?}"),
        _ => "it said nothing".to_owned(),
    }
}

/// Where packages are installed for each of the ways.
struct Scratch {
    directory: PathBuf,
    engines: Engines,
}

impl Scratch {
    fn at(directory: PathBuf, engines: Engines) -> Result<Self> {
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        Ok(Self { directory, engines })
    }

    /// Everyone who is measured here.
    fn ways(&self) -> Vec<&'static str> {
        let contained = CONTAINED.iter().filter(|(_, kind, _)| self.engines.kinds.contains(kind));
        [NPXC, NPX, NODE].into_iter().chain(contained.map(|(way, ..)| *way)).collect()
    }

    /// npxc with directories of its own.
    fn npxc(&self, options: &[&str], spec: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_npxc"));
        command.args(options).args(["--allow", "@npm"]).arg(spec).current_dir("/");
        for (variable, place) in
            [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")]
        {
            command.env(format!("XDG_{variable}_HOME"), self.directory.join("npxc").join(place));
        }
        command
    }

    fn command(&self, way: &str, package: &str, version: &str) -> Result<Command> {
        let spec = format!("{package}@{version}");
        let mut command = match way {
            NPXC => self.npxc(&[], &spec),
            NPX => {
                let mut command = Command::new("npx");
                command.args(["-y", spec.as_str()]).env("npm_config_cache", self.directory.join("npm"));
                command
            }
            NODE => {
                let mut command = Command::new("node");
                command.arg(self.program(package, version)?);
                command
            }
            _ => {
                let contained = CONTAINED.iter().find(|(name, ..)| *name == way);
                let (_, kind, link) = contained.with_context(|| format!("unknown way {way}"))?;
                let config = self.engines.config(kind);
                let config = config.to_str().context("a temporary directory that is not UTF-8")?;
                let mut command = self.npxc(&["--config", config, "--link", link], &spec);
                command.env("XDG_RUNTIME_DIR", self.engines.runtime());
                command
            }
        };
        // A directory without a package.json above: npx would look into it.
        command.current_dir("/");
        Ok(command)
    }

    /// The package's program, installed beside if it is not there yet.
    fn program(&self, package: &str, version: &str) -> Result<PathBuf> {
        let place = self.directory.join("node").join(format!("{}-{version}", package.replace('/', "-")));
        let root = place.join("node_modules").join(package);
        if !root.join("package.json").is_file() {
            fs::create_dir_all(&place)?;
            let status = Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"])
                .arg(&place)
                .arg(format!("{package}@{version}"))
                .stdout(Stdio::null())
                .status()
                .context("running npm")?;
            ensure!(status.success(), "npm could not install {package}");
        }
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(root.join("package.json"))?)?;
        let bin = match &manifest["bin"] {
            serde_json::Value::String(path) => Some(path.as_str()),
            serde_json::Value::Object(bins) => bins.values().next().and_then(serde_json::Value::as_str),
            _ => None,
        };
        Ok(root.join(bin.context("the package has no program")?))
    }
}
