//! Lines that somebody else would write, or change.

use super::*;

#[test]
fn a_hostile_value_cannot_forge_a_line() {
    let hostile = [
        "a\n{\"v\":1,\"seq\":9,\"event\":\"flow.open\"}\n",
        "a\r\n\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m",
        "quote\" , \"event\":\"flow.open\", \"x\":\"",
        "back\\slash\\\" and \u{202e}reversed",
        &"x".repeat(1 << 20),
        "\u{0}\u{2028}\u{2029}",
    ];
    let (log, recorder, content, _full) = on_disk(usize::MAX);
    recorder.record(start()).unwrap();
    for value in hostile {
        recorder.record(deny(value, "no-rule")).unwrap();
    }
    log.finish(end()).unwrap();
    let text = content.lock().unwrap();
    assert_eq!(verify(&text[..]).unwrap().findings, []);
    let lines = lines(&text);
    assert_eq!(lines.len(), hostile.len() + 2);
    for (line, value) in lines[1..].iter().zip(hostile) {
        assert_eq!(line["event"], "flow.deny");
        let name = line["name"].as_str().unwrap();
        assert!(name == value || (name.len() < 600 && name.contains("…[+")), "{name}");
    }
    assert!(!text.contains(&0x1b) && text.len() < 10_000);
}

#[test]
fn every_change_of_a_log_is_found() {
    let (log, recorder, content, _full) = on_disk(usize::MAX);
    recorder.record(start()).unwrap();
    for flow in 0..2 {
        recorder.record(open(flow)).unwrap();
        recorder.record(close(flow)).unwrap();
    }
    log.finish(end()).unwrap();
    let good = content.lock().unwrap().clone();
    let bad = |text: &[u8], what: &str| {
        let verified = verify(text).unwrap();
        assert!(!verified.findings.is_empty(), "{what} was not found");
        verified.findings
    };
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..good.len() {
        let mut text = good.clone();
        text[at] ^= 1;
        bad(&text, &format!("a changed byte at {at}"));
    }
    for cut in 0..lines.len() {
        bad(&lines[..cut].concat(), "a missing tail");
    }
    for at in 0..lines.len() - 1 {
        let mut text = lines.clone();
        text.remove(at);
        let findings = bad(&text.concat(), "a missing line");
        assert_eq!(findings[0].line, at as u64 + 1);
        let mut text = lines.clone();
        text.swap(at, at + 1);
        bad(&text.concat(), "swapped lines");
        let mut text = lines.clone();
        text.insert(at, lines[at]);
        bad(&text.concat(), "a doubled line");
    }
    bad(&good[..good.len() - 1], "a missing line feed");
    assert!(bad(b"", "an empty file")[0].what.contains("empty"));
    bad(b"hello\nworld\n", "something else");
}
