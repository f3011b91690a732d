//! What a package stands on: the runtime that was chosen, and the node that it will find there.

use std::io::Read as _;
use std::path::PathBuf;

use crate::audit::Event;
use crate::config::{Resolved, RuntimeChoice};
use crate::exit::{ExitStatus, Failure};
use crate::net::dns;
use crate::net::router::Journal;
use crate::package::{HostEnv, Node, Progress};
use crate::policy::PolicySpec;
use crate::runtime::engine::{self, Engine};
use crate::runtime::{Launch, Limits, Runtime, Status, Stdio3};

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
            RuntimeChoice::Auto if cfg!(target_os = "macos") => apple(),
            RuntimeChoice::Apple => apple(),
            RuntimeChoice::Auto | RuntimeChoice::Native => Self::native(resolved, host, own),
            RuntimeChoice::Podman => Self::engine(engine::Kind::Podman, resolved, host, own, words).await,
            RuntimeChoice::Docker => Self::engine(engine::Kind::Docker, resolved, host, own, words).await,
        }
    }

    #[cfg(target_os = "linux")]
    fn native(resolved: &Resolved, host: &HostEnv, own: Vec<PathBuf>) -> Result<Self, Failure> {
        let node = Node::find(host, &resolved.directories.cache)?;
        let trusted = node.mounts.iter().map(|mount| mount.host.clone());
        let trusted = trusted.chain([resolved.directories.data.clone()]).chain(own);
        let runtime = crate::runtime::native::Native::new()
            .trust(trusted.collect::<Vec<_>>())
            .protect(resolved.directories.own().into_iter().cloned());
        Ok(Self { runtime: Box::new(runtime), node })
    }

    #[cfg(not(target_os = "linux"))]
    fn native(_: &Resolved, _: &HostEnv, _: Vec<PathBuf>) -> Result<Self, Failure> {
        Err(Failure::new(ExitStatus::Runtime, "the native runtime takes Linux")
            .hint("leave --runtime out, or use --runtime apple"))
    }

    async fn engine(
        kind: engine::Kind,
        resolved: &Resolved,
        host: &HostEnv,
        own: Vec<PathBuf>,
        words: &dyn Progress,
    ) -> Result<Self, Failure> {
        let engine = chosen(kind, resolved, host)
            .trust([resolved.directories.data.clone()].into_iter().chain(own))
            .protect(resolved.directories.own().into_iter().cloned());
        let reference = resolved.runtime.image.as_deref().unwrap_or(DEFAULT_IMAGE);
        let (engine, image) = pulled(engine, reference, words).await?;
        let digest = image.digest().to_owned();
        let engine = engine.image(image);
        let cache = &resolved.directories.cache;
        let node = if let Some(node) = Node::remembered(cache, &digest) {
            node
        } else {
            words.say(&format!("asking what node {reference} has"));
            let node = Node::of_image(reference, &ask(&engine).await?)?;
            node.remember(cache, &digest);
            node
        };
        Ok(Self { runtime: Box::new(engine), node })
    }
}

/// Finds the image, or pulls it: on a thread, so that a signal ends npxc meanwhile.
async fn pulled(
    engine: Engine,
    reference: &str,
    words: &dyn Progress,
) -> Result<(Engine, engine::Image), Failure> {
    let (lines, mut heard) = tokio::sync::mpsc::unbounded_channel::<String>();
    let reference = reference.to_owned();
    let pull = tokio::task::spawn_blocking(move || {
        let image = engine::image::ensure(&engine, &reference, &mut |line| drop(lines.send(line.to_owned())));
        image.map(|image| (engine, image))
    });
    while let Some(line) = heard.recv().await {
        words.say(&line);
    }
    let pulled =
        pull.await.map_err(|_| Failure::new(ExitStatus::Runtime, "looking for the image has failed"))?;
    pulled.map_err(|error| Failure::from(super::SessionError::from(error)))
}

fn apple() -> Result<Ground, Failure> {
    Err(Failure::new(ExitStatus::Runtime, "the runtime apple takes macOS")
        .hint("leave --runtime out, or use --runtime podman"))
}

/// The engine with what the user said about it, without an image.
pub(super) fn chosen(kind: engine::Kind, resolved: &Resolved, host: &HostEnv) -> Engine {
    use crate::config::LinkChoice::{Auto, Socket, Tun, Wireguard};
    let options = &resolved.runtime;
    let link = match options.link {
        Auto | Tun => engine::LinkChoice::Auto,
        Wireguard => engine::LinkChoice::Wireguard,
        Socket => engine::LinkChoice::Socket,
    };
    let engine = Engine::new(kind, resolved.directories.sessions(host.var("XDG_RUNTIME_DIR")))
        .link(link)
        .require_limits(options.require_limits)
        .run_arguments(options.arguments.iter().map(Into::into));
    match &options.program {
        Some(program) => engine.program(program.clone(), []),
        None => engine,
    }
}

/// Runs node's question in the image, without a network, and gives what it printed.
async fn ask(engine: &Engine) -> Result<String, Failure> {
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
        limits: Limits::default(),
        files: Vec::new(),
    };
    let parts = Parts {
        launch,
        policy: super::run::policy(PolicySpec::default())?,
        dns: dns::Options::default(),
        pinned: super::Pinned::new(),
        published: Vec::new(),
        journal: Box::new(Nothing),
    };
    let stdio = Stdio3 { stdin: null()?.into(), stdout: stdout.into(), stderr: null()?.into() };
    let mut session = Session::start(engine, parts, stdio)?;
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
