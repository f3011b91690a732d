//! The main job: find or install the package, start it, relay its stdio, and end everything in order.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use super::foreground::{self, Cause, Conclusion, Signals};
use super::host::Host;
use super::keeping::{self, Keeping};
use super::live::Live;
use super::observed::Observed;
use super::record::{self, Opening, Subject};
use super::refusals::Telling;
use super::witness::Witness;
use super::{Parts, Said, Session, SessionError, give_back_buffers, raise_descriptor_limit};
use super::{arguments, files, network};
use crate::config::Resolved;
use crate::exit::{ExitStatus, Failure};
use crate::package::{Changes, Entry, Progress, Updated};
use crate::policy::Mode;
use crate::rpc::calls::Calls;
use crate::rpc::denials::Denials;
use crate::rpc::proxy::{GuestEnds, Proxy};
use crate::rpc::translate::Translator;
use crate::runtime::{LimitHit, Limits, Runtime, Status, Stdio3};
use crate::workspace::Handle;

/// How long an install may take before it is said how not to wait for it: as long as nobody starts to wonder.
const UNREMARKED: Duration = Duration::from_secs(5);

/// Runs the package in the foreground. `words` is npxc's own voice; `ahead` the command line that would have installed it
/// before.
pub fn run(resolved: &Resolved, ahead: &str, words: &dyn Progress) -> Result<ExitStatus, Failure> {
    block_on(async {
        let mut signals = take_signals()?;
        let Some(host) = signals.or(Host::of(resolved, words)).await else {
            return Ok(ExitStatus::Interrupted);
        };
        let host = host?;
        let Some(entry) = entry(&host, resolved, ahead, words, &mut signals).await? else {
            return Ok(ExitStatus::Interrupted);
        };
        host.note_use(&entry);
        start(&host, resolved, &entry, words, &mut signals).await
    })
}

/// The package's entry, installed first if it has to be; `None` if a signal came. Who waits for it is told how not to:
/// a client at once, since it may not wait long enough, a person when it takes long.
async fn entry(
    host: &Host,
    resolved: &Resolved,
    ahead: &str,
    words: &dyn Progress,
    signals: &mut Signals,
) -> Result<Option<Entry>, Failure> {
    let mut entry = pin!(host.entry(resolved, words, false));
    let mut wait = pin!(tokio::time::sleep(if is_client() { Duration::ZERO } else { UNREMARKED }));
    let mut told = false;
    loop {
        tokio::select! {
            // What is installed is there at the first look, and nobody waits.
            biased;
            entry = &mut entry => return entry.map(Some),
            () = signals.next() => return Ok(None),
            () = &mut wait, if !told => {
                told = true;
                words.hint(&format!(
                    "`{ahead}` installs it ahead: many clients wait 10 to 60 seconds for a server's first answer"
                ));
            }
        }
    }
}

/// Whether a program holds the other end of stdin. Node gives its children sockets.
fn is_client() -> bool {
    let kind = fstat(std::io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// Installs the package, again when `force` is set; `words` hears of it. When there was nothing to do, returns what is
/// there already, as `name@version`.
pub fn install(resolved: &Resolved, force: bool, words: &dyn Progress) -> Result<Option<String>, Failure> {
    block_on(async {
        let mut signals = take_signals()?;
        let interrupted = || Failure::new(ExitStatus::Interrupted, "interrupted; nothing was installed");
        let host = signals.or(Host::of(resolved, words)).await.ok_or_else(interrupted)??;
        if !force && let Some(title) = host.installed(resolved)? {
            return Ok(Some(title));
        }
        signals.or(host.entry(resolved, words, force)).await.ok_or_else(interrupted)??;
        Ok(None)
    })
}

/// Resolves anew what is installed, and installs that if it is another and `decide` wants the changes. A signal ends it
/// while that decides, too.
pub fn update(
    resolved: &Resolved,
    words: &dyn Progress,
    decide: &impl AsyncFn(&Changes) -> bool,
) -> Result<Updated, Failure> {
    block_on(async {
        let mut signals = take_signals()?;
        let interrupted = || Failure::new(ExitStatus::Interrupted, "interrupted; nothing was changed");
        let host = signals.or(Host::of(resolved, words)).await.ok_or_else(interrupted)??;
        signals.or(host.update(resolved, words, decide)).await.ok_or_else(interrupted)?
    })
}

/// What comes of `work`, unless a signal ends it: from the first session on, that is npxc's own to do.
pub fn until_signal<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    block_on(async {
        let interrupted = || Failure::new(ExitStatus::Interrupted, "interrupted; nothing was changed");
        take_signals()?.or(work).await.ok_or_else(interrupted)
    })
}

pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
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

async fn start(
    host: &Host,
    resolved: &Resolved,
    entry: &Entry,
    words: &dyn Progress,
    signals: &mut Signals,
) -> Result<ExitStatus, Failure> {
    let runtime = &*host.runtime;
    let id = Uuid::now_v7();
    let (lease, shelf) = files::shelf(resolved, runtime, id)?;
    let keeping = Keeping::of(resolved, &host.env, runtime, entry, words)?;
    let granted = keeping.granted(&resolved.mounts);
    let mut launch = host.launch(resolved, entry, &granted)?;
    keeping.add_to(&mut launch);
    launch.mounts.push(files::mount(&shelf));
    let spec = resolved.network.policy(network::presets(&host.npm));
    let policy = network::policy(spec.clone())?;
    let published = network::listen(resolved)?;
    if let Some(proxying) = &resolved.network.proxy
        && resolved.network.mode != Mode::None
    {
        words.say(&network::about_proxy(proxying));
    }

    let (log, recorder) = record::open(resolved, id)?;
    let first = record::start(Subject::run(entry), runtime, &policy, &granted, &launch);
    let opening = Opening::new(first, recorder.clone(), log.path());
    let scope = files::scope(resolved, &granted, host.env.home.clone());
    arguments::warn(resolved, &scope, words);
    let shared = arguments::shared(resolved, &scope);
    if !shared.is_empty() {
        // What is shared is on record, and the session's start before it.
        opening.write(runtime.link())?;
    }
    let names = files::names(&resolved.mounts);
    let (denials, observed, calls) = (Denials::default(), Observed::default(), Calls::default());
    let mut translator = Translator::new(resolved.arguments.clone()).mounts(names).noting(calls.clone());
    if resolved.explain {
        translator = translator.explaining(denials.clone());
    }
    let (say, mut said) = unbounded_channel();
    let files = files::workspace(resolved, scope, shelf, recorder.clone(), say.clone());
    arguments::translate(&mut launch, resolved, &shared, &mut translator, &files, words);

    let parts = Parts {
        launch,
        policy,
        dns: network::dns_options(&resolved.network),
        pinned: network::pinned(&resolved.network),
        proxy: resolved.network.proxy.clone(),
        published,
        journal: Box::new(Telling::new(
            Witness::new(recorder.clone(), denials, (observed.clone(), calls), say.clone()),
            say,
        )),
    };
    let live = Live {
        directory: resolved.directories.control(),
        session: id,
        package: entry.manifest.title(),
        spec,
        recorder: recorder.clone(),
        log: log.path().to_owned(),
    };
    let messages = (translator, files.clone(), &mut said);
    let relayed = relay(runtime, parts, messages, (&opening, live), words, signals).await;
    let (conclusion, written) =
        relayed.unwrap_or_else(|error| (Conclusion { ended: Err(error), cause: Cause::Itself }, None));

    bring_back(files, signals).await;
    while let Ok(said) = said.try_recv() {
        said.tell(words);
    }
    drop((lease, keeping));
    keeping::tell(written, entry, resolved.persist, words);
    opening.write(runtime.link())?;
    let end = record::end(&conclusion.ended, conclusion.cause, &recorder);
    let (denied, called) = (recorder.totals().denied, record::called(log.path(), resolved));
    if let Err(error) = log.finish(end) {
        words.warning(&error.to_string());
    }
    if denied > 0 {
        let times = if denied == 1 { "once".to_owned() } else { format!("{denied} times") };
        words.say(&format!("the package was denied {times}"));
        words.hint(&format!("npxc audit show {called}"));
    }
    if resolved.network.mode == Mode::Observe {
        match observed.words() {
            Some(destinations) => {
                words.say(&format!("the package was let through to {destinations} would have been denied"));
                words.hint(&format!("npxc audit suggest {called}"));
            }
            None => words.say("nothing was let through that would have been denied"),
        }
    }
    conclude(conclusion, &resolved.limits)
}

/// Runs the guest with its stdio tied to npxc's own, until both have ended. It starts when the log has
/// its first line. Gives what the guest wrote into its layer as well.
async fn relay(
    runtime: &dyn Runtime,
    parts: Parts,
    (translator, files, said): (Translator, Handle, &mut UnboundedReceiver<Said>),
    (opening, live): (&Opening<'_>, Live),
    words: &dyn Progress,
    signals: &mut Signals,
) -> Result<(Conclusion, Option<OwnedFd>), SessionError> {
    let (ends, [stdin, stdout, stderr]) = GuestEnds::pipes().map_err(SessionError::Stdio)?;
    let stdio = Stdio3 { stdin, stdout, stderr };
    let mut session = Session::start(runtime, parts, stdio)?;
    opening.write(session.link())?;
    for warning in session.warnings() {
        words.warning(warning);
    }
    let (notices, mut received) = unbounded_channel();
    let proxy = Proxy::start(ends, translator, Box::new(files), notices).map_err(SessionError::Stdio)?;
    let _live = live.listen(&session, runtime, words);
    session.release()?;
    let written = session.take_written();
    let conclusion = {
        let mut conclusion = pin!(foreground::conclude(&mut session, signals, &mut received));
        loop {
            tokio::select! {
                conclusion = &mut conclusion => break conclusion,
                Some(said) = said.recv() => said.tell(words),
            }
        }
    };
    session.finish();
    let interrupted = conclusion.cause == Cause::Interrupted;
    let delivered = tokio::task::spawn_blocking(move || proxy.finish());
    tokio::select! {
        // The client may not read: then a signal still ends npxc, and one that came before does after a while.
        _ = delivered => {}
        () = signals.next() => {}
        () = tokio::time::sleep(foreground::AFTER_TERM), if interrupted => {}
    }
    Ok((conclusion, written))
}

/// The guest has ended: what it has written and no reply has spoken of is brought to the host's files. A signal ends that with
/// the file that it is at.
async fn bring_back(files: Handle, signals: &mut Signals) {
    let all = files.clone();
    let mut finished = tokio::task::spawn_blocking(move || all.finish());
    tokio::select! {
        _ = &mut finished => return,
        () = signals.next() => files.stop(),
    }
    // One that panicked has nothing left to bring.
    let _ = finished.await;
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
