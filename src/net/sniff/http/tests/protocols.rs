//! What is HTTP at all, and what only looks otherwise.

use super::*;

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
