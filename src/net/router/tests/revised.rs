//! A policy that changes while flows are open.

use super::*;

fn spec(allow: &[&str], deny: &[&str]) -> PolicySpec {
    PolicySpec { mode: Mode::Allowlist, allow: rules(allow), deny: rules(deny), ..PolicySpec::default() }
}

impl World {
    fn revise(&mut self, spec: PolicySpec) -> bool {
        let said = Event::PolicyChange {
            change: "test".to_owned(),
            allow: Vec::new(),
            allow_private: Vec::new(),
            deny: Vec::new(),
        };
        let policy = Policy::new(spec).unwrap();
        let revised = self.router.revise(self.now, policy, said, &mut self.wire);
        self.settle();
        revised
    }

    fn sent(&mut self, guest: SocketHandle) -> bool {
        let before: usize = self.far.values().map(|far| far.received.len()).sum();
        let _ = self.socket(guest).send_slice(b"\0more");
        self.settle();
        self.far.values().map(|far| far.received.len()).sum::<usize>() > before
    }
}

#[test]
fn what_is_allowed_later_works_from_then_on() {
    let mut world = World::new(&["203.0.113.5:25"]);
    let early = world.connect("203.0.113.6:25", 50_000);
    world.settle();
    assert_eq!(world.socket(early).state(), tcp::State::Closed);
    assert!(world.revise(spec(&["203.0.113.5:25", "203.0.113.6:25"], &[])));
    let later = world.connect("203.0.113.6:25", 50_001);
    world.settle();
    assert_eq!(world.socket(later).state(), tcp::State::Established);
    assert!(world.sent(later));
}

#[test]
fn what_is_denied_later_ends_and_nothing_else_does() {
    let mut world = World::new(&["203.0.113.5", "203.0.113.6", "example.com", "udp://203.0.113.5"]);
    let name = world.virtual_address("example.com");
    let (kept, gone) = (world.connect("203.0.113.5:25", 50_000), world.connect("203.0.113.6:25", 50_001));
    let named = world.connect(&format!("{name}:25"), 50_002);
    let datagram = raw_v4(17, 0, &[0xc3, 0x50, 0, 9, 0, 8, 0, 0]);
    world.router.receive(world.now, &datagram, true, &mut world.wire);
    world.settle();
    assert_eq!(world.far.len(), 4);
    // By its name's address, by its own, and by its protocol.
    assert!(world.revise(spec(
        &["203.0.113.5", "203.0.113.6", "example.com", "udp://203.0.113.5"],
        &["203.0.113.9", "203.0.113.6:25", "udp://203.0.113.5"],
    )));
    assert!(!world.sent(gone) && !world.sent(named) && world.sent(kept));
    for guest in [gone, named] {
        assert_eq!(world.socket(guest).state(), tcp::State::Closed, "reset");
    }
    assert_eq!(world.closes(), vec!["no longer allowed"; 3]);
    assert_eq!(world.router.flows(), 1);
}

#[test]
fn what_is_being_opened_is_judged_again() {
    let mut world = World::new(&["203.0.113.5"]);
    let guest = world.connect("203.0.113.5:25", 50_000);
    // The SYN has come and the dial is asked for, not made.
    let at = smoltcp::time::Instant::ZERO;
    world.guest.poll(at, &mut world.card, &mut world.sockets);
    let packets: Vec<Vec<u8>> = world.card.leaving.drain(..).collect();
    for packet in packets {
        world.router.receive(world.now, &packet, false, &mut world.wire);
    }
    assert_eq!(world.router.flows(), 1);
    assert!(world.revise(spec(&[], &[])));
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert_eq!(world.router.flows(), 0);
    assert_eq!(world.denials().len(), 1);
}

#[test]
fn a_published_port_stays_open_under_any_policy() {
    let mut world = World::new(&[]);
    let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.listen(8080).unwrap();
    let guest = world.sockets.add(socket);
    let id = world.router.publish(world.now, 8080, "127.0.0.1:50000".parse().unwrap()).unwrap();
    world.far.insert(id, Far::default());
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Established);
    assert!(world.revise(spec(&[], &["0.0.0.0/0"])));
    assert!(world.sent(guest));
}

#[test]
fn a_change_that_cannot_be_recorded_is_none() {
    let mut world = World::new(&[]);
    world.log.0.lock().unwrap().1 = true;
    assert!(!world.revise(spec(&["203.0.113.5"], &[])));
    world.log.0.lock().unwrap().1 = false;
    let guest = world.connect("203.0.113.5:25", 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
}

/// The SYN has come; what follows from it is not done yet.
fn begun(to: &str, world: &mut World) -> SocketHandle {
    let guest = world.connect(to, 50_000);
    world.guest.poll(smoltcp::time::Instant::ZERO, &mut world.card, &mut world.sockets);
    let packets: Vec<Vec<u8>> = world.card.leaving.drain(..).collect();
    for packet in packets {
        world.router.receive(world.now, &packet, false, &mut world.wire);
    }
    guest
}

#[test]
fn an_address_that_is_denied_while_its_name_is_looked_up_is_not_dialled() {
    let mut world = World::new(&["example.com"]);
    let name = world.virtual_address("example.com");
    let guest = begun(&format!("{name}:25"), &mut world);
    assert!(world.revise(spec(&["example.com"], &["203.0.113.0/24"])));
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert!(world.dials.is_empty() && world.lookups.len() == 1);
    assert_eq!(world.denials().len(), 1);
}

#[test]
fn an_address_that_is_denied_while_it_is_dialled_is_not_relayed() {
    let mut world = World::new(&["example.com"]);
    let name = world.virtual_address("example.com");
    let guest = begun(&format!("{name}:25"), &mut world);
    let Some(Action::Lookup(token, _)) = world.router.poll_action() else { panic!("no lookup") };
    let address: IpAddr = "203.0.113.9".parse().unwrap();
    world.router.resolved(world.now, token, LookupOutcome::Addresses(vec![address]), &mut world.wire);
    let Some(Action::Dial(id, candidates)) = world.router.poll_action() else { panic!("no dial") };
    assert_eq!(candidates[0].socket_addr().ip(), address);
    assert!(world.revise(spec(&["example.com"], &["203.0.113.9"])));
    world.router.connected(world.now, id, candidates[0].socket_addr(), &mut world.wire);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert_eq!((world.router.flows(), world.denials().len(), world.closes().len()), (0, 1, 0));
}
