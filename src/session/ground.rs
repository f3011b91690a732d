//! What a package stands on: the runtime that was chosen, and the node that it will find there.

use std::io::Read as _;
use std::path::PathBuf;

use crate::audit::Event;
use crate::config::{self, Resolved, RuntimeChoice, RuntimeOptions};
use crate::exit::{ExitStatus, Failure};
use crate::net::dns;
use crate::net::router::Journal;
use crate::package::{HostEnv, Node, Progress};
use crate::policy::PolicySpec;
use crate::runtime::apple::Apple;
#[cfg(target_os = "linux")]
use crate::runtime::engine::{self, Engine};
use crate::runtime::{KnownDirectories, Launch, Limits, LinkChoice, Runtime, RuntimeError, Status, Stdio3};

use super::{Parts, Session};

/// The image that a container engine starts when none was named: node's official one, on Debian.
pub(super) const DEFAULT_IMAGE: &str = "docker.io/library/node:22-slim";
/// Longest output of an image's node that is read, bytes.
const MAX_ANSWER: u64 = 256 << 10;

/// A runtime with its node.
pub(super) struct Ground {
    pub(super) runtime: Box<dyn Runtime>,
    pub(super) node: Node,
}

impl Ground {
    /// The one that the user chose. `own` are files that npxc lays over others.
    pub(super) async fn of(
        resolved: &Resolved,
        host: &HostEnv,
        own: Vec<PathBuf>,
        words: &dyn Progress,
    ) -> Result<Self, Failure> {
        match resolved.runtime.name {
            RuntimeChoice::Apple => Self::apple(resolved, host, own, words).await,
            RuntimeChoice::Native => Self::native(resolved, host, own),
            #[cfg(target_os = "linux")]
            RuntimeChoice::Podman => Self::engine(engine::Kind::Podman, resolved, host, own, words).await,
            #[cfg(target_os = "linux")]
            RuntimeChoice::Docker => Self::engine(engine::Kind::Docker, resolved, host, own, words).await,
            #[cfg(not(target_os = "linux"))]
            RuntimeChoice::Podman | RuntimeChoice::Docker => Err(Failure::new(
                ExitStatus::Runtime,
                "podman and docker take Linux: npxc shares sockets with their containers",
            )
            .hint("leave --runtime out, or use --runtime apple")),
        }
    }

    #[cfg(target_os = "linux")]
    fn native(resolved: &Resolved, host: &HostEnv, own: Vec<PathBuf>) -> Result<Self, Failure> {
        let node = Node::find(host, &resolved.directories.cache)?;
        let nodes = node.mounts.iter().map(|mount| mount.host.clone());
        let directories = directories(resolved, nodes.chain(own));
        let runtime = crate::runtime::native::Native::new()
            .directories(directories)
            .require_limits(resolved.runtime.require_limits);
        Ok(Self { runtime: Box::new(runtime), node })
    }

    #[cfg(not(target_os = "linux"))]
    fn native(_: &Resolved, _: &HostEnv, _: Vec<PathBuf>) -> Result<Self, Failure> {
        Err(Failure::new(ExitStatus::Runtime, "the native runtime takes Linux")
            .hint("leave --runtime out, or use --runtime apple"))
    }

    #[cfg(target_os = "linux")]
    async fn engine(
        kind: engine::Kind,
        resolved: &Resolved,
        host: &HostEnv,
        own: Vec<PathBuf>,
        words: &dyn Progress,
    ) -> Result<Self, Failure> {
        let sessions = resolved.directories.sessions(host.var("XDG_RUNTIME_DIR"));
        let engine = chosen_engine(kind, &resolved.runtime, sessions).directories(directories(resolved, own));
        let reference = resolved.runtime.image.as_deref().unwrap_or(DEFAULT_IMAGE);
        let (engine, image) = pulled(engine, reference, words).await?;
        let digest = image.digest().to_owned();
        let engine = engine.image(image);
        let node = node_of(&engine, reference, &digest, resolved, words).await?;
        Ok(Self { runtime: Box::new(engine), node })
    }

    async fn apple(
        resolved: &Resolved,
        host: &HostEnv,
        own: Vec<PathBuf>,
        words: &dyn Progress,
    ) -> Result<Self, Failure> {
        let options = &resolved.runtime;
        if options.program.is_none() && !cfg!(target_os = "macos") {
            return Err(Failure::new(ExitStatus::Runtime, "the runtime apple takes macOS")
                .hint("leave --runtime out, or use --runtime podman"));
        }
        let sessions = resolved.directories.sessions(host.var("XDG_RUNTIME_DIR"));
        let apple = chosen_apple(options, sessions).directories(directories(resolved, own));
        if options.require_limits {
            let what = "apple limits memory and CPUs, but processes are only counted inside, and `require_limits` is set";
            return Err(Failure::new(ExitStatus::Runtime, what)
                .hint("leave `--require-limits` out (`require_limits = false`)"));
        }
        let reference = options.image.as_deref().unwrap_or(DEFAULT_IMAGE).to_owned();
        let (apple, image) = off_thread(words, {
            let reference = reference.clone();
            move |say| apple.find_image(&reference, say).map(|image| (apple, image))
        })
        .await?;
        let digest = image.digest.clone();
        let apple = apple.image(image);
        let node = node_of(&apple, &reference, &digest, resolved, words).await?;
        Ok(Self { runtime: Box::new(apple), node })
    }
}

/// What npxc made or chose itself, `chosen` among it, and what no package may see.
fn directories(resolved: &Resolved, chosen: impl IntoIterator<Item = PathBuf>) -> KnownDirectories {
    KnownDirectories {
        trusted: [resolved.directories.data.clone()].into_iter().chain(chosen).collect(),
        protected: resolved.directories.own().into_iter().cloned().collect(),
        sockets: vec![resolved.directories.control()],
    }
}

/// The image's node, asked for once per image.
async fn node_of(
    runtime: &dyn Runtime,
    reference: &str,
    digest: &str,
    resolved: &Resolved,
    words: &dyn Progress,
) -> Result<Node, Failure> {
    let cache = &resolved.directories.cache;
    if let Some(node) = Node::remembered(cache, digest) {
        return Ok(node);
    }
    words.say(&format!("asking what node {reference} has"));
    let node = Node::of_image(reference, digest, &ask(runtime).await?)?;
    node.remember(cache, digest);
    Ok(node)
}

/// Finds the image, or pulls it.
#[cfg(target_os = "linux")]
async fn pulled(
    engine: Engine,
    reference: &str,
    words: &dyn Progress,
) -> Result<(Engine, engine::Image), Failure> {
    let reference = reference.to_owned();
    off_thread(words, move |say| engine::image::ensure(&engine, &reference, say).map(|image| (engine, image)))
        .await
}

/// On a thread, so that a signal ends npxc meanwhile; what is said on it is said here.
async fn off_thread<T: Send + 'static>(
    words: &dyn Progress,
    work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, Failure> {
    let (lines, mut heard) = tokio::sync::mpsc::unbounded_channel::<String>();
    let work = tokio::task::spawn_blocking(move || work(&mut |line| drop(lines.send(line.to_owned()))));
    while let Some(line) = heard.recv().await {
        words.say(&line);
    }
    let done =
        work.await.map_err(|_| Failure::new(ExitStatus::Runtime, "looking for the image has failed"))?;
    done.map_err(|error| Failure::from(super::SessionError::from(error)))
}

/// The engine with what the user said about it, without an image; `sessions` is where its sessions are.
#[cfg(target_os = "linux")]
pub fn chosen_engine(kind: engine::Kind, options: &RuntimeOptions, sessions: PathBuf) -> Engine {
    let engine = Engine::new(kind, sessions)
        .link(link(options))
        .require_limits(options.require_limits)
        .run_arguments(options.arguments.iter().map(Into::into));
    match &options.program {
        Some(program) if is_of(kind, options.name, program) => engine.program(program.clone(), []),
        Some(_) | None => engine,
    }
}

/// Whether the program that the user named is the one of this engine: that of the chosen one is, whatever it is called.
#[cfg(target_os = "linux")]
fn is_of(kind: engine::Kind, chosen: RuntimeChoice, program: &std::path::Path) -> bool {
    match chosen {
        RuntimeChoice::Podman => kind == engine::Kind::Podman,
        RuntimeChoice::Docker => kind == engine::Kind::Docker,
        // Chosen anew at each start.
        RuntimeChoice::Native | RuntimeChoice::Apple => {
            program.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind.as_str()))
        }
    }
}

/// Apple's `container` with what the user said about it, without an image; `sessions` is where its sessions are.
pub fn chosen_apple(options: &RuntimeOptions, sessions: PathBuf) -> Apple {
    let apple =
        Apple::new(sessions).link(link(options)).run_arguments(options.arguments.iter().map(Into::into));
    match &options.program {
        Some(program) => apple.program(program.clone(), []),
        None => apple,
    }
}

/// Runs node's question in the image, without a network, and gives what it printed.
async fn ask(runtime: &dyn Runtime) -> Result<String, Failure> {
    let failed =
        |what: String| Failure::new(ExitStatus::Runtime, format!("cannot ask the image's node: {what}"));
    let io = |error: std::io::Error| failed(error.to_string());
    let (answer, stdout) = std::io::pipe().map_err(io)?;
    let null = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").map_err(io);
    let launch = Launch {
        command: Node::question(),
        env: Vec::new(),
        cwd: "/".into(),
        mounts: Vec::new(),
        layer: None,
        limits: Limits::default(),
        files: Vec::new(),
    };
    let parts = Parts {
        launch,
        policy: super::network::policy(PolicySpec::default())?,
        dns: dns::Options::default(),
        pinned: super::Pinned::new(),
        proxy: None,
        published: Vec::new(),
        journal: Box::new(Nothing),
    };
    let stdio = Stdio3 { stdin: null()?.into(), stdout: stdout.into(), stderr: null()?.into() };
    let mut session = Session::start(runtime, parts, stdio)?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        answer.take(MAX_ANSWER).read_to_string(&mut text).map(|_| text)
    });
    session.release()?;
    let ended = session.wait().await?;
    session.finish();
    if ended.status != Status::Exited(0) {
        return Err(failed(format!("it ended with {:?}", ended.status))
            .hint("choose an image with node and npm with --image"));
    }
    reader.join().map_err(|_| failed("its output was lost".to_owned()))?.map_err(io)
}

/// Records nothing, and so allows nothing.
struct Nothing;

impl Journal for Nothing {
    fn record(&mut self, _: Event) -> bool {
        false
    }

    fn healthy(&self) -> bool {
        false
    }
}

/// The link of a container. `tun` is the native runtime's: no container's options have it.
fn link(options: &RuntimeOptions) -> LinkChoice {
    match options.link {
        config::LinkChoice::Auto | config::LinkChoice::Tun => LinkChoice::Auto,
        config::LinkChoice::Wireguard => LinkChoice::Wireguard,
        config::LinkChoice::Socket => LinkChoice::Socket,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_that_of_the_engine_it_was_named_for() {
        use engine::Kind::{Docker, Podman};
        let odd = std::path::Path::new("/opt/engine");
        assert!(is_of(Podman, RuntimeChoice::Podman, odd) && !is_of(Docker, RuntimeChoice::Podman, odd));
        assert!(is_of(Docker, RuntimeChoice::Docker, odd) && !is_of(Podman, RuntimeChoice::Docker, odd));
        let named = std::path::Path::new("/opt/podman/bin/podman-5");
        assert!(is_of(Podman, RuntimeChoice::HERE, named) && !is_of(Docker, RuntimeChoice::HERE, named));
        assert!(!is_of(Podman, RuntimeChoice::Apple, odd));
    }
}
