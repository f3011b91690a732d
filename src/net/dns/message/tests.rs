//! Messages as a hostile guest writes them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::super::Transport;
use super::super::testing::{opt, question};
use super::{Question, Unfit, answer, parse, refuse};

fn code(message: &[u8]) -> Option<ResponseCode> {
    match parse(message) {
        Ok(_) => None,
        Err(Unfit::Ignore) => Some(ResponseCode::Unknown(9999)),
        Err(Unfit::Refuse(_, code, _)) => Some(code),
    }
}

fn parsed(name: &str, kind: u16) -> Question {
    parse(&question(7, name, kind)).unwrap()
}

#[test]
fn a_question_is_read_as_it_came() {
    let question = parsed("ExAmPle.Com", 28);
    assert_eq!((question.text.as_str(), question.kind), ("ExAmPle.Com", RecordType::AAAA));
    let reply = answer(&question, Transport::Udp, ResponseCode::NXDomain, vec![]).unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, 7);
    assert_eq!(reply.queries[0].name().to_ascii(), "ExAmPle.Com.");
    assert!(reply.metadata.recursion_desired && reply.metadata.recursion_available);
    assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
    assert!(reply.edns.is_none());
}

#[test]
fn bytes_that_are_no_host_name_are_escaped() {
    let mut message = question(1, "a", 1);
    message.splice(12..15, [5, b'a', 0, b'.', b'\\', 0xff, 1, b'\n', 0]);
    assert_eq!(parse(&message).unwrap().text, "a\\000\\.\\\\\\255.\\010");
}

#[test]
fn what_is_no_question_gets_a_code_or_silence() {
    const SILENCE: ResponseCode = ResponseCode::Unknown(9999);
    let good = question(1, "example.com", 1);
    let with = |at: usize, bytes: &[u8]| {
        let mut message = good.clone();
        message[at..at + bytes.len()].copy_from_slice(bytes);
        message
    };
    assert_eq!(code(&good), None);
    for length in 0..12 {
        assert_eq!(code(&good[..length]), Some(SILENCE));
    }
    for length in 12..good.len() {
        assert_eq!(code(&good[..length]), Some(ResponseCode::FormErr), "cut at {length}");
    }
    assert_eq!(code(&with(2, &[0x81])), Some(SILENCE), "a response");
    for operation in 1..16u8 {
        assert_eq!(code(&with(2, &[operation << 3])), Some(ResponseCode::NotImp));
    }
    for (what, message) in [
        ("no question", with(4, &[0, 0])),
        ("two questions", with(4, &[0, 2])),
        ("65535 questions", with(4, &[0xff, 0xff])),
        ("answers", with(6, &[0, 1])),
        ("authorities", with(8, &[0xff, 0xff])),
        ("additionals that are not there", with(10, &[0, 1])),
        ("65535 additionals", with(10, &[0xff, 0xff])),
        ("truncated", with(2, &[0x03])),
        ("a pointer to itself", with(12, &[0xc0, 12])),
        ("a pointer into the header", with(12, &[0xc0, 0])),
        ("an extended label", with(12, &[0x41])),
        ("a reserved label", with(12, &[0x80])),
        ("a label of 64", with(12, &[64])),
        ("a name without an end", [&good[..12], &[1, b'a'].repeat(200)].concat()),
        ("a name of 256", [&good[..12], &[1, b'a'].repeat(127)[..], &[1, b'a', 0, 0, 1, 0, 1]].concat()),
    ] {
        assert_eq!(code(&message), Some(ResponseCode::FormErr), "{what}");
    }
    let longest = [&good[..12], &[1, b'a'].repeat(127)[..], &[0, 0, 1, 0, 1]].concat();
    assert_eq!(code(&longest), None);
    for class in [0u16, 2, 3, 254, 255] {
        assert_eq!(code(&with(good.len() - 2, &class.to_be_bytes())), Some(ResponseCode::Refused));
    }
    assert_eq!(code(&[good.clone(), vec![0xff; 1000]].concat()), None, "what follows is not looked at");
}

#[test]
fn an_opt_record_is_answered_with_one() {
    let question = parse(&opt(question(1, "example.com", 1), 4096, 0, true)).unwrap();
    let reply = answer(&question, Transport::Udp, ResponseCode::NXDomain, vec![]).unwrap();
    let edns = Message::from_vec(&reply).unwrap().edns.unwrap();
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
}

#[test]
fn opt_records_that_cannot_be_are_refused() {
    let one = opt(question(1, "example.com", 1), 4096, 0, false);
    let mut two = opt(one.clone(), 4096, 0, false);
    two[11] = 2;
    assert_eq!(code(&two), Some(ResponseCode::FormErr));
    let Err(Unfit::Refuse(header, bad_version, _)) = parse(&opt(question(1, "a", 1), 512, 1, false)) else {
        unreachable!("version 1 does not exist")
    };
    assert_eq!(bad_version, ResponseCode::BADVERS);
    let reply = Message::from_vec(&refuse(header, bad_version).unwrap()).unwrap();
    assert_eq!((u16::from(reply.metadata.response_code), reply.edns.is_some()), (16, true));
    let mut cut = one;
    cut.pop();
    assert_eq!(code(&cut), Some(ResponseCode::FormErr));
    let mut named = question(1, "example.com", 1);
    named[11] = 1;
    named.extend([0xc0, 12, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(code(&named), Some(ResponseCode::FormErr));
}

fn texts(count: usize) -> Vec<Record> {
    let name = Name::from_ascii("example.com.").unwrap();
    let data = RData::TXT(TXT::new(vec!["x".repeat(200)]));
    vec![Record::from_rdata(name, 60, data); count]
}

#[test]
fn an_answer_too_large_for_a_datagram_says_so_and_fits_a_stream() {
    let plain = parsed("example.com", 16);
    let small = parse(&opt(question(7, "example.com", 16), 0, 0, false)).unwrap();
    let large = parse(&opt(question(7, "example.com", 16), 65_535, 0, false)).unwrap();
    for (question, count, truncated) in [
        (&plain, 2, false),
        (&plain, 3, true),
        (&small, 2, false),
        (&small, 3, true),
        (&large, 5, false),
        (&large, 6, true),
    ] {
        let reply = answer(question, Transport::Udp, ResponseCode::NoError, texts(count)).unwrap();
        assert!(reply.len() <= 1232);
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.metadata.truncation, truncated, "{count} records");
        assert_eq!(reply.answers.len(), if truncated { 0 } else { count });
        assert_eq!(reply.edns.is_some(), question.edns.is_some());
        let reply = answer(question, Transport::Tcp, ResponseCode::NoError, texts(count)).unwrap();
        assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), count);
    }
    let reply = answer(&plain, Transport::Tcp, ResponseCode::NoError, texts(400)).unwrap();
    assert!(reply.len() <= 65_535);
    let reply = Message::from_vec(&reply).unwrap();
    assert!(reply.metadata.truncation && reply.answers.len() > 200);
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_every_answer_can_be_read(
        start in proptest::sample::select(vec![vec![], question(1, "example.com", 1), opt(question(1, "a.b", 1), 512, 0, true)]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        tail in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut message = [start, tail].concat();
        for (at, byte) in changes {
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
            }
        }
        let reply = match parse(&message) {
            Err(Unfit::Ignore) => None,
            Err(Unfit::Refuse(header, code, _)) => Some(refuse(header, code).unwrap()),
            Ok(question) => Some(answer(&question, Transport::Udp, ResponseCode::NXDomain, vec![]).unwrap()),
        };
        if let Some(reply) = reply {
            prop_assert_eq!(&reply[..2], &message[..2]);
            prop_assert!(Message::from_vec(&reply).is_ok());
        }
    }
}
