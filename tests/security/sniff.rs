//! What a guest says on a flow that is allowed: other server names, other hosts, ambiguous requests, hellos in
//! pieces (rows 4, 6-10); over IPv4 and over IPv6 (row 29).

use npxc::audit::Event;
use serde_json::{Value, json};

use super::harness::{Attack, Manner, Seen, Server, Visit, Who, attack, everyone, page, sealed};

const NAME: &str = "good.example.com";
const OTHER: &str = "evil.example.com";

/// The family that the guest's packets are of, and with the test's own network npxc's, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    V4,
    V6,
}

/// Everyone, over both families.
fn ways() -> impl Iterator<Item = (Who, Over)> {
    everyone().into_iter().flat_map(|who| [(who, Over::V4), (who, Over::V6)])
}

impl Over {
    fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// One connection to the allowed name for each of these.
    fn say(self, port: u16, all: &[Value]) -> Value {
        let tcp = |said: &Value| {
            let pieces = if said.is_array() { said.clone() } else { json!([said]) };
            let family = self.number();
            json!({"do": "tcp", "to": NAME, "family": family, "port": port, "send": pieces, "half": true})
        };
        all.iter().map(tcp).collect()
    }

    fn pinned(self, run: Attack, server: &Server) -> Attack {
        let loopback = if self == Self::V6 && server.everywhere { "::1" } else { "127.0.0.1" };
        let run = run.pinned(NAME, loopback, server.port);
        if self == Self::V6 { run.ipv6() } else { run }
    }

    /// Whatever was judged came over this family.
    #[track_caller]
    fn assert_used(self, seen: &Seen) {
        let mut judged = 0;
        for event in &seen.events {
            if let Event::FlowOpen { source, .. } | Event::FlowDeny { source, .. } = event {
                assert_eq!(source.is_ipv6(), self == Self::V6, "{seen:?}");
                judged += 1;
            }
        }
        assert!(judged > 0, "{seen:?}");
    }
}

fn hello(name: &str) -> Value {
    json!({"hello": {"servername": name}})
}

/// Every connection was cut, for one of these reasons, and nothing of it was forwarded.
#[track_caller]
fn assert_all_denied(over: Over, seen: &Seen, server: &Server, said: &[Value], codes: &[&str]) {
    over.assert_used(seen);
    let denied = seen.denied();
    for (at, said) in said.iter().enumerate() {
        let answer = seen.at(at);
        let refused =
            answer["data"].as_str().is_some_and(|data| data.is_empty() || data.starts_with("HTTP/1.1 403 "));
        assert!(refused && answer["error"] != "HANG", "{said} saw {answer}: {seen:?}");
    }
    assert_eq!(denied.len(), said.len(), "{seen:?}");
    for (to, code, hint) in denied {
        assert!(codes.contains(&code.as_str()), "{code}: {seen:?}");
        assert_eq!((to, hint), (format!("{NAME}:{}", server.port), None));
    }
    let visits = server.visits();
    // Empty lines before a request (RFC 9112, section 2.2) are nobody's words.
    let heard: Vec<String> = visits.iter().map(Visit::text).filter(|text| !text.trim().is_empty()).collect();
    assert!(heard.is_empty(), "{heard:?}");
}

#[test]
fn row_04_an_allowed_names_address_is_good_for_that_name_only() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(Manner::HangUp);
        let said =
            [OTHER, "good.example.com.evil.example.com", "xgood.example.com", "example.com", "localhost"];
        let said = said.map(hello);
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        assert_all_denied(over, &seen, &server, &said, &["server-name-mismatch"]);
    }
}

#[test]
fn row_04_real_addresses_do_not_confuse_names_that_share_one() {
    for who in everyone() {
        if !sealed() {
            return;
        }
        let server = Server::start(Manner::HangUp);
        let port = server.port;
        let steps = json!([
            // Asked for, and so pinned to the same address, but not allowed at this port.
            {"do": "lookup", "name": NAME, "family": 4},
            {"do": "lookup", "name": OTHER, "family": 4},
            {"do": "tcp", "to": "203.0.113.20", "port": port, "send": [hello(OTHER)]},
            {"do": "tcp", "to": "203.0.113.20", "port": port, "send": [hello("third.example.com")]},
            {"do": "tcp", "to": "203.0.113.20", "port": port, "send": [hello(NAME)]},
        ]);
        let seen = attack(who, &steps)
            .option("--addresses", "real")
            .allow(&format!("{NAME}:{port},{OTHER}:1"))
            .option("--add-host", format!("{NAME}:203.0.113.20"))
            .option("--add-host", format!("{OTHER}:203.0.113.20"))
            .run();
        assert_eq!(seen.at(0)["addresses"], json!(["203.0.113.20"]), "{seen:?}");
        let denied = seen.denied();
        assert_eq!(denied.len(), 2, "{seen:?}");
        assert!(denied.iter().all(|(_, code, _)| code == "server-name-mismatch"), "{seen:?}");
        let visits = server.visits();
        assert_eq!(visits.iter().filter(|visit| !visit.said.is_empty()).count(), 1, "{visits:?}");
    }
}

#[test]
fn row_06_every_request_of_a_connection_is_looked_at() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(page("fine"));
        let good = format!("GET /1 HTTP/1.1\r\nHost: {NAME}:{}\r\n\r\n", server.port);
        let evil = format!("GET /2 HTTP/1.1\r\nHost: {OTHER}\r\n\r\n");
        let posted = format!("POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 4\r\n\r\nbody");
        let chunked = format!(
            "POST / HTTP/1.1\r\nHost: {NAME}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        );
        let upgrade =
            format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        // In a segment of its own, behind the first in the same one, behind bodies, behind an upgrade refused.
        let said = [
            json!([good, evil]),
            json!([format!("{good}{evil}")]),
            json!([good, good, good, evil]),
            json!([posted, evil]),
            json!([format!("{posted}{evil}")]),
            json!([chunked, evil]),
            json!([format!("{chunked}{evil}")]),
            json!([upgrade, evil]),
            json!([{"text": format!("{good}{evil}"), "every": 7}]),
        ];
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        over.assert_used(&seen);
        assert_eq!(seen.denied().len(), said.len(), "{seen:?}");
        assert!(seen.denied().iter().all(|(_, code, _)| code == "host-mismatch"), "{seen:?}");
        let visits = server.visits();
        assert_eq!(visits.len(), said.len());
        for visit in visits {
            assert!(!visit.text().contains("evil") && !visit.text().contains("/2"), "{visit:?}");
        }
    }
}

#[test]
fn row_07_a_request_that_says_two_things_is_not_forwarded() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(page("secret"));
        let with = |headers: &str| json!(format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n"));
        let said = [
            with(&format!("Host: {NAME}\r\nHost: {OTHER}")),
            with(&format!("Host: {OTHER}\r\nHost: {NAME}")),
            with(&format!("Host: {NAME}\r\nhOST: {OTHER}")),
            json!(format!("GET http://{OTHER}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n")),
            json!(format!("GET http://{NAME}/ HTTP/1.1\r\nHost: {OTHER}\r\n\r\n")),
            json!(format!("GET http://{NAME}@{OTHER}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n")),
            json!(format!("CONNECT {OTHER}:443 HTTP/1.1\r\nHost: {NAME}\r\n\r\n")),
            // Folded, with a space before the colon, with line ends of another kind, with bytes that end strings.
            with(&format!("Host:\r\n {OTHER}")),
            with(&format!("Host: {NAME}\r\n {OTHER}")),
            with(&format!("X: y\r\n Host: {OTHER}\r\nHost: {OTHER}")),
            with(&format!("Host : {OTHER}")),
            with(&format!(" Host: {OTHER}\r\nHost: {NAME}")),
            with(&format!("Host: {NAME}\0{OTHER}")),
            with(&format!("Host: {NAME}, {OTHER}")),
            with(&format!("Host: {NAME} {OTHER}")),
            with(&format!("Host: {OTHER}#{NAME}")),
            with(&format!("Host: {NAME}\rHost: {OTHER}")),
            json!(format!("GET / HTTP/1.1\nHost: {OTHER}\n\n")),
            json!(format!("GET / HTTP/1.0\r\nHost: {OTHER}\r\n\r\n")),
            json!(format!("\r\nGET / HTTP/1.1\r\nHost: {OTHER}\r\n\r\n")),
            // Two readings of where the body ends hide a second request.
            with(&format!("Host: {NAME}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked")),
            with(&format!("Host: {NAME}\r\nContent-Length: 5\r\nContent-Length: 6")),
            with(&format!("Host: {NAME}\r\nContent-Length: +5")),
            with(&format!("Host: {NAME}\r\nTransfer-Encoding: xchunked")),
            with(&format!("Host: {NAME}\r\nTransfer-Encoding: chunked, identity")),
        ];
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        assert_all_denied(over, &seen, &server, &said, &["host-mismatch", "malformed-http"]);
    }
}

#[test]
fn row_08_an_address_as_server_name_is_denied_and_none_goes_by_the_pin() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(Manner::HangUp);
        // A name of the same length, so that only the bytes of the name change.
        let literal = |text: &str| {
            let name = format!("{}.a", "x".repeat(text.len() - 2));
            json!({"hello": {"servername": name}, "replace": [name, text]})
        };
        let said = ["192.0.2.123", "127.0.0.1", "2130706433", "0x7f.0.0.1", "2001:db8::7", "[2001:db8::7]"];
        let said = said.map(literal);
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        let codes = ["server-name-is-address", "server-name-mismatch", "malformed-tls"];
        assert_all_denied(over, &seen, &server, &said, &codes);

        // Without any name, and under an address rule with an odd one: the destination is fixed all the same.
        let server = Server::start(Manner::HangUp);
        let none = json!({"hello": {}});
        let seen = over.pinned(attack(who, &over.say(server.port, &[none])), &server).run();
        assert!(seen.denied().is_empty(), "{seen:?}");
        let visits = server.visits();
        assert!(visits.len() == 1 && visits[0].said[0] == 22, "{visits:?}");
    }
}

#[test]
fn row_08_an_address_rule_covers_that_address_whatever_name_is_claimed() {
    for who in everyone() {
        if !sealed() {
            return;
        }
        let server = Server::start(Manner::HangUp);
        let port = server.port;
        let said = |to: &str| json!({"do": "tcp", "to": to, "port": port, "send": [hello(OTHER)]});
        let steps =
            json!([said("203.0.113.30"), said("2001:db8::30"), said("203.0.113.31"), said("2001:db8::31")]);
        let seen = attack(who, &steps).allow(&format!("203.0.113.30:{port},[2001:db8::30]:{port}")).run();
        assert_eq!(seen.denied().len(), 2, "{seen:?}");
        let mut at: Vec<String> = server.visits().iter().map(|visit| visit.at.ip().to_string()).collect();
        at.sort();
        assert_eq!(at, ["2001:db8::30", "203.0.113.30"]);
        assert!(seen.log.contains(&format!("\"sniffed\":\"{OTHER}\"")), "the claim is logged: {}", seen.log);
    }
}

#[test]
fn row_09_an_encrypted_hello_is_judged_by_its_outer_name() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(Manner::HangUp);
        // encrypted_client_hello (RFC 9849).
        let outer = |name: &str| json!({"hello": {"servername": name}, "extension": 0xfe0d});
        let said = [outer("cloudflare-ech.example"), outer(OTHER)];
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        assert_all_denied(over, &seen, &server, &said, &["server-name-mismatch"]);
    }
}

#[test]
fn row_10_a_hello_in_any_pieces_is_put_together_and_judged() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(Manner::HangUp);
        let cut = |name: &str, more: Value| {
            let mut all = hello(name);
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let cuts = [
            json!({"every": 1}),
            json!({"every": 100}),
            json!({"records": 1}),
            json!({"records": 20, "every": 3}),
            json!({"records": 64}),
        ];
        let said: Vec<Value> = cuts.iter().map(|more| cut(OTHER, more.clone())).collect();
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        assert_all_denied(over, &seen, &server, &said, &["server-name-mismatch", "malformed-tls"]);

        let server = Server::start(Manner::Greet("done"));
        let said: Vec<Value> = cuts.iter().skip(1).map(|more| cut(NAME, more.clone())).collect();
        let steps: Vec<Value> = over
            .say(server.port, &said)
            .as_array()
            .unwrap()
            .iter()
            .map(|step| {
                let mut step = step.clone();
                step["enough"] = json!(4);
                step
            })
            .collect();
        let seen = over.pinned(attack(who, &json!(steps)), &server).run();
        assert_eq!(seen.opened().len(), said.len(), "{seen:?}");
        assert!(seen.denied().len() <= 1, "records of one byte may be refused, no others: {seen:?}");
    }
}

#[test]
fn row_10_a_hello_that_is_no_hello_or_has_no_end_is_refused() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(Manner::HangUp);
        let long = |start: &str, again: &str, times: usize| json!({"parts": [{"text": start}, {"text": again, "repeat": times}]});
        let said = [
            // A handshake message of 16 MiB, and of 40 KiB in records that never finish it.
            long("\u{16}\u{3}\u{1}\u{40}\u{0}\u{1}\u{ff}\u{ff}\u{ff}\u{3}\u{3}", "A", 20_000),
            long(
                "\u{16}\u{3}\u{1}\u{0}\u{4}\u{1}\u{0}\u{a0}\u{0}",
                "\u{16}\u{3}\u{1}\u{0}\u{1}\u{0}",
                41_000,
            ),
            // A record of no bytes, again and again.
            long("", "\u{16}\u{3}\u{1}\u{0}\u{0}", 20_000),
            // A record longer than there may be.
            json!("\u{16}\u{3}\u{1}\u{ff}\u{ff}\u{1}\u{0}\u{0}\u{5}AAAAAAAAAA"),
            // Lengths inside that do not fit.
            json!("\u{16}\u{3}\u{1}\u{0}\u{9}\u{1}\u{0}\u{0}\u{5}\u{3}\u{3}AAA"),
            // A request line and a header without end.
            long("GET /", "a", 70_000),
            long("GET / HTTP/1.1\r\nX: ", "a", 70_000),
            json!({"parts": [{"text": "GET / HTTP/1.1\r\n"}, {"text": "X: y\r\n", "repeat": 300}, "\r\n"]}),
        ];
        let seen = over.pinned(attack(who, &over.say(server.port, &said)), &server).run();
        let codes = ["malformed-tls", "sniff-too-large", "malformed-http", "host-mismatch"];
        assert_all_denied(over, &seen, &server, &said, &codes);
    }
}

#[test]
fn row_10_a_hello_that_stops_halfway_stalls_nobody_else() {
    for (who, over) in ways() {
        sealed();
        let server = Server::start(page("alive"));
        let url = format!("http://{NAME}:{}/", server.port);
        let halves =
            ["\u{16}\u{3}\u{1}\u{1}\u{0}\u{1}\u{0}\u{0}\u{fc}\u{3}\u{3}", "GET / HTTP/1.1\r\nHost: goo"];
        let steps: Vec<Value> = halves
            .iter()
            .map(|half| {
                json!({"do": "holding", "times": 100, "to": NAME, "family": over.number(), "port": server.port, "send": half,
                "step": {"do": "fetch", "url": url}})
            })
            .collect();
        let seen = over.pinned(attack(who, &json!(steps)), &server).run();
        for at in 0..halves.len() {
            assert_eq!(seen.at(at)["outcomes"], json!({"ok": 100}), "{seen:?}");
            assert_eq!(seen.at(at)["inner"]["body"], json!("alive"), "{seen:?}");
        }
        let visits = server.visits();
        assert_eq!(visits.iter().filter(|visit| visit.said.is_empty()).count(), 200);
    }
}
