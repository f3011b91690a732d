//! Questions cost a bounded number of lookups, waiters, names and lines.

use super::*;

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
