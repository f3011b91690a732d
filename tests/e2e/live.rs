//! Sessions that are asked and changed while they run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::{fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::processes::{eventually, signal, wait};
use super::world::{Audit, world};

/// A server on loopback that gives back what it gets; its port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..count]).unwrap();
                }
            });
        }
    });
    port
}

/// A package that connects when it is asked to.
struct Session {
    child: Child,
    said: BufReader<ChildStdout>,
    audit: Audit,
}

impl Session {
    fn start(options: &[&str]) -> Self {
        let fixture = world().fixture().display().to_string();
        let mut npxc = world().npxc(&[options, &[&fixture, "connect"]].concat());
        let mut child = npxc.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said, audit: Audit(npxc.audit) }
    }

    fn does(&mut self, what: &str, port: u16) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what} {port}").unwrap();
        self.says()
    }

    fn says(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What it says of itself.
    fn status(&self) -> Value {
        let (done, listed, said) = npxc(&["ps", "--json"]);
        assert!(done, "{said}");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["pid"] == self.child.id())
            .cloned()
            .unwrap_or_default()
    }
}

fn npxc(arguments: &[&str]) -> (bool, String, String) {
    let output = world().command(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn sockets() -> PathBuf {
    world().directory.join("home/.local/state/npxc/control")
}

#[test]
fn a_running_package_may_more_and_less() {
    let (one, other) = (echo(), echo());
    let [first, second] = [one, other].map(|port| format!("host.npxc.internal:{port}"));
    let mut session = Session::start(&["--allow", &first]);
    assert_eq!(session.does("open", one), format!("open {one}"));
    assert_eq!(session.does("open", other), format!("ECONNREFUSED {other}"));

    let status = session.status();
    assert_eq!((&status["allow"], &status["network"]), (&json!([first]), &json!("allowlist")), "{status}");
    assert!(status["allowed"] == 1 && status["denied"].as_u64() > Some(0), "{status}");
    let id = status["session"].as_str().unwrap();
    let short = &id[id.len() - 8..];
    let (_, table, _) = npxc(&["ps"]);
    assert!(table.lines().any(|line| line.contains(short) && line.contains("native")), "{table}");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(sockets()), mode(sockets().join(format!("{id}.sock")))), (0o700, 0o600));

    // A watcher that joins now sees what comes, to the end.
    let mut watcher = world().command(&["watch", "--json", short]);
    let mut watcher = watcher.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut noted = String::new();
    BufReader::new(watcher.stderr.take().unwrap()).read_line(&mut noted).unwrap();
    assert!(noted.contains("watching"), "{noted}");

    let (done, _, said) = npxc(&["allow", short, &second]);
    assert!(done && said.contains(&format!("allow {second}, from now on")), "{said}");
    assert_eq!(session.does("open", other), format!("open {other}"));

    let (done, _, said) = npxc(&["deny", id, &first]);
    assert!(done, "{said}");
    assert_eq!(session.says(), format!("ECONNRESET {one}"));
    assert_eq!(session.does("open", one), format!("ECONNREFUSED {one}"));
    assert_eq!(session.does("send", other), format!("7 is no name {other}"));
    let status = session.status();
    assert_eq!((&status["allow"], &status["deny"]), (&json!([second]), &json!([first])), "{status}");

    drop(session.child.stdin.take());
    assert!(wait(&mut session.child).success());
    let mut watched = String::new();
    watcher.stdout.take().unwrap().read_to_string(&mut watched).unwrap();
    assert!(wait(&mut watcher).success());
    let watched: Vec<Value> = watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = watched.iter().filter_map(|line| line["event"].as_str()).collect();
    let changes: Vec<_> = watched.iter().filter_map(|line| line["change"].as_str()).collect();
    assert_eq!(changes, [format!("allow {second}"), format!("deny {first}")]);
    assert_eq!(events.last(), Some(&"session.end"));
    assert!(session.audit.events().iter().any(|event| event["how"] == "no longer allowed"));
    assert_eq!(session.status(), Value::Null);
    assert!(!sockets().join(format!("{id}.sock")).exists());
    let (done, _, said) = npxc(&["audit", "verify", session.audit.0.to_str().unwrap()]);
    assert!(done, "{said}");
    let (_, shown, _) = npxc(&["audit", "show", session.audit.0.to_str().unwrap()]);
    assert!(shown.contains(&format!("allow {second}")), "{shown}");
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let mut session = Session::start(&["--network", "none"]);
    // It runs when it answers.
    assert!(session.does("open", 9).ends_with(" 9"));
    let id = session.status()["session"].as_str().unwrap().to_owned();
    for (arguments, error, hint) in [
        (&["allow", &id, "example.com"][..], "this session has no network", "--allow"),
        (&["allow", &id, "exa mple.com"], "RULE", ""),
        (&["deny", &id, "@nothing"], "there is no preset @nothing", "@npm"),
        (&["allow", "example.com", &id], "the session comes first", "npxc allow"),
        (&["allow", "00000000", "example.com"], "no session of `00000000` runs", "npxc ps"),
        (&["watch", "no-such-package"], "no session of `no-such-package` runs", "npxc ps"),
    ] {
        let (done, _, said) = npxc(arguments);
        assert!(!done && said.contains(error) && said.contains("npxc: hint: "), "{said}");
        assert!(said.contains(hint), "{said}");
    }
    assert!(session.audit.events().iter().all(|event| event["event"] != "policy.change"));
    drop(session.child.stdin.take());
    assert!(wait(&mut session.child).success());
}

#[test]
fn what_a_killed_session_leaves_is_not_shown_and_goes() {
    let mut session = Session::start(&[]);
    assert!(session.does("open", 9).ends_with(" 9"));
    let id = session.status()["session"].as_str().unwrap().to_owned();
    let socket = sockets().join(format!("{id}.sock"));
    assert!(socket.exists());
    signal(session.child.id(), Signal::KILL);
    wait(&mut session.child);
    assert_eq!(session.status(), Value::Null);
    eventually("its socket is gone", || !socket.exists());
}
