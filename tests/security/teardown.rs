//! npxc killed outright, wherever it is: nothing of the guest lives on, and the next run finds nothing in its way
//! (row 44).

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use npxc::audit::Event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;

use super::harness::{Attack, Running, attack, directory, everyone, sealed};
use super::store::{Part, package};

/// Everything that a process has started, and that they have.
pub(super) fn descendants(pid: Pid) -> Vec<(u32, OwnedFd)> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut family = BTreeSet::from([pid.as_raw_nonzero().get().unsigned_abs()]);
    loop {
        let before = family.len();
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| family.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if family.len() == before {
            break;
        }
    }
    family.remove(&pid.as_raw_nonzero().get().unsigned_abs());
    family
        .into_iter()
        .filter_map(|number| {
            let pid = Pid::from_raw(number.cast_signed())?;
            Some((number, pidfd_open(pid, PidfdFlags::empty()).ok()?))
        })
        .collect()
}

/// Kills npxc and waits until all that it had started is gone.
#[track_caller]
fn kill(mut run: Running, what: &str, killed: &mut Vec<u32>) -> usize {
    let family = descendants(run.pid());
    killed.push(run.child.id());
    run.kill();
    for (pid, handle) in &family {
        let mut end = [PollFd::new(handle, PollFlags::IN)];
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(poll(&mut end, Some(&patience)), Ok(1), "{what}: process {pid} lives on");
    }
    let seen = run.finish();
    assert_eq!(seen.code, None, "{what}: {seen:?}");
    assert!(seen.log.is_empty() || seen.log.ends_with('\n') || seen.log.contains('\n'), "{what}");
    family.len()
}

/// Control groups of these that are still there.
fn left_behind(killed: &[u32]) -> Vec<String> {
    let mut left = Vec::new();
    let mut pending = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix("npxc-").and_then(|rest| rest.split('-').next());
            if owner.and_then(|pid| pid.parse().ok()).is_some_and(|pid| killed.contains(&pid)) {
                left.push(entry.path().display().to_string());
            }
            pending.push(entry.path());
        }
    }
    left
}

/// Mounts that could be npxc's, of whomever this machine's are.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains("npxc")).map(str::to_owned).collect()
}

#[test]
fn row_44_killed_at_every_step_leaves_nothing() {
    for who in everyone() {
        sealed();
        let data = directory(who, "data");
        // It takes its time in each step, so that every moment can be met.
        let manifest = json!({"name": "slow", "version": "1.0.0", "bin": "main.js",
            "scripts": {"postinstall": "test -e /tmp/x || node -e 'setTimeout(() => {}, WAIT)'"}});
        let wait = |milliseconds: u32| {
            let text = manifest.to_string().replace("WAIT", &milliseconds.to_string());
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let main =
            "require('node:child_process').spawn('sleep', ['100'], { detached: true, stdio: 'ignore' });
            require('node:fs').writeFileSync('/tmp/file', Buffer.alloc(1 << 20)); console.error('it runs');
            setTimeout(() => {}, 100000);";
        let parts = [Part::file("package/main.js", main)];
        let slow = package(who, "slow", &wait(100_000), &parts);
        let quick = package(who, "quick", &wait(0), &parts);
        let mut killed = Vec::new();
        let mounted = mounts();
        let start = |tarball: &Path| Attack::new(who, tarball).data(&data).open().start();

        // While it starts and fetches: at once, at its first words, and at moments after them.
        kill(start(&slow), "at once", &mut killed);
        for round in 0..6_u64 {
            let run = start(&slow);
            run.says("installing");
            // Not a wait for something: another moment each time.
            std::thread::sleep(std::time::Duration::from_millis(round * 120));
            kill(run, "while it fetches", &mut killed);
        }
        let run = start(&slow);
        run.logs(|event| matches!(event, Event::SessionStart { purpose, .. } if purpose == "fetch"));
        kill(run, "when the first step starts", &mut killed);
        let run = start(&slow);
        run.says("running install scripts");
        kill(run, "between the steps", &mut killed);
        let run = start(&slow);
        run.logs(|event| matches!(event, Event::SessionStart { purpose, .. } if purpose == "build"));
        kill(run, "while it builds", &mut killed);

        // While it runs: as the log begins, and with a process tree and open files.
        let run = start(&quick);
        run.logs(|event| matches!(event, Event::SessionStart { purpose, .. } if purpose == "run"));
        kill(run, "when the run starts", &mut killed);
        let run = start(&quick);
        run.says("it runs");
        let processes = kill(run, "while it runs", &mut killed);
        assert!(processes >= 3, "helper, init, node, sleep: {processes}");

        // The next one works, and has swept.
        let seen = Attack::new(who, "install").flag("--force").data(&data).argument(&quick).run();
        assert_eq!(seen.code, Some(0), "{seen:?}");
        let staging = fs::read_dir(data.join("npxc/store/staging")).unwrap().count();
        assert_eq!(staging, 0, "nothing half is left in the store");
        let entries = fs::read_dir(data.join("npxc/store/v1"))
            .unwrap()
            .flatten()
            .flat_map(|platform| fs::read_dir(platform.path()).unwrap());
        assert_eq!(entries.count(), 1, "only what was complete is there");
        assert_eq!(left_behind(&killed), Vec::<String>::new());
        assert_eq!(mounts().difference(&mounted).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

#[test]
fn row_44_a_first_process_that_does_not_listen_ends_with_npxc_all_the_same() {
    for who in everyone() {
        sealed();
        let run = attack(who, &json!([{"do": "told", "patience": 90_000}])).open().start();
        run.logs(|event| matches!(event, Event::SessionStart { purpose, .. } if purpose == "run"));
        let first = loop {
            let family = descendants(run.pid());
            let first = family.iter().find(|(pid, _)| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                status
                    .lines()
                    .any(|line| line.starts_with("NSpid:") && line.split_whitespace().last() == Some("1"))
            });
            // It has started the package when it has a child.
            if let Some((pid, _)) = first
                && !descendants(Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap()).is_empty()
            {
                break *pid;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let first = Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
        rustix::process::kill_process(first, rustix::process::Signal::STOP).unwrap();
        kill(run, "with a first process that is stopped", &mut Vec::new());
    }
}

#[test]
fn row_44_killed_with_flows_under_way_closes_them() {
    use super::harness::{Manner, Server};
    for who in everyone() {
        sealed();
        let server = Server::start(Manner::Listen);
        let steps = json!([{"do": "holding", "times": 20, "to": "host.npxc.internal", "port": server.port, "send": "\u{0}hello",
            "step": {"do": "told"}, "patience": 90_000}]);
        let run = attack(who, &steps).allow(&format!("host.npxc.internal:{}", server.port)).open().start();
        while server.count() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kill(run, "with flows", &mut Vec::new());
        // All of them have ended: this would wait otherwise.
        assert_eq!(server.visits().len(), 20);
    }
}

#[test]
fn row_44_what_a_killed_one_wrote_of_its_log_is_whole_and_the_next_appends_nothing_to_it() {
    for who in everyone() {
        sealed();
        let steps = json!([{"do": "flood", "times": 500, "step": {"do": "tcp", "to": "192.0.2.7", "port": 1}}, {"do": "told"}]);
        let run = attack(who, &steps).open().start();
        run.logs(|event| matches!(event, Event::FlowDeny { .. }));
        let family = descendants(run.pid());
        assert!(!family.is_empty());
        let mut run = run;
        run.kill();
        let seen = run.finish();
        assert!(!seen.events.is_empty());
        // Whole lines that verify; what is missing is the end, and that can be seen.
        let last = seen.log.rfind('\n').unwrap() + 1;
        npxc::audit::chain::verify(std::io::Cursor::new(&seen.log[..last])).unwrap();
        assert!(!matches!(seen.events.last(), Some(Event::SessionEnd { .. })));
    }
}
