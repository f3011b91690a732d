//! More events than a log is to have.

use super::*;
use crate::audit::throttle::IDENTICAL;

fn counted(lines: &[Value], code: &str) -> u64 {
    lines
        .iter()
        .filter(|line| line["code"] == code)
        .map(|line| if line["event"] == "flow.deny.summary" { line["count"].as_u64().unwrap() } else { 1 })
        .sum()
}

#[test]
fn a_flood_of_denials_is_counted_exactly_and_starves_nothing() {
    const FLOOD: u64 = 100_000;
    let (log, recorder, content, _full) = on_disk(usize::MAX);
    recorder.record(start()).unwrap();
    let mut flows = 0;
    for number in 0..FLOOD {
        let name = if number % 3 == 0 { "same.example.com".into() } else { format!("h{number}.example.com") };
        recorder.record(deny(&name, if number % 2 == 0 { "no-rule" } else { "private" })).unwrap();
        if number % 1000 == 0 {
            flows += 1;
            recorder.record(open(flows)).unwrap();
            recorder.record(close(flows)).unwrap();
        }
    }
    assert_eq!(recorder.totals(), Totals { allowed: flows, denied: FLOOD });
    log.finish(end()).unwrap();
    let text = content.lock().unwrap();
    assert_eq!(verify(&text[..]).unwrap().findings, []);
    let lines = lines(&text);
    assert_eq!(counted(&lines, "no-rule"), FLOOD / 2);
    assert_eq!(counted(&lines, "private"), FLOOD / 2);
    assert_eq!(lines.iter().filter(|line| line["event"] == "flow.open").count() as u64, flows);
    assert_eq!(lines.iter().filter(|line| line["event"] == "flow.close").count() as u64, flows);
    assert!(lines.len() < 20_000, "the log is bounded: {}", lines.len());
    assert_eq!(lines.last().unwrap()["event"], "session.end");
}

#[test]
fn one_destination_again_and_again_is_summarized() {
    let (log, recorder, content, _full) = on_disk(usize::MAX);
    recorder.record(start()).unwrap();
    for _ in 0..500 {
        recorder.record(deny("api.example.com", "no-rule")).unwrap();
    }
    log.finish(end()).unwrap();
    let lines = lines(&content.lock().unwrap());
    assert_eq!(counted(&lines, "no-rule"), 500);
    assert_eq!(lines.iter().filter(|line| line["event"] == "flow.deny").count(), IDENTICAL as usize);
    let summary = lines.iter().find(|line| line["event"] == "flow.deny.summary").unwrap();
    assert_eq!(summary["example"], "api.example.com:443");
}

#[test]
fn an_allowed_flow_that_finds_no_room_is_refused_and_its_end_still_fits() {
    let queue = Queue::new();
    let mut taken = 0;
    while queue.push(open(taken)).is_ok() {
        taken += 1;
    }
    assert!(taken < crate::audit::queue::CAPACITY as u64);
    for flow in 0..1000 {
        queue.push(close(flow)).unwrap();
    }
    for _ in 0..5 {
        queue.push(deny("x.example.com", "no-rule")).unwrap();
    }
    let batch = queue.take(None);
    assert_eq!(batch.events.len() as u64, taken + 1000);
    let mut uncounted = batch.uncounted;
    let summary: Vec<_> = uncounted.take().collect();
    assert!(matches!(&summary[..], [Event::FlowDenySummary { count: 5, .. }]), "{summary:?}");
}
