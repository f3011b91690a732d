//! What each question gets, and what never leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod bounds;
mod verdicts;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record};

use super::testing::{opt, question};
use super::{Addresses, Lookup, LookupId, LookupKind, LookupOutcome, Options, Origin, Reaction, RecordKind};
use super::{Responder, Transport};
use crate::audit::Event;
use crate::net::pins::{MAX_NAMES, Pins};
use crate::policy::{HostName, Mode, Policy, PolicySpec};

const A: u16 = 1;
const PTR: u16 = 12;
const TXT_: u16 = 16;
const AAAA: u16 = 28;
const SRV_: u16 = 33;

/// A responder with everything it needs, in virtual time.
struct World {
    responder: Responder,
    policy: Policy,
    pins: Pins,
    now: Instant,
}

fn world(options: Options) -> World {
    let allow = ["example.com", "*.wild.example", "host.npxc.internal:5432"];
    let spec = PolicySpec {
        mode: Mode::Allowlist,
        allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..PolicySpec::default()
    };
    World {
        responder: Responder::new(options),
        policy: Policy::new(spec).unwrap(),
        pins: Pins::new(),
        now: Instant::now(),
    }
}

fn virtual_world() -> World {
    world(Options { ipv6: true, addresses: Addresses::Virtual })
}

fn real_world() -> World {
    world(Options { ipv6: true, addresses: Addresses::Real })
}

impl World {
    fn send(&mut self, origin: u64, message: &[u8]) -> Reaction {
        self.responder.query(self.now, Origin(origin), Transport::Udp, message, &self.policy, &mut self.pins)
    }

    fn ask(&mut self, name: &str, kind: u16) -> Reaction {
        self.send(1, &question(7, name, kind))
    }

    /// The immediate answer.
    fn answer(&mut self, name: &str, kind: u16) -> Message {
        match self.ask(name, kind) {
            Reaction::Answer(message) => Message::from_vec(&message).unwrap(),
            other => panic!("{name} {kind}: {other:?}"),
        }
    }

    fn lookup(&mut self, name: &str, kind: u16) -> (LookupId, Lookup) {
        match self.ask(name, kind) {
            Reaction::Lookup(id, lookup) => (id, lookup),
            other => panic!("{name} {kind}: {other:?}"),
        }
    }

    fn answered(&mut self, id: LookupId, outcome: LookupOutcome) -> Vec<(Origin, Message)> {
        let answers = self.responder.answered(self.now, id, outcome, &self.policy, &mut self.pins);
        answers.into_iter().map(|(origin, message)| (origin, Message::from_vec(&message).unwrap())).collect()
    }

    /// Question, lookup, answer.
    fn resolve(&mut self, name: &str, kind: u16, outcome: LookupOutcome) -> Message {
        let (id, _) = self.lookup(name, kind);
        let mut answers = self.answered(id, outcome);
        assert_eq!(answers.len(), 1);
        answers.remove(0).1
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.responder.poll_event()).collect()
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

fn is_empty(message: &Message) -> bool {
    code(message) == ResponseCode::NoError && message.answers.is_empty() && message.authorities.len() == 1
}

fn exists() -> LookupOutcome {
    LookupOutcome::Addresses(vec!["203.0.113.1".parse().unwrap()])
}

fn name(text: &str) -> HostName {
    HostName::from_ascii(text).unwrap()
}
