//! What a tunnel does over minutes and hours, in virtual time: keys are renewed, forgotten, and come back.
//!
//! The times are those of the WireGuard paper, section 6.1: renew after 120 s, reject after 180 s, give up after
//! 90 s of trying.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mock_instant::MockClock;
use npxc_link::wg::{LEAST_ROOM, Received, Tunnel, key_pairs};

const INITIATION: u8 = 1;
const DATA: u8 = 4;

/// Two ends, and a network between them that can fail.
struct World {
    now: Instant,
    host: Tunnel,
    guest: Tunnel,
    /// Seconds since the start.
    clock: u64,
    /// Which message types the network loses.
    loses: fn(u8) -> bool,
    /// When initiations were sent, by either end.
    initiations: Vec<u64>,
    at_host: usize,
    at_guest: usize,
    /// Datagrams on their way: to the host?
    flying: Vec<(bool, Vec<u8>)>,
}

fn packet() -> Vec<u8> {
    let mut packet = vec![0; 28];
    (packet[0], packet[3]) = (0x45, 28);
    packet
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

impl World {
    fn new(keepalive: Option<u16>) -> Self {
        MockClock::set_time(Duration::from_secs(1_000_000));
        let (host, guest) = key_pairs().expect("random numbers");
        let mut world = Self {
            now: Instant::now(),
            host: Tunnel::new(&host, None),
            guest: Tunnel::new(&guest, keepalive),
            clock: 0,
            loses: |_| false,
            initiations: Vec::new(),
            at_host: 0,
            at_guest: 0,
            flying: Vec::new(),
        };
        world.guest.connect(&mut |datagram| world.flying.push((true, datagram.to_vec())));
        world.deliver();
        assert!(world.host.established() && world.guest.established());
        world.initiations.clear();
        world
    }

    fn tick(&mut self) {
        MockClock::advance(Duration::from_secs(1));
        self.now += Duration::from_secs(1);
        self.clock += 1;
        self.guest.wake(self.now, &mut |datagram| self.flying.push((true, datagram.to_vec())));
        self.host.wake(self.now, &mut |datagram| self.flying.push((false, datagram.to_vec())));
        self.deliver();
    }

    fn idle(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.tick();
        }
    }

    fn send(&mut self, from_guest: bool) {
        let mut room = [0; LEAST_ROOM];
        let end = if from_guest { &mut self.guest } else { &mut self.host };
        let length = end.encrypt(&packet(), &mut room);
        if length > 0 {
            self.flying.push((from_guest, room[..length].to_vec()));
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while !self.flying.is_empty() {
            let (to_host, datagram) = self.flying.remove(0);
            if datagram[0] == INITIATION {
                self.initiations.push(self.clock);
            }
            if (self.loses)(datagram[0]) {
                continue;
            }
            let (end, count) = if to_host {
                (&mut self.host, &mut self.at_host)
            } else {
                (&mut self.guest, &mut self.at_guest)
            };
            let mut buffer = [0; 256];
            let mut answers = Vec::new();
            let received =
                end.decrypt(address(), &datagram, &mut buffer, &mut |answer| answers.push(answer.to_vec()));
            *count += usize::from(matches!(received, Received::Packet(_)));
            self.flying.extend(answers.into_iter().map(|answer| (!to_host, answer)));
        }
    }
}

#[test]
fn the_clock_is_ours() {
    let mut world = World::new(None);
    MockClock::advance(Duration::from_secs(181));
    assert!(world.guest.established(), "the timers have not run");
    world.idle(1);
    assert!(!world.guest.established());
}

#[test]
fn keys_are_renewed_every_two_minutes_and_no_packet_is_lost() {
    let mut world = World::new(Some(25));
    for _ in 0..3600 {
        world.tick();
        world.send(true);
        world.send(false);
    }
    assert_eq!((world.at_host, world.at_guest), (3600, 3600));
    let gaps: Vec<u64> = world.initiations.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 28, "{gaps:?}");
    assert!(gaps.iter().all(|gap| (119..=123).contains(gap)), "{gaps:?}");
}

#[test]
fn keys_are_renewed_when_only_the_host_sends() {
    let mut world = World::new(Some(25));
    for _ in 0..3600 {
        world.tick();
        world.send(false);
    }
    assert_eq!(world.at_guest, 3600);
    assert!(world.initiations.len() >= 18);
}

#[test]
fn old_keys_are_good_for_three_minutes_and_no_longer() {
    let mut world = World::new(None);
    let mut room = [0; LEAST_ROOM];
    let early = {
        let length = world.guest.encrypt(&packet(), &mut room);
        room[..length].to_vec()
    };
    let late = {
        let length = world.guest.encrypt(&packet(), &mut room);
        room[..length].to_vec()
    };
    // No handshake gets through.
    world.loses = |kind| kind != DATA;
    world.idle(179);
    world.flying.push((true, early));
    world.deliver();
    assert_eq!(world.at_host, 1, "within 180 s");
    world.send(true);
    assert_eq!(world.at_host, 2);
    world.idle(3);
    world.flying.push((true, late));
    world.deliver();
    world.send(true);
    world.send(false);
    assert_eq!((world.at_host, world.at_guest), (2, 0), "after 180 s");
    assert!(!world.host.established() && !world.guest.established());
}

#[test]
fn after_a_long_failure_the_next_packet_starts_again() {
    for from_guest in [true, false] {
        let mut world = World::new(None);
        world.loses = |_| true;
        for _ in 0..400 {
            world.tick();
            world.send(from_guest);
        }
        world.idle(600);
        let tried = world.initiations.len();
        // Given up: no more attempts, nothing to send.
        world.idle(300);
        assert_eq!(world.initiations.len(), tried);
        world.loses = |_| false;
        world.send(from_guest);
        assert_eq!(world.at_host + world.at_guest, 1, "the packet that started it");
        world.send(!from_guest);
        assert_eq!((world.at_host, world.at_guest), (1, 1));
    }
}

#[test]
fn an_end_that_keeps_the_tunnel_up_comes_back_by_itself() {
    let mut world = World::new(Some(25));
    world.loses = |_| true;
    world.idle(2000);
    assert!(!world.host.established() && !world.guest.established());
    world.loses = |_| false;
    world.idle(10);
    assert!(world.guest.established() && world.host.established());
    world.send(false);
    assert_eq!(world.at_guest, 1);
}

#[test]
fn an_idle_tunnel_is_kept_up_for_hours() {
    let mut world = World::new(Some(25));
    for _ in 0..240 {
        world.idle(60);
        world.send(false);
    }
    assert_eq!(world.at_guest, 240);
    // Never without keys for longer than it takes to make new ones.
    assert!(world.host.established());
}

#[test]
fn attempts_are_five_seconds_apart() {
    let mut world = World::new(None);
    world.loses = |_| true;
    world.idle(200);
    world.initiations.clear();
    world.send(true);
    world.idle(60);
    let gaps: Vec<u64> = world.initiations.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 9 && gaps.iter().all(|gap| (5..=6).contains(gap)), "{gaps:?}");
}
