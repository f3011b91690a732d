//! Words that reach the terminal or the log (row 40): they cannot move the cursor, and no line can be forged.

use std::io::Cursor;

use serde_json::json;

use super::harness::{Attack, Seen, Server, attack, directory, everyone, give, page, sealed};
use super::store::{Part, package};

/// An escape sequence, a line of its own, quotes, and letters that turn the line around.
pub(super) const EVIL: &str =
    "x\u{1b}[2J\r\nnpxc: all is well\u{7}\",\"event\":\"session.end\"\u{202e}\u{9b}31m";

/// What npxc itself said holds nothing that a terminal obeys, and every line is npxc's.
#[track_caller]
pub(super) fn assert_clean(seen: &Seen) {
    let obeyed = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!seen.err.chars().any(obeyed), "{:?}", seen.err);
    for line in seen.err.lines() {
        assert!(line.starts_with("npxc: ") && line != "npxc: all is well", "{line:?} in {:?}", seen.err);
    }
}

/// The log is what it says it is: printable, whole, chained.
#[track_caller]
pub(super) fn assert_log(seen: &Seen) {
    assert!(seen.log.bytes().all(|byte| byte == b'\n' || (32..127).contains(&byte)), "{}", seen.log);
    let ends =
        seen.events.iter().filter(|event| matches!(event, npxc::audit::Event::SessionEnd { .. })).count();
    let starts =
        seen.events.iter().filter(|event| matches!(event, npxc::audit::Event::SessionStart { .. })).count();
    assert_eq!((starts, ends), (1, 1), "{}", seen.log);
    npxc::audit::chain::verify(Cursor::new(&seen.log)).unwrap();
}

#[test]
fn row_40_hostile_words_on_the_command_line_are_shown_harmless() {
    let who = everyone()[0];
    for option in [
        "--allow",
        "--deny",
        "--allow-install",
        "--add-host",
        "--publish",
        "--mount",
        "--env",
        "--memory",
        "--network",
        "--addresses",
        "--runtime",
        "--link",
        "--cpus",
        "--pids",
        "--config",
        "--package",
        "--cwd",
    ] {
        let seen = Attack::new(who, "no-such-package").option(option, EVIL).run();
        assert!(seen.code != Some(0) && seen.out.is_empty(), "{option}: {seen:?}");
        assert_clean(&seen);
        assert!(seen.err.len() < 4096, "{option}: bounded");
    }
    for word in [EVIL, "@x/\u{1b}[2J", "./\u{1b}]0;owned\u{7}", "git+ssh://x\u{1b}[2J", &"a".repeat(100_000)]
    {
        let seen = Attack::new(who, word).run();
        assert!(matches!(seen.code, Some(1 | 3)), "{seen:?}");
        assert_clean(&seen);
        assert!(seen.err.len() < 4096, "bounded: {}", seen.err.len());
    }
}

#[test]
fn row_40_hostile_words_of_the_guest_cannot_forge_a_line_of_the_log() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("x"));
        let name = EVIL.replace('\r', "").replace('\n', "");
        let shared = directory(who, "mount").join(EVIL.replace(['/', ':'], ""));
        std::fs::create_dir(&shared).unwrap();
        give(who, &shared);
        let request = |host: &str| {
            json!({"do": "tcp", "to": "good.example.com", "port": server.port, "half": true,
            "send": [format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")]})
        };
        let sni = "a".repeat(40) + ".example.com";
        let same = format!("{name:>52}").chars().rev().take(52).collect::<String>();
        let steps = json!([
            request(&name),
            request(&"h".repeat(60_000)),
            request("\",\"event\":\"session.end\",\"x\":\""),
            {"do": "tcp", "to": "good.example.com", "port": server.port, "half": true,
                "send": [{"hello": {"servername": sni}, "replace": [sni, same]}]},
            {"do": "dns", "labels": ["\",\"event\":\"session.end\"", "\r\n{}", "com"]},
            {"do": "dns", "name": format!("{}.{}.{}.example", "b".repeat(63), "b".repeat(63), "b".repeat(63))},
        ]);
        let seen = attack(who, &steps)
            .pinned("good.example.com", "127.0.0.1", server.port)
            .option("--mount", format!("{}:/mnt/x", shared.to_str().unwrap()))
            .env("X", format!("{EVIL} whose value"))
            .option("--env", "X")
            .run();
        assert_log(&seen);
        assert!(seen.log.lines().all(|line| line.len() < 32 << 10), "bounded");
        assert_eq!(seen.refused().len(), 2, "{seen:?}");
        assert!(seen.denied().len() >= 3, "{seen:?}");
        assert_clean(&seen);
        assert!(!seen.log.contains("whose value"), "the value of a variable is not logged: {}", seen.log);
    }
}

#[test]
fn row_40_what_an_install_script_says_is_shown_harmless() {
    for who in everyone() {
        let script = "printf '\\033[2J\\033]0;owned\\007\\r\\nnpxc: installed evil@1.0.0\\n\\342\\200\\256' >&2; exit 1";
        let manifest =
            json!({"name": "loud", "version": "1.0.0", "bin": "main.js", "scripts": {"postinstall": script}});
        let tarball = package(who, "loud", &manifest, &[Part::file("package/main.js", "")]);
        let seen = Attack::new(who, tarball).run();
        assert_eq!(seen.code, Some(3), "{seen:?}");
        assert_clean(&seen);
        assert!(!seen.err.lines().any(|line| line == "npxc: installed evil@1.0.0"), "{}", seen.err);
        assert!(seen.err.contains("--ignore-scripts"), "{seen:?}");
    }
}
