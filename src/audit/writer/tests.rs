#![allow(clippy::unwrap_used, clippy::expect_used)]

mod flood;
mod forged;
mod full;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::Value;

use super::*;
use crate::audit::chain::{self, verify};

fn start() -> Event {
    Event::SessionStart {
        npxc: "0".into(),
        purpose: "run".into(),
        package: "p@1.0.0".into(),
        version: Some("1.0.0".into()),
        integrity: None,
        scripts: vec![],
        runtime: "native".into(),
        link: "tun".into(),
        network: "allowlist".into(),
        allow: vec!["api.example.com:443".into()],
        allow_private: vec![],
        deny: vec![],
        mounts: vec![],
        env: vec!["TOKEN".into()],
    }
}

fn end() -> Event {
    Event::SessionEnd { status: Some(0), signal: None, how: "package exited".into(), denied: 0, allowed: 0 }
}

fn deny(name: &str, code: &str) -> Event {
    Event::FlowDeny {
        protocol: "tcp".into(),
        name: Some(name.into()),
        source: "198.18.0.2:40000".parse().unwrap(),
        guest_destination: "198.18.1.1:443".parse().unwrap(),
        sniffed: None,
        code: code.into(),
        reason: format!("no rule allows {name}:443"),
        hint: Some(format!("--allow {name}:443")),
        calls: Vec::new(),
    }
}

fn open(flow: u64) -> Event {
    Event::FlowOpen {
        flow,
        protocol: "tcp".into(),
        rule: "api.example.com:443".into(),
        name: Some("api.example.com".into()),
        source: "198.18.0.2:40000".parse().unwrap(),
        guest_destination: "198.18.1.1:443".parse().unwrap(),
        dialled: "192.0.2.1:443".parse().unwrap(),
        via: None,
        observed: None,
        hint: None,
        calls: Vec::new(),
    }
}

fn close(flow: u64) -> Event {
    Event::FlowClose {
        flow,
        bytes_up: 10,
        bytes_down: 20,
        duration_ms: 5,
        detected: "tls".into(),
        sniffed: None,
        how: "finished".into(),
        hint: None,
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    String::from_utf8(text.to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A disk that holds `room` bytes and then is full; tells when it was full.
struct Disk {
    content: Arc<Mutex<Vec<u8>>>,
    room: usize,
    full: Option<Sender<()>>,
}

impl Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = self.content.lock().unwrap();
        let fits = bytes.len().min(self.room - content.len());
        if fits == 0 {
            if let Some(full) = self.full.take() {
                full.send(()).unwrap();
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let mut content = self.content.lock().unwrap();
        let end = content.len() - usize::try_from(bytes).unwrap();
        content.truncate(end);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn signing(key: Option<Key>) -> Options {
    Options { key, ..Options::default() }
}

fn on_disk(room: usize) -> (Log, Recorder, Arc<Mutex<Vec<u8>>>, Receiver<()>) {
    let content = Arc::default();
    let (full, was_full) = channel();
    let disk = Disk { content: Arc::clone(&content), room, full: Some(full) };
    let (log, recorder) = Log::start(
        Box::new(disk),
        "test.jsonl".into(),
        chain::START.to_owned(),
        Uuid::nil(),
        None,
        (None, None),
    )
    .unwrap();
    (log, recorder, content, was_full)
}

#[test]
fn a_session_is_a_private_file_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("state/audit");
    let target = Target::Directory { directory: directory.clone(), package: "@a+b".into() };
    let session = Uuid::now_v7();
    let (log, recorder) = Log::create(&target, session).unwrap();
    let path = log.path().to_owned();
    recorder.record(start()).unwrap();
    recorder.record(open(1)).unwrap();
    recorder.record(deny("evil.example.com", "no-rule")).unwrap();
    recorder.record(close(1)).unwrap();
    assert_eq!(recorder.totals(), Totals { allowed: 1, denied: 1 });
    log.finish(end()).unwrap();
    assert_eq!(recorder.record(open(2)), Err(Unavailable), "a closed log takes nothing");

    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.ends_with(&format!("Z-@a+b-{session}.jsonl")), "{name}");
    let text = fs::read(&path).unwrap();
    let verified = verify(&text[..]).unwrap();
    assert_eq!((verified.lines, verified.sessions, verified.findings.len()), (5, 1, 0), "{verified:?}");
    let lines = lines(&text);
    assert_eq!(lines[0]["event"], "session.start");
    assert_eq!(lines[0]["v"], 1);
    assert_eq!(lines[0]["session"], session.to_string());
    assert_eq!(lines[0]["prev"], chain::START);
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[0]["time"].as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
    assert!(String::from_utf8(text).unwrap().starts_with("{\"v\":1,\"seq\":0,\"time\":\""));
}

#[test]
fn a_named_file_is_continued_and_never_shared() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::File(dir.path().join("npxc.jsonl"));
    for _ in 0..2 {
        let (log, recorder) = Log::create(&target, Uuid::now_v7()).unwrap();
        recorder.record(start()).unwrap();
        let refused = Log::create(&target, Uuid::now_v7()).err().unwrap();
        assert!(matches!(refused, AuditError::InUse { .. }), "{refused}");
        log.finish(end()).unwrap();
    }
    let verified = verify(&fs::read(dir.path().join("npxc.jsonl")).unwrap()[..]).unwrap();
    assert_eq!((verified.lines, verified.sessions, verified.findings), (4, 2, vec![]));
}

#[test]
fn only_regular_files_that_are_logs_are_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let notes = dir.path().join("notes.txt");
    fs::write(&notes, "dear diary\n").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&notes, &link).unwrap();
    let missing = dir.path().join("dangling");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &missing).unwrap();
    let open = |path: &Path| Log::create(&Target::File(path.to_owned()), Uuid::nil()).err().unwrap();
    assert!(matches!(open(&notes), AuditError::NotALog { .. }));
    assert!(matches!(open(&link), AuditError::NotAFile { .. }));
    assert!(matches!(open(&missing), AuditError::NotAFile { .. }));
    assert!(matches!(open(dir.path()), AuditError::NotAFile { .. }));
    assert!(matches!(open(&dir.path().join("no/such")), AuditError::Open { .. }));
    assert_eq!(fs::read_to_string(&notes).unwrap(), "dear diary\n");
    assert!(!dir.path().join("elsewhere").exists());
}

#[test]
fn a_torn_last_line_stays_and_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("npxc.jsonl");
    let target = Target::File(path.clone());
    let (log, recorder) = Log::create(&target, Uuid::now_v7()).unwrap();
    recorder.record(start()).unwrap();
    log.finish(end()).unwrap();
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let (log, recorder) = Log::create(&target, Uuid::now_v7()).unwrap();
    recorder.record(start()).unwrap();
    log.finish(end()).unwrap();
    let verified = verify(&fs::read(&path).unwrap()[..]).unwrap();
    assert_eq!(verified.lines, 4);
    assert_eq!(verified.findings[0].line, 2, "{verified:?}");
    assert!(verified.findings.iter().all(|finding| finding.line <= 3), "{verified:?}");
}

#[test]
fn a_signed_log_cannot_be_written_anew_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| Key::at(&dir.path().join(name)).unwrap();
    let [own, other] = ["own", "other"].map(|name| key(name).public());
    let path = dir.path().join("log.jsonl");
    for signer in [Some(key("own")), None, Some(key("other"))] {
        let (log, recorder) =
            Log::with(&Target::File(path.clone()), Uuid::now_v7(), signing(signer)).unwrap();
        recorder.record(start()).unwrap();
        log.finish(end()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let verified = verify(text.as_bytes()).unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.signed, [Some(own.clone()), None, Some(other.clone())]);
    // The first session alone: everything that its last line says of signatures, taken out, exchanged, or changed.
    let first: Vec<&str> = text.lines().take(2).collect();
    let (open, signed) = first[1].split_once(",\"key\":").unwrap();
    let signature = |line: &str| line.split("\"signature\":").nth(1).unwrap().to_owned();
    let foreign = text.lines().last().unwrap();
    for (last, what) in [
        (format!("{open}}}"), "not signed with the key"),
        (first[1].replace(&own, &other), "not signed with the key"),
        (format!("{open},\"key\":\"{own}\",\"signature\":{}", signature(foreign)), "not what was signed"),
        (format!("{open},\"signature\":{}", signature(signed)), "not signed with the key"),
        (first[1].replace("\"signature\":", "\"signature\": "), "not what was signed"),
    ] {
        let log = format!("{}\n{last}\n", first[0]);
        let said = verify(log.as_bytes()).unwrap().findings;
        assert!(said.iter().any(|finding| finding.what.contains(what)), "{log}{said:?}");
    }
}

/// The schema that is shipped is the one that the types have. After a change: `npxc audit schema >docs/schema/audit.json`.
#[test]
fn what_is_shipped_is_what_the_types_say() {
    assert_eq!(include_str!("../../../docs/schema/audit.json"), format!("{:#}\n", chain::schema()));
}

/// Every member that a line has is in the schema, and whatever the schema requires is there.
#[test]
fn lines_are_as_the_schema_says() {
    let schema = chain::schema();
    let kinds = schema["oneOf"].as_array().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let key = Key::at(&dir.path().join("key")).unwrap();
    let (log, recorder) = Log::with(&Target::File(path.clone()), Uuid::nil(), signing(Some(key))).unwrap();
    for event in [start(), deny("a.example.com", "no-rule"), open(1), close(1)] {
        recorder.record(event).unwrap();
    }
    log.finish(end()).unwrap();
    for line in lines(&fs::read(&path).unwrap()) {
        let kind = kinds.iter().find(|kind| kind["properties"]["event"]["const"] == line["event"]);
        let kind = kind.unwrap_or_else(|| panic!("{line}"));
        let known = |member: &String| {
            !kind["properties"][member].is_null() || !schema["properties"][member].is_null()
        };
        assert!(line.as_object().unwrap().keys().all(known), "{line}");
        for part in [kind, &schema] {
            let required = part["required"].as_array().unwrap();
            assert!(
                required.iter().all(|member| !line[member.as_str().unwrap()].is_null()
                    || matches!(
                        member.as_str(),
                        Some("hint" | "name" | "integrity" | "version" | "signal" | "status")
                    )),
                "{line}"
            );
        }
    }
}
