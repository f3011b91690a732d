//! The target of questions to the resolver.

use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use npxc::net::dns::{
    Addresses, LookupKind, LookupOutcome, Options, Origin, Reaction, Responder, TcpFraming, Transport,
};
use npxc::net::pins::{Pins, is_ours};
use npxc::policy::{Policy, PolicySpec};

/// DNS: a stream of framed messages, each asked over UDP and TCP. Every answer can be read, carries the question's
/// number, and hands out nothing but npxc's own addresses or the guest's loopback.
pub(crate) fn dns(data: &[u8]) {
    let split = |piece: usize| {
        let mut framing = TcpFraming::new();
        let mut messages = Vec::new();
        for mut input in data.chunks(piece) {
            while let Some(message) = framing.next(&mut input) {
                messages.push(message);
            }
        }
        messages
    };
    let messages = split(1);
    assert_eq!(split(7), messages);
    let policy = Policy::new(PolicySpec {
        mode: npxc::policy::Mode::Allowlist,
        allow: vec!["example.com".parse().expect("a rule"), "*.wild.example".parse().expect("a rule")],
        ..PolicySpec::default()
    })
    .expect("a policy");
    let mut pins = Pins::new();
    let mut responder = Responder::new(Options { ipv6: true, addresses: Addresses::Virtual });
    let mut now = Instant::now();
    for (index, message) in messages.iter().chain([&data.to_vec()]).enumerate() {
        for transport in [Transport::Udp, Transport::Tcp] {
            now += Duration::from_millis(10);
            let origin = Origin(index as u64);
            let answers = match responder.query(now, origin, transport, message, &policy, &mut pins) {
                Reaction::Answer(answer) => vec![(origin, answer)],
                Reaction::Lookup(id, lookup) => {
                    let name = lookup.name.as_str();
                    assert!(
                        name.ends_with("example.com") || name.ends_with(".wild.example"),
                        "{name} leaves"
                    );
                    let outcome = match lookup.kind {
                        LookupKind::Address | LookupKind::Known => LookupOutcome::Addresses(Vec::new()),
                        LookupKind::Records(_) => LookupOutcome::NoRecords,
                    };
                    responder.answered(now, id, outcome, &policy, &mut pins)
                }
                Reaction::Wait | Reaction::Drop => Vec::new(),
            };
            for (_, answer) in answers {
                check_answer(message, &answer, transport);
            }
        }
        while let Some(event) = responder.poll_event() {
            let _ = format!("{event:?}");
        }
    }
    responder.finish();
}

fn check_answer(question: &[u8], answer: &[u8], transport: Transport) {
    assert!(transport == Transport::Tcp || answer.len() <= 1232);
    assert_eq!(answer[..2], question[..2]);
    let read = Message::from_vec(answer).expect("an answer can be read");
    for record in &read.answers {
        if let Some(address) = record.data.ip_addr() {
            assert!(is_ours(address) || address.is_loopback(), "{address} was handed out");
        }
    }
    assert!(read.metadata.response_code != ResponseCode::NoError || read.queries.len() == 1);
}
