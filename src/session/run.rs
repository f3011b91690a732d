//! The main job: find or install the package, start it, relay its stdio, and end everything in order.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use super::arguments;
use super::files;
use super::foreground::{self, Cause, Conclusion, Signals};
use super::ground::Ground;
use super::keeping::{self, Keeping};
use super::record::{self, Subject};
use super::step::Steps;
use super::{Parts, Session, SessionError, give_back_buffers, raise_descriptor_limit};
use crate::audit::Log;
use crate::config::{Addresses, Network, Resolved};
use crate::egress::driver::Published;
use crate::egress::resolver::Pinned;
use crate::exit::{ExitStatus, Failure};
use crate::net::dns;
use crate::package::certificates::Trust;
use crate::package::entry::MANIFEST;
use crate::package::{
    Entry, GUEST_HOME, GUEST_PACKAGE, HostEnv, InstallOptions, Installer, Node, NpmConfig, Progress, Store,
};
use crate::policy::{Policy, PolicySpec, Rule};
use crate::rpc::proxy::{GuestEnds, Proxy};
use crate::rpc::translate::Translator;
use crate::runtime::{Access, Launch, LimitHit, Limits, Mount, Runtime, Status, Stdio3};
use crate::workspace::Handle;

/// Runs the package in the foreground. `words` is npxc's own voice.
pub fn run(resolved: &Resolved, words: &dyn Progress) -> Result<ExitStatus, Failure> {
    block_on(async {
        let mut signals = take_signals()?;
        let bench = tokio::select! {
            bench = Bench::of(resolved, words) => bench?,
            () = signals.next() => return Ok(ExitStatus::Interrupted),
        };
        let entry = tokio::select! {
            entry = bench.entry(resolved, words, false) => entry?,
            () = signals.next() => return Ok(ExitStatus::Interrupted),
        };
        bench.start(resolved, &entry, words, &mut signals).await
    })
}

/// Installs the package, again when `force` is set; `words` hears of it. When there was nothing to do, returns what is
/// there already, as `name@version`.
pub fn install(resolved: &Resolved, force: bool, words: &dyn Progress) -> Result<Option<String>, Failure> {
    block_on(async {
        let mut signals = take_signals()?;
        let bench = Bench::of(resolved, words).await?;
        if !force && let Some(title) = bench.installed(resolved)? {
            return Ok(Some(title));
        }
        tokio::select! {
            entry = bench.entry(resolved, words, force) => entry.map(|_| None),
            () = signals.next() => Err(Failure::new(ExitStatus::Interrupted, "interrupted; nothing was installed")),
        }
    })
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    raise_descriptor_limit();
    give_back_buffers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(ExitStatus::Runtime, format!("cannot start the event loop: {error}"))
    })?;
    let result = runtime.block_on(work);
    // A thread may still be blocked reading stdin; nothing waits for it.
    runtime.shutdown_background();
    result
}

fn take_signals() -> Result<Signals, Failure> {
    Signals::take()
        .map_err(|error| Failure::new(ExitStatus::Runtime, format!("cannot handle signals: {error}")))
}

/// What every run needs of the host.
struct Bench {
    host: HostEnv,
    node: Node,
    npm: NpmConfig,
    store: Store,
    trust: Trust,
    /// What hides npm's own configuration files, where the guest would see them.
    hidden: Vec<Mount>,
    runtime: Box<dyn Runtime>,
}

impl Bench {
    async fn of(resolved: &Resolved, words: &dyn Progress) -> Result<Self, Failure> {
        let host = HostEnv::current();
        let own = vec![resolved.directories.cache.join("empty")];
        let Ground { runtime, node } = Ground::of(resolved, &host, own, words).await?;
        let npm = NpmConfig::read(&host, &node, false)?;
        let trust = Trust::of(&host, npm.cafile.as_deref(), &node);
        let store = Store::at(&resolved.directories.data);
        let hidden = hide(&npm.files, &node, &resolved.directories.cache)?;
        Ok(Self { host, node, npm, store, trust, hidden, runtime })
    }

    /// What a run would start, as `name@version`, if it is there already.
    fn installed(&self, resolved: &Resolved) -> Result<Option<String>, Failure> {
        let request = resolved.request.resolve(&self.host)?;
        let entry = self.store.lookup(&request, &self.node)?;
        let ready = entry.filter(|entry| entry.manifest.is_ready(resolved.install.ignore_scripts));
        Ok(ready.map(|entry| entry.manifest.title()))
    }

    /// The store entry; installs it when it is missing.
    async fn entry(&self, resolved: &Resolved, words: &dyn Progress, force: bool) -> Result<Entry, Failure> {
        let request = resolved.request.resolve(&self.host)?;
        let runner = Steps::new(&*self.runtime, resolved, &self.hidden, presets(&self.npm));
        let installer = Installer {
            store: &self.store,
            node: &self.node,
            config: &self.npm,
            trust: &self.trust,
            runner: &runner,
        };
        let options = InstallOptions {
            ignore_scripts: resolved.install.ignore_scripts,
            allow_install: resolved.install.allow.clone(),
            force,
        };
        Ok(installer.ensure(&request, &options, words).await?)
    }

    async fn start(
        &self,
        resolved: &Resolved,
        entry: &Entry,
        words: &dyn Progress,
        signals: &mut Signals,
    ) -> Result<ExitStatus, Failure> {
        let id = Uuid::now_v7();
        let (lease, shelf) = files::shelf(resolved, &*self.runtime, id)?;
        let keeping = Keeping::of(resolved, &self.host, &*self.runtime, entry, words)?;
        let granted = keeping.granted(&resolved.mounts);
        let mut launch = self.launch(resolved, entry, &granted)?;
        keeping.add_to(&mut launch);
        launch.mounts.push(files::mount(&shelf));
        let policy = policy(resolved.network.policy(presets(&self.npm)))?;
        let published = listen(resolved)?;
        let (log, recorder) = Log::create(&resolved.audit, id)?;
        let start = record::start(subject(entry), &*self.runtime, &policy, &granted, &launch);
        let start = Cell::new(Some(start));
        // Which link it has is known once the sandbox stands; nothing in it runs before that is written.
        let begin = |link: &str| {
            let Some(start) = start.take() else { return Ok(()) };
            let start = record::over(start, link);
            recorder.record(start).map_err(|_| SessionError::Unrecorded(log.path().to_owned()))
        };
        let scope = files::scope(resolved, &granted, self.host.home.clone());
        let shared = arguments::shared(resolved, &scope);
        if !shared.is_empty() {
            // What is shared is on record, and the session's begin before it.
            begin(self.runtime.link())?;
        }
        let names = files::names(&resolved.mounts);
        let mut translator = Translator::new(resolved.arguments.clone()).mounts(names);
        let (files, mut said) = files::workspace(resolved, scope, shelf, recorder.clone());
        arguments::translate(&mut launch, resolved, &shared, &mut translator, &files, words);
        let parts = Parts {
            launch,
            policy,
            dns: dns_options(&resolved.network),
            pinned: pinned(&resolved.network),
            published,
            journal: Box::new(recorder.clone()),
        };
        let messages = (translator, files.clone(), &mut said);
        let relayed = self.relay(parts, messages, &begin, words, signals).await;
        let (conclusion, written) =
            relayed.unwrap_or_else(|error| (Conclusion { ended: Err(error), cause: Cause::Itself }, None));
        files.finish();
        while let Ok(warning) = said.try_recv() {
            words.warning(&warning);
        }
        drop((lease, keeping));
        keeping::tell(written, entry, resolved.persist, words);
        begin(self.runtime.link())?;
        let end = record::end(&conclusion.ended, conclusion.cause, &recorder);
        let (denied, path) = (recorder.totals().denied, log.path().to_owned());
        if let Err(error) = log.finish(end) {
            words.warning(&error.to_string());
        }
        if denied > 0 {
            let times = if denied == 1 { "once".to_owned() } else { format!("{denied} times") };
            words.say(&format!("the package was denied {times}"));
            words.hint(&format!("npxc audit show {}", path.display()));
        }
        conclude(conclusion, &resolved.limits)
    }

    /// Runs the guest with its stdio tied to npxc's own, until both have ended. It starts when `begin` has
    /// heard which link it has, and succeeded. Gives what the guest wrote into its layer as well.
    async fn relay(
        &self,
        parts: Parts,
        (translator, files, said): (Translator, Handle, &mut UnboundedReceiver<String>),
        begin: &dyn Fn(&str) -> Result<(), SessionError>,
        words: &dyn Progress,
        signals: &mut Signals,
    ) -> Result<(Conclusion, Option<OwnedFd>), SessionError> {
        let (ends, stdio) = pipes().map_err(SessionError::Stdio)?;
        let mut session = Session::start(&*self.runtime, parts, stdio)?;
        begin(session.link())?;
        for warning in session.warnings() {
            words.warning(warning);
        }
        let (notices, mut received) = unbounded_channel();
        let proxy = Proxy::start(ends, translator, Box::new(files), notices).map_err(SessionError::Stdio)?;
        session.release()?;
        let written = session.take_written();
        let conclusion = {
            let mut conclusion = std::pin::pin!(foreground::conclude(&mut session, signals, &mut received));
            loop {
                tokio::select! {
                    conclusion = &mut conclusion => break conclusion,
                    Some(warning) = said.recv() => words.warning(&warning),
                }
            }
        };
        session.finish();
        let interrupted = conclusion.cause == Cause::Interrupted;
        let delivered = tokio::task::spawn_blocking(move || proxy.finish());
        tokio::select! {
            // The client may not read: then a signal still ends npxc.
            _ = delivered => {}
            () = signals.next(), if !interrupted => {}
        }
        Ok((conclusion, written))
    }

    fn launch(&self, resolved: &Resolved, entry: &Entry, granted: &[Mount]) -> Result<Launch, Failure> {
        let command = entry.command(&resolved.request, &resolved.args, &self.node)?;
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        env.insert("HOME".into(), GUEST_HOME.into());
        env.extend(terminal_env(&self.host));
        env.extend(self.trust.env.iter().cloned());
        env.extend(entry.env(&self.node));
        env.extend(resolved.env.iter().map(|(name, value)| (name.as_str().into(), value.0.clone())));
        let mut mounts = self.node.mounts.clone();
        mounts.push(Mount { host: entry.dir.clone(), guest: GUEST_PACKAGE.into(), access: Access::ReadOnly });
        mounts.extend(self.hidden.iter().cloned());
        // It names the host's paths and registries.
        mounts.push(Mount {
            host: empty_file(&resolved.directories.cache)?,
            guest: PathBuf::from(GUEST_PACKAGE).join(MANIFEST),
            access: Access::ReadOnly,
        });
        mounts.extend(granted.iter().cloned());
        Ok(Launch {
            command,
            env: env.into_iter().collect(),
            cwd: resolved.guest_cwd.clone().unwrap_or_else(|| PathBuf::from(GUEST_HOME)),
            mounts,
            layer: None,
            limits: resolved.limits.clone(),
            files: self.trust.files.clone(),
        })
    }
}

fn subject(entry: &Entry) -> Subject {
    let root = entry.manifest.roots.first();
    Subject {
        purpose: "run",
        package: entry.manifest.title(),
        version: root.map(|root| root.version.clone()),
        integrity: root.and_then(|root| root.integrity.clone()),
    }
}

/// npm's system-wide files may hold tokens and may lie where the guest sees them: below `/usr`, or beside a node that
/// is mounted. An empty file stands over each.
fn hide(files: &[PathBuf], node: &Node, cache: &Path) -> Result<Vec<Mount>, Failure> {
    let seen = |file: &&PathBuf| {
        file.starts_with("/usr") || node.mounts.iter().any(|mount| file.starts_with(&mount.host))
    };
    let files: Vec<&PathBuf> = files.iter().filter(seen).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let empty = empty_file(cache)?;
    let over = |file: &PathBuf| Mount { host: empty.clone(), guest: file.clone(), access: Access::ReadOnly };
    Ok(files.into_iter().map(over).collect())
}

/// A file without content, to stand over another.
fn empty_file(cache: &Path) -> Result<PathBuf, Failure> {
    let empty = cache.join("empty");
    if !empty.is_file() {
        std::fs::create_dir_all(cache).and_then(|()| std::fs::write(&empty, [])).map_err(|error| {
            Failure::new(ExitStatus::Config, format!("cannot write {}: {error}", empty.display()))
        })?;
    }
    Ok(empty)
}

/// What a person at a terminal expects a program to know about it; nothing about the user or the machine.
fn terminal_env(host: &HostEnv) -> impl Iterator<Item = (OsString, OsString)> + '_ {
    ["TERM", "COLORTERM", "NO_COLOR", "LANG", "TZ"]
        .into_iter()
        .filter_map(|name| Some((name.into(), host.var(name)?.to_owned())))
}

/// What the presets stand for on this host.
pub(super) fn presets(npm: &NpmConfig) -> BTreeMap<String, Vec<Rule>> {
    BTreeMap::from([("npm".to_owned(), npm.rules())])
}

pub(super) fn policy(spec: PolicySpec) -> Result<Policy, Failure> {
    Policy::new(spec).map_err(|error| Failure::new(ExitStatus::Config, error.to_string()).hints(error.hint()))
}

fn listen(resolved: &Resolved) -> Result<Vec<Published>, Failure> {
    resolved
        .publish
        .iter()
        .map(|publish| {
            let listener = TcpListener::bind(publish.listen).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            let failed = |error: std::io::Error| {
                Failure::new(ExitStatus::Config, format!("--publish {publish}: cannot listen: {error}"))
                    .hint("choose another port of the host: --publish PORT:GUEST_PORT")
            };
            Ok(Published { listener: listener.map_err(failed)?, guest_port: publish.guest })
        })
        .collect()
}

fn dns_options(network: &Network) -> dns::Options {
    dns::Options {
        ipv6: network.ipv6,
        addresses: match network.addresses {
            Addresses::Virtual => dns::Addresses::Virtual,
            Addresses::Real => dns::Addresses::Real,
        },
    }
}

pub(super) fn pinned(network: &Network) -> Pinned {
    let mut pinned = Pinned::new();
    for host in &network.add_host {
        pinned.entry(host.name.clone()).or_default().push(host.address);
    }
    pinned
}

fn pipes() -> std::io::Result<(GuestEnds, Stdio3)> {
    use std::io::pipe;
    let ((stdin, to_guest), (from_guest, stdout), (errors, stderr)) = (pipe()?, pipe()?, pipe()?);
    let ends = GuestEnds { stdin: to_guest.into(), stdout: from_guest.into(), stderr: errors.into() };
    Ok((ends, Stdio3 { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() }))
}

/// The exit status, and what is to be said about it. A guest that was asked to end did not end of a limit, whatever
/// it had run into before.
fn conclude(conclusion: Conclusion, limits: &Limits) -> Result<ExitStatus, Failure> {
    let ended = conclusion.ended?;
    match (conclusion.cause, ended.status, ended.limit) {
        (Cause::Interrupted, _, _) => Ok(ExitStatus::Interrupted),
        (Cause::Client, _, _) => Ok(ExitStatus::Success),
        (Cause::Itself, Status::Exited(code), _) => {
            Ok(ExitStatus::Package(u8::try_from(code).unwrap_or(u8::MAX)))
        }
        (Cause::Itself, Status::Signaled(_), Some(hit)) => {
            let (granted, option) = match hit {
                LimitHit::Memory => (format!("{} MiB of memory", limits.memory >> 20), "--memory"),
                LimitHit::Pids => (format!("{} processes and threads", limits.pids), "--pids"),
            };
            Err(Failure::new(ExitStatus::GuestDied, format!("the package hit its limit of {granted}"))
                .hint(format!("give it more with {option}")))
        }
        (Cause::Itself, Status::Signaled(signal), None) => {
            Err(Failure::new(ExitStatus::GuestDied, format!("the package was ended by signal {signal}"))
                .hint("its last words above may say why; `npxc audit show` says what it was denied"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Ended;

    fn status(cause: Cause, status: Status, limit: Option<LimitHit>) -> ExitStatus {
        let conclusion = Conclusion { ended: Ok(Ended { status, limit }), cause };
        conclude(conclusion, &Limits::default()).unwrap_or_else(|failure| failure.status)
    }

    #[test]
    fn a_limit_counts_only_for_a_guest_that_ended_of_it() {
        let killed = Status::Signaled(9);
        assert_eq!(status(Cause::Itself, killed, Some(LimitHit::Memory)), ExitStatus::GuestDied);
        assert_eq!(status(Cause::Itself, killed, None), ExitStatus::GuestDied);
        assert_eq!(status(Cause::Client, killed, Some(LimitHit::Pids)), ExitStatus::Success);
        assert_eq!(status(Cause::Interrupted, killed, Some(LimitHit::Pids)), ExitStatus::Interrupted);
        assert_eq!(status(Cause::Itself, Status::Exited(3), Some(LimitHit::Pids)), ExitStatus::Package(3));
    }
}
