//! What a guest can reach: addresses it was not given, names that lead elsewhere, redirects (rows 1-3, 11, 17-20,
//! 25, 26, 38).

use serde_json::json;

use super::harness::{Datagrams, Manner, Server, attack, everyone, packets, page, sealed};
use super::machine::root_for;
use super::stub::{self, Record};

/// Addresses of nobody: for documentation (RFC 5737, RFC 3849), and npxc's own pool where nothing was handed out.
const NOBODY: [&str; 5] = ["192.0.2.7", "198.51.100.7", "203.0.113.7", "2001:db8::7", "198.18.77.7"];

#[test]
fn row_01_an_allowed_server_name_does_not_open_another_address() {
    for who in everyone() {
        let own = sealed();
        let server = Server::start(Manner::HangUp);
        let steps: Vec<_> = NOBODY
            .iter()
            .map(|to| json!({"do": "tls", "to": to, "port": server.port, "servername": "api.example.com"}))
            .collect();
        let seen = attack(who, &json!(steps)).allow(&format!("api.example.com:{}", server.port)).ipv6().run();
        for (at, address) in NOBODY.iter().enumerate() {
            assert_eq!(seen.error(at), "ECONNREFUSED", "{seen:?}");
            let to = std::net::SocketAddr::new(address.parse().unwrap(), server.port).to_string();
            let code = if address.starts_with("198.18.") { "private-address" } else { "unknown-address" };
            seen.assert_denied(&to, code, Some(&format!("--allow {to}")));
        }
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0, "{who:?}: nothing was sent, own network: {own}");
        assert!(server.visits().is_empty());
    }
}

#[test]
fn row_02_an_allowed_host_header_does_not_open_another_address() {
    for who in everyone() {
        let own = sealed();
        let server = Server::start(page("secret"));
        let request = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
        let steps: Vec<_> = NOBODY
            .iter()
            .map(|to| json!({"do": "tcp", "to": to, "port": server.port, "send": [request]}))
            .chain([json!({"do": "fetch", "url": format!("http://192.0.2.7:{}/", server.port),
                "headers": {"host": "api.example.com"}})])
            .collect();
        let seen = attack(who, &json!(steps)).allow(&format!("api.example.com:{}", server.port)).ipv6().run();
        for at in 0..=NOBODY.len() {
            assert_eq!(seen.error(at), "ECONNREFUSED", "{seen:?}");
        }
        assert_eq!(seen.denied().len(), NOBODY.len() + 1, "{seen:?}");
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0, "{who:?}: nothing was sent, own network: {own}");
        assert!(server.visits().is_empty());
    }
}

#[test]
fn row_03_an_address_that_npxc_never_handed_out_is_reset_before_it_answers() {
    for who in everyone() {
        sealed();
        // Every kind of port: TLS, HTTP, mail, a database, a container engine, the very last one.
        let steps: Vec<_> = [443, 80, 25, 5432, 2375, 65_535]
            .into_iter()
            .flat_map(|port| NOBODY.map(|to| json!({"do": "tcp", "to": to, "port": port, "send": ["x"]})))
            .collect();
        let seen = attack(who, &json!(steps)).allow("api.example.com").run();
        for at in 0..steps.len() {
            assert_eq!(seen.error(at), "ECONNREFUSED", "{:?} {seen:?}", steps[at]);
            assert_eq!(seen.at(at)["connected"], json!(false));
        }
        assert_eq!(seen.denied().len(), steps.len());
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0);
    }
}

#[test]
fn row_11_a_server_that_speaks_first_is_heard_on_any_port() {
    for who in everyone() {
        if !sealed() {
            return;
        }
        let ports = [25, 443, 3306, 80];
        let _servers = ports.map(|port| Server::at(port, Manner::Greet("220 ready\r\n")));
        let mut steps = Vec::new();
        for port in ports {
            steps.push(json!({"do": "tcp", "to": "mail.example.com", "port": port, "enough": 11}));
            steps.push(json!({"do": "tcp", "to": "203.0.113.9", "port": port, "enough": 11}));
            steps.push(json!({"do": "tcp", "to": "2001:db8::9", "port": port, "enough": 11}));
        }
        let seen = attack(who, &json!(steps))
            .option("--allow-private", "mail.example.com")
            .option("--add-host", "mail.example.com:127.0.0.1")
            .allow("203.0.113.9,[2001:db8::9]")
            .run();
        for at in 0..steps.len() {
            assert_eq!(seen.at(at)["data"], json!("220 ready\r\n"), "{:?} {seen:?}", steps[at]);
        }
        assert_eq!(seen.opened().len(), steps.len());
    }
}

/// Every address of the private floor, in every form in which a name can resolve to it.
const PRIVATE: [&str; 22] = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.251",
    "255.255.255.255",
    "::",
    "::1",
    "fd00::1",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    // IPv4 inside IPv6: mapped, 6to4, NAT64.
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "2002:a00:1::1",
    "64:ff9b::a00:1",
];

#[test]
fn row_17_and_18_a_name_that_resolves_to_a_private_address_is_not_dialled() {
    for who in everyone() {
        sealed();
        let server = Server::start(Manner::HangUp);
        let name = |at: usize| format!("n{at}.example.com");
        let steps: Vec<_> = (0..PRIVATE.len())
            .map(|at| json!({"do": "tcp", "to": name(at), "port": server.port, "send": ["hello"]}))
            .collect();
        let mut run = attack(who, &json!(steps)).ipv6();
        for (at, address) in PRIVATE.iter().enumerate() {
            let rule = format!("{}:{}", name(at), server.port);
            run = run.allow(&rule).option("--add-host", format!("{}:{address}", name(at)));
        }
        let seen = run.run();
        for (at, address) in PRIVATE.iter().enumerate() {
            assert_eq!(seen.error(at), "ECONNREFUSED", "{address}: {seen:?}");
            let to = format!("{}:{}", name(at), server.port);
            // Nobody is talked into addresses that are nobody's.
            let denied = seen.denied();
            let found =
                denied.iter().find(|(whom, ..)| *whom == to).unwrap_or_else(|| panic!("{address} {seen:?}"));
            assert_eq!(found.1, "private-address", "{address}");
            if let Some(hint) = &found.2 {
                assert_eq!(*hint, format!("--allow-private {to}"), "{address}");
            }
        }
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0, "nothing was dialled");
        assert!(server.visits().is_empty());
    }
}

#[test]
fn row_17_the_hint_followed_to_the_letter_lets_it_through() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("inside"));
        let url = format!("http://intranet.example.com:{}/", server.port);
        let steps = json!([{"do": "fetch", "url": url}]);
        let rule = format!("intranet.example.com:{}", server.port);
        let run = || attack(who, &steps).option("--add-host", "intranet.example.com:127.0.0.1");
        let seen = run().allow(&rule).run();
        let (_, code, hint) = seen.denied().pop().unwrap();
        assert_eq!(code, "private-address");
        let hint = hint.unwrap();
        let (option, value) = hint.split_once(' ').unwrap();
        let seen = run().option(option, value).run();
        assert_eq!(seen.at(0)["body"], json!("inside"), "{seen:?}");
    }
}

#[test]
fn row_17_the_loopback_of_the_host_has_one_name_and_that_needs_a_rule() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("host"));
        let (port, url) = (server.port, format!("http://host.npxc.internal:{}/", server.port));
        let steps = json!([
            {"do": "fetch", "url": url},
            // The gateway is npxc itself and has no services, the guest's loopback is the guest's.
            {"do": "tcp", "to": "198.18.0.1", "port": port},
            {"do": "tcp", "to": "fd6e:7078:6300::1", "port": port},
            {"do": "tcp", "to": "127.0.0.1", "port": port},
            {"do": "tcp", "to": "::1", "port": port},
            {"do": "tcp", "to": "0.0.0.0", "port": port},
            {"do": "tcp", "to": "::ffff:127.0.0.1", "port": port},
        ]);
        let seen = attack(who, &steps).allow("example.com").run();
        for at in 0..7 {
            assert!(
                seen.error(at) == "ECONNREFUSED" || at == 0 && seen.error(at) == "ENOTFOUND",
                "{at} {seen:?}"
            );
        }
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0);
        let hint = seen.refused().pop().unwrap().3.unwrap();
        assert_eq!(hint, "--allow host.npxc.internal");
        let seen = attack(who, &steps).allow(&format!("host.npxc.internal:{port}")).run();
        assert_eq!(seen.at(0)["body"], json!("host"), "{seen:?}");
        assert_eq!(seen.opened().len(), 1, "{seen:?}");
        assert_eq!(server.visits().len(), 1);
    }
}

#[test]
fn row_19_the_address_that_was_checked_is_the_one_that_is_dialled() {
    if !root_for("attacks with a resolver of the test's own") || !sealed() {
        return;
    }
    for who in everyone() {
        sealed();
        // Public first, private ever after: what rebinding is.
        let mut asked = 0;
        let resolver = stub::start(move |name, kind| {
            if name != "rebind.example.com" || kind != Record::A_TYPE {
                return Vec::new();
            }
            asked += 1;
            let address = if asked == 1 { "203.0.113.80" } else { "127.0.0.1" };
            vec![Record::address(address)]
        });
        let server = Server::start(page("here"));
        let url = format!("http://rebind.example.com:{}/", server.port);
        let steps =
            json!([{"do": "fetch", "url": url}, {"do": "fetch", "url": url}, {"do": "fetch", "url": url}]);
        let seen = attack(who, &steps).allow(&format!("rebind.example.com:{}", server.port)).resolver().run();
        assert!(!resolver.received.lock().unwrap().is_empty());
        let dialled: Vec<String> =
            seen.opened().iter().map(|(dialled, _)| dialled.ip().to_string()).collect();
        assert!(dialled.iter().all(|address| address == "203.0.113.80"), "{seen:?}");
        assert!(server.visits().iter().all(|visit| visit.at.ip().to_string() == "203.0.113.80"));
        for (_, code, _) in seen.denied() {
            assert_eq!(code, "private-address");
        }
        assert_eq!(seen.denied().len() + seen.opened().len(), 3, "{seen:?}");
    }
}

#[test]
fn row_20_private_answers_are_dropped_wherever_they_hide() {
    if !root_for("attacks with a resolver of the test's own") || !sealed() {
        return;
    }
    for who in everyone() {
        sealed();
        let _resolver = stub::start(|name, kind| match name {
            "mixed.example.com" if kind == Record::A_TYPE => {
                ["127.0.0.1", "10.0.0.1", "203.0.113.81"].map(Record::address).to_vec()
            }
            "mixed.example.com" => ["::1", "fd00::1", "2001:db8::81"].map(Record::address).to_vec(),
            // An allowed name that is an alias of an internal one.
            "alias.example.com" | "db.internal.example" if kind == Record::A_TYPE => {
                vec![
                    Record::alias("db.internal.example"),
                    Record::address("10.0.0.5").of("db.internal.example"),
                ]
            }
            _ => Vec::new(),
        });
        let server = Server::start(page("public"));
        let port = server.port;
        let steps = json!([
            {"do": "fetch", "url": format!("http://mixed.example.com:{port}/")},
            {"do": "fetch", "url": format!("http://alias.example.com:{port}/")},
            {"do": "lookup", "name": "db.internal.example"},
        ]);
        let seen = attack(who, &steps).allow("mixed.example.com,alias.example.com").resolver().ipv6().run();
        assert_eq!(seen.at(0)["body"], json!("public"), "{seen:?}");
        assert_eq!(seen.error(1), "ECONNREFUSED", "{seen:?}");
        assert_eq!(seen.error(2), "ENOTFOUND");
        seen.assert_denied(
            &format!("alias.example.com:{port}"),
            "private-address",
            Some(&format!("--allow-private alias.example.com:{port}")),
        );
        for visit in server.visits() {
            assert!(
                ["203.0.113.81", "2001:db8::81"].contains(&visit.at.ip().to_string().as_str()),
                "{visit:?}"
            );
        }
    }
}

#[test]
fn row_25_an_allowed_resolver_widens_nothing() {
    for who in everyone() {
        sealed();
        // It answers whatever it is asked, with an address that is somebody else's.
        let server = Server::start(page(r#"{"Answer":[{"type":1,"data":"203.0.113.66"}]}"#));
        let port = server.port;
        let code = format!(
            "const answer = await one({{do: 'fetch', url: 'http://doh.example.com:{port}/dns-query?name=evil.example'}});
             const address = JSON.parse(answer.body).Answer[0].data;
             return one({{do: 'tcp', to: address, port: {port}, send: ['GET / HTTP/1.1\\r\\nHost: evil.example\\r\\n\\r\\n']}});"
        );
        let steps = json!([
            {"do": "run", "code": code},
            {"do": "lookup", "name": "evil.example"},
            {"do": "tcp", "to": "doh.example.com", "port": port, "send": ["GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"]},
        ]);
        let seen = attack(who, &steps).pinned("doh.example.com", "127.0.0.1", port).run();
        assert_eq!(seen.error(0), "ECONNREFUSED", "{seen:?}");
        assert_eq!(seen.error(1), "ENOTFOUND");
        assert!(seen.at(2)["data"].as_str().unwrap().starts_with("HTTP/1.1 403 "), "{seen:?}");
        let to = format!("203.0.113.66:{port}");
        seen.assert_denied(&to, "unknown-address", Some(&format!("--allow {to}")));
        seen.assert_denied(&format!("doh.example.com:{port}"), "host-mismatch", None);
    }
}

#[test]
fn row_26_quic_and_other_datagrams_need_a_rule_of_their_own() {
    for who in everyone() {
        sealed();
        let server = Datagrams::at(0, |said| Some(said.to_vec()));
        let port = server.port;
        // The start of a QUIC version 1 Initial (RFC 9000, section 17.2.2), padded to its least size.
        let initial = json!({"text": "\u{c3}\u{0}\u{0}\u{0}\u{1}\u{8}npxctest\u{0}\u{0}", "repeat": 70});
        let to = |to: &str| json!({"do": "udp", "to": to, "port": port, "send": [initial]});
        let steps = json!([
            {"do": "lookup", "name": "quic.example.com"},
            to("192.0.2.7"),
            to("2001:db8::7"),
            {"do": "udp", "to": "192.0.2.7", "port": 443, "send": [initial]},
            {"do": "run", "code": format!(
                "const {{addresses}} = await one({{do: 'lookup', name: 'quic.example.com'}});
                 return one({{do: 'udp', to: addresses[0], port: {port}, send: ['hello']}});")},
        ]);
        let run = || attack(who, &steps).option("--add-host", "quic.example.com:127.0.0.1");
        let seen = run().option("--allow-private", format!("quic.example.com:{port}")).run();
        for at in 1..5 {
            // ICMP says that it is prohibited; Linux makes different errors of it in the two families.
            assert!(["EHOSTUNREACH", "EACCES", "ECONNREFUSED"].contains(&seen.error(at)), "{at} {seen:?}");
        }
        let hint = format!("--allow udp://quic.example.com:{port}");
        let (_, code, said) = seen.denied().into_iter().find(|(to, ..)| to.starts_with("quic.")).unwrap();
        assert!(code == "wrong-port" || code == "not-allowed", "{seen:?}");
        assert_eq!(said, Some(hint));
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0);
        assert!(server.received.lock().unwrap().is_empty());
        let seen = run().option("--allow-private", format!("udp://quic.example.com:{port}")).run();
        assert_eq!(seen.at(4)["data"], json!("hello"), "{seen:?}");
        assert_eq!(seen.opened().len(), 1, "the others are still denied: {seen:?}");
    }
}

#[test]
fn row_38_a_redirect_is_a_flow_of_its_own() {
    for who in everyone() {
        sealed();
        let target = Server::start(page("secret"));
        let port = target.port;
        let location = |to: &str| {
            Manner::Answer(format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{to}:{port}/\r\nContent-Length: 0\r\n\r\n"
            ))
        };
        let names = ["evil.example", "192.0.2.9", "[2001:db8::9]", "host.npxc.internal", "198.18.0.1"];
        let servers = names.map(|to| Server::start(location(to)));
        let steps: Vec<_> = servers
            .iter()
            .map(|server| json!({"do": "fetch", "url": format!("http://good.example.com:{}/", server.port)}))
            .collect();
        let mut run = attack(who, &json!(steps)).option("--add-host", "good.example.com:127.0.0.1");
        for server in &servers {
            run = run.option("--allow-private", format!("good.example.com:{}", server.port));
        }
        let seen = run.run();
        for at in 0..names.len() {
            assert!(["ENOTFOUND", "ECONNREFUSED"].contains(&seen.error(at)), "{seen:?}");
        }
        assert_eq!(seen.opened().len(), names.len(), "only the first hop: {seen:?}");
        assert_eq!(seen.denied().len(), 3, "{seen:?}");
        assert_eq!(seen.refused().iter().filter(|(_, kind, ..)| kind == "A").count(), 2, "{seen:?}");
        assert!(target.visits().is_empty());
    }
}
