//! Packets that no honest guest sends reach nothing, break nothing and are counted.

use super::*;

#[test]
fn forged_sources_and_malformed_packets_are_dropped() {
    let mut world = World::new(&["203.0.113.5:443"]);
    world.connect("203.0.113.5:443", 50_000);
    let at = smoltcp::time::Instant::ZERO;
    world.guest.poll(at, &mut world.card, &mut world.sockets);
    let syn = world.card.leaving.pop_front().unwrap();
    let checksum = |packet: &mut Vec<u8>| {
        smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    };
    let mut forged = syn.clone();
    forged[15] = 77;
    checksum(&mut forged);
    let mut fragment = syn.clone();
    fragment[6] = 0x20;
    checksum(&mut fragment);
    let mut options = syn.clone();
    options[0] = 0x46;
    let mut wrong_checksum = syn.clone();
    *wrong_checksum.last_mut().unwrap() ^= 1;
    for packet in [forged, fragment, options, wrong_checksum, syn[..30].to_vec(), Vec::new(), vec![0x60; 40]]
    {
        world.router.receive(world.now, &packet, false, &mut world.wire);
    }
    assert!(world.wire.sent.is_empty() && world.router.flows() == 0);
    assert!(world.router.poll_action().is_none());
}

#[test]
fn a_guest_that_lies_costs_nobody_but_itself() {
    let mut world = World::new(&["203.0.113.5:443"]);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    // Every TCP header byte of a real segment, turned to every extreme.
    world.socket(guest).send_slice(&[9; 100]).unwrap();
    let at = smoltcp::time::Instant::ZERO;
    world.guest.poll(at, &mut world.card, &mut world.sockets);
    let segment = world.card.leaving.pop_front().unwrap();
    for position in 20..segment.len().min(60) {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut lie = segment.clone();
            lie[position] = value;
            world.router.receive(world.now, &lie, true, &mut world.wire);
            world.carry_out();
        }
    }
    // Another connection still works.
    let mut other = World::new(&["203.0.113.5:443"]);
    std::mem::swap(&mut other.router, &mut world.router);
    other.connect("203.0.113.5:443", 50_001);
    other.settle();
    assert_eq!(other.dials.len(), 1);
}

#[test]
fn a_flood_of_connections_is_bounded_and_passes() {
    let mut world = World::new(&["203.0.113.0/24"]);
    world.dial = |_| Err(DialError::TimedOut);
    for n in 0..6000_u16 {
        let packet = syn(n);
        world.router.receive(world.now, &packet, false, &mut world.wire);
        world.carry_out();
    }
    assert!(world.router.flows() <= MOST_FLOWS);
    world.wire.sent.clear();
    world.pass(TOMBSTONE + Duration::from_secs(1));
    assert_eq!(world.router.flows(), 0);
    world.dial = |candidates| Ok(candidates[0]);
    let guest = world.connect("203.0.113.5:443", 60_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Established);
}

#[test]
fn tcp_to_a_multicast_address_is_denied_even_on_the_resolvers_port() {
    // Found by fuzzing: a stack cannot have such an address, and refused it with a panic.
    for port in [53, 443] {
        for destination in ["230.18.0.1", "255.255.255.255"] {
            let mut world = World::new(&["0.0.0.0/0"]);
            let packet = syn_to(1, SocketAddr::new(destination.parse().unwrap(), port));
            world.router.receive(world.now, &packet, false, &mut world.wire);
            world.carry_out();
            assert_eq!(world.router.flows(), 0);
            assert_eq!(world.denials()[0].0, "multicast-not-allowed");
        }
    }
}

#[test]
fn questions_to_a_multicast_address_are_denied() {
    // Found by fuzzing: the answer came from that address.
    let mut world = World::new(&["example.com:443"]);
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 0, 2, 224, 0, 0, 251];
    packet.extend([0x14, 0xe9, 0, 53, 0, 20, 0, 0, 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    world.router.receive(world.now, &packet, true, &mut world.wire);
    assert!(world.wire.sent.is_empty());
    assert_eq!(world.denials()[0].0, "multicast-not-allowed");
}

fn syn(n: u16) -> Vec<u8> {
    syn_to(n, "203.0.113.5:443".parse().unwrap())
}

fn syn_to(n: u16, destination: SocketAddr) -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
    let tcp = TcpRepr {
        src_port: 1024 + n,
        dst_port: destination.port(),
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(i32::from(n)),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (from, to): (IpAddress, IpAddress) = (IpAddr::V4(GUEST_V4).into(), destination.ip().into());
    let ip = IpRepr::new(from, to, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet[..], &ChecksumCapabilities::default());
    let mut segment = TcpPacket::new_unchecked(&mut packet[ip.header_len()..]);
    tcp.emit(&mut segment, &from, &to, &ChecksumCapabilities::default());
    packet
}

fn raw_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(GUEST_V6.octets());
    packet.extend("2001:db8::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

/// What a guest without privileges cannot send, fed to the router all the same (attacks 27 and 28).
#[test]
fn no_other_protocol_fragment_or_extension_header_reaches_anything() {
    // Everything is allowed that a rule can allow.
    let mut world =
        World::new(&["203.0.113.0/24", "udp://203.0.113.0/24", "[2001:db8::/32]", "udp://[2001:db8::/32]"]);
    let tcp = &syn(1)[20..];
    // Header of an extension: next header TCP, length 0, padding; then a real SYN.
    let behind = |first: [u8; 8]| [&first[..], tcp].concat();
    let mut packets = Vec::new();
    for protocol in (0..=255).filter(|number| ![6, 17, 1].contains(number)) {
        packets.push(raw_v4(protocol, 0, tcp));
    }
    for next in (0..=255).filter(|number| ![6, 17, 58].contains(number)) {
        packets.push(raw_v6(next, &behind([6, 0, 1, 4, 0, 0, 0, 0])));
    }
    // Fragments: a first one, one that overlaps its header, a last one, one beyond the end, a whole one with DF and MF.
    for fragment in [0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff, 0x6000] {
        for protocol in [6, 17, 1] {
            packets.push(raw_v4(protocol, fragment, tcp));
        }
    }
    // ICMP that would be heard elsewhere: echo with a payload, redirect, unreachable, router advertisement.
    for kind in [0, 3, 5, 8, 9, 13] {
        let mut message = [&[kind, 0, 0, 0, 0, 1, 0, 1], &[7; 500][..]].concat();
        smoltcp::wire::Icmpv4Packet::new_unchecked(&mut message[..]).fill_checksum();
        packets.push(raw_v4(1, 0, &message));
    }
    for kind in [1, 2, 3, 4, 128, 129, 134, 137] {
        let mut message = [&[kind, 0, 0, 0, 0, 1, 0, 1], &[7; 500][..]].concat();
        let (from, to) = (GUEST_V6, "2001:db8::5".parse().unwrap());
        smoltcp::wire::Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&from, &to);
        packets.push(raw_v6(58, &message));
    }
    // Lengths that lie: shorter and longer than the packet, headers that end behind it.
    for (at, value) in
        [(2, 0xff), (3, 19), (3, 0xff), (0, 0x44), (0, 0x4f), (0, 0x05), (32, 0x10), (32, 0xf0)]
    {
        let mut lie = raw_v4(6, 0, tcp);
        lie[at] = value;
        if at > 0 {
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut lie[..]).fill_checksum();
        }
        packets.push(lie);
    }
    for length in [0_u16, 7, 10, 200] {
        packets.push(raw_v4(17, 0, &[&[4, 0, 0, 9][..], &length.to_be_bytes(), &[0, 0, 1]].concat()));
    }
    for packet in &packets {
        world.router.receive(world.now, packet, true, &mut world.wire);
        assert!(world.router.poll_action().is_none(), "{packet:x?}");
        assert_eq!(world.router.flows(), 0, "{packet:x?}");
    }
    // Denied with a line each, or dropped and counted: no packet is forgotten.
    world.router.finish(world.now);
    let log = world.log.0.lock().unwrap();
    let counted = log.0.iter().map(|event| match event {
        Event::FlowDeny { .. } => 1,
        Event::Limit { count, .. } => *count,
        _ => 0,
    });
    assert_eq!(counted.sum::<u64>(), packets.len() as u64);
}
