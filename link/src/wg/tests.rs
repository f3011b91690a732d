#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Two ends, and what is on its way between them.
struct Pair {
    host: Tunnel,
    guest: Tunnel,
    to_host: VecDeque<Vec<u8>>,
    to_guest: VecDeque<Vec<u8>>,
    /// Packets that came out.
    at_host: Vec<Vec<u8>>,
    at_guest: Vec<Vec<u8>>,
}

fn here() -> SocketAddr {
    "127.0.0.1:5000".parse().unwrap()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    packet[9] = 17;
    packet.extend_from_slice(payload);
    packet
}

impl Pair {
    fn new() -> Self {
        let (host, guest) = key_pairs().unwrap();
        Self::with(&host, &guest)
    }

    fn with(host: &Keys, guest: &Keys) -> Self {
        Self {
            host: Tunnel::new(host, None),
            guest: Tunnel::new(guest, Some(25)),
            to_host: VecDeque::new(),
            to_guest: VecDeque::new(),
            at_host: Vec::new(),
            at_guest: Vec::new(),
        }
    }

    fn connected() -> Self {
        let mut pair = Self::new();
        pair.guest.connect(&mut |datagram| pair.to_host.push_back(datagram.to_vec()));
        pair.settle();
        assert!(pair.host.established() && pair.guest.established());
        pair
    }

    fn settle(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            if let Some(datagram) = self.to_host.pop_front() {
                let received = self.host.decrypt(here(), &datagram, &mut buffer, &mut |answer| {
                    self.to_guest.push_back(answer.to_vec());
                });
                if let Received::Packet(packet) = received {
                    self.at_host.push(packet.to_vec());
                }
            } else if let Some(datagram) = self.to_guest.pop_front() {
                let received = self.guest.decrypt(here(), &datagram, &mut buffer, &mut |answer| {
                    self.to_host.push_back(answer.to_vec());
                });
                if let Received::Packet(packet) = received {
                    self.at_guest.push(packet.to_vec());
                }
            } else {
                return;
            }
        }
    }

    fn guest_sends(&mut self, packet: &[u8]) {
        let mut room = vec![0; packet.len() + LEAST_ROOM];
        let length = self.guest.encrypt(packet, &mut room);
        if length > 0 {
            self.to_host.push_back(room[..length].to_vec());
        }
    }

    fn host_sends(&mut self, packet: &[u8]) {
        let mut room = vec![0; packet.len() + LEAST_ROOM];
        let length = self.host.encrypt(packet, &mut room);
        if length > 0 {
            self.to_guest.push_back(room[..length].to_vec());
        }
    }
}

fn hear(tunnel: &mut Tunnel, datagram: &[u8]) -> Received<'static> {
    let mut buffer = vec![0; 65_536];
    match tunnel.decrypt(here(), datagram, &mut buffer, &mut |_| {}) {
        Received::Packet(_) => panic!("a packet"),
        Received::Control => Received::Control,
        Received::Answered => Received::Answered,
        Received::Rejected(why) => Received::Rejected(why),
    }
}

#[test]
fn packets_go_both_ways_after_a_handshake() {
    let mut pair = Pair::connected();
    let (one, other) = (packet(b"up"), packet(&[7; 1400]));
    pair.guest_sends(&one);
    pair.host_sends(&other);
    pair.settle();
    assert_eq!(pair.at_host, [one]);
    assert_eq!(pair.at_guest, [other]);
}

#[test]
fn packets_wait_for_the_handshake_they_start_and_keep_their_order() {
    let mut pair = Pair::new();
    let packets: Vec<_> = (0_u8..10).map(|number| packet(&[number])).collect();
    for packet in &packets {
        pair.guest_sends(packet);
    }
    assert_eq!(pair.to_host.len(), 1, "one handshake");
    pair.settle();
    assert_eq!(pair.at_host, packets);
}

#[test]
fn packets_that_wait_are_bounded() {
    let mut pair = Pair::new();
    for _ in 0..1000 {
        pair.guest_sends(&packet(b"x"));
    }
    pair.settle();
    assert_eq!(pair.at_host.len(), 256);
}

#[test]
fn both_ends_may_start_at_once() {
    let mut pair = Pair::new();
    let (one, other) = (packet(b"from the guest"), packet(b"from the host"));
    pair.guest_sends(&one);
    pair.host_sends(&other);
    pair.settle();
    // One handshake may have displaced the other: what is sent then goes through.
    pair.guest_sends(&packet(b"2"));
    pair.settle();
    pair.host_sends(&packet(b"2"));
    pair.settle();
    assert!(pair.at_host.contains(&one) && pair.at_guest.contains(&other));
    assert_eq!(pair.at_host.last(), Some(&packet(b"2")));
    assert_eq!(pair.at_guest.last(), Some(&packet(b"2")));
}

#[test]
fn another_preshared_key_establishes_nothing() {
    let (host, mut guest) = key_pairs().unwrap();
    guest.preshared[0] ^= 1;
    let mut pair = Pair::with(&host, &guest);
    pair.guest_sends(&packet(b"secret"));
    pair.settle();
    assert!(!pair.host.established() && !pair.guest.established());
    assert!(pair.at_host.is_empty());
}

#[test]
fn a_stranger_is_not_answered() {
    let (host, _) = key_pairs().unwrap();
    let (_, mut stranger) = key_pairs().unwrap();
    let mut tunnel = Tunnel::new(&host, None);
    // Knows npxc's public key, but is not the peer.
    stranger.peer_public = PublicKey::from(&StaticSecret::from(host.private)).to_bytes();
    let mut sent = Vec::new();
    Tunnel::new(&stranger, None).connect(&mut |datagram| sent.push(datagram.to_vec()));
    assert_eq!(hear(&mut tunnel, &sent[0]), Received::Rejected(Rejection::Unauthentic));
    // Knows nothing.
    stranger.peer_public[3] ^= 1;
    Tunnel::new(&stranger, None).connect(&mut |datagram| sent.push(datagram.to_vec()));
    assert_eq!(hear(&mut tunnel, &sent[1]), Received::Rejected(Rejection::Unauthentic));
    assert!(!tunnel.established());
}

#[test]
fn a_replayed_datagram_is_rejected() {
    let mut pair = Pair::new();
    pair.guest.connect(&mut |datagram| pair.to_host.push_back(datagram.to_vec()));
    let initiation = pair.to_host[0].clone();
    pair.settle();
    assert_eq!(hear(&mut pair.host, &initiation), Received::Rejected(Rejection::Replayed));

    pair.guest_sends(&packet(b"once"));
    let datagram = pair.to_host[0].clone();
    pair.settle();
    assert_eq!(hear(&mut pair.host, &datagram), Received::Rejected(Rejection::Replayed));
    // Also when it is older than the window of 1024.
    for _ in 0..3000 {
        pair.guest_sends(&packet(b"more"));
    }
    pair.settle();
    assert_eq!(hear(&mut pair.host, &datagram), Received::Rejected(Rejection::Replayed));
    assert_eq!(pair.at_host.len(), 3001);
}

#[test]
fn reordered_datagrams_all_arrive() {
    let mut pair = Pair::connected();
    for number in 0_u8..200 {
        pair.guest_sends(&packet(&[number]));
    }
    pair.to_host = pair.to_host.drain(..).rev().collect();
    pair.settle();
    assert_eq!(pair.at_host.len(), 200);
}

#[test]
fn a_changed_datagram_is_rejected() {
    let mut pair = Pair::connected();
    pair.guest_sends(&packet(b"whole"));
    let datagram = pair.to_host.pop_front().unwrap();
    for at in [9, 16, datagram.len() - 1] {
        let mut changed = datagram.clone();
        changed[at] ^= 1;
        assert_eq!(hear(&mut pair.host, &changed), Received::Rejected(Rejection::Unauthentic), "byte {at}");
    }
    let mut changed = datagram.clone();
    changed[6] ^= 1;
    assert_eq!(hear(&mut pair.host, &changed), Received::Rejected(Rejection::NoSession));
}

#[test]
fn only_the_peer_is_taken_for_the_peer() {
    // What a caller does with the answers: an address becomes the peer's by Packet or Control alone.
    let (home, elsewhere): (SocketAddr, SocketAddr) = (here(), "127.0.0.1:6000".parse().unwrap());
    let mut pair = Pair::connected();
    let mut address = home;
    let mut hear = |pair: &mut Pair, from, datagram: &[u8]| {
        let mut buffer = vec![0; 2048];
        match pair.host.decrypt(from, datagram, &mut buffer, &mut |_| {}) {
            Received::Packet(_) | Received::Control => address = from,
            Received::Answered | Received::Rejected(_) => {}
        }
        address
    };
    pair.guest_sends(&packet(b"x"));
    let genuine = pair.to_host.pop_front().unwrap();
    let mut forged = genuine.clone();
    forged[20] ^= 1;
    assert_eq!(hear(&mut pair, elsewhere, &forged), home);
    assert_eq!(hear(&mut pair, elsewhere, &[]), home);
    pair.guest.connect(&mut |datagram| pair.to_host.push_back(datagram.to_vec()));
    let initiation = pair.to_host.pop_front().unwrap();
    assert_eq!(hear(&mut pair, elsewhere, &initiation), home, "an initiation alone proves no presence");
    assert_eq!(hear(&mut pair, elsewhere, &genuine), elsewhere, "the guest has moved");
    assert_eq!(hear(&mut pair, home, &genuine), elsewhere, "a replay moves nothing");
}

#[test]
fn many_handshakes_get_cookies_and_a_cookie_gets_through() {
    let mut pair = Pair::new();
    let mut answers = Vec::new();
    for _ in 0..12 {
        let mut initiation = Vec::new();
        pair.guest.connect(&mut |datagram| initiation = datagram.to_vec());
        let mut buffer = [0; 256];
        pair.host.decrypt(here(), &initiation, &mut buffer, &mut |answer| answers.push(answer.to_vec()));
    }
    let cookie = answers.last().unwrap().clone();
    assert_eq!(cookie[0], COOKIE, "more than ten in a second");
    // The guest uses the cookie in its next attempt, which is then answered with a handshake.
    assert_eq!(hear(&mut pair.guest, &cookie), Received::Answered);
    pair.guest.connect(&mut |datagram| pair.to_host.push_back(datagram.to_vec()));
    pair.settle();
    assert!(pair.host.established() && pair.guest.established());
}

#[test]
fn a_caught_panic_costs_the_session_and_nothing_else() {
    let mut pair = Pair::connected();
    assert!(caught(&mut pair.host.tunn, |_| panic!("as boringtun would")).is_none());
    pair.host.rebuild();
    assert_eq!(pair.host.panics(), 1);
    assert!(!pair.host.established());
    pair.guest_sends(&packet(b"lost"));
    pair.settle();
    assert!(pair.at_host.is_empty());
    pair.guest.connect(&mut |datagram| pair.to_host.push_back(datagram.to_vec()));
    pair.settle();
    pair.guest_sends(&packet(b"again"));
    pair.settle();
    assert_eq!(pair.at_host, [packet(b"again")]);
}

#[test]
fn a_packet_is_never_given_too_little_room() {
    let mut pair = Pair::connected();
    assert_eq!(pair.guest.encrypt(&packet(&[0; 100]), &mut [0; 151]), 0);
    assert_eq!(pair.guest.encrypt(&packet(&[]), &mut [0; 100]), 0);
    pair.guest_sends(&packet(&[0; 100]));
    let datagram = pair.to_host.pop_front().unwrap();
    let mut small = vec![0; datagram.len() - 1];
    let received = pair.host.decrypt(here(), &datagram, &mut small, &mut |_| {});
    assert_eq!(received, Received::Rejected(Rejection::Malformed));
    assert_eq!((pair.host.panics(), pair.guest.panics()), (0, 0));
}

#[test]
fn what_is_not_an_ip_packet_is_rejected() {
    let mut pair = Pair::connected();
    for junk in [&[0x45; 19][..], &[0x10; 40], &[0x60; 39], &[0]] {
        pair.guest_sends(junk);
        let datagram = pair.to_host.pop_front().unwrap();
        assert_eq!(hear(&mut pair.host, &datagram), Received::Rejected(Rejection::Malformed));
    }
    // A length field that says more, or nothing.
    let mut longer = packet(b"x");
    longer[3] = 200;
    pair.guest_sends(&longer);
    let datagram = pair.to_host.pop_front().unwrap();
    assert_eq!(hear(&mut pair.host, &datagram), Received::Rejected(Rejection::Malformed));
    let mut empty = packet(b"x");
    empty[2..4].fill(0);
    pair.guest_sends(&empty);
    let datagram = pair.to_host.pop_front().unwrap();
    assert_eq!(hear(&mut pair.host, &datagram), Received::Control);
}

#[test]
fn keys_do_not_show() {
    let (host, _) = key_pairs().unwrap();
    assert_eq!(format!("{host:?}"), "Keys(..)");
    assert!(!format!("{:?}", Tunnel::new(&host, None)).contains("rivate"));
}

proptest! {
    #[test]
    fn garbage_never_panics(
        kind in 0_u8..6,
        size in prop::sample::select(vec![0_usize, 1, 3, 4, 31, 32, 33, 63, 64, 91, 92, 147, 148, 149, 1500]),
        seed in any::<[u8; 32]>(),
        established in any::<bool>(),
    ) {
        let mut pair = if established { Pair::connected() } else { Pair::new() };
        let mut datagram: Vec<u8> = seed.iter().copied().cycle().take(size).collect();
        for (at, byte) in [kind, 0, 0, 0].into_iter().enumerate().take(size) {
            datagram[at] = byte;
        }
        let received = hear(&mut pair.host, &datagram);
        prop_assert!(matches!(received, Received::Rejected(_)));
        prop_assert_eq!(pair.host.panics(), 0);
    }
}
