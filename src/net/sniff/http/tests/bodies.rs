//! Where a body ends, so that the next request is found and judged.

use super::*;

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
