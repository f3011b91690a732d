//! Logs of sessions that did not end in order: what was written before is as good as ever, and it shows that the end is missing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::processes::{descendants, eventually, wait_for_end};
use super::world::world;

/// A web server of the test's own that says hello, and counts whom to.
pub(super) struct Greeter {
    port: u16,
    accepted: Arc<AtomicUsize>,
}

impl Greeter {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&accepted);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                // Whoever asks may be gone.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
            }
        });
        Self { port, accepted }
    }

    pub(super) fn rule(&self) -> String {
        format!("host.npxc.internal:{}", self.port)
    }

    pub(super) fn url(&self) -> String {
        format!("http://host.npxc.internal:{}/", self.port)
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// `npxc audit verify` finds nothing but that the log does not go on, behind its last line.
pub(super) fn only_the_end_is_missing(log: &Path, text: &str) {
    let verified = world().command(&["audit", "verify", "--json", log.to_str().unwrap()]).output().unwrap();
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let found: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    let last = text.lines().count();
    assert!(findings.iter().all(|finding| finding["line"] == last), "{found}");
    let said: Vec<_> = findings.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert!(said.iter().any(|what| what.starts_with("session.end is missing: ")), "{found}");
    // A kill may come in the middle of a line.
    assert!(said.len() == 1 || !text.ends_with('\n'), "{found}");
}

#[test]
fn a_killed_npxc_leaves_a_log_that_says_so() {
    let state = world().scratch("state");
    let fixture = world().fixture().display().to_string();
    let server = Greeter::start();
    let own = |arguments: &[&str]| {
        let mut command = world().command(arguments);
        command.env("XDG_STATE_HOME", &state);
        command
    };
    let run = |arguments: &[&str]| {
        let output = own(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let directory = state.join("npxc/audit");
    let logs = || {
        let all = fs::read_dir(&directory).into_iter().flatten().flatten();
        all.map(|entry| entry.path()).find(|path| fs::metadata(path).unwrap().len() > 200_000)
    };
    assert_eq!(run(&["install", &fixture]).0, Some(0));

    let mut child = own(&["--allow", &server.rule(), &fixture, "storm", &server.url()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut log = None;
    eventually("the log has grown", || {
        assert_eq!(child.try_wait().unwrap(), None, "the storm ended");
        log = logs();
        log.is_some()
    });
    let guests = descendants(child.id());
    assert!(guests.len() >= 2, "{guests:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for_end(&guests);

    let log = log.unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"event\":\"flow.deny\"") && text.contains("\"event\":\"flow.open\""));
    only_the_end_is_missing(&log, &text);
    let name = log.file_stem().unwrap().to_str().unwrap();
    let id = &name[name.len() - 8..];
    let (status, shown, said) = run(&["audit", "show", id]);
    assert_eq!(status, Some(0), "{said}");
    assert!(shown.contains("no end recorded") && shown.contains("host.npxc.internal"), "{shown}");
    assert!(said.contains("session.end is missing"), "{said}");

    // The next one works, and its log is its own.
    let (status, _, said) = run(&[&fixture, "exit", "0"]);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    let (status, _, said) = run(&["audit", "verify"]);
    assert_eq!(status, Some(0), "{said}");
    let (_, list, _) = run(&["audit", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let states: Vec<_> =
        list.as_array().unwrap().iter().map(|row| (&row["purpose"], &row["state"])).collect();
    assert_eq!(states[0], (&"run".into(), &"ended".into()), "{list}");
    assert_eq!(states[1], (&"run".into(), &"cut off".into()), "{list}");
}
