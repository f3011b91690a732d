//! A session's end: answers those who may ask, one after the other.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{MAX_LINE, Reply, Request, Status, UNREADY, prepare, short, socket};
use crate::audit::{Event, Recorder};
use crate::egress::driver::Handle;
use crate::policy::{Change, Mode, Policy, PolicySpec};

/// How long one connection may take: who asks has its question ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session that listens. Dropping it takes its socket away.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // What cannot be taken away answers nobody, and goes when sessions are looked for.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a session that listens is about.
#[derive(Debug)]
pub struct Subject {
    /// Everything that does not change.
    pub status: Status,
    /// The rules as they were given.
    pub spec: PolicySpec,
    /// Its log.
    pub recorder: Recorder,
    /// Its datapath.
    pub datapath: Handle,
}

struct State {
    status: Status,
    spec: Mutex<PolicySpec>,
    recorder: Recorder,
    datapath: Handle,
}

/// Listens in the directory of sockets, on the current tokio runtime.
///
/// # Errors
/// The socket cannot be made.
pub fn start(directory: &Path, subject: Subject) -> io::Result<Server> {
    prepare(directory)?;
    let path = socket(directory, subject.status.session);
    // Under its name it answers: one that does not is taken for what a killed session left.
    let unready = path.with_extension(UNREADY);
    let listener = {
        let (address, _open) = short(&unready)?;
        UnixListener::bind(address)?
    };
    std::fs::set_permissions(&unready, Permissions::from_mode(0o600))?;
    std::fs::rename(&unready, &path)?;
    let Subject { status, spec, recorder, datapath } = subject;
    let state = State { status, spec: Mutex::new(spec), recorder, datapath };
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Whoever is slow or gone has had its turn.
                    let _ = state.serve(stream).await;
                }
                // Out of descriptors: until some are free again.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    });
    Ok(Server { path, task })
}

impl State {
    async fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        // The directory lets nobody else in; should it be opened to others, this does not.
        let peer = stream.peer_cred()?;
        if peer.uid() != rustix::process::geteuid().as_raw() || peer.pid().is_some_and(is_contained) {
            return Ok(());
        }
        let (read, mut write) = stream.split();
        let mut line = String::new();
        timeout(PATIENCE, BufReader::new(read.take(MAX_LINE)).read_line(&mut line)).await??;
        // A change is never left halfway: only its author is not waited for.
        let reply = match serde_json::from_str(&line) {
            Ok(Request::Status) => Reply::Status(Box::new(self.status())),
            Ok(Request::Change(change)) => self.change(&change).await,
            Err(error) => refused(format!("this session does not understand that: {error}"), None),
        };
        let mut line = serde_json::to_vec(&reply)?;
        line.push(b'\n');
        timeout(PATIENCE, write.write_all(&line)).await?
    }

    fn status(&self) -> Status {
        let totals = self.recorder.totals();
        let mut status = Status { allowed: totals.allowed, denied: totals.denied, ..self.status.clone() };
        if let Ok(policy) = Policy::new(self.spec().clone()) {
            (status.allow, status.allow_private, status.deny) =
                (policy.allow(), policy.allow_private(), policy.deny());
        }
        status
    }

    /// Connections are served one after the other, so nobody changes the rules meanwhile.
    async fn change(&self, change: &Change) -> Reply {
        let spec = self.spec().changed(change);
        if spec.mode == Mode::None && !matches!(change, Change::Deny(_)) {
            let hint = "start it with --allow, or with --network allowlist, to change it while it runs";
            return refused("this session has no network at all".to_owned(), Some(hint.to_owned()));
        }
        let policy = match Policy::new(spec.clone()) {
            Ok(policy) => policy,
            Err(error) => return refused(error.to_string(), error.hint()),
        };
        let said = Event::PolicyChange {
            change: change.to_string(),
            allow: policy.allow(),
            allow_private: policy.allow_private(),
            deny: policy.deny(),
        };
        match self.datapath.revise(policy, said).await {
            Ok(true) => {
                *self.spec() = spec;
                Reply::Status(Box::new(self.status()))
            }
            Ok(false) => refused("the audit log cannot take the change, so it is none".to_owned(), None),
            Err(_) => refused("the session is ending".to_owned(), None),
        }
    }

    fn spec(&self) -> std::sync::MutexGuard<'_, PolicySpec> {
        self.spec.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether a process is in another user namespace than npxc, as every guest of the native runtime is: however it came by the
/// socket, it may not ask. What is not known counts as one.
fn is_contained(pid: i32) -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).ok();
    cfg!(target_os = "linux") && namespace(&pid.to_string()).is_none_or(|its| namespace("self") != Some(its))
}

fn refused(what: String, hint: Option<String>) -> Reply {
    Reply::Refused { what, hint }
}
