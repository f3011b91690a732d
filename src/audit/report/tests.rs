#![allow(clippy::unwrap_used)]
use super::*;

fn line(event: &str) -> String {
    format!(
        "{{\"v\":1,\"seq\":0,\"time\":\"2026-01-01T00:00:00.000000Z\",\"session\":\"s\",{event},\"prev\":\"\"}}\n"
    )
}

fn log() -> String {
    let flow = "\"source\":\"198.18.0.2:4\",\"guest_destination\":\"198.18.1.1:443\"";
    let start = "\"event\":\"session.start\",\"npxc\":\"0\",\"package\":\"p@1.0.0\",\"version\":\"1.0.0\",\
                 \"integrity\":null,\"runtime\":\"native\",\"link\":\"tun\",\"network\":\"allowlist\",\
                 \"allow\":[],\"allow_private\":[],\"deny\":[],\"mounts\":[],\"env\":[]";
    let open = format!(
        "\"event\":\"flow.open\",\"protocol\":\"tcp\",\"rule\":\"@npm\",\"name\":\"a.example.com\",{flow},\
         \"dialled\":\"192.0.2.1:443\",\"via\":\"socks5://192.0.2.1:443 by address\""
    );
    let close = "\"event\":\"flow.close\",\"bytes_up\":10,\"bytes_down\":20,\"duration_ms\":5,\"detected\":\"tls\",\
                 \"how\":\"finished\"";
    let deny = format!(
        "\"event\":\"flow.deny\",\"protocol\":\"tcp\",\"name\":\"b.example.com\",{flow},\"code\":\"no-rule\",\
         \"reason\":\"no rule\",\"hint\":\"--allow b.example.com:443\""
    );
    let dns = "\"event\":\"dns\",\"name\":\"c.example.com\",\"type\":\"A\",\"answer\":\"nxdomain\",\
               \"reason\":\"no rule names it\",\"hint\":\"--allow c.example.com\"";
    let summary = "\"event\":\"flow.deny.summary\",\"count\":7,\"protocol\":\"tcp\",\"code\":\"no-rule\",\
                   \"example\":\"d.example.com:1\"";
    let end = "\"event\":\"session.end\",\"status\":0,\"signal\":null,\"how\":\"client closed stdin\",\
               \"denied\":10,\"allowed\":2";
    [
        line(&format!("{start},\"purpose\":\"fetch\"")),
        line(&format!("{open},\"flow\":1")),
        line(&format!("{close},\"flow\":1")),
        line(end),
        line(&format!("{start},\"purpose\":\"run\"")),
        line(&format!("{open},\"flow\":1")),
        line(&format!("{open},\"flow\":2")),
        line(&format!("{close},\"flow\":2")),
        line(&format!("{close},\"flow\":1")),
        line(&deny),
        line(dns),
        line(dns),
        line(summary),
        line(summary),
        "garbage\n".to_owned(),
        line(end),
    ]
    .concat()
}

#[test]
fn names_that_do_not_resolve_are_no_denials() {
    let asked = |name: &str, kind: &str, answer: &str| {
        line(&format!("\"event\":\"dns\",\"name\":\"{name}\",\"type\":\"{kind}\",\"answer\":\"{answer}\""))
    };
    let log = [
        asked("none.example.com", "A", "nxdomain"),
        asked("none.example.com", "AAAA", "empty"),
        asked("gone.example.com", "A", "nxdomain"),
        asked("gone.example.com", "AAAA", "nxdomain"),
        asked("slow.example.com", "A", "servfail"),
        asked("late.example.com", "A", "servfail"),
        asked("late.example.com", "A", "answered"),
        asked("_x.example.com", "SRV", "nxdomain"),
    ];
    let report = read(log.concat().as_bytes()).unwrap();
    let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(&report.not_found), ["gone.example.com", "none.example.com"]);
    assert_eq!(names(&report.not_resolved), ["slow.example.com"]);
    assert_eq!(names(&report.resolved), ["late.example.com"]);
    assert!(report.denied.is_empty());
}

#[test]
fn what_was_kept_is_not_what_was_written() {
    let collect = |path: &str, how: &str| {
        line(&format!(
            "\"event\":\"file.collect\",\"path\":\"{path}\",\"guest\":\"/g\",\"bytes\":1,\"how\":\"{how}\""
        ))
    };
    let log = [collect("/n", "new"), collect("/c", "changed"), collect("/k", "kept"), collect("/x", "other")];
    let report = read(log.concat().as_bytes()).unwrap();
    assert_eq!(report.written.iter().collect::<Vec<_>>(), ["/c", "/n"]);
    assert_eq!(report.kept.iter().collect::<Vec<_>>(), ["/k"]);
    assert_eq!(report.unreadable, 1);
}

#[test]
fn files_that_were_refused_are_listed_with_their_reason() {
    let refuse =
        "\"event\":\"file.refuse\",\"path\":\"../x\",\"code\":\"outside-scope\",\"reason\":\"is outside\"";
    let report = read([line(refuse), line(refuse)].concat().as_bytes()).unwrap();
    assert_eq!(report.refused.iter().collect::<Vec<_>>(), ["../x is outside"]);
}

#[test]
fn a_log_is_folded_by_destination_and_purpose() {
    let report = read(log().as_bytes()).unwrap();
    assert_eq!(report.runs.len(), 2);
    assert_eq!(report.runs[1].how.as_deref(), Some("client closed stdin"));
    assert_eq!(report.unreadable, 1);
    let reached: Vec<_> = report
        .reached
        .iter()
        .map(|row| (row.purpose.as_str(), row.destination(), row.flows, row.bytes_up, row.bytes_down))
        .collect();
    assert_eq!(
        reached,
        [
            ("fetch", "a.example.com:443".to_owned(), 1, 10, 20),
            ("run", "a.example.com:443".to_owned(), 2, 20, 40)
        ]
    );
    assert_eq!(report.reached[0].via.iter().collect::<Vec<_>>(), ["socks5://192.0.2.1:443 by address"]);
    let denied: Vec<_> = report
        .denied
        .iter()
        .map(|row| (row.destination.as_str(), row.protocol.as_str(), row.count, row.hint.as_deref()))
        .collect();
    assert_eq!(
        denied,
        [
            ("b.example.com:443", "tcp", 1, Some("--allow b.example.com:443")),
            ("c.example.com", "dns", 2, Some("--allow c.example.com")),
            ("d.example.com:1", "tcp", 14, None),
        ]
    );
}

#[test]
fn numbers_that_no_session_has_do_not_overflow() {
    let close = |flow: u8| {
        line(&format!(
            "\"event\":\"flow.close\",\"flow\":{flow},\"bytes_up\":18446744073709551615,\"bytes_down\":18446744073709551615,\
             \"duration_ms\":5,\"detected\":\"tls\",\"how\":\"finished\""
        ))
    };
    let summary = line(
        "\"event\":\"flow.deny.summary\",\"count\":18446744073709551615,\"protocol\":\"tcp\",\"code\":\"no-rule\",\
         \"example\":\"d.example.com:1\"",
    );
    let limit = line("\"event\":\"limit\",\"what\":\"w\",\"detail\":\"d\",\"count\":18446744073709551615");
    let opened = log();
    let open = opened.split_inclusive('\n').filter(|line| line.contains("flow.open")).collect::<String>();
    let text = [open, close(1), close(2), summary.clone(), summary, limit.clone(), limit].concat();
    let report = read(text.as_bytes()).unwrap();
    assert_eq!((report.reached[0].bytes_up, report.denied[0].count), (u64::MAX, u64::MAX));
    let suggested = crate::audit::suggest::suggest([&report, &report], &|_| true);
    assert_eq!(suggested.rules.len(), 0);
    let subject =
        crate::audit::page::Subject { report: &report, log: "", findings: &[], hash: "", changes: None };
    assert!(crate::audit::page::html::page(&subject).contains("</html>"));
}
