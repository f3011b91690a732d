//! Paths that a call names, with a hostile server behind the real npxc (row 41 and the paths of rows 39 and 40): what
//! leads out of the scope is refused by a JSON-RPC error, nothing hangs, and nothing from outside is ever read or written,
//! whoever changes the names meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use npxc::audit::Event;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use serde_json::{Value, json};

use super::harness::{Client, Seen, Who, directory, everyone, give, root, said};
use super::machine::full;
use super::sys;
use super::text::{EVIL, assert_clean, assert_log};

/// What must never be read or written.
const SECRET: &str = "the host's secret";
/// Calls of one session, whose npxc has a limit of time.
const CALLS: usize = 2000;
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A scope with a file in it, and a secret beside it.
struct Ground {
    who: Who,
    cwd: PathBuf,
    outside: PathBuf,
}

impl Ground {
    fn new(who: Who) -> Self {
        let ground = Self { who, cwd: directory(who, "scope"), outside: directory(who, "outside") };
        ground.file(&ground.cwd.join("in.txt"), "inside");
        ground.file(&ground.outside.join("race.txt"), SECRET);
        fs::create_dir(ground.cwd.join("sub")).unwrap();
        give(who, &ground.cwd.join("sub"));
        ground.file(&ground.cwd.join("sub/race.txt"), "inside");
        ground
    }

    fn file(&self, path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        give(self.who, path);
    }

    fn client(&self, options: &[&str]) -> Client {
        Client::start(self.who, |attack| {
            options.iter().fold(attack.option("--cwd", &self.cwd), |attack, option| attack.flag(option))
        })
    }

    /// Nothing outside has changed, and nothing from there has come in.
    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["race.txt"]);
        assert_eq!(fs::read_to_string(self.outside.join("race.txt")).unwrap(), SECRET);
        for directory in [self.cwd.clone(), self.cwd.join("sub")] {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                if entry.file_type().unwrap().is_file() && entry.metadata().unwrap().len() < 1 << 20 {
                    assert_ne!(fs::read(entry.path()).unwrap(), SECRET.as_bytes(), "{entry:?}");
                }
            }
        }
    }
}

#[test]
fn row_41_and_39_what_leads_out_or_is_no_file_is_refused() {
    for who in everyone() {
        let ground = Ground::new(who);
        let (cwd, secret) = (&ground.cwd, ground.outside.join("race.txt"));
        let _socket = UnixListener::bind(cwd.join("socket")).unwrap();
        mknodat(CWD, cwd.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        fs::File::create(cwd.join("huge")).unwrap().set_len(600 << 20).unwrap();
        for (name, target) in [
            ("link", secret.as_path()),
            ("out", &ground.outside),
            ("loop", Path::new("loop")),
            ("shadow", Path::new("/etc/shadow")),
            ("kernel", Path::new("/proc/self/root")),
            ("device", Path::new("/dev/zero")),
        ] {
            symlink(target, cwd.join(name)).unwrap();
        }
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let at = |name: &str| text(&cwd.join(name));
        let beside = format!("{}/race.txt", ground.outside.file_name().unwrap().display());
        let mut paths = vec![
            (text(&secret), "outside-scope"),
            (format!("file://{}", text(&secret)), "outside-scope"),
            (at(&format!("../../..{}", secret.display())), "outside-scope"),
            (at(&format!("../{beside}")), "outside-scope"),
            (at(&format!("sub/../../{beside}")), "outside-scope"),
            (format!("file://{}", at(&format!("sub/%2e%2e/%2e%2e/{beside}"))), "outside-scope"),
            (at("link"), "outside-scope"),
            (at("out/race.txt"), "outside-scope"),
            (at("sub/../out/race.txt"), "outside-scope"),
            (at("loop"), "outside-scope"),
            (at("shadow"), "outside-scope"),
            (at(&format!("kernel{}", secret.display())), "outside-scope"),
            (format!("/proc/self/root{}", secret.display()), "outside-scope"),
            (format!("/proc/{}/root{}", std::process::id(), secret.display()), "outside-scope"),
            ("/proc/self/cwd/in.txt".to_owned(), "outside-scope"),
            (at("device"), "outside-scope"),
            (at("fifo"), "special"),
            (at("socket"), "special"),
            (at("huge"), "too-large"),
            (at("out"), "outside-scope"),
        ];
        if root() && sys::device(&cwd.join("zero"), 1, 5).is_ok() {
            paths.push((at("zero"), "special"));
        }
        for options in [[].as_slice(), &["--write"]] {
            let mut client = ground.client(options);
            for (path, code) in &paths {
                for tool in ["read", "write"] {
                    let answer = client.call(tool, &json!({"file": path, "text": "escaped"}));
                    assert_eq!(answer["error"]["data"]["code"], *code, "{options:?} {tool} {path}: {answer}");
                    assert_eq!(answer["error"]["data"]["path"], **path);
                }
            }
            // By relative names, which may be anything else: whatever is answered, the secret is not in it.
            for path in ["../outside/race.txt", "out/race.txt", "link", "./link", "sub/../link", "kernel/etc"]
            {
                let answer = client.call("read", &json!({"file": path}));
                assert!(answer["error"].is_object() || answer["result"]["isError"] == true, "{answer}");
            }
            // And it still serves.
            assert_eq!(said(&client.call("read", &json!({"file": "in.txt"}))), Some("inside"));
            let seen = client.end();
            assert_eq!(seen.code, Some(0), "{seen:?}");
            let shared: Vec<_> =
                seen.events.iter().filter(|event| matches!(event, Event::FilePublish { .. })).collect();
            assert_eq!(shared.len(), 1, "{seen:?}");
            ground.assert_untouched();
        }
    }
}

/// Puts a link to the secret, or to the directory that it is in, in the place of what calls name, and takes it away
/// again: once in each call, at another moment of it each time.
fn swap(ground: &Ground, calls: &AtomicUsize) {
    let (cwd, sub) = (&ground.cwd, ground.cwd.join("sub"));
    let exchange = |one: &Path, other: &Path| {
        // npxc may have the one or the other in its hands.
        let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    };
    let wait = |moment: usize| (0..moment % 20_000).for_each(|_| std::hint::spin_loop());
    let mut seen = 0;
    loop {
        match calls.load(Ordering::Acquire) {
            usize::MAX => return,
            call if call == seen => std::thread::park(),
            call => {
                seen = call;
                let (one, other) = if call % 3 == 0 {
                    (sub.clone(), cwd.join("out"))
                } else {
                    (sub.join("race.txt"), sub.join("bait"))
                };
                wait(call.wrapping_mul(2_654_435_761));
                exchange(&one, &other);
                wait(call.wrapping_mul(40_503));
                // So it ends as it began.
                exchange(&one, &other);
            }
        }
    }
}

/// The secret's path in pieces, which are no path for npxc to judge.
fn bait(ground: &Ground) -> Value {
    let secret = ground.outside.join("race.txt").display().to_string();
    json!(secret.split('/').collect::<Vec<_>>())
}

/// What calls of a file saw, whose names somebody changes meanwhile.
#[derive(Debug, Default)]
struct Count {
    served: usize,
    /// By the code of the error, npxc's or the server's.
    failed: BTreeMap<String, usize>,
}

/// Calls that read, and write where that is `written`; `before` hears of each.
fn calls(client: &mut Client, paths: &[String], written: bool, before: impl Fn(usize)) -> Count {
    let mut count = Count::default();
    for round in 0..CALLS {
        before(round + 1);
        let path = &paths[round % paths.len()];
        let answer = if written && round % 2 == 1 {
            client.call("write", &json!({"file": path, "text": "inside"}))
        } else {
            client.call("read", &json!({"file": path}))
        };
        assert!(!answer.to_string().contains(SECRET), "{answer}");
        let code = answer["error"]["data"]["code"].as_str();
        let server = said(&answer).filter(|_| answer["result"]["isError"] == true);
        assert!(code.is_some() || answer["error"].is_null(), "{answer}");
        match code.or(server) {
            Some(code) => *count.failed.entry(code.to_owned()).or_default() += 1,
            None => count.served += 1,
        }
    }
    count
}

/// Sessions of each user: 100,000 calls of all of them together in the long version.
fn sessions() -> usize {
    if full() { 100_000 / CALLS / everyone().len() } else { 1 }
}

#[test]
fn row_41_no_link_that_the_host_swaps_in_leads_out_of_a_call() {
    for who in everyone() {
        for session in 0..sessions() {
            let written = session % 2 == 0;
            let ground = Ground::new(who);
            symlink(&ground.outside, ground.cwd.join("out")).unwrap();
            symlink(ground.outside.join("race.txt"), ground.cwd.join("sub/bait")).unwrap();
            let paths = [ground.cwd.join("sub/race.txt").display().to_string(), "sub/race.txt".to_owned()];
            let mut client = ground.client(if written { &["--write"] } else { &[] });
            let number = AtomicUsize::new(0);
            let count = std::thread::scope(|scope| {
                let swapper = scope.spawn(|| swap(&ground, &number));
                let call = |call| {
                    number.store(call, Ordering::Release);
                    swapper.thread().unpark();
                };
                let count = catch_unwind(AssertUnwindSafe(|| calls(&mut client, &paths, written, call)));
                call(usize::MAX);
                swapper.join().unwrap();
                count
            });
            let count = count.unwrap_or_else(|panic| resume_unwind(panic));
            let seen = client.end();
            assert!(
                seen.code == Some(0) && count.served > 0 && !count.failed.is_empty(),
                "{count:?}: {seen:?}"
            );
            eprintln!("{who:?}, host: {count:?}");
            assert_clean(&seen);
            ground.assert_untouched();
        }
    }
}

#[test]
fn row_41_no_link_that_the_guest_swaps_in_leads_out_of_a_call() {
    for who in everyone() {
        for session in 0..sessions() {
            let ground = Ground::new(who);
            // Its own copies, and a directory of the host's that it may write to, with a way there through the scope.
            let mounted = session % 2 == 1 || !full();
            let copied = session % 2 == 0;
            let shared = directory(who, "shared");
            ground.file(&shared.join("race.txt"), "inside");
            symlink(shared.join("race.txt"), ground.cwd.join("way")).unwrap();
            let mount = format!("{}:rw", shared.display());
            let mut client = Client::start(who, |attack| {
                attack.option("--cwd", &ground.cwd).flag("--write").option("--mount", &mount)
            });
            let mut paths = Vec::new();
            if copied {
                let file = ground.cwd.join("sub/race.txt").display().to_string();
                let copy = client.call("read", &json!({"file": file}));
                assert_eq!(said(&copy), Some("inside"));
                // Where the first directory's copies are.
                let arguments = json!({"file": "/opt/npxc-shared/1/sub/race.txt", "bait": bait(&ground), "around": "/opt/npxc-shared/1"});
                assert_eq!(said(&client.call("swap", &arguments)), Some("swapping"));
                paths.extend([file, "sub/race.txt".to_owned()]);
            }
            if mounted {
                let file = shared.join("race.txt").display().to_string();
                let arguments = json!({"file": file, "bait": bait(&ground), "around": shared});
                assert_eq!(said(&client.call("swap", &arguments)), Some("swapping"));
                paths.extend([file, ground.cwd.join("way").display().to_string(), "way".to_owned()]);
            }
            let count = calls(&mut client, &paths, true, |_| ());
            let seen = client.end();
            assert!(
                seen.code == Some(0) && count.served > 0 && !count.failed.is_empty(),
                "{count:?}: {seen:?}"
            );
            eprintln!("{who:?}, guest: {count:?}");
            assert_clean(&seen);
            ground.assert_untouched();
        }
    }
}

/// A path with every byte of its name encoded.
fn uri(path: &Path) -> String {
    let name = path.file_name().unwrap().as_bytes();
    let name: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
    format!("file://{}/{name}", path.parent().unwrap().display())
}

#[test]
fn row_40_hostile_paths_are_shown_harmless() {
    for who in everyone() {
        let ground = Ground::new(who);
        let name = EVIL.replace('/', "_");
        let evil = ground.cwd.join(&name);
        ground.file(&evil, "inside");
        let tree = ground.cwd.join("tree");
        fs::create_dir(&tree).unwrap();
        give(who, &tree);
        for left in ["a", "b"] {
            mknodat(CWD, tree.join(format!("{name}{left}")), FileType::Fifo, Mode::from_raw_mode(0o666), 0)
                .unwrap();
        }
        let mut client = ground.client(&["--write"]);
        // As it is, it is no path for npxc; as a URI it is one.
        let answer = client.call("read", &json!({"file": evil.to_str().unwrap()}));
        assert_eq!(said(&answer), Some("ENOENT"), "{answer}");
        let answer = client.call("echo", &json!({"file": uri(&evil)}));
        assert!(said(&answer).unwrap().starts_with("file://"), "{answer}");
        let new = ground.cwd.join(format!("new{name}"));
        client.call("create", &json!({"file": uri(&new)}));
        assert_eq!(fs::read(&new).unwrap(), b"created");
        client.call("read", &json!({"file": tree.to_str().unwrap()}));
        // Refused, and kept beside: both name it in words.
        ground.file(&ground.outside.join(&name), SECRET);
        let outside = uri(&ground.outside.join(&name));
        let answer = client.call("read", &json!({"file": outside}));
        assert_eq!(answer["error"]["data"]["path"], outside, "{answer}");
        for huge in [
            format!("/{}", "a".repeat(1 << 20)),
            format!("{}/{}", ground.cwd.display(), "b/".repeat(1 << 19)),
        ] {
            let answer = client.call("read", &json!({"file": huge}));
            assert!(answer["error"].is_object() || answer["result"]["isError"] == true, "{answer:.300}");
        }
        let seen = client.end();
        assert_eq!(seen.code, Some(0), "{seen:?}");
        assert_clean(&seen);
        assert_log(&seen);
        assert!(seen.log.lines().all(|line| line.len() < 32 << 10), "bounded");
        assert!(seen.err.len() < 16 << 10, "bounded: {}", seen.err.len());
        let files = |event: &&Event| {
            matches!(event, Event::FileLeave { .. } | Event::FilePublish { .. } | Event::FileCollect { .. })
        };
        assert_eq!(seen.events.iter().filter(files).count(), 4, "{seen:?}");
        assert!(seen.err.contains("left out of what is shared"), "{seen:?}");
    }
}

/// What npxc made of a session's: its directory of copies, below the cache.
fn shelf(cache: &Path, seen: &Seen) -> PathBuf {
    let first: Value = serde_json::from_str(seen.log.lines().next().unwrap()).unwrap();
    cache.join("npxc/shared").join(first["session"].as_str().unwrap())
}

#[test]
fn row_44_copies_that_the_guest_has_buried_and_locked_go_with_the_session() {
    for who in everyone() {
        let (ground, cache) = (Ground::new(who), directory(who, "cache"));
        let mut client = Client::start(who, |attack| {
            let attack = attack.option("--cwd", &ground.cwd).flag("--write");
            attack.env("XDG_CACHE_HOME", &cache)
        });
        let file = ground.cwd.join("sub/race.txt").display().to_string();
        // Some file systems take milliseconds to remove each.
        let answer = client.call("dig", &json!({"file": file, "levels": 2000}));
        // Its own way back is locked for an ordinary user's npxc as well, which is said.
        let told = answer["error"]["data"]["code"].as_str();
        assert!(said(&answer) == Some("undefined") || told == Some("not-saved"), "{answer}");
        let seen = client.end();
        assert_eq!(seen.code, Some(0), "{seen:?}");
        assert!(shelf(&cache, &seen).parent().unwrap().is_dir(), "it was there");
        assert!(!shelf(&cache, &seen).exists(), "{seen:?}");
        ground.assert_untouched();
    }
}

#[test]
fn row_44_what_a_killed_npxc_left_beside_a_file_the_next_start_takes_away() {
    for who in everyone() {
        let (ground, cache) = (Ground::new(who), directory(who, "cache"));
        let start = || {
            Client::start(who, |attack| {
                let attack = attack.option("--cwd", &ground.cwd).flag("--write");
                attack.env("XDG_CACHE_HOME", &cache)
            })
        };
        let beside = || {
            let entries = fs::read_dir(ground.cwd.join("sub")).unwrap().flatten();
            let mut names = entries.map(|entry| entry.file_name().into_string().unwrap());
            names.any(|name| name.starts_with(".npxc-"))
        };
        let mut client = start();
        let file = ground.cwd.join("sub/race.txt").display().to_string();
        // And while the package goes on with its copies, for as long as it lives.
        let other = ground.cwd.join("in.txt").display().to_string();
        assert_eq!(said(&client.call("read", &json!({"file": other}))), Some("inside"));
        let arguments =
            json!({"file": "/opt/npxc-shared/1/x", "bait": bait(&ground), "around": "/opt/npxc-shared/1"});
        client.begin("swap", &arguments);
        client.begin("fill", &json!({"file": file, "megabytes": 200}));
        // While it is copied to beside the file.
        let deadline = Instant::now() + PATIENCE;
        while !beside() {
            assert!(Instant::now() < deadline, "nothing came beside the file");
            std::thread::sleep(Duration::from_millis(1));
        }
        let seen = client.kill();
        assert!(shelf(&cache, &seen).exists() && beside(), "it was killed too late: {seen:?}");
        // Its guest may have lived for a moment more.
        while shelf(&cache, &seen).exists() {
            assert!(Instant::now() < deadline, "its copies are still there");
            assert_eq!(start().end().code, Some(0));
            assert!(!beside());
        }
        assert_eq!(fs::read(ground.cwd.join("sub/race.txt")).unwrap(), b"inside");
        ground.assert_untouched();
    }
}
