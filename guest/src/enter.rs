//! The helper process: unshares, maps the ids, takes the specification, forks init and waits for it.
//!
//! It stays behind because a process that unshares a pid namespace is not in it itself, and because its death
//! is init's death (`PR_SET_PDEATHSIG`). Nobody inside can see it, so it also watches over the lifeline: an init that does
//! not end when npxc has gone is killed. It holds no other descriptor while it waits.
//!
//! The namespaces come before the specification: meanwhile npxc looks at what is to be mounted.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getegid, geteuid, pidfd_open};
use rustix::thread::UnshareFlags;

use crate::spec::{INNER_ID, Purpose, Report, Spec};
use crate::step::{At, Failure, Step};
use crate::wire::Channel;
use crate::{init, sys};

/// How long init may take to see that npxc has gone. It needs milliseconds.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the helper; what it returns is the exit status, which nobody but a debugging person looks at.
pub(crate) fn main() -> i32 {
    let Ok(mut channel) = prepare() else {
        return 2;
    };
    match enter(&mut channel) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = channel.send(&Report::Failed(failure), &[]);
            1
        }
    }
}

/// Leaves npxc's session and directory, and takes the control socket, which is standard input.
fn prepare() -> Result<Channel, std::io::Error> {
    // Whoever started npxc may have left it descriptors without the close-on-exec flag, sockets of a client
    // perhaps: nothing in the sandbox may hold them, not even its first process, which lives as long as it does.
    sys::close_from_3()?;
    sys::block_signals()?;
    // Out of the terminal's process group: its Ctrl-C is for npxc to handle. Fails only for a group leader.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = fs::File::open("/dev/null")?;
    sys::replace_stdio(null.as_fd(), 0)?;
    Ok(Channel::new(socket))
}

fn enter(channel: &mut Channel) -> Result<(), Failure> {
    let mapped = unshare()?;
    let Some((spec, stdio)) = specification(channel)? else {
        return Ok(());
    };
    // Last of the namespaces, so that the sandbox's own cgroup is what it sees as the root.
    sys::unshare(UnshareFlags::NEWCGROUP).at(Step::Namespaces, "unshare(cgroup)")?;
    if spec.purpose == Purpose::Check {
        let all = "user, mount, pid, network, ipc, uts, cgroup".to_owned();
        for (step, note) in [(Step::Namespaces, all), (Step::IdentityMap, mapped)] {
            let _ = channel.send(&Report::Passed { step, note }, &[]);
        }
    }

    let Some(init) = sys::fork().at(Step::Fork, "fork")? else {
        sys::exit_now(init::main(channel, &spec, stdio));
    };
    let _ = channel.send(&Report::Forked(init.as_raw_nonzero().get()), &[]);
    attend(channel, init)?;
    sys::exit_now(0);
}

/// Waits for init's end, which has to follow npxc's.
fn attend(channel: &Channel, init: Pid) -> Result<(), Failure> {
    let handle = pidfd_open(init, PidfdFlags::empty()).at(Step::Fork, "pidfd_open")?;
    sys::replace_stdio(channel.as_fd(), 0).at(Step::Fork, "descriptors")?;
    sys::replace_stdio(handle.as_fd(), 1).at(Step::Fork, "descriptors")?;
    sys::close_from_3().at(Step::Fork, "descriptors")?;
    std::mem::forget(handle);
    let (lifeline, ended) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    // npxc shuts its end down for writing, or is gone.
    let mut events = [
        PollFd::from_borrowed_fd(lifeline, PollFlags::RDHUP),
        PollFd::from_borrowed_fd(ended, PollFlags::IN),
    ];
    let _ = rustix::io::retry_on_intr(|| poll(&mut events, None));
    let grace = Timespec::try_from(GRACE).ok();
    let mut events = [PollFd::from_borrowed_fd(ended, PollFlags::IN)];
    if rustix::io::retry_on_intr(|| poll(&mut events, grace.as_ref())) != Ok(1) {
        let _ = rustix::process::kill_process(init, Signal::KILL);
    }
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()));
    Ok(())
}

/// What npxc sends first; `None` if it has gone.
pub(crate) fn specification(channel: &mut Channel) -> Result<Option<(Spec, [OwnedFd; 3])>, Failure> {
    let received: Option<Spec> = channel.receive().at(Step::Start, "specification")?;
    let Some(spec) = received else {
        return Ok(None);
    };
    Ok(Some((spec, stdio(channel)?)))
}

/// The workload's three descriptors, which came beside the last message.
pub(crate) fn stdio(channel: &mut Channel) -> Result<[OwnedFd; 3], Failure> {
    let mut stdio = || -> Option<[OwnedFd; 3]> {
        Some([channel.take_descriptor()?, channel.take_descriptor()?, channel.take_descriptor()?])
    };
    let missing = std::io::Error::from(std::io::ErrorKind::InvalidInput);
    stdio().ok_or_else(|| Failure::new(Step::Start, "descriptors", &missing))
}

/// All namespaces but the cgroup's, and the id maps; says how ids are mapped.
fn unshare() -> Result<String, Failure> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        // An ordinary user keeps its supplementary groups: the kernel lets nobody shed them unprivileged.
        let _ = rustix::thread::set_thread_groups(&[]);
    }
    sys::unshare(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS,
    )
    .at(Step::Namespaces, "unshare")?;
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{INNER_ID} {} 1", uid.as_raw())),
        ("gid_map", format!("{INNER_ID} {} 1", gid.as_raw())),
    ];
    for (name, content) in maps {
        fs::write(format!("/proc/self/{name}"), content).at(Step::IdentityMap, name)?;
    }
    Ok(format!("uid {INNER_ID} inside is {} outside", uid.as_raw()))
}
