//! A connection is let go only when its server has agreed to an upgrade that was asked for.

use super::*;

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
