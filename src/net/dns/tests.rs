//! What each question gets, and what never leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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
        let answers = self.responder.answered(self.now, id, outcome, &mut self.pins);
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

#[test]
fn an_allowed_name_that_exists_gets_its_virtual_address() {
    let mut world = virtual_world();
    let (id, lookup) = world.lookup("Example.COM", A);
    assert_eq!(lookup, Lookup { name: name("example.com"), kind: LookupKind::Address });
    let (origin, message) = world.answered(id, exists()).remove(0);
    assert_eq!(origin, Origin(1));
    assert_eq!((message.metadata.id, message.answers[0].name.to_ascii()), (7, "Example.COM.".to_owned()));
    assert_eq!(addresses(&message), ["198.18.1.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(message.answers[0].ttl, 60);

    // Known to exist: the next ones are answered at once, for both families.
    assert_eq!(addresses(&world.answer("example.com", A)), addresses(&message));
    let six = world.answer("example.com", AAAA);
    assert_eq!(addresses(&six), ["fd6e:7078:6300:1::1".parse::<IpAddr>().unwrap()]);
    world.later(61);
    world.lookup("example.com", A);
}

#[test]
fn aaaa_is_empty_unless_ipv6_is_on() {
    let mut world = world(Options::default());
    assert!(is_empty(&world.answer("example.com", AAAA)));
    assert_eq!(code(&world.answer("denied.example", AAAA)), ResponseCode::NXDomain);
}

#[test]
fn a_name_that_no_rule_names_gets_nothing_whatever_is_asked() {
    let mut world = virtual_world();
    for kind in [
        A, AAAA, 2, 5, 6, 10, PTR, 15, TXT_, SRV_, 35, 43, 48, 52, 64, 65, 99, 251, 252, 255, 256, 257,
        65_535,
    ] {
        for denied in
            ["denied.example", "example.com.evil.test", "evilexample.com", "wild.example", "sub.example.com"]
        {
            assert_eq!(code(&world.answer(denied, kind)), ResponseCode::NXDomain, "{denied} {kind}");
        }
    }
    assert!(world.pins.is_empty());
}

#[test]
fn a_denial_is_logged_with_its_reason_and_a_hint_that_works() {
    let mut world = virtual_world();
    world.answer("denied.example", A);
    let [Event::Dns { name, kind, answer, reason, hint, .. }] = &world.events()[..] else {
        panic!("one line")
    };
    assert_eq!((name.as_str(), kind.as_str(), answer.as_str()), ("denied.example", "A", "nxdomain"));
    assert!(reason.as_ref().unwrap().contains("denied.example"));
    assert_eq!(hint.as_deref(), Some("--allow denied.example"));
}

#[test]
fn names_that_are_none_get_nothing() {
    let mut world = virtual_world();
    for odd in
        ["127.0.0.1", "2130706433", "0x7f.1", "a b.wild.example", "-a.wild.example", "a..b", "%.wild.example"]
    {
        let message = question(7, odd, A);
        let Reaction::Answer(message) = world.send(1, &message) else { panic!("{odd}") };
        let code = code(&Message::from_vec(&message).unwrap());
        assert!(matches!(code, ResponseCode::NXDomain), "{odd} {code}");
    }
    let mut zero = question(7, "x.example.com", A);
    zero[13] = 0;
    let Reaction::Answer(message) = world.send(1, &zero) else { panic!("NUL") };
    assert_eq!(code(&Message::from_vec(&message).unwrap()), ResponseCode::NXDomain);
    assert_eq!(code(&world.answer("", 2)), ResponseCode::Refused);
    assert!(world.events().iter().all(|event| matches!(event, Event::Dns { reason: Some(_), .. })));
}

#[test]
fn upstreams_word_is_passed_on() {
    let mut world = virtual_world();
    let missing = world.resolve("example.com", A, LookupOutcome::NotFound);
    assert_eq!((code(&missing), missing.authorities.len()), (ResponseCode::NXDomain, 1));
    assert!(is_empty(&world.resolve("example.com", A, LookupOutcome::NoRecords)));
    let failed = world.resolve("example.com", A, LookupOutcome::Failed("timed out\n".into()));
    assert_eq!(code(&failed), ResponseCode::ServFail);
    assert!(world.pins.is_empty());
    let answers: Vec<String> = world
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Dns { answer, .. } = event { Some(answer) } else { None })
        .collect();
    assert_eq!(answers, ["nxdomain", "empty", "servfail"]);
}

#[test]
fn https_and_svcb_are_withheld_and_bulk_queries_not_implemented() {
    let mut world = virtual_world();
    for kind in [64, 65, 10, 2, 5, 6, 43, 48, 52] {
        assert!(is_empty(&world.answer("example.com", kind)), "{kind}");
    }
    for kind in [251, 252, 255] {
        assert_eq!(code(&world.answer("example.com", kind)), ResponseCode::NotImp, "{kind}");
    }
}

#[test]
fn records_are_passed_through_under_the_name_that_was_asked_for() {
    let mut world = virtual_world();
    let elsewhere = Name::from_ascii("elsewhere.test.").unwrap();
    let srv = SRV::new(1, 2, 443, Name::from_ascii("target.test.").unwrap());
    let records = vec![
        Record::from_rdata(elsewhere.clone(), 86_400, RData::CNAME(CNAME(elsewhere.clone()))),
        Record::from_rdata(elsewhere, 86_400, RData::SRV(srv)),
    ];
    let (id, lookup) = world.lookup("_db._tcp.Example.com", SRV_);
    assert_eq!(
        lookup,
        Lookup { name: name("_db._tcp.example.com"), kind: LookupKind::Records(RecordKind::Srv) }
    );
    let (_, message) = world.answered(id, LookupOutcome::Records(records)).remove(0);
    assert_eq!(message.answers.len(), 1, "only what was asked for");
    assert_eq!(
        (message.answers[0].name.to_ascii(), message.answers[0].ttl),
        ("_db._tcp.Example.com.".to_owned(), 300)
    );

    // The prefix stands for the name behind it in these types only, and two deep at most.
    assert_eq!(code(&world.answer("_db._tcp.example.com", A)), ResponseCode::NXDomain);
    assert_eq!(code(&world.answer("_a._b._c.example.com", TXT_)), ResponseCode::NXDomain);
    assert_eq!(code(&world.answer("_db._tcp.denied.example", SRV_)), ResponseCode::NXDomain);
    let txt = Record::from_rdata(Name::root(), 5, RData::TXT(TXT::new(vec!["v=1".to_owned()])));
    let message = world.resolve("_dmarc.example.com", TXT_, LookupOutcome::Records(vec![txt]));
    assert_eq!((message.answers.len(), message.answers[0].ttl), (1, 5));
    assert!(is_empty(&world.resolve("example.com", 15, LookupOutcome::Records(vec![]))));
}

#[test]
fn the_hosts_own_name_needs_a_rule_and_no_lookup() {
    let mut world = virtual_world();
    assert_eq!(addresses(&world.answer("host.npxc.internal", A)), ["198.18.1.1".parse::<IpAddr>().unwrap()]);
    assert!(is_empty(&world.answer("host.npxc.internal", TXT_)));
    world.policy = Policy::new(PolicySpec { mode: Mode::Open, ..PolicySpec::default() }).unwrap();
    assert_eq!(code(&world.answer("host.npxc.internal", A)), ResponseCode::NXDomain);
}

#[test]
fn localhost_is_the_guests_own() {
    let mut world = virtual_world();
    for local in ["localhost", "LocalHost", "a.b.localhost"] {
        assert_eq!(addresses(&world.answer(local, A)), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses(&world.answer(local, AAAA)), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(is_empty(&world.answer(local, TXT_)));
    }
    assert_eq!(code(&world.answer("notlocalhost", A)), ResponseCode::NXDomain);
}

#[test]
fn addresses_handed_out_lead_back_to_their_names() {
    let mut world = virtual_world();
    world.resolve("example.com", A, exists());
    let six = Name::from("fd6e:7078:6300:1::1".parse::<IpAddr>().unwrap()).to_ascii();
    for pointer in ["1.1.18.198.in-addr.arpa", six.as_str()] {
        let message = world.answer(pointer, PTR);
        let RData::PTR(target) = &message.answers[0].data else { panic!("{message}") };
        assert_eq!(target.0.to_ascii(), "example.com.");
    }
    for unknown in [
        "2.1.18.198.in-addr.arpa",
        "1.0.18.198.in-addr.arpa",
        "1.0.0.10.in-addr.arpa",
        "0.0.10.in-addr.arpa",
        "in-addr.arpa",
        "1.ip6.arpa",
    ] {
        assert_eq!(code(&world.answer(unknown, PTR)), ResponseCode::NXDomain, "{unknown}");
    }
    assert_eq!(world.answer("1.0.0.127.in-addr.arpa", PTR).answers.len(), 1);
}

#[test]
fn real_addresses_are_handed_out_and_pinned() {
    let mut world = real_world();
    let four: IpAddr = "203.0.113.1".parse().unwrap();
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let both = || LookupOutcome::Addresses(vec![four, six, "198.18.1.1".parse().unwrap()]);
    assert_eq!(addresses(&world.resolve("example.com", A, both())), [four]);
    assert_eq!(addresses(&world.resolve("example.com", AAAA, both())), [six]);
    world.resolve("a.wild.example", A, both());
    assert_eq!(world.pins.lookup(four).unwrap().names(), [name("example.com"), name("a.wild.example")]);
    assert_eq!(world.pins.lookup(six).unwrap().names(), [name("example.com")]);
    assert!(is_empty(&world.resolve("example.com", A, LookupOutcome::Addresses(vec![]))));
}

#[test]
fn identical_questions_share_one_lookup() {
    let mut world = virtual_world();
    let (id, _) = world.lookup("example.com", A);
    assert_eq!(world.ask("example.com", A), Reaction::Wait, "the client asks again");
    assert_eq!(world.send(2, &question(8, "EXAMPLE.com", A)), Reaction::Wait);
    assert_eq!(world.send(1, &question(9, "example.com", AAAA)), Reaction::Wait);
    let answers = world.answered(id, exists());
    let ids: Vec<_> = answers.iter().map(|(origin, message)| (origin.0, message.metadata.id)).collect();
    assert_eq!(ids, [(1, 7), (2, 8), (1, 9)]);
    assert!(addresses(&answers[1].1)[0].is_ipv4() && addresses(&answers[2].1)[0].is_ipv6());
    assert!(world.answered(id, exists()).is_empty(), "a late answer finds nobody");
}

#[test]
fn lookups_and_waiters_are_bounded() {
    let mut world = virtual_world();
    let mut ids = Vec::new();
    for index in 0..200 {
        ids.push(world.lookup(&format!("n{index}.wild.example"), A).0);
    }
    world.later(20);
    for index in 200..256 {
        ids.push(world.lookup(&format!("n{index}.wild.example"), A).0);
    }
    assert_eq!(code(&world.answer("more.wild.example", A)), ResponseCode::ServFail);
    for origin in 1..64 {
        assert_eq!(world.send(1 + origin, &question(7, "n0.wild.example", A)), Reaction::Wait);
    }
    let Reaction::Answer(_) = world.send(99, &question(7, "n0.wild.example", A)) else { panic!("too many") };
    assert!(
        world
            .events()
            .iter()
            .any(|event| matches!(event, Event::Limit { what, .. } if what == "dns-pending"))
    );

    // Lookups that never end are forgotten, and what they bring later is dropped.
    world.later(15);
    assert!(matches!(world.ask("more.wild.example", A), Reaction::Lookup(..)));
    assert!(world.answered(ids[0], exists()).is_empty());
    assert_eq!(world.answered(ids[255], exists()).len(), 1);
}

#[test]
fn different_names_below_a_wildcard_are_rationed() {
    let mut world = virtual_world();
    let mut looked_up = 0;
    for index in 0..1000 {
        match world.ask(&format!("{index:x}.data.wild.example"), A) {
            Reaction::Lookup(id, _) => {
                looked_up += 1;
                world.answered(id, LookupOutcome::NotFound);
            }
            Reaction::Answer(message) => {
                assert_eq!(code(&Message::from_vec(&message).unwrap()), ResponseCode::Refused);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(looked_up, 200);
    assert!(matches!(world.ask("0.data.wild.example", A), Reaction::Lookup(..)), "known names stay free");
    world.later(1);
    for index in 0..10 {
        assert!(matches!(world.ask(&format!("later{index}.wild.example"), A), Reaction::Lookup(..)));
    }
    assert!(matches!(world.ask("later10.wild.example", A), Reaction::Answer(_)));
    world.responder.finish();
    let limit: u64 = world
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Limit { what, count, .. } if what == "dns-names" => Some(*count),
            _ => None,
        })
        .sum();
    assert_eq!(limit, 801);
}

#[test]
fn a_full_pool_is_a_failure_that_is_logged() {
    let mut world = virtual_world();
    for index in 0..MAX_NAMES {
        world.pins.v4(&name(&format!("n{index}.example"))).unwrap();
    }
    assert_eq!(code(&world.resolve("example.com", A, exists())), ResponseCode::ServFail);
    assert!(world.events().iter().any(|event| matches!(event, Event::Limit { what, .. } if what == "pins")));
}

#[test]
fn a_flood_of_denials_is_counted_to_the_last_one() {
    let mut world = virtual_world();
    for round in 0..20_000u32 {
        world.answer(&format!("n{}.denied.example", round % 5000), A);
        if round % 100 == 0 {
            world.now += Duration::from_millis(50);
        }
    }
    world.responder.finish();
    let events = world.events();
    let lines = events.iter().filter(|event| matches!(event, Event::Dns { .. })).count() as u64;
    let counted: u64 = events
        .iter()
        .filter_map(|event| match event {
            Event::FlowDenySummary { count, protocol, code, .. } => {
                assert_eq!((protocol.as_str(), code.as_str()), ("dns", "name-not-allowed"));
                Some(*count)
            }
            _ => None,
        })
        .sum();
    assert_eq!(lines + counted, 20_000);
    assert!(lines < 1100 && events.len() < 1200, "{lines} lines");
}

#[test]
fn a_repeated_answer_is_one_line() {
    let mut world = virtual_world();
    world.resolve("example.com", A, exists());
    for _ in 0..100 {
        world.answer("example.com", A);
    }
    world.responder.finish();
    assert_eq!(world.events().len(), 1);
}

#[test]
fn responses_are_dropped_and_malformed_queries_answered() {
    let mut world = virtual_world();
    let mut response = question(7, "example.com", A);
    response[2] |= 0x80;
    assert_eq!(world.send(1, &response), Reaction::Drop);
    assert_eq!(world.send(1, &[]), Reaction::Drop);
    assert!(world.events().is_empty());
    let Reaction::Answer(message) = world.send(1, &question(7, "example.com", A)[..20]) else {
        panic!("FORMERR")
    };
    assert_eq!(&message[..4], &[0, 7, 0x81, 0x81]);
    assert!(matches!(&world.events()[..], [Event::Dns { answer, .. }] if answer == "formerr"));
}

#[test]
fn a_stream_gets_what_a_datagram_cannot_hold() {
    let mut world = virtual_world();
    let record = Record::from_rdata(Name::root(), 5, RData::TXT(TXT::new(vec!["x".repeat(250)])));
    let message = opt(question(7, "example.com", TXT_), 1232, 0, false);
    let (mut udp, mut tcp) = (None, None);
    for transport in [Transport::Udp, Transport::Tcp] {
        let reaction =
            world.responder.query(world.now, Origin(1), transport, &message, &world.policy, &mut world.pins);
        match reaction {
            Reaction::Lookup(id, _) => udp = Some(id),
            Reaction::Wait => tcp = Some(()),
            other => panic!("{other:?}"),
        }
    }
    assert!(tcp.is_some());
    let answers = world.answered(udp.unwrap(), LookupOutcome::Records(vec![record; 20]));
    let sizes: Vec<_> = answers.iter().map(|(_, m)| (m.metadata.truncation, m.answers.len())).collect();
    assert_eq!(sizes, [(true, 0), (false, 20)]);
}
