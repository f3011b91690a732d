//! Which names are answered for, and what is said about the others.

use super::*;

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
fn a_name_that_is_denied_while_it_is_looked_up_is_not_answered() {
    for (kind, outcome) in [(A, exists()), (AAAA, exists()), (TXT_, LookupOutcome::Records(Vec::new()))] {
        let mut world = virtual_world();
        let (id, _) = world.lookup("example.com", kind);
        world.policy = Policy::new(PolicySpec { mode: Mode::Allowlist, ..PolicySpec::default() }).unwrap();
        let (_, message) = world.answered(id, outcome).remove(0);
        assert!(code(&message) == ResponseCode::NXDomain && message.answers.is_empty(), "{kind}: {message}");
        let denied = |event: &Event| matches!(event, Event::Dns { reason: Some(_), .. });
        assert!(world.events().iter().any(denied), "{kind}");
    }
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
