//! The guest's resolver: records that are withheld, types, data in labels, other resolvers, malformed messages
//! (rows 9, 21-24).

use serde_json::{Value, json};

use super::harness::{Seen, attack, everyone, packets, sealed};
use super::machine::root_for;
use super::stub::{self, Record};

const NXDOMAIN: u64 = 3;

fn code(seen: &Seen, at: usize) -> u64 {
    seen.at(at)["code"].as_u64().unwrap_or_else(|| panic!("{at} was not answered: {seen:?}"))
}

#[test]
fn row_09_records_that_would_enable_encrypted_hellos_are_withheld() {
    for who in everyone() {
        sealed();
        // SVCB and HTTPS (RFC 9460), over both transports and both families.
        let mut steps = Vec::new();
        for kind in [64, 65] {
            for to in ["198.18.0.1", "fd6e:7078:6300::1"] {
                for tcp in [false, true] {
                    steps.push(
                        json!({"do": "dns", "name": "api.example.com", "type": kind, "to": to, "tcp": tcp}),
                    );
                }
            }
        }
        let seen = attack(who, &json!(steps)).allow("api.example.com").run();
        for at in 0..steps.len() {
            assert_eq!((code(&seen, at), &seen.at(at)["records"]), (0, &json!(0)), "{} {seen:?}", steps[at]);
        }
        assert_eq!(packets(), 0, "answered without asking anybody");
    }
}

/// A, NS, CNAME, SOA, NULL, PTR, HINFO, MX, TXT, AAAA, SRV, NAPTR, DS, DNSKEY, SVCB, HTTPS, IXFR, AXFR, ANY, CAA,
/// and one that does not exist.
const TYPES: [u16; 21] =
    [1, 2, 5, 6, 10, 12, 13, 15, 16, 28, 33, 35, 43, 48, 64, 65, 251, 252, 255, 257, 65_280];

#[test]
fn row_21_no_question_of_any_type_leaves_for_a_name_that_is_not_allowed() {
    for who in everyone() {
        sealed();
        let ask = |name: &str, kind: u16| json!({"do": "dns", "name": name, "type": kind});
        let names = ["evil.example", "_acme.evil.example", "_srv._tcp.evil.example"];
        let steps: Vec<Value> = names.iter().flat_map(|name| TYPES.map(|kind| ask(name, kind))).collect();
        let seen = attack(who, &json!(steps)).allow("api.example.com").ipv6().run();
        for at in 0..steps.len() {
            assert_eq!(code(&seen, at), NXDOMAIN, "{} {seen:?}", steps[at]);
        }
        assert_eq!(packets(), 0, "nothing left");
        let first = seen.refused().into_iter().find(|(name, ..)| name == "evil.example").unwrap();
        assert_eq!(first.3.as_deref(), Some("--allow evil.example"));
        assert_eq!(
            seen.counted(),
            (steps.len() as u64, steps.len() as u64),
            "every one is accounted for: {seen:?}"
        );
    }
}

#[test]
fn row_21_what_records_of_an_allowed_name_name_is_not_allowed_by_that() {
    if !root_for("attacks with a resolver of the test's own") || !sealed() {
        return;
    }
    for who in everyone() {
        sealed();
        let resolver = stub::start(|name, kind| match (name, kind) {
            ("api.example.com", 16) => vec![Record::text("go to 203.0.113.50")],
            ("api.example.com", 28 | 1) => vec![Record::address("203.0.113.49")],
            _ => Vec::new(),
        });
        let steps = json!([
            {"do": "resolve", "name": "api.example.com", "type": "TXT"},
            {"do": "tcp", "to": "203.0.113.50", "port": 443},
            {"do": "tcp", "to": "203.0.113.49", "port": 443},
        ]);
        let seen = attack(who, &steps).allow("api.example.com").resolver().run();
        assert_eq!(seen.at(0)["records"], json!([["go to 203.0.113.50"]]), "{seen:?}");
        // Not even the address that the name really has: the guest was given another.
        assert_eq!((seen.error(1), seen.error(2)), ("ECONNREFUSED", "ECONNREFUSED"));
        seen.assert_nothing_reached();
        assert!(!resolver.received.lock().unwrap().is_empty());
    }
}

#[test]
fn row_22_data_in_labels_is_rationed_and_logged() {
    if !root_for("attacks with a resolver of the test's own") || !sealed() {
        return;
    }
    for who in everyone() {
        sealed();
        let resolver =
            stub::start(|_, kind| if kind == 1 { vec![Record::address("203.0.113.1")] } else { Vec::new() });
        const ASKED: u64 = 2000;
        let steps = json!([{"do": "flood", "times": ASKED, "together": 32, "vary": "name",
            "step": {"do": "dns", "name": "chunk-#-of-a-secret.drop.example.com"}}]);
        let seen = attack(who, &steps).allow("*.drop.example.com").resolver().run();
        let left = resolver.received.lock().unwrap().len();
        // Two questions for each name, of the 200 at once and 10 a second that are let through.
        assert!(left < 1000, "{left} questions left: {seen:?}");
        assert!(seen.log.contains("chunk-1-of-a-secret.drop.example.com"));
        let limited: u64 =
            seen.limits().iter().filter(|(what, _)| what.starts_with("dns-names")).map(|(_, n)| n).sum();
        assert!(limited > 0, "{seen:?}");
        let (accounted, claimed) = seen.counted();
        assert!(accounted > ASKED / 2, "{accounted}: {seen:?}");
        assert_eq!(accounted, claimed, "{seen:?}");
    }
}

#[test]
fn row_23_every_resolver_is_npxc() {
    for who in everyone() {
        sealed();
        let mut steps = Vec::new();
        for to in ["192.0.2.53", "198.51.100.53", "2001:db8::53", "198.18.0.1", "fd6e:7078:6300::1"] {
            for tcp in [false, true] {
                steps.push(json!({"do": "dns", "to": to, "tcp": tcp, "name": "evil.example"}));
                steps.push(json!({"do": "dns", "to": to, "tcp": tcp, "name": "api.example.com"}));
            }
        }
        let plain = steps.len();
        for to in ["192.0.2.53", "2001:db8::53"] {
            // DNS over TLS, over QUIC, multicast DNS and LLMNR sent to one machine.
            steps.push(json!({"do": "tls", "to": to, "port": 853, "servername": "api.example.com"}));
            for port in [853, 5353, 5355] {
                steps.push(json!({"do": "dns", "to": to, "port": port, "name": "evil.example"}));
            }
        }
        let seen = attack(who, &json!(steps))
            .allow("api.example.com")
            .option("--add-host", "api.example.com:127.0.0.1")
            .run();
        for at in 0..plain {
            let expected = if at % 2 == 0 { (NXDOMAIN, 0) } else { (0, 1) };
            assert_eq!(
                (code(&seen, at), seen.at(at)["records"].as_u64().unwrap()),
                expected,
                "{} {seen:?}",
                steps[at]
            );
        }
        for at in plain..steps.len() {
            assert!(
                ["ECONNREFUSED", "EHOSTUNREACH", "EACCES"].contains(&seen.error(at)),
                "{} {seen:?}",
                steps[at]
            );
        }
        assert_eq!(seen.denied().len(), steps.len() - plain, "{seen:?}");
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0);
    }
}

/// Messages that are none, with what may be answered: no code at all is silence.
fn malformed() -> Vec<(&'static str, String)> {
    let header = |flags: &str, counts: &str| format!("NX{flags}{counts}");
    let name = "\u{3}api\u{7}example\u{3}com\u{0}\u{0}\u{1}\u{0}\u{1}";
    let one = "\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}";
    let query = |rest: &str| header("\u{1}\u{0}", one) + rest;
    vec![
        ("nothing", String::new()),
        ("a byte", "N".to_owned()),
        ("half a header", header("\u{1}\u{0}", "\u{0}\u{1}")),
        ("a header alone", header("\u{1}\u{0}", one)),
        ("no question", header("\u{1}\u{0}", "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}")),
        ("two questions", header("\u{1}\u{0}", "\u{0}\u{2}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}") + name + name),
        ("65535 questions", header("\u{1}\u{0}", "\u{ff}\u{ff}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}") + name),
        ("answers in a question", header("\u{1}\u{0}", "\u{0}\u{1}\u{0}\u{9}\u{0}\u{0}\u{0}\u{0}") + name),
        ("a response", header("\u{81}\u{80}", one) + name),
        ("a truncated question", header("\u{3}\u{0}", one) + name),
        ("an update", header("\u{29}\u{0}", one) + name),
        ("a notification", header("\u{21}\u{0}", one) + name),
        ("an unknown operation", header("\u{79}\u{0}", one) + name),
        ("a name that points at itself", query("\u{c0}\u{c}\u{0}\u{1}\u{0}\u{1}")),
        ("a name that points ahead", query("\u{3}api\u{c0}\u{20}\u{0}\u{1}\u{0}\u{1}")),
        ("a name that points at the header", query("\u{c0}\u{0}\u{0}\u{1}\u{0}\u{1}")),
        ("a label of a kind that is none", query("\u{41}api\u{0}\u{0}\u{1}\u{0}\u{1}")),
        ("a label longer than the message", query("\u{3f}api")),
        ("a name without end", query(&"\u{1}a".repeat(200))),
        ("a name of 300 octets", query(&format!("{}\u{0}\u{0}\u{1}\u{0}\u{1}", "\u{1}a".repeat(150)))),
        ("no type", query("\u{3}api\u{7}example\u{3}com\u{0}")),
        ("another class", query("\u{3}api\u{7}example\u{3}com\u{0}\u{0}\u{1}\u{0}\u{3}")),
        (
            "an option record that is longer than the message",
            header("\u{1}\u{0}", "\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}")
                + name
                + "\u{0}\u{0}\u{29}\u{10}\u{0}\u{0}\u{0}\u{0}\u{0}\u{ff}\u{ff}",
        ),
        (
            "an unknown version of EDNS",
            header("\u{1}\u{0}", "\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}")
                + name
                + "\u{0}\u{0}\u{29}\u{10}\u{0}\u{0}\u{7}\u{0}\u{0}\u{0}\u{0}",
        ),
    ]
}

#[test]
fn row_24_malformed_messages_are_refused_or_dropped_and_the_next_is_answered() {
    for who in everyone() {
        sealed();
        let mut steps = Vec::new();
        let all = malformed();
        for (_, raw) in &all {
            for (to, tcp) in [("198.18.0.1", false), ("198.18.0.1", true), ("fd6e:7078:6300::1", false)] {
                steps.push(json!({"do": "dns", "raw": raw, "to": to, "tcp": tcp, "wait": 150}));
            }
        }
        let bad = steps.len();
        let framed =
            |bytes: &str| json!({"do": "tcp", "to": "198.18.0.1", "port": 53, "send": [bytes], "half": true});
        // Over TCP: a length and no message, half a length, messages of 64 KiB of nothing and of many lengths of 0.
        steps.push(framed("\u{ff}\u{ff}abc"));
        steps.push(framed("\u{1}"));
        steps.push(json!({"do": "tcp", "to": "198.18.0.1", "port": 53, "half": true,
            "send": ["\u{ff}\u{ff}", {"text": "\u{0}", "repeat": 65_535}]}));
        steps.push(json!({"do": "tcp", "to": "198.18.0.1", "port": 53, "half": true,
            "send": [{"text": "\u{0}\u{0}", "repeat": 30_000}]}));
        steps.push(json!({"do": "tcp", "to": "198.18.0.1", "port": 53, "half": true,
            "send": ["GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"]}));
        let odd = steps.len();
        steps.push(json!({"do": "dns", "name": "api.example.com"}));
        steps.push(json!({"do": "dns", "name": "api.example.com", "tcp": true}));
        let seen = attack(who, &json!(steps))
            .allow("api.example.com")
            .option("--add-host", "api.example.com:127.0.0.1")
            .run();
        for at in 0..bad {
            let answer = seen.at(at);
            let what = all[at / 3].0;
            if answer["answered"] == json!(true) {
                // FORMERR, NXDOMAIN (a name that can be read but is none), NOTIMP, REFUSED, BADVERS (whose low bits
                // are 0); never an address.
                assert!([0, 1, 3, 4, 5].contains(&code(&seen, at)), "{what}: {answer} {seen:?}");
                assert_eq!(answer["records"], json!(0), "{what}: {answer}");
                assert!(answer["id"] == json!(0x4e58), "{what}: {answer}");
            }
        }
        for at in bad..odd {
            assert_ne!(seen.at(at)["error"], json!("HANG"), "{} {seen:?}", steps[at]);
        }
        for at in odd..steps.len() {
            assert_eq!(seen.at(at)["records"], json!(1), "{seen:?}");
        }
        assert_eq!(packets(), 0);
        assert_eq!(seen.code, Some(0), "{seen:?}");
    }
}
