//! Whatever is missing, wrong or broken: nothing is allowed (row 37).

use std::io::Read;

use npxc::audit::Event;
use npxc::egress::resolver::Pinned;
use npxc::net::dns;
use npxc::net::router::Journal;
use npxc::policy::{Policy, PolicySpec};
use npxc::runtime::native::Native;
use npxc::runtime::{Launch, Limits, Stdio3};
use npxc::session::{Parts, Session, SessionError};
use serde_json::{Value, json};

use super::harness::{Attack, Server, attack, directory, everyone, packets, page, place, sealed};

#[test]
fn row_37_no_rule_allows_nothing() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("secret"));
        let url = |host: &str| json!({"do": "fetch", "url": format!("http://{host}:{}/", server.port)});
        let steps = json!([url("api.example.com"), url("host.npxc.internal"), url("192.0.2.7"), url("[2001:db8::7]"),
            {"do": "udp", "to": "192.0.2.7", "port": 9, "send": ["x"]}]);
        let run = || attack(who, &steps).option("--add-host", "api.example.com:127.0.0.1");
        for (run, what) in [
            (run(), "nothing said"),
            (run().option("--network", "none"), "none"),
            (run().option("--network", "allowlist"), "an empty list"),
            (run().option("--network", "none").allow("api.example.com"), "none, and a rule"),
            (run().allow("*.example.org").option("--deny", "*.example.org"), "deny wins"),
        ] {
            let seen = run.run();
            if seen.code == Some(1) {
                assert!(seen.out.is_empty(), "{what}: {seen:?}");
                continue;
            }
            for at in 0..5 {
                assert!(seen.at(at)["error"].is_string(), "{what}: {seen:?}");
            }
            seen.assert_nothing_reached();
            let (lines, claimed) = seen.counted();
            assert!(lines == claimed && lines >= 5, "{what}: {seen:?}");
        }
        assert_eq!(packets(), 0);
        assert!(server.visits().is_empty());
    }
}

#[test]
fn row_37_a_bad_rule_in_a_file_stops_everything_though_the_store_is_warm() {
    for who in everyone() {
        for config in [
            "[defaults.network]\nallow = [\"api.example.com:99999\"]\n",
            "[defaults.network]\nallow = [\"*\"]\n",
            "[defaults.network]\nalow = [\"api.example.com\"]\n",
            "[defaults.network]\nmode = \"opne\"\n",
            "[defaults.network]\nallow = \"api.example.com\"\n",
            "[defaults.network]\ndeny = [\"not a rule\"]\n",
            "[defaults.network\n",
            "\0",
        ] {
            let seen = attack(who, &json!([{"do": "env"}])).config(config).run();
            assert_eq!(seen.code, Some(1), "{config:?}: {seen:?}");
            assert!(seen.out.is_empty() && seen.events.is_empty(), "{seen:?}");
            assert!(seen.err.contains("npxc.toml"), "it says where: {seen:?}");
        }
    }
}

#[test]
fn row_37_deny_wins_over_every_allow() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("secret"));
        let port = server.port;
        let steps = json!([
            {"do": "fetch", "url": format!("http://api.example.com:{port}/")},
            {"do": "fetch", "url": format!("http://other.example.com:{port}/")},
        ]);
        let seen = attack(who, &steps)
            .option("--allow-private", "*.example.com")
            .option("--add-host", "api.example.com:127.0.0.1")
            .option("--add-host", "other.example.com:127.0.0.1")
            .option("--deny", "api.example.com")
            .run();
        assert_eq!(seen.error(0), "ENOTFOUND", "{seen:?}");
        assert_eq!(seen.at(1)["body"], json!("secret"));
        let refused = seen.refused();
        assert!(
            refused.iter().all(|(name, _, _, hint)| name == "api.example.com" && hint.is_none()),
            "{seen:?}"
        );
    }
}

#[test]
fn row_37_a_log_that_cannot_be_written_allows_nothing() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("secret"));
        // A connection each, and one that stands all the while.
        let fetch = json!({"do": "tcp", "to": "host.npxc.internal", "port": server.port, "half": true,
            "send": ["GET / HTTP/1.1\r\nHost: host.npxc.internal\r\n\r\n"]});
        let flood = json!({"do": "flood", "times": 200, "together": 10, "step": {"do": "tcp", "to": "192.0.2.7", "port": 1}});
        let standing = json!({"do": "run", "patience": 60_000, "code": format!("
            const socket = require('net').connect({}, 'host.npxc.internal');
            const cut = new Promise((resolve) => {{
                socket.on('error', (error) => resolve(error.code));
                socket.on('end', () => resolve('end'));
            }});
            await new Promise((resolve) => socket.on('connect', resolve));
            await one({{do: 'told'}});
            await one({flood});
            return {{cut: await cut}};", server.port)});
        let steps: Vec<Value> = vec![fetch.clone(), standing, fetch.clone(), fetch];
        let rule = format!("host.npxc.internal:{}", server.port);
        // A disk that is full a little later.
        let mut run = attack(who, &json!(steps)).allow(&rule).no_signal().open().start();
        run.logs(|event| matches!(event, Event::FlowClose { .. } | Event::FlowOpen { .. }));
        run.limit_files(who, 16 << 10);
        run.tell("now");
        let seen = run.finish();
        assert!(seen.at(0)["data"].as_str().unwrap().ends_with("secret"), "while there is room: {seen:?}");
        assert_eq!(seen.at(1)["cut"], json!("ECONNRESET"), "{seen:?}");
        for at in [2, 3] {
            assert!(seen.at(at)["error"].is_string(), "{seen:?}");
        }
        assert!(seen.err.contains("no connection is allowed from now on"), "{seen:?}");
        assert_eq!(server.visits().iter().filter(|visit| !visit.said.is_empty()).count(), 1, "{seen:?}");
        assert!(seen.log.ends_with('\n'), "whole lines only");

        for path in ["/dev/full", "/proc/self/mem", "/nonexistent/directory/file"] {
            let seen = attack(who, &json!(steps)).allow(&rule).audit(path.as_ref()).run();
            assert!(seen.code == Some(1) && seen.out.is_empty(), "{path}: {seen:?}");
        }
        let link = directory(who, "log").join("log");
        std::os::unix::fs::symlink(place().base.join("elsewhere"), &link).unwrap();
        let seen = attack(who, &json!(steps)).allow(&rule).audit(&link).run();
        assert!(seen.code == Some(1) && seen.out.is_empty(), "{seen:?}");
        assert!(!place().base.join("elsewhere").exists());
    }
}

/// Fails in a way that nothing expects, on the datapath's own thread.
struct Defect;

impl Journal for Defect {
    fn record(&mut self, event: Event) -> bool {
        panic!("a defect in npxc, made by a test, at {event:?}")
    }

    fn healthy(&self) -> bool {
        true
    }
}

#[test]
fn row_37_a_datapath_that_fails_takes_the_guest_with_it() {
    sealed();
    // Deaf to every signal it may be deaf to, with a child, and never done.
    let script = "trap '' TERM HUP INT; sleep 1000 & echo up; echo > /dev/tcp/192.0.2.7/1; sleep 1000";
    let launch = Launch {
        command: ["/bin/bash", "-c", script].map(Into::into).into(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        mounts: Vec::new(),
        layer: None,
        limits: Limits::default(),
        files: Vec::new(),
    };
    let parts = Parts {
        launch,
        policy: Policy::new(PolicySpec::default()).unwrap(),
        dns: dns::Options::default(),
        pinned: Pinned::new(),
        proxy: None,
        published: Vec::new(),
        journal: Box::new(Defect),
    };
    let (mut out, stdout) = std::io::pipe().unwrap();
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    let stdio = Stdio3 { stdin: null(), stdout: stdout.into(), stderr: null() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let native = Native::with_program(place().base.join("npxc"));
        let mut session = Session::start(&native, parts, stdio).unwrap();
        session.release().unwrap();
        let ended = session.wait().await;
        assert!(matches!(ended, Err(SessionError::CutOff)), "{ended:?}");
        // The end of the pipe: no process of the guest is left to hold it, though nobody has torn the session down.
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        assert_eq!(said, "up\n");
        session.finish();
    });
}

#[test]
fn row_37_the_log_cannot_be_rewritten_from_inside() {
    for who in everyone() {
        let shared = directory(who, "shared");
        let log = shared.join("audit.jsonl");
        let steps = json!([
            {"do": "tcp", "to": "192.0.2.7", "port": 443},
            {"do": "write", "path": log, "data": "all is well"},
        ]);
        let seen =
            attack(who, &steps).option("--mount", format!("{}:rw", shared.display())).audit(&log).run();
        if seen.code == Some(1) {
            assert!(seen.out.is_empty() && seen.err.contains("log"), "{seen:?}");
        } else {
            panic!("a package that may write the log could change it: {seen:?}");
        }
        // Reading is no harm.
        let seen = attack(who, &json!([{"do": "write", "path": log}]))
            .option("--mount", shared.as_os_str())
            .audit(&log)
            .run();
        assert!(seen.code != Some(0) || seen.error(0) == "EROFS", "{seen:?}");
    }
}

#[test]
fn row_37_options_that_nobody_knows_are_refused() {
    for options in [
        ["--alow", "x.example.com"],
        ["--network", "openn"],
        ["--runtime", "docker"],
        ["--addresses", "fake"],
        ["--add-host", "a.example.com"],
        ["--add-host", "a.example.com:localhost"],
        ["--publish", "0"],
        ["--memory", "1"],
    ] {
        let seen = Attack::new(everyone()[0], "no-such-package").option(options[0], options[1]).run();
        assert!(
            matches!(seen.code, Some(1 | 2)) && seen.out.is_empty() && seen.events.is_empty(),
            "{options:?} {seen:?}"
        );
    }
}
