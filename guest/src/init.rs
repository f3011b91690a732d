//! Process 1 of the sandbox: builds it, hands the link over, confines itself, starts the workload at npxc's
//! word, reaps everything, reports the end. When it ends, the kernel kills whatever is left inside.

mod supervise;

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::spec::{Limit, Order, Purpose, Ready, Report, Spec, Supervise};
use crate::step::{At, Failure, Step};
use crate::sys::{self, Exec, ExecFailure};
use crate::wire::Channel;
use crate::{confine, layout, network};

/// Runs init to its end.
pub(crate) fn main(channel: &mut Channel, spec: &Spec, stdio: [OwnedFd; 3]) -> i32 {
    let outcome = match spec.purpose {
        Purpose::Run => run(channel, spec, stdio),
        Purpose::Check => {
            check(channel, spec);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            let _ = channel.send(&Report::Failed(failure), &[]);
            1
        }
    }
}

fn run(channel: &mut Channel, spec: &Spec, stdio: [OwnedFd; 3]) -> Result<(), Failure> {
    let exec = prepare(spec)?;
    own_process();
    let mut ready = Ready::default();
    network::loopback()?;
    let link = network::create()?;
    (ready.vnet_hdr, ready.offload) = (link.vnet_hdr, link.offload);
    let collected = layout::collect(spec)?;
    layout::build(spec, &collected, true, &mut ready)?;
    confine::limits()?;
    confine::landlock(spec, &mut ready)?;
    confine::capabilities()?;
    confine::seccomp()?;
    let children = sys::child_signals().at(Step::HandOver, "signalfd")?;
    channel.send(&Report::Ready(ready), &[link.tun.as_fd()]).at(Step::HandOver, "link")?;
    drop(link);

    let supervise = match channel.receive::<Order>() {
        Ok(Some(Order::Go(supervise))) => supervise,
        // npxc is gone, or wants the end before the start.
        Ok(Some(Order::Terminate) | None) | Err(_) => return Ok(()),
    };
    if let Some(most) = supervise.nproc {
        confine::limit_processes(most)?;
    }
    let workload = sys::spawn(&exec, stdio).map_err(|(stage, error)| {
        let program =
            spec.command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        match stage {
            ExecFailure::Setup => Failure::new(Step::Exec, "preparing the process", &error),
            ExecFailure::WorkingDirectory => {
                Failure::new(Step::WorkingDirectory, spec.cwd.to_string_lossy(), &error)
            }
            ExecFailure::Exec => Failure::new(Step::Exec, program, &error),
        }
    })?;
    watch(channel, supervise, workload, children.as_fd());
    Ok(())
}

/// Every step, going on where the next ones can still be tried; nothing is started.
fn check(channel: &Channel, spec: &Spec) {
    own_process();
    let mut ready = Ready::default();
    // Without a warning a step has passed.
    let report = |step, outcome: Result<String, Failure>, warnings: &mut Vec<String>| {
        let passed = outcome.is_ok();
        let reports = match outcome {
            Ok(note) if warnings.is_empty() => vec![Report::Passed { step, note }],
            Ok(_) => warnings.drain(..).map(|why| Report::Lacking { step, why }).collect(),
            Err(failure) => vec![Report::Failed(failure)],
        };
        for report in reports {
            let _ = channel.send(&report, &[]);
        }
        passed
    };
    let nothing = |()| String::new();
    report(Step::Loopback, network::loopback().map(nothing), &mut ready.warnings);
    // Held to the end: the interface lives as long as its descriptor.
    let link = network::create();
    let stands = link.is_ok();
    if link.as_ref().is_ok_and(|link| !link.offload) {
        ready
            .warnings
            .push("the TUN has no segmentation offload, so large transfers take more CPU time".into());
    }
    let note = link.as_ref().map(|_| "with segmentation offload".into()).map_err(Clone::clone);
    report(Step::TunOpen, note, &mut ready.warnings);
    let layout =
        layout::collect(spec).and_then(|collected| layout::build(spec, &collected, stands, &mut ready));
    if !report(Step::Pivot, layout.map(nothing), &mut ready.warnings) {
        return;
    }
    report(Step::Limits, confine::limits().map(nothing), &mut ready.warnings);
    let landlock = confine::landlock(spec, &mut ready);
    report(Step::Landlock, landlock, &mut ready.warnings);
    report(Step::Capabilities, confine::capabilities().map(nothing), &mut ready.warnings);
    report(Step::Seccomp, confine::seccomp().map(nothing), &mut ready.warnings);
}

fn own_process() {
    // The lifeline is the control socket; this is for the case that the helper is killed by itself. Safe,
    // because the helper has one thread, which forked this process.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // Refused in some containers; nothing depends on it.
    let _ = rustix::system::sethostname(b"npxc");
}

/// Strings for exec; made before anything can fail later than it has to.
fn prepare(spec: &Spec) -> Result<Exec, Failure> {
    let string = |bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| {
            let error = std::io::Error::other("NUL byte");
            Failure::new(Step::Exec, "command, environment or directory", &error)
        })
    };
    let Some(program) = spec.command.first() else {
        return Err(Failure::new(Step::Exec, "command", &std::io::Error::other("is empty")));
    };
    let candidates: Vec<OsString> = if program.as_bytes().contains(&b'/') {
        vec![program.clone()]
    } else {
        let path =
            spec.env.iter().find(|(name, _)| name == "PATH").map_or(OsStr::new("/usr/bin:/bin"), |(_, v)| v);
        std::env::split_paths(path).map(|directory| directory.join(program).into_os_string()).collect()
    };
    let variable = |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    Ok(Exec {
        candidates: candidates.into_iter().map(|path| string(path.into_vec())).collect::<Result<_, _>>()?,
        arguments: spec
            .command
            .iter()
            .map(|word| string(word.as_bytes().into()))
            .collect::<Result<_, _>>()?,
        environment: spec.env.iter().map(|pair| string(variable(pair))).collect::<Result<_, _>>()?,
        cwd: string(spec.cwd.as_bytes().into())?,
    })
}

/// Reaps and obeys until the workload or npxc ends.
fn watch(channel: &mut Channel, supervise: Supervise, workload: Pid, children: BorrowedFd<'_>) {
    let mut guard = supervise::Guard::new(supervise);
    loop {
        let timeout = guard.timeout();
        let mut events =
            [PollFd::new(&*channel, PollFlags::IN), PollFd::from_borrowed_fd(children, PollFlags::IN)];
        let _ = rustix::event::poll(&mut events, timeout.as_ref());
        let [control, child] = events.map(|event| !event.revents().is_empty());
        if let Some(limit) = guard.look() {
            let _ = channel.send(&Report::Limit(limit), &[]);
            return;
        }
        if child {
            let _ = rustix::io::read(children, &mut [0_u8; 1024]);
            if let Some(status) = reap(workload) {
                let (code, signal) = (status.exit_status(), status.terminating_signal());
                let limit = guard.processes_exhausted().then_some(Limit::Pids);
                let _ = channel.send(&Report::Ended { code, signal, limit }, &[]);
                return;
            }
        }
        if control {
            match channel.fill() {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return,
                Ok(_) | Err(_) => {}
            }
            while let Ok(Some(order)) = channel.buffered::<Order>() {
                match order {
                    Order::Go(_) => {}
                    Order::Terminate => sys::signal_everyone(libc::SIGTERM),
                }
            }
        }
    }
}

/// Collects every process that has ended; the workload's status, if it was among them.
fn reap(workload: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == workload {
            ended = Some(status);
        }
    }
    ended
}
