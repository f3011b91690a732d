//! A disk without room, and a log that ends early.

use super::*;

#[test]
fn a_full_disk_ends_the_log_with_a_whole_line_and_closes_the_door() {
    for room in [0, 10, 700, 1500, 1501, 1502, 3000] {
        let (log, recorder, content, full) = on_disk(room);
        let mut refused = recorder.record(start()).is_err();
        while !refused && full.try_recv().is_err() {
            refused = recorder.record(deny("api.example.com", "no-rule")).is_err();
        }
        let error = log.finish(end()).unwrap_err();
        assert!(matches!(error, AuditError::Incomplete { .. }), "{error}");
        assert!(!recorder.healthy());
        assert_eq!(recorder.record(open(1)), Err(Unavailable));
        let text = content.lock().unwrap();
        assert!(text.is_empty() || text.last() == Some(&b'\n'), "room {room}");
        let findings = verify(&text[..]).unwrap().findings;
        assert_eq!(findings.len(), 1, "only the end is missing: {findings:?}");
    }
}

#[test]
fn a_session_begins_when_its_first_line_is_written() {
    let (_log, recorder, content, _full) = on_disk(usize::MAX);
    recorder.begin(start()).unwrap();
    assert_eq!(lines(&content.lock().unwrap())[0]["event"], "session.start");
    for room in [0, 10] {
        let (_log, recorder, content, _full) = on_disk(room);
        assert_eq!(recorder.begin(start()), Err(Unavailable));
        assert!(content.lock().unwrap().is_empty() && !recorder.healthy());
    }
}

#[test]
fn dropping_a_log_writes_what_was_queued() {
    let (log, recorder, content, _full) = on_disk(usize::MAX);
    recorder.record(start()).unwrap();
    recorder.record(open(1)).unwrap();
    drop(log);
    let findings = verify(&content.lock().unwrap()[..]).unwrap().findings;
    assert_eq!(findings.len(), 1);
    assert!(findings[0].what.contains("session.end is missing"), "{findings:?}");
}
