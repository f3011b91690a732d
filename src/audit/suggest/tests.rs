use super::*;

fn reached(host: &str, port: u16, rule: &str, hint: Option<&str>) -> Reached {
    Reached {
        purpose: "run".into(),
        host: host.into(),
        port,
        protocol: "tcp".into(),
        rules: [rule.to_owned()].into(),
        flows: 2,
        bytes_up: 10,
        bytes_down: 20,
        observed: hint.map(|_| "no rule allows it".into()),
        hint: hint.map(str::to_owned),
        first: "2026-01-01T00:00:01Z".into(),
        last: "2026-01-01T00:00:02Z".into(),
        ..Reached::default()
    }
}

fn denied(destination: &str, hint: Option<&str>) -> Denied {
    Denied {
        purpose: "run".into(),
        destination: destination.into(),
        reason: "is refused".into(),
        hint: hint.map(str::to_owned),
        count: 3,
        first: "2026-01-01T00:00:00Z".into(),
        last: "2026-01-01T00:00:03Z".into(),
        ..Denied::default()
    }
}

fn rules(report: &Report) -> Vec<(String, String, u64, u64, bool)> {
    let suggested = suggest([report], &|host| host != "unwanted.example.com");
    let row = |one: Suggestion| (one.option, one.rule, one.flows, one.denied, one.standing);
    suggested.rules.into_iter().map(row).collect()
}

#[test]
fn what_was_observed_becomes_its_hint_and_what_was_allowed_its_rule() {
    let report = Report {
        reached: vec![
            reached("api.example.com", 443, "observe", Some("--allow api.example.com:443")),
            reached("registry.example.com", 443, "@npm", None),
            reached("unwanted.example.com", 443, "observe", Some("--allow unwanted.example.com:443")),
        ],
        ..Report::default()
    };
    assert_eq!(
        rules(&report),
        [
            ("--allow".into(), "@npm".into(), 2, 0, true),
            ("--allow".into(), "api.example.com:443".into(), 2, 0, false),
        ]
    );
}

#[test]
fn a_question_asks_for_no_more_than_its_flows() {
    let mut report = Report {
        denied: vec![
            denied("api.example.com", Some("--allow api.example.com")),
            denied("10.0.0.1:80", Some("--allow-private 10.0.0.1:80")),
            denied("unwanted.example.com:1", Some("--allow unwanted.example.com:1")),
            denied("[2001:db8::1]:53", None),
            denied("a.example.com:443", Some("--network allowlist")),
        ],
        ..Report::default()
    };
    // Of the name alone nothing else is known.
    assert_eq!(
        rules(&report),
        [
            ("--allow".into(), "api.example.com".into(), 0, 3, false),
            ("--allow-private".into(), "10.0.0.1:80".into(), 0, 3, false),
        ]
    );
    report.reached = vec![reached("api.example.com", 443, "observe", Some("--allow api.example.com:443"))];
    assert_eq!(rules(&report)[0], ("--allow".into(), "api.example.com:443".into(), 2, 0, false));
    let suggested = suggest([&report], &|_| true);
    let left: Vec<_> = suggested.left.iter().map(|left| left.destination.as_str()).collect();
    assert_eq!(left, ["[2001:db8::1]:53", "a.example.com:443"]);
}

#[test]
fn several_logs_are_one_evidence() {
    let mut later = reached("api.example.com", 443, "observe", Some("--allow api.example.com:443"));
    (later.first, later.last) = ("2026-02-01T00:00:00Z".into(), "2026-02-02T00:00:00Z".into());
    let mut fetched = reached("registry.example.com", 443, "@npm", None);
    fetched.purpose = "fetch".into();
    let mut script = denied("binaries.example.com:443", Some("--allow binaries.example.com:443"));
    script.purpose = "build".into();
    let first = Report {
        reached: vec![reached("api.example.com", 443, "observe", Some("--allow api.example.com:443"))],
        ..Report::default()
    };
    let second = Report { reached: vec![later, fetched], denied: vec![script], ..Report::default() };
    let suggested = suggest([&first, &second], &|_| true);
    let one = &suggested.rules[0];
    assert_eq!((one.flows, one.bytes_up, one.bytes_down), (4, 20, 40));
    assert_eq!((one.first.as_str(), one.last.as_str()), ("2026-01-01T00:00:01Z", "2026-02-02T00:00:00Z"));
    // What the registry's own rule let through needs none.
    let rules: Vec<_> = suggested.rules.iter().map(|one| (one.option.as_str(), one.rule.as_str())).collect();
    assert_eq!(rules, [("--allow", "api.example.com:443"), ("--allow-install", "binaries.example.com:443")]);
}

#[test]
fn what_is_no_rule_is_not_suggested() {
    let hostile =
        ["*.com\n", "--no-isolate", "--mount=/root:rw", "a.example.com:443 --network", "A.example.com", "*"];
    for text in hostile {
        let report = Report {
            reached: vec![
                reached("a.example.com", 443, text, None),
                reached("a.example.com", 443, "observe", Some(&format!("--allow {text}"))),
            ],
            denied: vec![denied("a.example.com:443", Some(&format!("--allow {text}")))],
            ..Report::default()
        };
        assert!(rules(&report).is_empty(), "{text}");
    }
}
