//! The helper process: takes the specification, unshares, maps the ids, forks init and waits for it.
//!
//! It stays behind because a process that unshares a pid namespace is not in it itself, and because its death
//! is init's death (`PR_SET_PDEATHSIG`). It holds no descriptor while it waits.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitOptions, getegid, geteuid};
use rustix::thread::UnshareFlags;

use crate::spec::{INNER_ID, Purpose, Report, Spec};
use crate::step::{At, Failure, Step};
use crate::wire::Channel;
use crate::{init, sys};

/// Runs the helper; what it returns is the exit status, which nobody but a debugging person looks at.
pub(crate) fn main() -> i32 {
    match start() {
        Ok(()) => 0,
        Err(_) => 2,
    }
}

fn start() -> Result<(), Failure> {
    sys::block_signals().at(Step::Start, "sigprocmask")?;
    // Out of the terminal's process group: its Ctrl-C is for npxc to handle. Fails only for a group leader.
    let _ = rustix::process::setsid();
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .at(Step::Start, "control socket")?;
    let null = fs::File::open("/dev/null").at(Step::Start, "/dev/null")?;
    sys::replace_stdio(null.as_fd(), 0).at(Step::Start, "dup2")?;

    let mut channel = Channel::new(socket);
    let received: Option<Spec> = channel.receive().at(Step::Start, "specification")?;
    let Some(spec) = received else {
        return Ok(());
    };
    let outcome = enter(&spec, &mut channel);
    if let Err(failure) = &outcome {
        let _ = channel.send(&Report::Failed(failure.clone()), &[]);
    }
    outcome
}

fn enter(spec: &Spec, channel: &mut Channel) -> Result<(), Failure> {
    let mut stdio = || -> Option<[OwnedFd; 3]> {
        Some([
            channel.take_descriptor()?,
            channel.take_descriptor()?,
            channel.take_descriptor()?,
        ])
    };
    let missing = std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let stdio = stdio().ok_or_else(|| Failure::new(Step::Start, "descriptors", &missing))?;

    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        // An ordinary user keeps its supplementary groups: the kernel lets nobody shed them unprivileged.
        let _ = rustix::thread::set_thread_groups(&[]);
    }
    let passed = |step, note: String| {
        if spec.purpose == Purpose::Check {
            let _ = channel.send(&Report::Passed { step, note }, &[]);
        }
    };
    sys::unshare(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWCGROUP,
    )
    .at(Step::Namespaces, "unshare")?;
    passed(
        Step::Namespaces,
        "user, mount, pid, network, ipc, uts, cgroup".into(),
    );

    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{INNER_ID} {} 1", uid.as_raw())),
        ("gid_map", format!("{INNER_ID} {} 1", gid.as_raw())),
    ];
    for (name, content) in maps {
        fs::write(format!("/proc/self/{name}"), content).at(Step::IdentityMap, name)?;
    }
    passed(
        Step::IdentityMap,
        format!("uid {INNER_ID} inside is {} outside", uid.as_raw()),
    );

    let Some(init) = sys::fork().at(Step::Fork, "fork")? else {
        sys::exit_now(init::main(channel, spec, stdio));
    };
    sys::close_everything();
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()));
    sys::exit_now(0);
}
