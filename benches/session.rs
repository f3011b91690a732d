//! npxc without its command line, with this program as the package: sandbox, link, router, policy, sniffing,
//! audit log and stdio proxy are npxc's own, put together as `session` does it for the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use npxc::audit::{Event, Log};
use npxc::egress::resolver::Pinned;
use npxc::net::dns;
use npxc::net::router::Journal;
use npxc::policy::{Mode, Policy, PolicySpec};
use npxc::rpc::proxy::{GuestEnds, Notice, Proxy};
use npxc::rpc::translate::{GUEST_DIRECTORY, Translator};
use npxc::runtime::native::Native;
use npxc::runtime::{Access, Launch, Limits, Mount, Status, Stdio3};
use npxc::session::{Parts, Session, give_back_buffers, raise_descriptor_limit};
use npxc::workspace::scope::Scope;
use npxc::workspace::shelf::Shelf;
use npxc::workspace::{Ground, Handle, Workspace};
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

use crate::datapath::topology::{SERVER, SERVER_NAME};

/// Where this program stands inside.
const INSIDE: &str = "/opt/bench";
/// What the guest may reach: the server by address and by name.
pub const ALLOW: [&str; 3] = ["203.0.113.0/24", "[2001:db8:1::/64]", SERVER_NAME];

/// Does not return in the processes that npxc's runtime makes of this program.
pub fn dispatch() {
    npxc_guest::dispatch();
}

/// Runs this program as `role` in a session, with our standard streams. npxc never runs without a log; here, to measure what
/// that costs, nobody may take its events.
pub fn run(role: &str, logged: bool) -> Result<ExitCode> {
    raise_descriptor_limit();
    give_back_buffers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(foreground(role, logged))?;
    // The thread that reads standard input may still be blocked.
    runtime.shutdown_background();
    Ok(match status {
        Status::Exited(0) => ExitCode::SUCCESS,
        Status::Exited(_) | Status::Signaled(_) => ExitCode::FAILURE,
    })
}

async fn foreground(role: &str, logged: bool) -> Result<Status> {
    let logs = tempfile::tempdir()?;
    let target = npxc::audit::Target::File(logs.path().join("audit.jsonl"));
    let (log, recorder) = Log::create(&target, Uuid::now_v7())?;
    let policy = Policy::new(PolicySpec {
        mode: Mode::Allowlist,
        allow: ALLOW.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?,
        ..PolicySpec::default()
    })?;
    // What calls name is in the directory that this was started in.
    let ground = Ground { cwd: std::env::current_dir()?, home: PathBuf::from("/"), own: Vec::new() };
    let scope = Scope::new(ground, &[], false);
    let (_lease, shelf) = Shelf::new(&logs.path().join("shared"), "bench", Access::ReadOnly, None)?;
    let attic = logs.path().join("kept");
    let visible = shelf.visible();
    let workspace = Workspace::new(scope, shelf, recorder.clone(), attic, Box::new(|_| {}));
    let parts = Parts {
        launch: launch(role, visible)?,
        policy,
        dns: dns::Options::default(),
        pinned: Pinned::from([(SERVER_NAME.parse()?, vec![SERVER.parse()?])]),
        proxy: None,
        published: Vec::new(),
        journal: if logged { Box::new(recorder.clone()) } else { Box::new(Nowhere) },
    };
    let (ends, [stdin, stdout, stderr]) = GuestEnds::pipes()?;
    let mut session = Session::start(&Native::new(), parts, Stdio3 { stdin, stdout, stderr })?;
    let (notices, mut received) = unbounded_channel::<Notice>();
    let proxy = Proxy::start(ends, Translator::default(), Box::new(Handle::new(workspace)), notices)?;
    session.release()?;
    let ended = session.wait().await.context("the session was lost")?;
    session.finish();
    let totals = recorder.totals();
    proxy.finish();
    received.close();
    let end = Event::SessionEnd {
        status: None,
        signal: None,
        how: "bench".to_owned(),
        denied: totals.denied,
        allowed: totals.allowed,
    };
    log.finish(end)?;
    Ok(ended.status)
}

/// Takes every event, and does nothing with it.
struct Nowhere;

impl Journal for Nowhere {
    fn record(&mut self, _: Event) -> bool {
        true
    }

    fn healthy(&self) -> bool {
        true
    }
}

fn launch(role: &str, shared: PathBuf) -> Result<Launch> {
    let program = std::env::current_exe()?;
    Ok(Launch {
        command: vec![INSIDE.into(), role.into()],
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        mounts: vec![
            Mount { host: program, guest: INSIDE.into(), access: Access::ReadOnly },
            Mount { host: shared, guest: GUEST_DIRECTORY.into(), access: Access::ReadOnly },
        ],
        layer: None,
        limits: Limits::default(),
        files: Vec::new(),
    })
}
