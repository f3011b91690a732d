//! What every test starts from: the engine of this run with a store of its own, the image, the guest's program.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use npxc::runtime::engine::{Engine, Image, Kind, image};
use npxc::runtime::{Ended, Guest, Launch, Limits, Runtime, RuntimeError, Status, Stdio3};
use npxc::runtime::{LinkChoice, guest_binary};

use super::docker::Daemon;
use super::machine::{carries, have, root_for};
use super::patience::{PATIENCE, Patient};

/// The engine of a run that was started by another: `podman` or `docker`.
pub(super) const KIND: &str = "NPXC_TEST_ENGINE";
/// Its directory.
pub(super) const DIRECTORY: &str = "NPXC_TEST_ENGINE_DIRECTORY";
/// A static guest program, for an npxc that carries none.
pub(super) const GUEST: &str = "NPXC_TEST_GUEST";
/// The npxc that is started as a helper.
pub(super) const PROGRAM: &str = "NPXC_TEST_PROGRAM";
/// The name of the image.
pub(super) const IMAGE: &str = "localhost/npxc-node:test";

/// An engine to test with.
pub(super) struct World {
    pub(super) kind: Kind,
    pub(super) directory: PathBuf,
    /// What precedes every command of the engine.
    pub(super) arguments: Vec<OsString>,
    guest: Option<PathBuf>,
    program: PathBuf,
    image: Image,
}

/// The world of this run; `None`, and a word, where this user or this machine cannot have one.
pub(super) fn world() -> Option<&'static World> {
    static WORLD: LazyLock<Result<World, String>> = LazyLock::new(World::make);
    let able = (again() || root_for("containers of podman as root"))
        && have(kind().as_str())
        && (guest().is_some() || carries(guest_binary()));
    // Every test says what one of them has found.
    able.then(|| WORLD.as_ref().unwrap_or_else(|why| panic!("no containers: {why}")))
}

/// The directory of this run.
pub(super) fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY)
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("e"), PathBuf::from)
}

/// Whether this run was started by another.
pub(super) fn again() -> bool {
    std::env::var_os(KIND).is_some()
}

fn kind() -> Kind {
    if std::env::var_os(KIND).is_some_and(|kind| kind == "docker") { Kind::Docker } else { Kind::Podman }
}

/// The npxc under test.
pub(super) fn program() -> PathBuf {
    std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_npxc").into()).into()
}

/// A static guest program outside of npxc, if the environment names one.
pub(super) fn guest() -> Option<PathBuf> {
    std::env::var_os(GUEST).map(PathBuf::from)
}

fn global_arguments(kind: Kind, directory: &Path) -> Vec<OsString> {
    match kind {
        Kind::Podman => ["--root", "--runroot", "--tmpdir"]
            .into_iter()
            .flat_map(|option| [option.into(), directory.join(option.trim_start_matches('-')).into()])
            // Unasked it copies every layer for an ordinary user who may not use FUSE.
            .chain(["--storage-driver".into(), "overlay".into()])
            .collect(),
        Kind::Docker => {
            vec!["--host".into(), Daemon::host(directory).into()]
        }
    }
}

impl World {
    fn make() -> Result<Self, String> {
        let kind = kind();
        let directory = directory();
        settle(&directory).map_err(|error| error.to_string())?;
        let arguments = global_arguments(kind, &directory);
        let engine = Engine::new(kind, directory.join("s")).program(kind.as_str().into(), arguments.clone());
        engine.facts().map_err(|error| format!("{}: {error}", kind.as_str()))?;
        let image = image::ensure(&engine, IMAGE, &mut |_| {}).or_else(|_| {
            import(kind, &directory, &arguments)?;
            image::ensure(&engine, IMAGE, &mut |_| {}).map_err(|error| error.to_string())
        })?;
        Ok(Self { kind, directory, arguments, guest: guest(), program: program(), image })
    }

    /// The engine under test.
    pub(super) fn engine(&self) -> Engine {
        self.engine_in(self.directory.join("s"))
    }

    /// docker with another daemon, whose directory this is, and a store of its own.
    pub(super) fn elsewhere(&self, directory: &Path) -> Engine {
        let arguments = global_arguments(Kind::Docker, directory);
        import(Kind::Docker, directory, &arguments).unwrap();
        let engine = self.furnished(Kind::Docker, directory.join("s"), arguments);
        let image = image::ensure(&engine, IMAGE, &mut |_| {}).unwrap();
        engine.image(image)
    }

    /// With its sessions in another directory.
    pub(super) fn engine_in(&self, sessions: PathBuf) -> Engine {
        self.furnished(self.kind, sessions, self.arguments.clone()).image(self.image.clone())
    }

    fn furnished(&self, kind: Kind, sessions: PathBuf, arguments: Vec<OsString>) -> Engine {
        let engine = Engine::new(kind, sessions)
            .program(kind.as_str().into(), arguments)
            .link(LinkChoice::Socket)
            .helper(self.program.clone());
        match &self.guest {
            Some(guest) => engine.guest(guest.clone()),
            None => engine,
        }
    }

    /// The engine's own program, as a person would call it.
    pub(super) fn command(&self, words: &[&str]) -> Output {
        Command::new(self.kind.as_str())
            .args(&self.arguments)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The names of npxc's containers and networks that the engine knows.
    pub(super) fn known(&self) -> String {
        let list = |words: &[&str]| String::from_utf8(self.command(words).stdout).unwrap();
        list(&["ps", "--all", "--format", "{{.Names}}", "--filter", "name=npxc-"])
            + &list(&["network", "ls", "--format", "{{.Name}}", "--filter", "name=npxc-"])
    }
}

/// Makes the directory anew where it was moved or copied: podman's store goes by absolute paths.
fn settle(directory: &Path) -> std::io::Result<()> {
    let marker = directory.join("settled");
    let here = directory.as_os_str().as_encoded_bytes();
    if !again() && directory.exists() && fs::read(&marker).ok().as_deref() != Some(here) {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    fs::write(marker, here)
}

/// Makes the image of this machine's node, once for all runs of this file.
fn import(kind: Kind, directory: &Path, arguments: &[OsString]) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/local-node");
    let given = directory.join("image.tar");
    let output = if given.exists() {
        // An ordinary user may not reach the project.
        Command::new(kind.as_str())
            .args(arguments)
            .args(["import", "--change", "ENV PATH=/usr/bin:/bin"])
            .arg(given)
            .arg(IMAGE)
            .output()
    } else {
        Command::new(script).args([IMAGE, kind.as_str()]).args(arguments).output()
    };
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("images/local-node: {said}")) }
}

/// Everybody's turn with the engine, or one test's alone.
static TURNS: RwLock<()> = RwLock::new(());

thread_local! {
    /// Whether this thread's test has its turn already.
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// A test's turn, to its end.
#[derive(Debug)]
pub(super) struct Turn<G>(#[allow(dead_code, reason = "held")] G);

impl<G> Drop for Turn<G> {
    fn drop(&mut self) {
        HAS_TURN.set(false);
    }
}

/// Tests that look at what the engine has as a whole run beside no other that starts a container.
pub(super) fn alone() -> Turn<RwLockWriteGuard<'static, ()>> {
    let turn = TURNS.write().unwrap_or_else(PoisonError::into_inner);
    HAS_TURN.set(true);
    Turn(turn)
}

fn turn() -> Option<Turn<RwLockReadGuard<'static, ()>>> {
    (!HAS_TURN.replace(true)).then(|| Turn(TURNS.read().unwrap_or_else(PoisonError::into_inner)))
}

pub(super) fn launch(command: &[&str]) -> Launch {
    Launch {
        command: command.iter().map(Into::into).collect(),
        env: Vec::new(),
        cwd: "/home/user".into(),
        mounts: Vec::new(),
        layer: None,
        limits: Limits { memory: 1 << 30, pids: 64, cpus: None, scratch: 16 << 20, ..Limits::default() },
        files: Vec::new(),
    }
}

pub(super) fn sh(script: &str) -> Launch {
    launch(&["/bin/sh", "-c", script])
}

/// A container with its ends of the workload's stdio.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) guest: Guest,
    pub(super) stdin: Option<std::io::PipeWriter>,
    pub(super) stdout: Patient<std::io::PipeReader>,
    pub(super) stderr: Patient<std::io::PipeReader>,
    _turn: Option<Turn<RwLockReadGuard<'static, ()>>>,
}

pub(super) fn try_start(engine: &Engine, launch: &Launch) -> Result<Running, RuntimeError> {
    let (stdin, input) = std::io::pipe().unwrap();
    let (stdout, output) = std::io::pipe().unwrap();
    let (stderr, errors) = std::io::pipe().unwrap();
    let stdio = Stdio3 { stdin: stdin.into(), stdout: output.into(), stderr: errors.into() };
    let turn = turn();
    let guest = engine.launch(launch, stdio)?;
    let (stdout, stderr) = (Patient(stdout), Patient(stderr));
    Ok(Running { guest, stdin: Some(input), stdout, stderr, _turn: turn })
}

pub(super) fn start(engine: &Engine, launch: &Launch) -> Running {
    let mut running =
        try_start(engine, launch).unwrap_or_else(|error| panic!("{error}\nhint: {:?}", error.hint()));
    running.guest.release().unwrap();
    running
}

pub(super) fn wait(guest: &mut Guest) -> Result<Ended, RuntimeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, guest.wait()).await });
    ended.expect("it does not end")
}

/// Runs a command to its end: how it ended, what it wrote.
pub(super) fn run(engine: &Engine, launch: &Launch) -> (Ended, String, String) {
    let mut running = start(engine, launch);
    drop(running.stdin.take());
    let (mut out, mut err) = (String::new(), String::new());
    running.stdout.read_to_string(&mut out).unwrap();
    running.stderr.read_to_string(&mut err).unwrap();
    (wait(&mut running.guest).unwrap(), out, err)
}

pub(super) fn exited(code: i32) -> Ended {
    Ended { status: Status::Exited(code), limit: None }
}

/// What a script writes; it has to succeed.
pub(super) fn output(engine: &Engine, script: &str) -> String {
    let (ended, out, err) = run(engine, &sh(script));
    assert_eq!(ended, exited(0), "{out}\n{err}");
    out
}
