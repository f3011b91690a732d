//! The workload from npxc's "go" to its end: the same in every kind of sandbox. Runs in process 1, which starts the
//! command, reaps everything, obeys npxc and reports the end. When process 1 ends, the kernel kills what is left.

mod supervise;

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::spec::{Limit, Order, Report, Spec, Supervise};
use crate::step::{Failure, Step};
use crate::sys::{self, Exec, ExecFailure};
use crate::wire::Channel;

/// What is said when the companion has ended.
const COMPANION: &str = "its process inside the container has ended";

/// A command, ready to be started.
pub(crate) struct Workload {
    exec: Exec,
    program: String,
    cwd: String,
}

/// Why there is nothing to watch any more.
enum Over {
    Workload(WaitStatus),
    Companion,
}

impl Workload {
    /// Everything that can be wrong with the command by itself is found here, before anything is built.
    pub(crate) fn new(spec: &Spec) -> Result<Self, Failure> {
        let exec = prepare(spec)?;
        let program =
            spec.command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { exec, program, cwd: spec.cwd.to_string_lossy().into_owned() })
    }

    /// Awaits npxc's word, starts the command and watches until it or npxc ends. `children` is readable when a
    /// child has ended. `companion` is a child that has to live as long as the workload.
    pub(crate) fn serve(
        &self,
        channel: &mut Channel,
        stdio: [OwnedFd; 3],
        children: BorrowedFd<'_>,
        companion: Option<Pid>,
    ) -> Result<(), Failure> {
        let supervise = match channel.receive::<Order>() {
            Ok(Some(Order::Go(supervise))) => supervise,
            // npxc is gone, or wants the end before the start.
            Ok(Some(Order::Terminate) | None) | Err(_) => return Ok(()),
        };
        if let Some(most) = supervise.nproc {
            crate::confine::limit_processes(most)?;
        }
        let workload = sys::spawn(&self.exec, stdio).map_err(|(stage, error)| match stage {
            ExecFailure::Setup => Failure::new(Step::Exec, "preparing the process", &error),
            ExecFailure::WorkingDirectory => Failure::new(Step::WorkingDirectory, &self.cwd, &error),
            ExecFailure::Exec => Failure::new(Step::Exec, &self.program, &error),
        })?;
        watch(channel, supervise, workload, children, companion)
    }
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

/// Reaps and obeys until the workload, its companion or npxc ends.
fn watch(
    channel: &mut Channel,
    supervise: Supervise,
    workload: Pid,
    children: BorrowedFd<'_>,
    companion: Option<Pid>,
) -> Result<(), Failure> {
    let mut guard = supervise::Guard::new(supervise, companion);
    loop {
        let timeout = guard.timeout();
        let mut events =
            [PollFd::new(&*channel, PollFlags::IN), PollFd::from_borrowed_fd(children, PollFlags::IN)];
        match rustix::event::poll(&mut events, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Whoever cannot see the end of a session must not outlive it.
            Err(error) => return Err(Failure::new(Step::HandOver, "poll", &error.into())),
        }
        let [control, child] = events.map(|event| !event.revents().is_empty());
        if let Some(limit) = guard.look() {
            let _ = channel.send(&Report::Limit(limit), &[]);
            return Ok(());
        }
        if child {
            let _ = rustix::io::read(children, &mut [0_u8; 1024]);
            match reap(workload, companion) {
                Some(Over::Workload(status)) => {
                    let (code, signal) = (status.exit_status(), status.terminating_signal());
                    let limit = guard.processes_exhausted().then_some(Limit::Pids);
                    let _ = channel.send(&Report::Ended { code, signal, limit }, &[]);
                    return Ok(());
                }
                Some(Over::Companion) => {
                    return Err(Failure { step: Step::Tunnel, errno: 0, detail: COMPANION.into() });
                }
                None => {}
            }
        }
        if control {
            match channel.fill() {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Ok(()),
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

/// Collects every process that has ended. The workload counts, if both have.
fn reap(workload: Pid, companion: Option<Pid>) -> Option<Over> {
    let mut over = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == workload {
            over = Some(Over::Workload(status));
        } else if Some(pid) == companion && over.is_none() {
            over = Some(Over::Companion);
        }
    }
    over
}
