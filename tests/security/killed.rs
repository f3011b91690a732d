//! npxc killed outright while it has a container, at every step of its life: what it leaves, the next start takes away,
//! and nothing of anybody else's (row 44). Over each of two links and as each of two users: ten rounds, or fifty with
//! `NPXC_TEST_FULL=1`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use npxc::audit::Event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::ground::{Ground, IMAGE, ground};
use super::harness::{Running, attack, everyone, sealed};
use super::machine::full;
use super::teardown::descendants;

/// Longest wait for what a dead session left to be taken away, while the next one runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// After so many rounds another session lives beside them: the harness ends every one after a while.
const SPELL: usize = 5;

/// When npxc is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// At this part of its life, in tenths of one that nobody ends: without regard to what it does then.
    Tenth(u32),
    /// Its directory is there.
    Directory,
    /// The control socket listens.
    Socket,
    /// The network is there (link wireguard).
    Network,
    /// The engine has been told to run it.
    Client,
    /// The container is known to the engine.
    Created,
    /// The guest has connected: the socket's file is gone.
    Connected,
    /// The log has its first line.
    Logged,
    /// The workload runs.
    Running,
    /// The workload has been told to end.
    Told,
    /// The workload has ended, what was made for it is being removed.
    Ending,
}

const POINTS: [Point; 20] = [
    Point::Tenth(0),
    Point::Directory,
    Point::Network,
    Point::Created,
    Point::Connected,
    Point::Running,
    Point::Ending,
    Point::Tenth(3),
    Point::Tenth(5),
    Point::Tenth(7),
    Point::Socket,
    Point::Client,
    Point::Logged,
    Point::Told,
    Point::Tenth(1),
    Point::Tenth(2),
    Point::Tenth(4),
    Point::Tenth(6),
    Point::Tenth(8),
    Point::Tenth(9),
];

fn run() -> Running {
    let steps =
        json!([{"do": "say", "text": "it runs\n", "stream": "stderr"}, {"do": "told", "patience": 600_000}]);
    attack(everyone()[0], &steps).open().start()
}

fn sessions(ground: &Ground) -> Vec<String> {
    let entries = fs::read_dir(ground.runtime().join("npxc")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("npxc-")).collect()
}

/// Waits until a look shows it; gives up when npxc has ended or after a while: then this point does not exist.
fn until(run: &mut Running, mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && run.child.try_wait().unwrap().is_none() {
        if look() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Lets it live up to a point; false if that was never reached.
fn reach(ground: &Ground, run: &mut Running, point: Point, before: &[String], life: Duration) -> bool {
    let directory = ground.runtime().join("npxc");
    let mut name = String::new();
    // The session's name: the one that was not there before.
    if !matches!(point, Point::Tenth(_)) {
        let found = until(run, || {
            name = sessions(ground).into_iter().find(|name| !before.contains(name)).unwrap_or_default();
            !name.is_empty()
        });
        if !found {
            return false;
        }
    }
    let control = directory.join(&name).join("run/control");
    match point {
        Point::Tenth(tenths) => {
            // Not a wait for something: another moment each time.
            std::thread::sleep(life * tenths / 10);
            true
        }
        Point::Directory => true,
        Point::Socket => until(run, || control.exists()),
        Point::Network => {
            let file = ground.directory.join(format!("network-config-dir/{name}.json"));
            ground.wireguard() && until(run, || file.exists())
        }
        Point::Client => {
            let pid = run.pid();
            until(run, || {
                descendants(pid).iter().any(|(pid, _)| {
                    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
                    words.contains(&b"run".as_slice()) && words.contains(&name.as_bytes())
                })
            })
        }
        Point::Created => {
            let stores = ["overlay-containers", "vfs-containers"];
            let files = stores.map(|store| ground.directory.join("root").join(store).join("containers.json"));
            until(run, || {
                files.iter().any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(&name)))
            })
        }
        Point::Connected => until(run, || control.exists()) && until(run, || !control.exists()),
        Point::Logged => {
            run.logs(|event| matches!(event, Event::SessionStart { .. }));
            true
        }
        Point::Running | Point::Told | Point::Ending => {
            run.says("it runs");
            if point != Point::Running {
                run.tell("end");
            }
            // The first that goes, once the container has: its directory or its network.
            point != Point::Ending
                || until(run, || {
                    descendants_of(run_pid(&directory, &name)).is_empty() || !directory.join(&name).exists()
                })
        }
    }
}

/// The npxc that a session's directory names.
fn run_pid(directory: &std::path::Path, name: &str) -> Option<rustix::process::Pid> {
    let text = fs::read_to_string(directory.join(name).join("owner")).ok()?;
    rustix::process::Pid::from_raw(text.split_whitespace().next()?.parse().ok()?)
}

fn descendants_of(pid: Option<rustix::process::Pid>) -> Vec<u32> {
    pid.map(|pid| descendants(pid).into_iter().map(|(pid, _)| pid).collect()).unwrap_or_default()
}

/// Kills it there, and waits until every process of its has ended.
fn kill(mut run: Running, what: Point) {
    let family = descendants(run.pid());
    run.kill();
    for (pid, handle) in &family {
        let mut end = [PollFd::new(handle, PollFlags::IN)];
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
        assert_eq!(poll(&mut end, Some(&patience)), Ok(1), "{what:?}: process {pid} lives on: {line}");
    }
    run.finish();
}

/// Processes that mention a session's name: the engine's monitors, clients, the guest's first.
fn processes(names: &[String]) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| names.iter().any(|name| line.contains(name.as_str()))).collect()
}

/// A session that is nobody's business: its name, and how long it took to get there.
fn bystander(ground: &Ground) -> (Running, String, Duration) {
    let before = sessions(ground);
    let start = Instant::now();
    let living = run();
    living.says("it runs");
    let name = sessions(ground).into_iter().find(|name| !before.contains(name)).unwrap();
    (living, name, start.elapsed())
}

/// It is as it was.
fn assert_lives(ground: &Ground, mut living: Running, name: &str) {
    let left = ground.left();
    assert!(left.contains(&format!("container {name}")), "{left:?}");
    assert_eq!(ground.wireguard(), left.contains(&format!("network {name}")), "{left:?}");
    living.tell("still here");
    let seen = living.finish();
    assert_eq!((seen.code, &seen.at(1)["all"]), (Some(0), &json!("still here")), "{seen:?}");
}

#[test]
fn row_44_what_a_killed_npxc_left_of_its_container_the_next_start_takes_away() {
    let Some(ground) = ground() else { return };
    if !sealed() {
        return;
    }
    let rounds = if full() { 50 } else { 10 };
    // Somebody else's, with a name like npxc's own; and a living session.
    let engine = |words: &[&str]| {
        let (done, said) = ground.engine(words);
        assert!(done, "{words:?}: {said}");
        said
    };
    engine(&["create", "--pull", "never", "--name", "npxc-bare", IMAGE, "true"]);
    engine(&["network", "create", "--internal", "npxc-bare"]);
    let (mut living, mut alive, life) = bystander(ground);
    let life = life * 13 / 10;
    let mut bystanders = vec![alive.clone()];

    let start = Instant::now();
    let (mut seen, mut found, mut missed) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    for round in 0..rounds {
        if round > 0 && round % SPELL == 0 {
            assert_lives(ground, living, &alive);
            (living, alive, _) = bystander(ground);
            bystanders.push(alive.clone());
        }
        let point = POINTS[round % POINTS.len()];
        let others = sessions(ground);
        let mut run = run();
        missed += usize::from(!reach(ground, &mut run, point, &others, life));
        seen.extend(sessions(ground).into_iter().filter(|name| !others.contains(name)));
        kill(run, point);
        for left in ground.left() {
            if !left.ends_with("npxc-bare") && !left.ends_with(&alive) {
                seen.push(left.rsplit(' ').next().unwrap().to_owned());
                *found.entry(format!("{point:?}: {}", left.split(' ').next().unwrap())).or_default() += 1;
            }
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen.retain(|name| !bystanders.contains(name) && name != "npxc-bare");

    // The next start.
    let mut next = run();
    next.says("it runs");
    let deadline = Instant::now() + PATIENCE;
    let left = || -> Vec<String> {
        let mut left = ground.left();
        left.retain(|what| seen.iter().any(|name| what.ends_with(name.as_str())));
        left.extend(processes(&seen));
        left
    };
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", left());
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!(
        "{} over {}: {rounds} rounds in {:.1} s, {missed} points not met, {} sessions; before the next start: {found:#?}",
        if ground.owner.is_some() { "a user" } else { "root" },
        ground.link,
        start.elapsed().as_secs_f64(),
        seen.len(),
    );
    next.tell("end");
    assert_eq!(next.finish().code, Some(0));

    // Everybody else's is as it was.
    let left = ground.left();
    for what in ["container npxc-bare", "network npxc-bare"] {
        assert!(left.contains(&what.to_owned()), "{what}: {left:?}");
    }
    assert_lives(ground, living, &alive);
    engine(&["rm", "npxc-bare"]);
    engine(&["network", "rm", "npxc-bare"]);
}
