//! The first and the last line of a session's log, the same for a run and for a step of an install.

use std::cell::Cell;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::SessionError;
use super::foreground::Cause;
use crate::audit::shelf::{self, Shelved};
use crate::audit::signature::Key;
use crate::audit::{AuditError, Event, Log, Options, Recorder, otel};
use crate::config::Resolved;
use crate::package::Entry;
use crate::paths::shell_word;
use crate::policy::Policy;
use crate::runtime::{Access, Ended, Launch, LimitHit, Mount, Runtime, Status};

/// What is being run.
#[derive(Debug)]
pub(super) struct Subject {
    /// `run`, `fetch` or `build`.
    pub(super) purpose: &'static str,
    /// The package as a person names it.
    pub(super) package: String,
    /// Its version, once known.
    pub(super) version: Option<String>,
    /// Its Subresource Integrity string, where the registry gave one.
    pub(super) integrity: Option<String>,
    /// The packages of its tree that ran scripts when they were installed.
    pub(super) scripts: Vec<String>,
}

impl Subject {
    /// A package that is run.
    pub(super) fn run(entry: &Entry) -> Self {
        let root = entry.manifest.roots.first();
        Self {
            purpose: "run",
            package: entry.manifest.title(),
            version: root.map(|root| root.version.clone()),
            integrity: root.and_then(|root| root.integrity.clone()),
            scripts: entry.manifest.ran_scripts(),
        }
    }
}

/// The first line of a run's log, until it is written: which link there is, is known once the sandbox stands. Nothing in it
/// runs, and nothing is shared with it, before that.
pub(super) struct Opening<'a> {
    start: Cell<Option<Event>>,
    recorder: Recorder,
    log: &'a Path,
}

impl<'a> Opening<'a> {
    pub(super) fn new(start: Event, recorder: Recorder, log: &'a Path) -> Self {
        Self { start: Cell::new(Some(start)), recorder, log }
    }

    /// Writes it, the first time.
    pub(super) fn write(&self, link: &str) -> Result<(), SessionError> {
        let Some(start) = self.start.take() else { return Ok(()) };
        self.recorder.begin(over(start, link)).map_err(|_| SessionError::Unrecorded(self.log.to_owned()))
    }
}

/// The log of an install's step, once it has its first line: it gets its last one however the step ends. A step that is dropped
/// was interrupted.
pub(super) struct Closing {
    log: Option<Log>,
    recorder: Recorder,
}

impl Closing {
    pub(super) fn new(log: Log, recorder: Recorder) -> Self {
        Self { log: Some(log), recorder }
    }

    pub(super) fn finish(mut self, ended: &Result<Ended, SessionError>) -> Result<(), AuditError> {
        self.close(end(ended, Cause::Itself, &self.recorder))
    }

    fn close(&mut self, end: Event) -> Result<(), AuditError> {
        self.log.take().map_or(Ok(()), |log| log.finish(end))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let how = Cause::Interrupted.as_str().to_owned();
        // Nobody is left who could be told.
        let _ = self.close(last(None, None, how, &self.recorder));
    }
}

/// Opens the log, and lets go of those that are older than anybody wants.
pub(super) fn open(resolved: &Resolved, session: Uuid) -> Result<(Log, Recorder), AuditError> {
    let path = resolved.directories.audit_key();
    let key = resolved.logs.sign.then(|| Key::at(&path)).transpose();
    let key = key.map_err(|source| AuditError::Key { path, source })?;
    let mirror = resolved.logs.otel.then(otel::mirror).transpose()?;
    let options = Options { key, max_size: resolved.logs.max_size, mirror };
    let opened = Log::with(&resolved.audit, session, options)?;
    if let Some(keep) = resolved.logs.keep {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // What cannot be removed now is next time, and stops nothing.
        let _ = shelf::sweep(&resolved.directories.audit(), keep, now);
    }
    Ok(opened)
}

/// What `npxc audit` takes for a session's log: the id that its name has, in short, where it lies in npxc's own directory.
pub(super) fn called(log: &Path, resolved: &Resolved) -> String {
    let own = log.parent() == Some(&resolved.directories.audit());
    match Shelved::of(log.to_owned()).filter(|_| own) {
        Some(log) => log.short(),
        None => shell_word(&log.to_string_lossy()),
    }
}

/// `session.start`. `mounts` are those worth a reviewer's attention.
pub(super) fn start(
    subject: Subject,
    runtime: &dyn Runtime,
    policy: &Policy,
    mounts: &[Mount],
    launch: &Launch,
) -> Event {
    Event::SessionStart {
        npxc: env!("CARGO_PKG_VERSION").to_owned(),
        purpose: subject.purpose.to_owned(),
        package: subject.package,
        version: subject.version,
        integrity: subject.integrity,
        scripts: subject.scripts,
        runtime: runtime.name().to_owned(),
        link: runtime.link().to_owned(),
        network: policy.mode().as_str().to_owned(),
        allow: policy.allow(),
        allow_private: policy.allow_private(),
        deny: policy.deny(),
        mounts: mounts.iter().map(describe_mount).collect(),
        env: launch.env.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect(),
    }
}

/// The same over another link: which one it is shows only when the sandbox stands.
pub(super) fn over(mut start: Event, used: &str) -> Event {
    if let Event::SessionStart { link, .. } = &mut start {
        used.clone_into(link);
    }
    start
}

/// `session.end`. A limit is the reason only for an end that nobody asked for.
pub(super) fn end(ended: &Result<Ended, SessionError>, cause: Cause, recorder: &Recorder) -> Event {
    let (status, signal) = match ended.as_ref().map(|ended| ended.status) {
        Ok(Status::Exited(code)) => (Some(code), None),
        Ok(Status::Signaled(signal)) => (None, Some(signal)),
        Err(_) => (None, None),
    };
    let how = match ended {
        Ok(Ended { limit: Some(hit), .. }) if cause == Cause::Itself => {
            format!("limit: {}", limit_name(*hit))
        }
        Ok(_) => cause.as_str().to_owned(),
        Err(error) => error.to_string(),
    };
    last(status, signal, how, recorder)
}

fn last(status: Option<i32>, signal: Option<i32>, how: String, recorder: &Recorder) -> Event {
    let totals = recorder.totals();
    Event::SessionEnd { status, signal, how, denied: totals.denied, allowed: totals.allowed }
}

fn describe_mount(mount: &Mount) -> String {
    let access = match mount.access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    format!("{}:{}:{access}", mount.host.display(), mount.guest.display())
}

fn limit_name(hit: LimitHit) -> &'static str {
    match hit {
        LimitHit::Memory => "memory",
        LimitHit::Pids => "pids",
    }
}
