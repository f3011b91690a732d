//! What an answer holds, and how it is put.

use super::*;

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
