//! Too much of everything: connections, half-open ones, data that nobody reads, questions (row 36). Memory stays
//! bounded, every denial is accounted for, and other flows go on.

use npxc::audit::Event;
use serde_json::{Value, json};

use super::harness::{Datagrams, Manner, Server, attack, everyone, packets, page, sealed};
use super::machine::{full, root_for};

/// Memory of npxc, MiB, that nothing in here may exceed: its own, and the 401 MiB that its buffers may have at the
/// very most.
const MOST: u64 = 480;

/// So many connections that nobody allows.
fn flood(to: &str, times: u64) -> Value {
    json!({"do": "flood", "times": times, "together": 100, "patience": 400_000,
           "step": {"do": "tcp", "to": to, "port": 443}})
}

#[test]
fn row_36_a_flood_of_denied_connections_is_denied_and_counted_to_the_last_one() {
    // 100 000 of them, or a taste.
    let times: u64 = if full() { 50_000 } else { 6000 };
    for who in everyone() {
        sealed();
        let flood = |to: &str| flood(to, times);
        let seen =
            attack(who, &json!([flood("192.0.2.7"), flood("2001:db8::7")])).allow("api.example.com").run();
        for at in 0..2 {
            assert_eq!(seen.at(at), &json!({"ECONNREFUSED": times}), "{seen:?}");
        }
        assert_eq!(seen.counted(), (2 * times, 2 * times), "{seen:?}");
        assert!(seen.log.len() < 1 << 20, "the log is no flood: {} bytes", seen.log.len());
        assert!(seen.peak < MOST, "{seen:?}");
        assert_eq!(packets(), 0);
    }
}

#[test]
fn row_36_other_flows_go_on_beside_a_flood_of_denied_ones() {
    const TIMES: u64 = 6000;
    for who in everyone() {
        sealed();
        let server = Server::start(page("alive"));
        let fetch = json!({"do": "fetch", "url": format!("http://good.example.com:{}/", server.port)});
        let others = json!({"do": "flood", "times": 200, "together": 2, "patience": 80_000, "step": fetch});
        let both = json!({"do": "all", "steps": [flood("192.0.2.7", TIMES), others], "patience": 80_000});
        let seen = attack(who, &json!([both])).pinned("good.example.com", "127.0.0.1", server.port).run();
        assert_eq!(seen.at(0), &json!([{"ECONNREFUSED": TIMES}, {"200": 200}]), "{seen:?}");
        assert_eq!(seen.counted(), (TIMES, TIMES), "{seen:?}");
    }
}

#[test]
fn row_36_a_flood_of_questions_is_answered_and_counted() {
    for who in everyone() {
        sealed();
        const TIMES: u64 = 4000;
        let flood = |tcp: bool, times: u64| {
            json!({"do": "flood", "times": times, "together": 50, "vary": "name",
            "patience": 80_000, "step": {"do": "dns", "name": "n#.evil.example", "tcp": tcp, "wait": 15_000}})
        };
        let steps = json!([flood(false, TIMES), flood(true, 500), {"do": "dns", "name": "api.example.com"}]);
        let seen = attack(who, &steps)
            .option("--add-host", "api.example.com:127.0.0.1")
            .allow("api.example.com")
            .run();
        assert_eq!(seen.at(2)["records"], json!(1), "the next one is answered: {seen:?}");
        assert_eq!(seen.counted(), (TIMES + 500, TIMES + 500), "{seen:?}");
        assert!(seen.peak < MOST, "{seen:?}");
        assert_eq!(packets(), 0);
    }
}

#[test]
fn row_36_thousands_of_flows_are_carried_up_to_a_bound_and_the_rest_is_told() {
    for who in everyone() {
        sealed();
        let server = Server::start(Manner::Listen);
        let good = Server::start(page("alive"));
        let hold = |times: u64| {
            json!({"do": "holding", "times": times, "to": "many.example.com", "port": server.port,
            "send": "half a word", "patience": 60_000,
            "step": {"do": "fetch", "url": format!("http://good.example.com:{}/", good.port)}})
        };
        let steps = json!([hold(2500), hold(5000), hold(10)]);
        let seen = attack(who, &steps)
            .pinned("many.example.com", "127.0.0.1", server.port)
            .pinned("good.example.com", "127.0.0.1", good.port)
            .run();
        assert_eq!(seen.at(0)["outcomes"], json!({"ok": 2500}), "{seen:?}");
        assert_eq!(seen.at(0)["inner"]["body"], json!("alive"), "others go on: {seen:?}");
        let outcomes = &seen.at(1)["outcomes"];
        assert_eq!(
            outcomes["ok"].as_u64().unwrap() + outcomes["ECONNREFUSED"].as_u64().unwrap(),
            5000,
            "{seen:?}"
        );
        assert!(outcomes["ECONNREFUSED"].as_u64().unwrap() > 0, "there is a bound: {seen:?}");
        let (lines, claimed) = seen.counted();
        assert!(lines == claimed && claimed >= outcomes["ECONNREFUSED"].as_u64().unwrap(), "{seen:?}");
        assert!(seen.log.contains("\"code\":\"too-many-flows\""), "{seen:?}");
        // All the places are free again.
        assert_eq!(seen.at(2)["outcomes"], json!({"ok": 10}), "{seen:?}");
        assert_eq!(seen.at(2)["inner"]["body"], json!("alive"), "{seen:?}");
        assert!(seen.peak < MOST, "{seen:?}");
    }
}

#[test]
fn row_36_connections_that_nobody_answers_leave_room_for_others() {
    for who in everyone() {
        sealed();
        // A full backlog: the kernel drops what comes. Nobody ever answers.
        let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        hole.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        hole.listen(0).unwrap();
        let port = hole.local_addr().unwrap().as_socket().unwrap().port();
        let good = Server::start(page("alive"));
        let code = format!(
            "const net = require('node:net');
             const sockets = [];
             for (let n = 0; n < 1000; n++) {{
               const socket = net.connect({{ host: address, port: {port} }});
               socket.on('error', () => {{}});
               sockets.push(socket);
             }}
             await new Promise(setImmediate);
             const seen = await one({{do: 'fetch', url: 'http://good.example.com:{}/'}});
             sockets.forEach((socket) => socket.destroy());
             return seen;",
            good.port
        );
        let code = format!(
            "const {{addresses: [address]}} = await one({{do: 'lookup', name: 'hole.example.com'}}); {code}"
        );
        let seen = attack(who, &json!([{"do": "run", "code": code}]))
            .pinned("hole.example.com", "127.0.0.1", port)
            .pinned("good.example.com", "127.0.0.1", good.port)
            .run();
        assert_eq!(seen.at(0)["body"], json!("alive"), "{seen:?}");
        assert!(seen.log.len() < 100_000, "the log is no flood: {} bytes", seen.log.len());
        assert!(seen.limits().keys().any(|what| what.starts_with("connections being opened")), "{seen:?}");
        assert!(seen.peak < MOST, "{seen:?}");
        drop(hole);
    }
}

#[test]
fn row_36_a_reader_that_never_reads_holds_up_nobody_but_itself() {
    for who in everyone() {
        sealed();
        let pour = Server::start(Manner::Pour);
        let deaf = Server::start(Manner::Deaf);
        let good = Server::start(page("alive"));
        let fetch = json!({"do": "fetch", "url": format!("http://good.example.com:{}/", good.port)});
        let write = format!(
            "const net = require('node:net');
             const sockets = Array.from({{ length: 10 }}, () => net.connect({{ host: 'deaf.example.com', port: {} }}));
             for (const socket of sockets) {{
               socket.on('error', () => {{}});
               socket.write(Buffer.alloc(4 << 20));
             }}
             const seen = await one({fetch});
             sockets.forEach((socket) => socket.resetAndDestroy());
             return seen;",
            deaf.port
        );
        let steps: Value = json!([
            {"do": "holding", "times": 100, "to": "pour.example.com", "port": pour.port, "step": fetch},
            {"do": "run", "code": write},
            fetch,
        ]);
        let seen = attack(who, &steps)
            .pinned("pour.example.com", "127.0.0.1", pour.port)
            .pinned("deaf.example.com", "127.0.0.1", deaf.port)
            .pinned("good.example.com", "127.0.0.1", good.port)
            .run();
        assert_eq!(seen.at(0)["inner"]["body"], json!("alive"), "{seen:?}");
        assert_eq!(seen.at(1)["body"], json!("alive"), "{seen:?}");
        assert_eq!(seen.at(2)["body"], json!("alive"), "{seen:?}");
        assert!(seen.peak < MOST, "{seen:?}");
    }
}

#[test]
fn row_36_a_flood_of_datagrams_is_bounded() {
    for who in everyone() {
        sealed();
        if !root_for("a flood of datagrams that are counted") {
            return;
        }
        let _silent = Datagrams::at(9, |_| None);
        // A flow for each port it sends from, and none of them is ever answered.
        let code = "const dgram = require('node:dgram');
            const outcomes = { sent: 0 };
            for (let round = 0; round < 60; round++) {
              const sockets = Array.from({ length: 100 }, () => dgram.createSocket('udp4'));
              await Promise.all(sockets.map((socket) => new Promise((done) => {
                socket.on('error', () => {});
                socket.send('x', 9, '192.0.2.9', () => { outcomes.sent++; done(); });
              })));
              sockets.forEach((socket) => socket.close());
            }
            return outcomes;";
        let good = Server::start(page("alive"));
        let steps = json!([{"do": "run", "code": code},
            {"do": "fetch", "url": format!("http://host.npxc.internal:{}/", good.port)}]);
        let seen =
            attack(who, &steps).allow(&format!("udp://192.0.2.9:9,host.npxc.internal:{}", good.port)).run();
        assert_eq!(seen.at(0)["sent"], json!(6000), "{seen:?}");
        assert!(seen.peak < MOST, "{seen:?}");
        let (lines, claimed) = seen.counted();
        assert_eq!(lines, claimed, "{seen:?}");
        assert!(seen.denied().iter().all(|(_, code, _)| code == "too-many-flows"), "{seen:?}");
        // The bound is there for UDP; whether a TCP flow still finds a place is up to what expired.
        assert!(seen.opened().len() <= 4097, "{}", seen.opened().len());
    }
}

// Another C library's allocator is not npxc's to set.
#[cfg(target_env = "gnu")]
#[test]
fn row_36_what_a_thousand_flows_used_is_given_back() {
    sealed();
    let server = Server::start(Manner::Pour);
    let steps = json!([
        // Nobody reads: every buffer there is fills.
        {"do": "holding", "times": 1000, "to": "good.example.com", "port": server.port, "patience": 90_000,
            "step": {"do": "tcp", "to": "192.0.2.7", "port": 1}},
        {"do": "told", "patience": 90_000},
    ]);
    let mut run =
        attack(everyone()[0], &steps).pinned("good.example.com", "127.0.0.1", server.port).open().start();
    run.logs(|event| matches!(event, Event::FlowDeny { .. }));
    run.shrinks(2);
    run.tell("now");
    let seen = run.finish();
    assert_eq!(seen.at(0)["outcomes"], json!({"ok": 1000}), "{seen:?}");
}
