#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use uuid::Uuid;

use super::*;
use crate::audit::signature::Key;
use crate::audit::{AuditError, Event, Log, Options, Target};

/// Bytes of a file.
const MOST: u64 = 16 << 10;

fn deny(number: usize) -> Event {
    Event::FlowDeny {
        protocol: "tcp".into(),
        name: Some(format!("h{number}.example.com")),
        source: "198.18.0.2:40000".parse().unwrap(),
        guest_destination: "198.18.1.1:443".parse().unwrap(),
        sniffed: None,
        code: "no-rule".into(),
        reason: "no rule allows it".into(),
        hint: None,
        calls: Vec::new(),
    }
}

fn start(package: &str) -> Event {
    Event::SessionStart {
        npxc: "0".into(),
        purpose: "run".into(),
        package: package.into(),
        version: None,
        integrity: None,
        scripts: vec![],
        runtime: "native".into(),
        link: "tun".into(),
        network: "none".into(),
        allow: vec![],
        allow_private: vec![],
        deny: vec![],
        mounts: vec![],
        env: vec![],
    }
}

/// A session with so many denials, in files of [`MOST`].
fn session(path: &Path, denials: usize, key: Option<Key>) {
    let options = Options { key, max_size: Some(MOST), ..Options::default() };
    let (log, recorder) = Log::with(&Target::File(path.to_owned()), Uuid::now_v7(), options).unwrap();
    recorder.record(start("p@1.0.0")).unwrap();
    for number in 0..denials {
        recorder.record(deny(number)).unwrap();
    }
    let end = Event::SessionEnd {
        status: Some(0),
        signal: None,
        how: "package exited".into(),
        denied: denials as u64,
        allowed: 0,
    };
    log.finish(end).unwrap();
}

fn names(log: &Segments) -> Vec<String> {
    log.files().iter().map(|path| name(path)).collect()
}

/// What is wrong, as it is said.
fn wrong(path: &Path) -> Vec<String> {
    let verified = Segments::of(path).unwrap().verify().unwrap();
    verified.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn files_are_numbered_before_their_extension() {
    for (first, third) in [
        ("/d/log.jsonl", "/d/log.3.jsonl"),
        ("/d/20260101T000000Z-a.b-0.jsonl", "/d/20260101T000000Z-a.b-0.3.jsonl"),
        ("/d/log", "/d/log.3"),
        ("/d/.log", "/d/.log.3"),
        ("log.2.jsonl", "log.2.3.jsonl"),
    ] {
        let (first, third) = (Path::new(first), Path::new(third));
        assert_eq!(numbered(first, 1), first);
        assert_eq!(numbered(first, 3), third);
        assert_eq!(number(third), Some((first.to_owned(), 3)), "{}", third.display());
    }
    for none in [
        "/d/log.jsonl",
        "/d/log.1.jsonl",
        "/d/log.03.jsonl",
        "/d/log.x.jsonl",
        "/d/log.-2.jsonl",
        "/d/3",
        "/",
    ] {
        assert_eq!(number(Path::new(none)), None, "{none}");
    }
}

#[test]
fn a_long_session_goes_on_in_files_of_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl");
    let key = Key::at(&dir.path().join("key")).unwrap();
    let public = key.public();
    session(&path, 800, Some(key));
    // Neither is a part of it: another log, and what is no log.
    let other = dir.path().join("log.77.jsonl");
    session(&other, 1, None);
    fs::write(dir.path().join("log.78.jsonl"), "{}\n").unwrap();

    let log = Segments::of(&path).unwrap();
    let files = log.files();
    assert!(files.len() >= 4, "{files:?}");
    assert_eq!(names(&log)[..3], ["log.jsonl", "log.2.jsonl", "log.3.jsonl"]);
    for file in files {
        let metadata = fs::metadata(file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(metadata.len() <= MOST, "{}: {}", file.display(), metadata.len());
        // Each is known by whichever of its files is named.
        assert_eq!(Segments::of(file).unwrap(), log);
    }
    for file in &files[..files.len() - 1] {
        let last = fs::read_to_string(file).unwrap().lines().last().unwrap().to_owned();
        assert!(last.contains("\"event\":\"log.rotate\"") && last.contains(&public), "{last}");
    }
    let verified = log.verify().unwrap();
    assert_eq!((verified.findings.as_slice(), verified.sessions), ([].as_slice(), 1));
    assert_eq!(verified.signed, [Some(public)]);
    assert_eq!(verified.lines, 802 + files.len() as u64 - 1);
    let report = log.read(0).unwrap();
    assert_eq!((report.runs.len(), report.denied.len(), report.unreadable), (1, 800, 0));
    assert_eq!(log.read(log.length().unwrap()).unwrap(), Report::default());
    assert_eq!(Segments::of(&other).unwrap().verify().unwrap().findings, []);
}

#[test]
fn a_file_that_is_missing_or_another_ones_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let [path, other] = ["log.jsonl", "other.jsonl"].map(|name| dir.path().join(name));
    session(&path, 800, None);
    session(&other, 800, None);
    let files = Segments::of(&path).unwrap().files().to_vec();
    let kept: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let last = files.len();
    for (at, file) in files.iter().enumerate() {
        fs::remove_file(file).unwrap();
        let named = if at == 0 { files[1].clone() } else { path.clone() };
        let said = wrong(&named).join("\n");
        assert!(
            said.contains(&format!("{} is missing", name(file)))
                || said.contains(&format!("goes on in {}, which is missing", name(file))),
            "{said}"
        );
        assert_eq!(at == last - 1, said.lines().count() == 1, "{said}");
        // What is there can be read.
        let report = Segments::of(&named).unwrap().read(0).unwrap();
        assert!(report.denied.len() > 100 && report.unreadable == 0);

        fs::copy(numbered(&other, u32::try_from(at).unwrap() + 1), file).unwrap();
        let said = wrong(&path).join("\n");
        assert!(said.contains("`prev` is not the hash of the line before"), "{}: {said}", file.display());
        fs::write(file, &kept[at]).unwrap();
        assert_eq!(wrong(&path), [""; 0]);
    }
    // All of them under another name are the same log.
    for file in &files {
        fs::copy(file, dir.path().join(name(file).replace("log", "copy"))).unwrap();
    }
    assert_eq!(wrong(&dir.path().join("copy.jsonl")), [""; 0]);
    fs::rename(&files[1], dir.path().join("kept")).unwrap();
    fs::rename(&files[2], &files[1]).unwrap();
    fs::rename(dir.path().join("kept"), &files[2]).unwrap();
    let said = wrong(&path).join("\n");
    assert!(said.contains("log.2.jsonl, line 1: `prev` is not"), "{said}");
}

#[test]
fn a_named_log_is_continued_in_its_last_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("npxc.log");
    for sessions in 1..=3 {
        session(&path, 400, None);
        let verified = Segments::of(&path).unwrap().verify().unwrap();
        assert_eq!((verified.findings.as_slice(), verified.sessions), ([].as_slice(), sessions));
    }
    let files = names(&Segments::of(&path).unwrap());
    assert!(files.len() >= 6 && files[1] == "npxc.2.log", "{files:?}");
    assert!(
        Segments::of(&path).unwrap().files().iter().all(|file| file.metadata().unwrap().len() <= MOST + 4096)
    );
    // Without rotation it is continued there as well, and by one at a time.
    let create = || Log::create(&Target::File(path.clone()), Uuid::now_v7());
    let (log, recorder) = create().unwrap();
    recorder.record(start("p@1.0.0")).unwrap();
    assert!(matches!(create().err().unwrap(), AuditError::InUse { .. }));
    drop(log);
    assert_eq!(names(&Segments::of(&path).unwrap()), files);
    let found = wrong(&path);
    assert!(found.len() == 1 && found[0].contains("session.end is missing"), "{found:?}");
}

#[test]
fn what_is_there_already_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let [path, next] = ["log.jsonl", "log.2.jsonl"].map(|name| dir.path().join(name));
    fs::write(&next, "dear diary\n").unwrap();
    let options = Options { max_size: Some(MOST), ..Options::default() };
    let (log, recorder) = Log::with(&Target::File(path.clone()), Uuid::now_v7(), options).unwrap();
    recorder.record(start("p@1.0.0")).unwrap();
    for number in 0..400 {
        // Refused once that is known.
        let _ = recorder.record(deny(number));
    }
    let error = log.finish(deny(0)).unwrap_err().to_string();
    assert!(error.contains("log.2.jsonl is there already"), "{error}");
    assert!(!recorder.healthy());
    assert_eq!(fs::read_to_string(&next).unwrap(), "dear diary\n");
    let found = wrong(&path);
    assert!(found.len() == 1 && found[0].contains("session.end is missing"), "{found:?}");
}

/// A killed npxc has made the next file, and no more; or it has closed one.
#[test]
fn an_empty_file_is_none_yet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl");
    session(&path, 400, None);
    let files = Segments::of(&path).unwrap().files().to_vec();
    let next = numbered(&path, u32::try_from(files.len()).unwrap() + 1);
    fs::write(&next, "").unwrap();
    assert_eq!(wrong(&path), [""; 0]);
    fs::remove_file(next).unwrap();
    fs::write(&files[files.len() - 1], "").unwrap();
    let found = wrong(&path);
    assert!(found.len() == 1 && found[0].contains("which is missing"), "{found:?}");
    // It is where a named log is continued.
    session(&path, 1, None);
    let found = wrong(&path);
    assert!(found.len() == 1 && found[0].contains("the session before has no session.end"), "{found:?}");
}

#[test]
fn one_that_was_cut_off_does_not_run_into_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl");
    session(&path, 400, None);
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 30]).unwrap();
    let report = Segments::of(&path).unwrap().read(0).unwrap();
    assert_eq!((report.denied.len(), report.unreadable), (400, 1));
    let found = wrong(&path);
    assert!(found[0].starts_with("log.jsonl, line ") && found[0].contains("cut off"), "{found:?}");
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn whatever_is_done_to_the_files_of_a_log_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let [path, other] = ["log.jsonl", "other.jsonl"].map(|name| dir.path().join(name));
    session(&path, 100, None);
    session(&other, 100, None);
    let files = Segments::of(&path).unwrap().files().to_vec();
    let read = |log: &Path| -> Vec<Vec<u8>> {
        Segments::of(log).unwrap().files().iter().map(|file| fs::read(file).unwrap()).collect()
    };
    let (good, foreign) = (read(&path), read(&other));
    assert!(files.len() >= 3 && foreign.len() >= 3, "{files:?}");
    // The same in every run.
    let mut numbers = fastrand::Rng::with_seed(0x4e58_2027);
    for turn in 0..1000 {
        let mut log = good.clone();
        let file = numbers.usize(..log.len());
        let with = (file + 1 + numbers.usize(..log.len() - 1)) % log.len();
        let (mut one, mut two) = (lines(&log[file]), lines(&log[with]));
        let (from, to) = (numbers.usize(..one.len()), numbers.usize(..two.len()));
        match turn % 8 {
            0 => {
                let at = numbers.usize(..log[file].len());
                log[file][at] ^= numbers.u8(1..);
            }
            1 => {
                let at = numbers.usize(..log[file].len());
                log[file].truncate(at);
            }
            2 => {
                std::mem::swap(&mut one[from], &mut two[to]);
                (log[file], log[with]) = (one.concat(), two.concat());
            }
            3 => {
                let moved = one.remove(from);
                two.insert(to, moved);
                (log[file], log[with]) = (one.concat(), two.concat());
            }
            // What is the end of one file is the beginning of the next.
            4 => {
                let (earlier, later) = (file.min(with), file.max(with));
                let mut all = lines(&log[earlier..=later].concat());
                let rest = all.split_off(from.min(all.len() - 1) + 1);
                (log[earlier], log[later]) = (all.concat(), rest.concat());
                log[earlier + 1..later].iter_mut().for_each(Vec::clear);
            }
            5 => log.swap(file, with),
            6 => log[file].clone_from(&foreign[numbers.usize(..foreign.len())]),
            _ => {
                let foreign = lines(&foreign[numbers.usize(..foreign.len())]);
                let start = numbers.usize(..foreign.len());
                let end = start + 1 + numbers.usize(..foreign.len() - start);
                one.splice(from..numbers.usize(..one.len() - from) + from, foreign[start..end].to_vec());
                log[file] = one.concat();
            }
        }
        if log == good {
            continue;
        }
        for (file, text) in files.iter().zip(&log) {
            fs::write(file, text).unwrap();
        }
        assert!(!wrong(&path).is_empty(), "turn {turn} was not found");
    }
}
