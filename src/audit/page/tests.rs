use super::super::diff::Kind;
use super::super::report::{Denied, Reached, Run};
use super::*;

/// What a package could put everywhere.
const HOSTILE: &str = "<script>alert(1)</script>\"'&`|\u{202e}\u{1b}[31m\n# x";

fn report(value: &str) -> Report {
    let time = "2026-01-01T00:00:00.000000Z".to_owned();
    let run = Run {
        purpose: value.into(),
        package: value.into(),
        integrity: Some(value.into()),
        scripts: vec![value.into()],
        network: value.into(),
        allow: vec![value.into()],
        mounts: vec![value.into()],
        env: vec![value.into()],
        started: time.clone(),
        how: Some(value.into()),
        ..Run::default()
    };
    let reached = |observed: bool| Reached {
        purpose: value.into(),
        host: value.into(),
        protocol: value.into(),
        rules: [value.to_owned()].into(),
        flows: 1,
        bytes_up: 2000,
        bytes_down: 3_000_000,
        observed: observed.then(|| value.to_owned()),
        hint: observed.then(|| value.to_owned()),
        first: time.clone(),
        last: value.into(),
        times: vec![time.clone(), value.into()],
        ..Reached::default()
    };
    let denied = Denied {
        purpose: value.into(),
        destination: value.into(),
        protocol: value.into(),
        reason: value.into(),
        hint: Some(value.into()),
        count: 2,
        first: value.into(),
        times: vec![time.clone()],
        ..Denied::default()
    };
    Report {
        runs: vec![run.clone(), run],
        reached: vec![reached(false), reached(true)],
        denied: vec![denied],
        limits: [(value.to_owned(), 1)].into(),
        shared: [value.to_owned()].into(),
        refused: [value.to_owned()].into(),
        ..Report::default()
    }
}

fn documents(value: &str) -> [String; 2] {
    let report = report(value);
    let changes = [Change { kind: Kind::Destination, new: true, subject: value.to_owned() }];
    let findings = [value.to_owned()];
    let subject = Subject {
        report: &report,
        log: value,
        findings: &findings,
        hash: value,
        changes: Some((&changes, value)),
    };
    [html::page(&subject), markdown::text(&subject)]
}

/// The tags of a document, without what they hold.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|tag| tag.split(['>', ' ']).next().unwrap_or_default()).collect()
}

#[test]
fn no_value_becomes_markup() {
    let [plain, _] = documents("example");
    let [page, markdown] = documents(HOSTILE);
    assert!(plain.contains("<svg") && plain.contains("example"));
    assert_eq!(tags(&page), tags(&plain));
    for document in [&page, &markdown] {
        assert!(!document.contains(['\u{202e}', '\u{1b}']), "{document}");
    }
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    // Nothing of it stands outside of code: quotes are counted by the longest run of them.
    assert!(!markdown.contains("\n# x") && markdown.contains("``<script>alert(1)</script>"), "{markdown}");
    let cells = |line: &str| line.matches('|').count();
    let table: Vec<_> = markdown.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    assert_eq!(table, [7, 7, 7, 7, 6, 6, 6]);
}

#[test]
fn an_empty_report_is_a_page_too() {
    let report = Report::default();
    let findings = ["the log is empty".to_owned()];
    let subject = Subject { report: &report, log: "x", findings: &findings, hash: "", changes: None };
    let page = html::page(&subject);
    assert!(page.contains("the log is empty") && !page.contains("<svg"), "{page}");
    assert!(markdown::text(&subject).contains("the log is empty"));
}

#[test]
fn sizes_have_one_decimal() {
    assert_eq!([0, 1023, 1536, 3 << 20].map(size), ["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]);
}
