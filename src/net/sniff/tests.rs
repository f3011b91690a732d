//! Properties that hold for any bytes: no panic, the same verdict however the stream is cut, bounded holding.

use proptest::prelude::*;

use super::testing::{Router, client_hello, expect, record, run_in, sni};
use super::{Expected, MAX_HELD};

/// Streams that are nearly something: pieces of requests and hellos in any order.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"POST http://example.com/ HTTP/1.0\r\n".to_vec()),
        Just(b"Host: example.com\r\n".to_vec()),
        Just(b"Host: evil.test\r\n".to_vec()),
        Just(b"Content-Length: 7\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Expect: 100-continue\r\n".to_vec()),
        Just(b"Upgrade: x\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5\r\nhello\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"abcdefg".to_vec()),
        Just(record(22, &client_hello(&sni(b"example.com")))),
        Just(record(22, &client_hello(&sni(b"evil.test")))),
        Just(record(20, &[1])),
        Just(record(23, &[0; 30])),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        Just(expect("example.com")),
        Just(Expected::AnyOf(vec![super::testing::name("example.com"), super::testing::name("b.example")])),
        Just(Expected::Unnamed),
    ]
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_a_stream_is_cut(
        stream in nearly(), expected in expected(), cuts in proptest::collection::vec(0usize..400, 0..8),
    ) {
        let whole = run_in(&expected, 80, &stream, usize::MAX);
        prop_assert_eq!(&run_in(&expected, 80, &stream, 1), &whole);
        let mut router = Router::new(expected, 80);
        let mut rest = stream.as_slice();
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            router.guest(now);
            rest = later;
        }
        router.guest(rest);
        prop_assert_eq!(&router.end(), &whole);
        prop_assert!(stream.starts_with(&whole.sent));
    }

    #[test]
    fn any_bytes_in_any_order_of_directions_are_survived(
        pieces in proptest::collection::vec((any::<bool>(), prop_oneof![nearly(), proptest::collection::vec(any::<u8>(), 0..200)]), 0..20),
    ) {
        let mut router = Router::new(expect("example.com"), 443);
        for (guest, piece) in pieces {
            if guest { router.guest(&piece); } else { router.server(&piece); }
        }
    }

    #[test]
    fn no_stream_is_held_beyond_the_bound(seed in nearly(), filler in any::<u8>()) {
        let mut router = Router::new(expect("example.com"), 80);
        router.guest(&seed);
        router.guest(&vec![filler; MAX_HELD]);
        router.guest(&vec![filler; MAX_HELD]);
        let held = router.held();
        let ended = router.end();
        prop_assert!(ended.denied.is_some() || held < MAX_HELD || router.guard.overflow(held).is_none());
    }
}
