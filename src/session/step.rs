//! A step of an install as a session: the same sandbox, router and log as a run, with its output kept instead of
//! shown.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use super::network::{install_proxy, pinned, presets};
use super::record::{self, Closing, Subject};
use super::refusals::Telling;
use super::{Parts, Said, Session, SessionError};
use crate::audit::{Event, Recorder};
use crate::config::Resolved;
use crate::net::dns;
use crate::net::router::Journal;
use crate::package::step::{MAX_DENIALS, OUTPUT_TAIL};
use crate::package::tree;
use crate::package::{HostEnv, NpmConfig, Progress, Step, StepError, StepOutcome, StepRunner};
use crate::policy::{Mode, Policy, PolicySpec};
use crate::runtime::{Access, Ended, LimitHit, Mount, Runtime, Status, Stdio3};

/// Runs an install's steps.
pub(super) struct Steps<'a> {
    runtime: &'a dyn Runtime,
    resolved: &'a Resolved,
    hidden: &'a [Mount],
    npm: &'a NpmConfig,
    host: &'a HostEnv,
    words: &'a dyn Progress,
}

impl<'a> Steps<'a> {
    pub(super) fn new(
        runtime: &'a dyn Runtime,
        resolved: &'a Resolved,
        hidden: &'a [Mount],
        (npm, host): (&'a NpmConfig, &'a HostEnv),
        words: &'a dyn Progress,
    ) -> Self {
        Self { runtime, resolved, hidden, npm, host, words }
    }

    async fn execute(&self, step: &Step) -> Result<StepOutcome, StepError> {
        let policy = Policy::new(PolicySpec {
            mode: if step.allow.is_empty() && step.allow_private.is_empty() {
                Mode::None
            } else {
                Mode::Allowlist
            },
            allow: step.allow.clone(),
            allow_private: step.allow_private.clone(),
            deny: self.resolved.network.deny.clone(),
            presets: presets(self.npm),
        })
        .map_err(|error| StepError::new(error.to_string(), error.hint()))?;
        let proxy = install_proxy(self.resolved, self.npm, self.host)
            .map_err(|failure| StepError::new(failure.message, failure.hints.into_iter().next()))?;
        let (log, recorder) = record::open(self.resolved, Uuid::now_v7())
            .map_err(|error| StepError::new(error.to_string(), error.hint()))?;
        let mut launch = step.launch(self.resolved.limits.clone());
        launch.mounts.extend(self.hidden.iter().cloned());
        let subject = Subject {
            purpose: step.purpose.as_str(),
            package: step.package.clone(),
            version: None,
            integrity: None,
            scripts: Vec::new(),
        };
        let start = record::start(subject, self.runtime, &policy, &step.mounts, &launch);
        let denials = Kept::default();
        let (out, stdout) = io::pipe().map_err(plain)?;
        let (err, stderr) = io::pipe().map_err(plain)?;
        let stdin = File::open("/dev/null").map_err(plain)?.into();
        let overheard = Overheard { recorder: recorder.clone(), denials: denials.clone() };
        let (say, mut said) = unbounded_channel();
        let parts = Parts {
            launch,
            policy,
            dns: dns::Options::default(),
            pinned: pinned(&self.resolved.network),
            proxy,
            published: Vec::new(),
            journal: Box::new(Telling::new(overheard, say)),
        };
        let failed = |error: SessionError| StepError::new(error.to_string(), error.hint());
        self.lend(step).map_err(failed)?;
        let stdio = Stdio3 { stdin, stdout: stdout.into(), stderr: stderr.into() };
        let (out, err) = (tail(out.into()).map_err(plain)?, tail(err.into()).map_err(plain)?);
        let session = Session::start(self.runtime, parts, stdio);
        let used = session.as_ref().map_or_else(|_| self.runtime.link(), Session::link);
        recorder
            .begin(record::over(start, used))
            .map_err(|_| StepError::new("the audit log cannot be written", None))?;
        let closing = Closing::new(log, recorder);
        let ended = match session {
            Ok(session) => self.see_through(step, session, &mut said).await,
            Err(error) => Err(error),
        };
        closing.finish(&ended).map_err(|error| StepError::new(error.to_string(), error.hint()))?;
        let ended = ended.map_err(failed)?;
        Ok(StepOutcome {
            success: ended.status == Status::Exited(0),
            ended: describe(&ended),
            stdout_tail: joined(out),
            stderr_tail: joined(err),
            denials: denials.take(),
        })
    }

    /// From the moment its sandbox stands until it has ended.
    async fn see_through(
        &self,
        step: &Step,
        mut session: Session,
        said: &mut UnboundedReceiver<Said>,
    ) -> Result<Ended, SessionError> {
        session.release()?;
        let ended = loop {
            tokio::select! {
                ended = session.wait() => break ended,
                Some(said) = said.recv() => said.tell(self.words),
            }
        };
        session.finish();
        while let Ok(said) = said.try_recv() {
            said.tell(self.words);
        }
        self.take_back(step)?;
        ended
    }

    /// Gives what the step may write to whom its runtime lets write.
    fn lend(&self, step: &Step) -> Result<(), SessionError> {
        let Some(owner) = self.runtime.owner()? else { return Ok(()) };
        give(step, owner)
    }

    /// Makes it npxc's own again, with what the step has written.
    fn take_back(&self, step: &Step) -> Result<(), SessionError> {
        let Some(_) = self.runtime.owner()? else { return Ok(()) };
        give(step, (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
    }
}

fn give(step: &Step, (user, group): (u32, u32)) -> Result<(), SessionError> {
    for mount in step.mounts.iter().filter(|mount| mount.access == Access::ReadWrite) {
        tree::give(&mount.host, user, group).map_err(|error| SessionError::Owner(error.to_string()))?;
    }
    Ok(())
}

impl StepRunner for Steps<'_> {
    async fn run(&self, step: Step) -> Result<StepOutcome, StepError> {
        self.execute(&step).await
    }
}

/// The session's recorder, and the denials beside it, for the hints of a failed install.
struct Overheard {
    recorder: Recorder,
    denials: Kept,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Event>>>);

impl Kept {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, event: &Event) {
        if event.denial().is_some() || matches!(event, Event::FlowClose { hint: Some(_), .. }) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_DENIALS {
                kept.push(event.clone());
            }
        }
    }
}

impl Journal for Overheard {
    fn record(&mut self, event: Event) -> bool {
        self.denials.keep(&event);
        Journal::record(&mut self.recorder, event)
    }

    fn healthy(&self) -> bool {
        Journal::healthy(&self.recorder)
    }
}

/// Reads a stream to its end on a thread, keeping the last of it.
fn tail(from: OwnedFd) -> io::Result<JoinHandle<String>> {
    std::thread::Builder::new().name("output".to_owned()).spawn(move || {
        let mut from = File::from(from);
        let mut kept = VecDeque::with_capacity(OUTPUT_TAIL);
        let mut buffer = [0; 16 * 1024];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
        {
            kept.extend(&buffer[..count]);
            kept.drain(..kept.len().saturating_sub(OUTPUT_TAIL));
        }
        String::from_utf8_lossy(kept.make_contiguous()).into_owned()
    })
}

fn joined(reader: JoinHandle<String>) -> String {
    reader.join().unwrap_or_default()
}

fn describe(ended: &Ended) -> String {
    match (ended.limit, ended.status) {
        (Some(LimitHit::Memory), _) => "killed: memory limit".to_owned(),
        (Some(LimitHit::Pids), Status::Signaled(_)) => "killed: limit of processes".to_owned(),
        (_, Status::Exited(code)) => format!("exit status {code}"),
        (_, Status::Signaled(signal)) => format!("killed by signal {signal}"),
    }
}

fn plain(error: impl std::error::Error + Send + Sync + 'static) -> StepError {
    StepError::new(error, None)
}
