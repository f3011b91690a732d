//! Requests that pass, requests that are refused, and streams that try to look like one request and be two.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::super::Expected;
use super::super::testing::{Ended, Router, expect, name, run, run_in};
use super::MAX_HEAD;

fn at_80(stream: &[u8]) -> Ended {
    run(&expect("example.com"), 80, stream)
}

fn passes(stream: &[u8]) {
    let ended = at_80(stream);
    assert_eq!(ended.denied, None, "{}", stream.escape_ascii());
    assert_eq!((ended.sent.as_slice(), ended.detected), (stream, "http"), "{}", stream.escape_ascii());
}

fn refused(stream: &[u8]) -> Ended {
    let ended = at_80(stream);
    assert!(ended.denied.is_some(), "{}", stream.escape_ascii());
    assert_eq!(ended.detected, "http", "{}", stream.escape_ascii());
    ended
}

fn refused_with(code: &str, stream: &[u8]) {
    assert_eq!(refused(stream).code(), Some(code), "{}", stream.escape_ascii());
}

/// A request with these header lines and this body.
fn request(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /p HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n{body}").into_bytes()
}

const EVIL: &[u8] = b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

#[test]
fn requests_to_their_own_name_pass() {
    for stream in [
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:EXAMPLE.com.\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\r\n",
        "GET http://example.com/p?q#f HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET HTTP://example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "PROPFIND /p%20q/\u{e4} HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "get //evil.test/ HTTP/1.1\r\nHost: example.com\r\nX: a b\tc\r\nEmpty:\r\n\r\n",
    ] {
        passes(stream.as_bytes());
    }
}

#[test]
fn another_host_is_refused_with_words() {
    let ended = refused(EVIL);
    assert_eq!((ended.code(), ended.sent.len()), (Some("host-mismatch"), 0));
    assert_eq!(ended.sniffed.as_deref(), Some("evil.test"));
    let reply = ended.reply.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(head.contains("\r\nConnection: close\r\n") && head.contains("text/plain"));
    assert!(body.contains("evil.test") && body.contains("example.com"), "{body}");
}

#[test]
fn hosts_that_are_not_the_name_are_refused() {
    for host in [
        "evil.test",
        "example.com.evil.test",
        "evilexample.com",
        "example.com:81",
        "example.com:080",
        "example.com:",
        "example.com:80:80",
        "example.com:+80",
        "192.0.2.1",
        "[::1]",
        "[::1]:80",
        "127.1",
        "198.18.1.1",
        "",
        "example.com, evil.test",
        "example.com evil.test",
        "example.com/evil",
        "ex\u{e4}mple.com",
        "example%2ecom",
        "example.com\\evil.test",
        "example.com#",
        "example.com?",
    ] {
        refused_with("host-mismatch", format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
    refused_with("malformed-http", b"GET / HTTP/1.1\r\nHost: a@example.com\r\n\r\n");
    refused_with("malformed-http", b"GET / HTTP/1.1\r\nHost: example.com@evil.test\r\n\r\n");
}

#[test]
fn a_host_may_name_the_port_of_the_flow_and_no_other() {
    let stream = b"GET / HTTP/1.1\r\nHost: example.com:8080\r\n\r\n";
    assert_eq!(run(&expect("example.com"), 8080, stream).denied, None);
    assert_eq!(run(&expect("example.com"), 80, stream).code(), Some("host-mismatch"));
    assert_eq!(run(&expect("example.com"), 8080, GOOD).denied, None);
    // In a URL, no port is the scheme's.
    let absolute = b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(run(&expect("example.com"), 8080, absolute).code(), Some("host-mismatch"));
}

#[test]
fn a_target_that_says_something_else_is_refused() {
    for target in [
        "http://evil.test/",
        "http://evil.test",
        "https://example.com/",
        "http://example.com.evil.test/",
        "http://example.com:81/",
        "http://example.com:/",
        "http:///",
        "http://",
        "HTTP://evil.test?example.com",
        "http://evil.test\\example.com",
        "http://evil.test#example.com/",
    ] {
        refused_with(
            "host-mismatch",
            format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes(),
        );
    }
    for target in [
        "ftp://example.com/",
        "evil.test/",
        "evil.test:80",
        "*",
        "?q",
        "http:/evil.test/",
        "http:\\\\evil.test",
        "http://a@example.com/",
        "http://a:b@example.com/",
        "http://example.com@evil.test/",
        "\\",
        "%2f",
    ] {
        refused_with(
            "malformed-http",
            format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes(),
        );
    }
}

#[test]
fn connect_is_refused_in_any_case() {
    for method in ["CONNECT", "connect"] {
        let ended =
            refused(format!("{method} example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes());
        assert_eq!((ended.code(), ended.sent.len()), (Some("malformed-http"), 0));
        assert!(ended.reply.unwrap().contains("CONNECT"));
    }
}

#[test]
fn heads_that_two_servers_could_read_in_two_ways_are_refused() {
    let host = "Host: example.com\r\n";
    for head in [
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}HOST: evil.test\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: example.com\r\n evil.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nX: a\r\n\tHost: evil.test\r\nHost: example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n Host: example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nHost: example.com\n\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: example.com\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nX: a\nHost: evil.test\r\nHost: example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nX: a\rHost: evil.test\r\nHost: example.com\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nX: a\0b\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nX\0: a\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nX: \x0b\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nno colon\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n: empty\r\n{host}\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET  / HTTP/1.1\r\n{host}\r\n"),
        format!("GET\t/ HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1 \r\n{host}\r\n"),
        format!("GET / x HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /\x01 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /\x0b HTTP/1.1\r\n{host}\r\n"),
        format!(" GET / HTTP/1.1\r\n{host}\r\n"),
        format!("\tGET / HTTP/1.1\r\n{host}\r\n"),
        format!("GET / http/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.2\r\n{host}\r\n"),
        format!("GET / HTTP/1.10\r\n{host}\r\n"),
        format!("GET / HTTP/2.0\r\n{host}\r\n"),
        format!("GET / HTTP/01.1\r\n{host}\r\n"),
        format!("GET / HTTP/\r\n{host}\r\n"),
        format!("PRI * HTTP/2.0\n{host}\r\n"),
        format!("GET /\rHTTP/1.1\r\n{host}\r\n"),
        "GET http://evil.test/\r\n\r\n".to_owned(),
        "GET HTTPS://example.com/\n\r\n".to_owned(),
    ] {
        refused_with("malformed-http", head.as_bytes());
    }
}

#[test]
fn lengths_that_two_servers_could_read_in_two_ways_are_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: \r\n",
        "Content-Length: 5;a\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;a\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        refused_with("malformed-http", &request(fields, "5\r\nhello\r\n0\r\n\r\n"));
    }
    refused_with("malformed-http", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn bodies_pass_and_the_next_request_is_judged() {
    for first in [
        request("", ""),
        request("Content-Length: 0\r\n", ""),
        request("Content-Length: 5\r\n", "hello"),
        request(
            "Content-Length: 36\r\n",
            std::str::from_utf8(EVIL).unwrap().get(..36).unwrap_or("-").trim_end_matches('-'),
        ),
        request("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        request(
            "Transfer-Encoding: Chunked\r\n",
            "5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nDigest: x\r\n\r\n",
        ),
    ] {
        let first = if first.windows(18).any(|window| window == b"Content-Length: 36") {
            // A body that looks like a request is a body.
            [&request("Content-Length: 35\r\n", "")[..], EVIL].concat()
        } else {
            first
        };
        assert_eq!(EVIL.len(), 35);
        passes(&first);
        passes(&[&first[..], GOOD].concat());
        passes(&[&first[..], b"\r\n", GOOD].concat());
        let ended = refused(&[&first[..], EVIL].concat());
        assert_eq!((ended.code(), ended.sent), (Some("host-mismatch"), first.clone()));
        assert_eq!(ended.reply, None, "an answer to the first request is on its way");
        refused_with("malformed-http", &[&first[..], b"NONSENSE\r\n\r\n"].concat());
    }
}

#[test]
fn chunks_that_end_elsewhere_are_refused() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "\r\nhello",
        "g\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "5;\0\r\nhello\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000005\r\n",
        "00000000000000005\r\n",
        "0\r\n\n",
        "0\r\nHost: evil.test\r\n\r\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        "0\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
    ] {
        refused_with("malformed-http", &request("Transfer-Encoding: chunked\r\n", body));
    }
}

#[test]
fn lines_in_a_chunked_body_are_bounded() {
    let chunked = |body: String| {
        run_in(&expect("example.com"), 80, &request("Transfer-Encoding: chunked\r\n", &body), 100)
    };
    assert_eq!(chunked(format!("5;{}\r\nhello", "x".repeat(5000))).code(), Some("malformed-http"));
    assert_eq!(chunked(format!("0\r\n{}\r\n", "A: b\r\n".repeat(10_000))).code(), Some("malformed-http"));
    assert_eq!(chunked(format!("{:x}\r\n{}\r\n0\r\n\r\n", 300_000, "x".repeat(300_000))).denied, None);
}

#[test]
fn a_body_passes_without_being_held() {
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(&request("Content-Length: 18446744073709551615\r\n", ""));
    for _ in 0..50 {
        router.guest(&[b'x'; 10_000]);
        assert_eq!((router.held(), router.end().denied), (0, None));
    }
}

#[test]
fn heads_are_bounded() {
    let long = format!("GET / HTTP/1.1\r\nHost: example.com\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    assert_eq!(run_in(&expect("example.com"), 80, long.as_bytes(), 1400).code(), Some("sniff-too-large"));
    let many = format!("GET / HTTP/1.1\r\nHost: example.com\r\n{}\r\n", "X: x\r\n".repeat(300));
    refused_with("malformed-http", many.as_bytes());
    let target = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD));
    assert!(run_in(&expect("example.com"), 80, target.as_bytes(), 1400).denied.is_some());
    let fits = format!("GET / HTTP/1.1\r\nHost: example.com\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    for piece in [1, 1400, 100_000] {
        assert_eq!(run_in(&expect("example.com"), 80, fits.as_bytes(), piece).denied, None);
    }
}

#[test]
fn other_protocols_are_let_go_as_soon_as_they_show() {
    for (stream, needed) in [
        (&b"GET key\r\n"[..], 9),
        (b"EHLO example.com\r\n", 18),
        (b"*1\r\n$4\r\nPING\r\n", 4),
        (b"PING\r\n", 6),
        (b"GET /\r\n", 7),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32),
        (b"SSH-2.0-Go\r\n", 12),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", 1),
        (b"\x10\x0c\0\x04MQTT", 1),
        (b"\x4f\0\0\x01\x85\xa6\xff\x01", 2),
        (b"0032git-upload-pack /project\0host=example.com\0", 29),
        (b"A \0\0\x01\0\0\0", 3),
        (b"AMQP\0\0\x09\x01", 5),
        (b"OPTIONS rtsp://example.com/ RTSP/1.0\r\n", 38),
        (b"INVITE sip:a@example.com SIP/2.0\r\n", 34),
        (b"CONNECT {\"verbose\":false}\r\n", 27),
        (b"8=FIX.4.4\x01", 2),
        (b"\xff\xfb\x01", 1),
    ] {
        let ended = at_80(stream);
        assert_eq!((ended.denied, ended.detected, ended.sent.as_slice()), (None, "other", stream));
        let at = (1..=stream.len()).find(|length| {
            let mut router = Router::new(expect("example.com"), 80);
            router.guest(&stream[..*length]);
            router.guard.is_open()
        });
        assert_eq!(at, Some(needed), "{}", stream.escape_ascii());
    }
}

#[test]
fn an_empty_line_is_never_held() {
    for stream in [&b"\r\n"[..], b"\n", b"\r\n\r\n"] {
        let ended = at_80(stream);
        assert_eq!((ended.sent.as_slice(), ended.detected), (stream, "none"));
    }
}

#[test]
fn a_flow_without_a_name_logs_hosts_and_still_refuses_the_ambiguous() {
    let ended = run(&Expected::Unnamed, 80, EVIL);
    assert_eq!((ended.denied, ended.sniffed.as_deref()), (None, Some("evil.test")));
    let two = b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n";
    assert_eq!(run(&Expected::Unnamed, 80, two).code(), Some("malformed-http"));
}

#[test]
fn one_of_several_names_is_kept_for_the_whole_connection() {
    let any = Expected::AnyOf(vec![name("example.com"), name("b.example")]);
    let mut router = Router::new(any, 80);
    router.guest(GOOD);
    assert_eq!(router.guard.settled(), Some(&name("example.com")));
    router.guest(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(router.end().code(), Some("host-mismatch"));
}

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn after_a_confirmed_upgrade_everything_passes() {
    for piece in [1, 5, 1000] {
        let mut router = Router::new(expect("example.com"), 80);
        router.guest(UPGRADE).guest(b"\x82\x05early");
        assert_eq!((router.held(), router.end().sent.as_slice()), (7, UPGRADE), "held until the server says");
        for answer in SWITCHING.chunks(piece) {
            router.server(answer);
        }
        assert!(router.guard.is_open());
        assert_eq!(router.held(), 0);
    }
}

#[test]
fn an_upgrade_after_other_requests_and_interim_answers_counts() {
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(GOOD).server(OK).guest(UPGRADE).server(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    assert!(!router.guard.is_open());
    router.server(SWITCHING);
    assert!(router.guard.is_open());
}

#[test]
fn an_upgrade_that_is_declined_leaves_requests_judged() {
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(UPGRADE).guest(EVIL);
    assert_eq!(router.end().denied, None);
    router.server(OK);
    assert_eq!(router.end().code(), Some("host-mismatch"));
    assert!(router.end().reply.is_some(), "the server has finished its answer");
}

#[test]
fn a_101_inside_the_answer_to_an_earlier_request_is_no_upgrade() {
    let echoed =
        [b"HTTP/1.1 200 OK\r\nContent-Length: ", SWITCHING.len().to_string().as_bytes(), b"\r\n\r\n"]
            .concat();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        SWITCHING.len(),
        std::str::from_utf8(SWITCHING).unwrap()
    );
    for answer in [
        [&echoed[..], SWITCHING].concat(),
        chunked.into_bytes(),
        [b"HTTP/1.1 200 OK\r\n\r\n", SWITCHING].concat(),
        [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 3\r\n\r\n", SWITCHING].concat(),
        [b"garbage\r\n\r\n", SWITCHING].concat(),
        SWITCHING.to_vec(),
    ] {
        for piece in [1, 7, 5000] {
            let mut router = Router::new(expect("example.com"), 80);
            router.guest(GOOD).guest(UPGRADE).guest(EVIL);
            for answer in answer.chunks(piece) {
                router.server(answer);
            }
            assert!(!router.guard.is_open(), "{}", answer.escape_ascii());
        }
    }
}

#[test]
fn a_101_nobody_asked_for_opens_nothing() {
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(GOOD).server(SWITCHING).guest(EVIL);
    assert_eq!(router.end().code(), Some("host-mismatch"));
    let mut router = Router::new(expect("example.com"), 80);
    router.server(SWITCHING).guest(UPGRADE).guest(EVIL);
    assert_eq!(router.end().code(), Some("host-mismatch"));
}

#[test]
fn answers_of_every_kind_are_followed_to_the_upgrade() {
    for (first, answer) in [
        (
            &b"HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n"[..],
            &b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"[..],
        ),
        (GOOD, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GOOD, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        (GOOD, b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (GOOD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n"),
        (GOOD, OK),
    ] {
        for piece in [1, 2, 3, 1000] {
            let mut router = Router::new(expect("example.com"), 80);
            router.guest(first).guest(UPGRADE);
            for piece in answer.chunks(piece).chain(SWITCHING.chunks(piece)) {
                router.server(piece);
            }
            assert!(router.guard.is_open(), "{} in {piece}", answer.escape_ascii());
        }
    }
}

#[test]
fn a_declined_body_cannot_be_another_request() {
    let head = request(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", EVIL.len()), "");
    let declined = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    for before in [0, 1, 10] {
        let mut router = Router::new(expect("example.com"), 80);
        router.guest(&head).guest(&EVIL[..before]).server(declined).guest(&EVIL[before..]);
        assert_eq!(router.end().code(), Some("malformed-http"));
        assert_eq!(router.end().sent.len(), head.len() + before);
    }
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(&head).server(b"HTTP/1.1 100 Continue\r\n\r\n").server(OK).guest(EVIL).guest(GOOD);
    assert_eq!(router.end().denied, None, "the server asked for it, so it is a body");
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(&head).guest(EVIL).server(OK).guest(GOOD);
    assert_eq!(router.end().denied, None, "the body was complete before the answer");
}

#[test]
fn pipelining_is_bounded_by_waiting() {
    let mut router = Router::new(expect("example.com"), 80);
    for _ in 0..100 {
        router.guest(GOOD);
    }
    assert_eq!((router.end().sent.len(), router.end().denied), (64 * GOOD.len(), None));
    for _ in 0..100 {
        router.server(OK);
    }
    assert_eq!((router.held(), router.end().sent.len()), (0, 100 * GOOD.len()));
}

#[test]
fn a_full_buffer_ends_a_flow_unless_the_server_is_to_speak() {
    let mut router = Router::new(expect("example.com"), 80);
    assert!(!router.guard.awaits_server());
    router.guest(UPGRADE).guest(&[0; 100]);
    assert!(router.guard.awaits_server());
    assert_eq!(router.guard.overflow(100), None);
    let mut router = Router::new(expect("example.com"), 80);
    router.guest(b"GET / HTTP/1.1\r\nHost: exa");
    assert_eq!(router.guard.overflow(25).unwrap().reason.code(), "sniff-too-large");
    assert!(router.guest(b"mple.com\r\n\r\n").end().sent.is_empty());
}

#[test]
fn what_lenient_servers_take_for_a_request_line_is_judged() {
    // Each was answered by a server in Python's standard library, under the name it claims.
    for stream in [
        &b"GET /nul\0 HTTP/1.1\r\nHost: evil.test\r\n\r\n"[..],
        b"\x0cGET /ff HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET\x0b/vt HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET /a0\xa0HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET\x85/85\x85HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET http://evil.test/09nul\0\r\nHost: evil.test\r\n\r\n",
    ] {
        assert!(at_80(stream).denied.is_some(), "{}", stream.escape_ascii());
    }
}

#[test]
fn a_request_line_that_ends_with_the_stream_is_refused() {
    for (words, passes) in [("GET http://evil.test/x HTTP/1.0", false), ("PING", true), ("QUIT now", true)] {
        let mut guard = crate::net::sniff::Guard::new(expect("example.com"), 80);
        let _ = guard.outbound(words.as_bytes());
        let step = guard.finished(words.as_bytes());
        assert_eq!(step == crate::net::sniff::Step::Forward(words.len()), passes, "{words}");
    }
}
