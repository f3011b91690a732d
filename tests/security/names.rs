//! Names and rules: forms of one name, names that are none, names that look alike, ports and addresses in disguise
//! (rows 12-16).

use serde_json::{Value, json};

use super::harness::{Attack, Server, attack, everyone, packets, page, sealed};

#[test]
fn row_12_every_form_of_a_name_is_the_same_name() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("same"));
        let port = server.port;
        let forms = [
            "api.example.com",
            "API.Example.COM",
            "api.example.com.",
            "bücher.example",
            "BÜCHER.example",
            "xn--bcher-kva.example",
        ];
        let mut steps: Vec<Value> = forms
            .iter()
            .map(|form| json!({"do": "fetch", "url": format!("http://{form}:{port}/")}))
            .collect();
        for host in [
            "API.example.com",
            "api.example.com.",
            &format!("api.example.com:{port}"),
            &format!("API.EXAMPLE.COM.:{port}"),
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            steps.push(
                json!({"do": "tcp", "to": "api.example.com", "port": port, "send": [request], "half": true}),
            );
        }
        steps.push(json!({"do": "dns", "name": "aPi.eXample.cOm"}));
        let seen = attack(who, &json!(steps))
            .pinned("Api.EXAMPLE.com.", "127.0.0.1", port)
            .pinned("Bücher.Example", "127.0.0.1", port)
            .run();
        for at in 0..forms.len() {
            assert_eq!(seen.at(at)["body"], json!("same"), "{} {seen:?}", forms[at]);
        }
        for at in forms.len()..forms.len() + 4 {
            assert!(seen.at(at)["data"].as_str().unwrap().ends_with("same"), "{at} {seen:?}");
        }
        assert_eq!(seen.answers.last().unwrap()["records"], json!(1));
        assert!(seen.denied().is_empty() && seen.refused().is_empty(), "{seen:?}");
    }
}

#[test]
fn row_13_names_that_are_no_names_are_refused() {
    for who in everyone() {
        sealed();
        let labels = |labels: &[&str]| json!({"do": "dns", "labels": labels});
        let long = "a".repeat(63);
        let steps = [
            labels(&["api\0", "example", "com"]),
            labels(&["api", "example", "com\0"]),
            labels(&["api.example", "com"]),
            labels(&["api%2eexample", "com"]),
            labels(&["api\r\nHost: evil", "example", "com"]),
            labels(&["\u{1b}[31m", "example", "com"]),
            labels(&["api example", "com"]),
            labels(&["api\\.example", "com"]),
            labels(&["\u{ff}\u{fe}", "example", "com"]),
            labels(&["xn--", "example", "com"]),
            labels(&["api/..", "example", "com"]),
            labels(&["-", "example", "com"]),
            labels(&[&long, &long, &long, &long, "example", "com"]),
            labels(&["api:443", "example", "com"]),
            labels(&[]),
        ];
        let last = json!({"do": "dns", "name": "api.example.com"});
        let all: Vec<Value> = steps.iter().cloned().chain([last]).collect();
        let seen = attack(who, &json!(all))
            .allow("*.example.com")
            .option("--add-host", "api.example.com:127.0.0.1")
            .run();
        for at in 0..steps.len() {
            // FORMERR, NXDOMAIN, REFUSED: nothing with records, and no silence.
            let answer = seen.at(at);
            assert!([1, 3, 5].contains(&answer["code"].as_u64().unwrap()), "{} {answer} {seen:?}", steps[at]);
            assert_eq!(answer["records"], json!(0));
        }
        assert_eq!(seen.answers.last().unwrap()["records"], json!(1), "the next one is answered: {seen:?}");
        assert_eq!(packets(), 0, "no question left: {seen:?}");
        assert!(
            seen.log.lines().all(|line| line.bytes().all(|byte| (32..127).contains(&byte))),
            "{}",
            seen.log
        );
        assert_eq!(seen.counted().0, steps.len() as u64, "{seen:?}");
    }
}

#[test]
fn row_14_names_that_look_like_an_allowed_one_are_others() {
    for who in everyone() {
        sealed();
        let others = [
            "evilallowed.example",
            "allowed.example.evil",
            "allowed-example",
            "allowed.exampl",
            "www.allowed.example",
            "allowed.example.",
            // Below the wildcard only, not the name itself; and not beside it.
            "wild.example",
            "evilwild.example",
            "wild.example.evil",
            // A Cyrillic а.
            "аllowed.example",
        ];
        let steps: Vec<Value> = others.iter().map(|name| json!({"do": "lookup", "name": name})).collect();
        let seen = attack(who, &json!(steps)).allow("allowed.example,*.wild.example").ipv6().run();
        for at in (0..others.len()).filter(|at| others[*at] != "allowed.example.") {
            assert_eq!(seen.error(at), "ENOTFOUND", "{}: {seen:?}", others[at]);
        }
        for (name, _, answer, hint) in seen.refused() {
            if name != "allowed.example" {
                assert_eq!(answer, "nxdomain");
                assert_eq!(hint, Some(format!("--allow {name}")));
            }
        }
        seen.assert_nothing_reached();
    }
}

/// npxc stops before anything starts, and says what is wrong with the rule.
fn refuses(option: &str, rule: &str) {
    let who = everyone()[0];
    let seen = Attack::new(who, "no-such-package").option(option, rule).run();
    assert_eq!(seen.code, Some(1), "{option} {rule:?}: {seen:?}");
    assert!(seen.err.starts_with("npxc: error: "), "{rule:?}: {}", seen.err);
    assert!(seen.events.is_empty() && seen.out.is_empty(), "{seen:?}");
    let clean = seen.err.chars().all(|c| c == '\n' || !c.is_control());
    assert!(clean, "{rule:?} reaches the terminal: {:?}", seen.err);
}

#[test]
fn row_14_rules_that_say_everything_are_refused_when_parsed() {
    for rule in
        ["*", "*.com", "*.co.uk", "*.github.io", "*.*.example.com", "a.*.com", "*example.com", "*:443", "**"]
    {
        refuses("--allow", rule);
        refuses("--allow-private", rule);
    }
}

#[test]
fn row_15_the_right_name_at_another_port_is_denied() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("secret"));
        let port = server.port;
        let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let steps = json!([
            {"do": "tcp", "to": "api.example.com", "port": port, "send": [request("api.example.com:443")]},
            {"do": "fetch", "url": format!("http://api.example.com:{port}/")},
            // A port inside a name: the resolver library may refuse it by itself.
            {"do": "lookup", "name": format!("api.example.com:{port}")},
            {"do": "dns", "labels": ["api", "example", format!("com:{port}")]},
            {"do": "lookup", "name": "ranged.example.com"},
            {"do": "tcp", "to": "ranged.example.com", "port": 7999},
            {"do": "tcp", "to": "ranged.example.com", "port": 8004},
        ]);
        let seen = attack(who, &steps)
            .option("--allow-private", "api.example.com:443")
            .option("--add-host", "api.example.com:127.0.0.1")
            .option("--allow-private", "ranged.example.com:8000-8003")
            .option("--add-host", "ranged.example.com:127.0.0.1")
            .run();
        for at in [0, 1, 5, 6] {
            assert_eq!(seen.error(at), "ECONNREFUSED", "{seen:?}");
        }
        assert!(["ENOTFOUND", "EBADNAME"].contains(&seen.error(2)), "{seen:?}");
        assert_eq!(seen.at(3)["code"], json!(3));
        for (name, port) in [("api", port), ("ranged", 7999), ("ranged", 8004)] {
            let to = format!("{name}.example.com:{port}");
            seen.assert_denied(&to, "wrong-port", Some(&format!("--allow {to}")));
        }
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0);
    }
}

#[test]
fn row_15_ports_that_are_none_are_refused_when_parsed() {
    for port in [
        "0",
        "65536",
        "-1",
        "443:80",
        "443-",
        "-443",
        "444-443",
        "443@evil.example",
        "443/tcp",
        " 443",
        "",
        "0x1bb",
        "443\0",
    ] {
        if !port.contains('\0') {
            refuses("--allow", &format!("api.example.com:{port}"));
        }
    }
    for rule in [
        "icmp://api.example.com",
        "https://api.example.com/path",
        "api.example.com/24",
        "http://user@api.example.com",
    ] {
        refuses("--allow", rule);
    }
}

#[test]
fn row_16_addresses_in_disguise_are_refused_or_mean_what_they_mean() {
    let disguised = [
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "0x7f000001",
        "127.0.0.1.",
        "1.2.3",
        "１２７.0.0.1",
        "[::ffff:127.0.0.1",
        "[::1",
        "::1:443",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "fe80::1%eth0",
    ];
    let mut taken = Vec::new();
    for rule in disguised {
        let seen = Attack::new(everyone()[0], "no-such-package").flag("--dry-run").allow(rule).run();
        if seen.code != Some(1) {
            taken.push((rule, seen.out));
        }
    }
    // What is taken is shown as what it means: the dry run names the canonical address.
    for (rule, shown) in taken {
        assert!(shown.contains("127.0.0.1") || shown.contains("10.0.0.0/8"), "{rule}: {shown}");
    }
    for who in everyone() {
        sealed();
        let server = Server::start(page("secret"));
        let port = server.port;
        let names = ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "0x7f000001"];
        let mut steps: Vec<Value> = names
            .iter()
            .map(|name| json!({"do": "fetch", "url": format!("http://{name}:{port}/")}))
            .collect();
        steps.extend(names.iter().map(|name| json!({"do": "dns", "name": name})));
        let seen = attack(who, &json!(steps)).allow("example.com").run();
        for at in 0..names.len() {
            // The guest's own loopback, where nobody listens.
            assert_eq!(seen.error(at), "ECONNREFUSED", "{seen:?}");
            assert_eq!(seen.at(names.len() + at)["code"], json!(3), "{seen:?}");
        }
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0);
        assert!(server.visits().is_empty());
    }
}
