//! What a package reaches where npxc's way out is a proxy that connects to whatever it is asked for.

use serde_json::json;

use super::harness::{Manner, Server, attack, everyone, sealed};
use super::machine::root_for;
use super::stub::{self, Record};

/// The server behind it speaks at once, in the same packet.
const OBLIGING: &str = "HTTP/1.1 200 Connection established\r\nProxy-Agent: x\r\n\r\n220 ready\r\n";

fn asked(proxy: &Server) -> Vec<String> {
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let mut asked: Vec<String> = proxy.visits().iter().map(|visit| first(visit.text())).collect();
    asked.sort();
    asked
}

#[test]
fn a_proxy_that_resolves_is_asked_for_nothing_that_is_private_or_that_nobody_vouched_for() {
    if !root_for("attacks with a resolver of the test's own") || !sealed() {
        return;
    }
    let names = ["public", "private", "mixed", "unknown"].map(|name| format!("{name}.example.com"));
    let steps: Vec<_> = names
        .iter()
        .map(|name| json!({"do": "tcp", "to": name, "port": 443, "enough": 11}))
        .chain([
            json!({"do": "tcp", "to": "10.0.0.1", "port": 443, "send": ["x"]}),
            json!({"do": "udp", "to": "192.0.2.7", "port": 443, "send": ["x"]}),
        ])
        .collect();
    for who in everyone() {
        for (option, value, unknown) in [("--network", "open", false), ("--allow", "*.example.com", true)] {
            sealed();
            let _resolver = stub::start(|name, kind| match name {
                "public.example.com" if kind == Record::A_TYPE => vec![Record::address("203.0.113.80")],
                "private.example.com" if kind == Record::A_TYPE => vec![Record::address("10.0.0.1")],
                "mixed.example.com" if kind == Record::A_TYPE => {
                    ["203.0.113.81", "169.254.169.254"].map(Record::address).to_vec()
                }
                _ => Vec::new(),
            });
            let proxy = Server::start(Manner::Answer(OBLIGING.to_owned()));
            let url = format!("http://user:secret@127.0.0.1:{}", proxy.port);
            let run = attack(who, &json!(steps)).option(option, value).allow("udp://192.0.2.7:443");
            let seen = run.env("HTTPS_PROXY", url).resolver().run();
            let mut expected = vec!["CONNECT public.example.com:443 HTTP/1.1".to_owned()];
            assert_eq!(seen.at(0)["data"], json!("220 ready\r\n"), "{seen:?}");
            for at in [1, 2] {
                assert_eq!(seen.error(at), "ECONNREFUSED", "{seen:?}");
                let to = format!("{}:443", names[at]);
                let hint = format!("--allow-private {to}");
                seen.assert_denied(&to, "private-address", Some(&hint));
            }
            if unknown {
                assert_eq!(seen.at(3)["data"], json!("220 ready\r\n"), "{seen:?}");
                expected.push("CONNECT unknown.example.com:443 HTTP/1.1".to_owned());
            } else {
                assert_eq!(seen.error(3), "ECONNREFUSED", "{seen:?}");
                let to = "unknown.example.com:443";
                seen.assert_denied(to, "unknown-behind-proxy", Some(&format!("--allow {to}")));
            }
            assert_eq!(seen.error(4), "ECONNREFUSED");
            seen.assert_denied("192.0.2.7:443", "not-proxied", None);
            assert!(!format!("{seen:?}").contains("secret"), "{seen:?}");
            assert_eq!(asked(&proxy), expected);
        }
    }
}
