//! Captured hellos (tests/data/tls), hellos made to measure, and everything wrong with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::super::Expected;
use super::super::testing::{
    Ended, Router, client_hello, expect, extension, handshake, name, record, run, run_in, sni, vector16,
};
use super::{ANSWER, RETRY_RANDOM, ServerAnswer};

macro_rules! captured {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/", $file)).as_slice()
    };
}

const NODE: &[u8] = captured!("node20.bin");
const NODE_NO_SNI: &[u8] = captured!("node20-no-sni.bin");
const NODE_TLS12: &[u8] = captured!("node20-tls12.bin");
const OPENSSL: &[u8] = captured!("openssl3.bin");
const OPENSSL_ODD_CASE: &[u8] = captured!("openssl3-odd-case.bin");
const CURL: &[u8] = captured!("curl.bin");

fn to_example(stream: &[u8]) -> Ended {
    run(&expect("example.com"), 443, stream)
}

/// A hello with `extensions` in one record.
fn hello(extensions: &[u8]) -> Vec<u8> {
    record(22, &client_hello(extensions))
}

/// A hello as large as a post-quantum one: X25519MLKEM768 and X25519 key shares (draft-ietf-tls-ecdhe-mlkem).
fn post_quantum(host: &[u8]) -> Vec<u8> {
    let shares = [&[0x11, 0xec][..], &vector16(&[0x42; 1216]), &[0, 0x1d], &vector16(&[0x24; 32])].concat();
    hello(&[&sni(host)[..], &extension(51, &vector16(&shares)), &extension(21, &[0; 300])].concat())
}

#[test]
fn captured_hellos_pass_to_their_own_name_and_to_no_other() {
    for (stream, own) in [
        (NODE, "example.com"),
        (NODE_TLS12, "api.example.com"),
        (OPENSSL, "example.com"),
        (OPENSSL_ODD_CASE, "example.com"),
        (CURL, "example.com"),
    ] {
        let passed = run(&expect(own), 443, stream);
        assert_eq!((passed.denied, passed.sent.as_slice(), passed.detected), (None, stream, "tls"));
        assert!(passed.sniffed.unwrap().eq_ignore_ascii_case(own) || own == "example.com");
        let denied = run(&expect("other.example.com"), 443, stream);
        assert_eq!(denied.code(), Some("server-name-mismatch"));
        assert_eq!((denied.sent.as_slice(), denied.reply), (&[][..], None));
    }
}

#[test]
fn a_hello_without_a_name_goes_where_the_pin_says() {
    let ended = to_example(NODE_NO_SNI);
    assert_eq!((ended.denied, ended.sent.as_slice(), ended.sniffed), (None, NODE_NO_SNI, None));
}

#[test]
fn a_hello_longer_than_a_packet_is_put_together() {
    let stream = post_quantum(b"example.com");
    assert!(stream.len() > 1400);
    assert_eq!(to_example(&stream).sent, stream);
    assert_eq!(run(&expect("a.example"), 443, &stream).code(), Some("server-name-mismatch"));
}

#[test]
fn a_hello_spread_over_records_is_put_together() {
    let message = client_hello(&sni(b"example.com"));
    for size in [1, 2, 3, 4, 5, 50] {
        let stream: Vec<u8> = message.chunks(size).flat_map(|piece| record(22, piece)).collect();
        assert_eq!(to_example(&stream).sent, stream, "records of {size}");
        assert_eq!(run(&expect("a.example"), 443, &stream).code(), Some("server-name-mismatch"));
    }
}

#[test]
fn names_are_compared_in_one_form() {
    for same in [&b"EXAMPLE.com"[..], b"example.COM."] {
        assert_eq!(to_example(&hello(&sni(same))).denied, None);
    }
    for other in [
        &b"example.com.evil.test"[..],
        b"evilexample.com",
        b"www.example.com",
        b"com",
        b".example.com",
        b"example.com..",
        b"example.com\0",
        b"example.com\0.evil.test",
        b"example.com:443",
        b"xn--e1afmkfd.com",
        "ex\u{e4}mple.com".as_bytes(),
        b"\xff\xfe",
        b" example.com",
        b"example.com ",
        &[b'a'; 300],
    ] {
        assert_eq!(to_example(&hello(&sni(other))).code(), Some("server-name-mismatch"), "{other:?}");
    }
}

#[test]
fn an_address_as_server_name_is_refused_unless_the_flow_has_no_name() {
    for literal in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
        let stream = hello(&sni(literal.as_bytes()));
        assert_eq!(to_example(&stream).code(), Some("server-name-is-address"));
        let unnamed = run(&Expected::Unnamed, 443, &stream);
        assert_eq!((unnamed.denied, unnamed.sniffed.as_deref()), (None, Some(literal)));
    }
    for disguised in ["127.1", "0x7f.0.0.1", "2130706433", "[::1]"] {
        assert_eq!(to_example(&hello(&sni(disguised.as_bytes()))).code(), Some("server-name-mismatch"));
    }
}

#[test]
fn a_flow_with_no_name_logs_what_is_claimed_and_cannot_forge_a_line() {
    let ended = run(&Expected::Unnamed, 443, &hello(&sni(b"a\r\n\x1b[31m\"\xff")));
    assert_eq!((ended.denied, ended.sniffed.unwrap().as_str()), (None, "a\\r\\n\\x1b[31m\\\"\\xff"));
}

#[test]
fn one_of_several_names_settles_which() {
    let any = Expected::AnyOf(vec![name("a.example"), name("b.example")]);
    let mut router = Router::new(any.clone(), 443);
    router.guest(&hello(&sni(b"b.example")));
    assert_eq!((router.end().denied, router.guard.settled()), (None, Some(&name("b.example"))));
    assert_eq!(run(&any, 443, &hello(&sni(b"c.example"))).code(), Some("server-name-mismatch"));
    assert_eq!(
        run(&Expected::AnyOf(vec![]), 443, &hello(&sni(b"c.example"))).code(),
        Some("server-name-mismatch")
    );
    let mut router = Router::new(any, 443);
    router.guest(&hello(&[]));
    assert_eq!((router.end().denied, router.guard.settled()), (None, None));
}

#[test]
fn an_encrypted_hello_is_judged_by_its_outer_name() {
    let ech = extension(0xfe0d, &[0; 200]);
    let outer = [&sni(b"public.example")[..], &ech].concat();
    assert_eq!(to_example(&hello(&outer)).code(), Some("server-name-mismatch"));
    assert_eq!(to_example(&hello(&[&sni(b"example.com")[..], &ech].concat())).denied, None);
}

#[test]
fn malformed_hellos_are_refused() {
    let good = sni(b"example.com");
    let entry = |kind: u8, host: &[u8]| [&[kind], &vector16(host)[..]].concat();
    let list = |entries: &[Vec<u8>]| hello(&extension(0, &vector16(&entries.concat())));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("two server name extensions", hello(&[&good[..], &good].concat())),
        (
            "another extension twice",
            hello(&[extension(10, b"a"), good.clone(), extension(10, b"a")].concat()),
        ),
        ("two names", list(&[entry(0, b"example.com"), entry(0, b"evil.test")])),
        ("a name of another type", list(&[entry(1, b"example.com")])),
        ("no name in the list", list(&[])),
        ("an empty name", list(&[entry(0, b"")])),
        ("an empty extension", hello(&extension(0, &[]))),
        ("bytes behind the list", hello(&extension(0, &[vector16(&entry(0, b"a")), vec![0]].concat()))),
        ("an extension that is too long", hello(&[0, 0, 0, 9, 1])),
        ("not a hello", record(22, &handshake(2, &[0; 40]))),
        ("a hello request first", record(22, &handshake(0, &[]))),
        ("an empty hello", record(22, &handshake(1, &[]))),
        ("an old version inside", record(22, &handshake(1, &[2; 60]))),
        ("a second message in the record", record(22, &[client_hello(&good), client_hello(&good)].concat())),
        ("one byte behind the hello", record(22, &[client_hello(&good), vec![1]].concat())),
        ("an empty record", [record(22, &[]), hello(&good)].concat()),
        ("an empty record inside", {
            let message = client_hello(&good);
            [record(22, &message[..9]), record(22, &[]), record(22, &message[9..])].concat()
        }),
        ("an alert inside", {
            let message = client_hello(&good);
            [record(22, &message[..9]), record(21, &[1, 0]), record(22, &message[9..])].concat()
        }),
        ("a record that is too long", [&[22, 3, 1, 0x40, 1][..], &[1; 100]].concat()),
    ];
    for (what, stream) in cases {
        assert_eq!(to_example(&stream).code(), Some("malformed-tls"), "{what}");
        assert_eq!(run(&Expected::Unnamed, 443, &stream).code(), Some("malformed-tls"), "{what}, unnamed");
    }
}

#[test]
fn a_hello_cut_anywhere_inside_is_refused_or_still_awaited() {
    let body = &client_hello(&sni(b"example.com"))[4..];
    for length in 0..body.len() {
        let ended = run_in(&expect("example.com"), 443, &record(22, &handshake(1, &body[..length])), 1000);
        // A hello that ends where its extensions would start is whole, and has no name.
        let bare = 2 + 32 + 1 + 4 + 2;
        assert_eq!(ended.denied.is_none(), length == bare, "{length} bytes");
    }
}

#[test]
fn a_hello_beyond_the_bounds_is_refused_early() {
    let big = [sni(b"example.com"), extension(21, &vec![0; 40_000])].concat();
    let stream: Vec<u8> = client_hello(&big).chunks(16_000).flat_map(|piece| record(22, piece)).collect();
    let ended = run_in(&expect("example.com"), 443, &stream, 1000);
    assert_eq!((ended.code(), ended.sent.len()), (Some("malformed-tls"), 0));

    let message = client_hello(&[sni(b"example.com"), extension(21, &vec![0; 20_000])].concat());
    let spread: Vec<u8> = message.iter().flat_map(|byte| record(22, &[*byte])).collect();
    assert_eq!(run_in(&expect("example.com"), 443, &spread, 1000).code(), Some("malformed-tls"));
}

#[test]
fn nothing_can_be_put_before_the_hello() {
    let hello = hello(&sni(b"evil.test"));
    for (what, first) in [
        ("a warning alert", record(21, &[1, 90])),
        ("an empty alert", record(21, &[])),
        ("a change of cipher", record(20, &[1])),
        ("a heartbeat", record(24, &[1, 0, 0])),
        ("data", record(23, &[0; 16])),
    ] {
        let ended = to_example(&[first, hello.clone()].concat());
        assert_eq!(
            (ended.code(), ended.sent.len(), ended.detected),
            (Some("malformed-tls"), 0, "tls"),
            "{what}"
        );
    }
}

#[test]
fn what_only_starts_like_tls_passes() {
    for stream in [
        // A MySQL login of 789 bytes: the length comes first.
        &[0x15, 3, 0, 1, 0x85, 0xa6, 0xff, 1][..],
        &[0x16, 0x16, 3, 1],
        &[0x16],
        &[0x15, 3, 5, 0],
        // A hello in SSLv2 format has no place for a name.
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10],
    ] {
        let ended = to_example(stream);
        assert_eq!(ended.denied, None, "{stream:?}");
        assert!(ended.detected == "other" || stream.len() == 1);
    }
}

#[test]
fn a_second_hello_is_judged_like_the_first() {
    let client = captured!("retry-client.bin");
    let server = captured!("retry-server.bin");
    let first = 5 + usize::from(u16::from_be_bytes([client[3], client[4]]));
    let retry = 5 + usize::from(u16::from_be_bytes([server[3], server[4]]));

    // As captured: hello, retry request, second hello; then nothing is left to look at.
    let mut router = Router::new(expect("example.com"), 443);
    router.guest(&client[..first]).server(&server[..retry]);
    assert!(!router.guard.is_open());
    router.guest(&client[first..]).server(&server[retry..]);
    assert!(router.guard.is_open());
    assert_eq!(router.end().sent, client);

    // The second one names another host: in one piece, byte by byte, after a change of cipher, split, and before
    // the server has even asked.
    let evil = hello(&sni(b"evil.test"));
    let message = client_hello(&sni(b"evil.test"));
    let cipher = record(20, &[1]);
    let split = [record(22, &message[..3]), record(22, &message[3..])].concat();
    for second in [evil.clone(), [&cipher[..], &evil].concat(), [record(23, &[9; 99]), evil].concat(), split]
    {
        for asked in [false, true] {
            let mut router = Router::new(expect("example.com"), 443);
            router.guest(&client[..first]);
            if asked {
                for byte in &server[..retry] {
                    router.server(&[*byte]);
                }
            }
            for byte in &second {
                router.guest(&[*byte]);
            }
            let ended = router.end();
            assert_eq!(ended.code(), Some("server-name-mismatch"));
            assert!(!ended.sent.windows(9).any(|window| window == b"evil.test"));
        }
    }
}

#[test]
fn an_empty_record_cannot_hide_a_second_hello() {
    let stream = [NODE, &record(22, &[]), &hello(&sni(b"evil.test"))].concat();
    let ended = to_example(&stream);
    assert_eq!((ended.code(), ended.sent.len()), (Some("malformed-tls"), NODE.len()));
}

#[test]
fn after_the_servers_hello_everything_passes() {
    for (client, server) in [
        (captured!("tls13-client.bin"), captured!("tls13-server.bin")),
        (captured!("tls12-client.bin"), captured!("tls12-server.bin")),
        (captured!("tls12-resumed-client.bin"), captured!("tls12-resumed-server.bin")),
    ] {
        let first = 5 + usize::from(u16::from_be_bytes([client[3], client[4]]));
        for piece in [1, 10, server.len()] {
            let mut router = Router::new(expect("example.com"), 443);
            router.guest(&client[..first]);
            for piece in server.chunks(piece) {
                router.server(piece);
            }
            assert!(router.guard.is_open());
            assert_eq!(router.guest(&client[first..]).end().sent, client);
        }
    }
}

#[test]
fn early_data_flows_before_the_server_answers() {
    let early: Vec<u8> = (0..20).flat_map(|_| record(23, &[7; 5000])).collect();
    let stream = [NODE, &record(20, &[1]), &early].concat();
    assert_eq!(run_in(&expect("example.com"), 443, &stream, 1399).sent.len(), stream.len());
}

#[test]
fn what_is_no_record_after_the_hello_is_refused() {
    let ended = to_example(&[NODE, b"GET / HTTP/1.1\r\n"].concat());
    assert_eq!((ended.code(), ended.sent.len()), (Some("malformed-tls"), NODE.len()));
}

#[test]
fn a_retry_request_is_told_from_other_answers_however_it_is_cut() {
    let mut message = handshake(2, &[&[3, 3][..], &RETRY_RANDOM, &[0; 40]].concat());
    let read = |stream: &[u8], piece: usize| {
        let mut answer = ServerAnswer::default();
        stream.chunks(piece).find_map(|piece| answer.read(piece))
    };
    for size in [1, 2, 17, ANSWER, 200] {
        let stream: Vec<u8> = message.chunks(size).flat_map(|piece| record(22, piece)).collect();
        assert!([1, 2, 5, 6, 1000].into_iter().all(|piece| read(&stream, piece) == Some(true)));
    }
    message[ANSWER - 1] ^= 1;
    assert_eq!(read(&record(22, &message), 1), Some(false));
    assert_eq!(read(&record(21, &[2, 40]), 1), Some(false));
    assert_eq!(read(b"HTTP/1.1 400 Bad Request\r\n", 1), Some(false));
    assert_eq!(read(&record(22, &message[..ANSWER - 1]), 1), None);
}
