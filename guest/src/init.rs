//! Process 1 of the native sandbox: builds it, hands the link over, confines itself, starts the workload at npxc's
//! word, reaps everything, reports the end. When it ends, the kernel kills whatever is left inside.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Signal;

use crate::spec::{Purpose, Ready, Report, Spec};
use crate::step::{At, Failure, Step};
use crate::sys;
use crate::wire::Channel;
use crate::workload::Workload;
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
    let workload = Workload::new(spec)?;
    own_process();
    let mut ready = Ready::default();
    network::loopback()?;
    let link = network::create(network::NAME)?;
    (ready.vnet_hdr, ready.offload) = (link.vnet_hdr, link.offload);
    let mut collected = layout::collect(spec)?;
    layout::build(spec, &collected, true, &mut ready)?;
    confine::limits()?;
    confine::landlock(&confine::writable(spec), &mut ready)?;
    confine::capabilities(None)?;
    confine::seccomp()?;
    let children = sys::child_signals().at(Step::HandOver, "signalfd")?;
    let written = collected.written.take();
    let descriptors: Vec<_> =
        [link.tun.as_fd()].into_iter().chain(written.as_ref().map(AsFd::as_fd)).collect();
    channel.send(&Report::Ready(ready), &descriptors).at(Step::HandOver, "link")?;
    drop(descriptors);
    drop((link, written));

    workload.serve(channel, stdio, children.as_fd(), None)
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
    let link = network::create(network::NAME);
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
    let landlock = confine::landlock(&confine::writable(spec), &mut ready);
    report(Step::Landlock, landlock, &mut ready.warnings);
    report(Step::Capabilities, confine::capabilities(None).map(nothing), &mut ready.warnings);
    report(Step::Seccomp, confine::seccomp().map(nothing), &mut ready.warnings);
}

fn own_process() {
    // The lifeline is the control socket; this is for the case that the helper is killed by itself. Safe,
    // because the helper has one thread, which forked this process.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // Refused in some containers; nothing depends on it.
    let _ = rustix::system::sethostname(b"npxc");
}
