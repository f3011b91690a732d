//! What cannot be recorded does not happen.

use super::*;

#[test]
fn without_a_log_nothing_is_allowed() {
    let mut world = World::new(&["203.0.113.5:443"]);
    world.log.0.lock().unwrap().1 = true;
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert!(world.dials.is_empty());
}

#[test]
fn when_the_log_fails_open_flows_end_with_it() {
    let mut world = World::new(&["203.0.113.5", "udp://203.0.113.5", "example.com"]);
    let (busy, idle) = (world.connect("203.0.113.5:25", 50_000), world.connect("203.0.113.5:26", 50_001));
    let datagram = |port: u16| {
        raw_v4(17, 0, &[&[0xc3, 0x50], &port.to_be_bytes()[..], &[0, 12, 0, 0], b"what"].concat())
    };
    world.router.receive(world.now, &datagram(9), true, &mut world.wire);
    world.settle();
    assert_eq!(world.far.len(), 3);
    let associated = world.far.iter().find(|(_, far)| far.received == b"what").map(|(id, _)| *id).unwrap();

    world.log.0.lock().unwrap().1 = true;
    // What comes in the same round as the failure stays, too; and nothing wakes the idle one but that.
    for far in world.far.values_mut() {
        far.to_send.extend(b"unrecorded");
    }
    let ids: Vec<FlowId> = world.far.keys().copied().filter(|id| *id != associated).collect();
    ids.iter().take(1).for_each(|id| world.router.mark(*id));
    world.socket(busy).send_slice(b"unrecorded").unwrap();
    world.router.receive(world.now, &datagram(9), true, &mut world.wire);
    world.router.datagram(world.now, associated, b"unrecorded", &mut world.wire);
    assert!(world.wire.sent.is_empty() && world.router.poll_action().is_none());
    let question = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let header = [&[0xc3, 0x51, 0, 53, 0][..], &[8 + question.len() as u8, 0, 0], question].concat();
    world.router.receive(world.now, &raw_v4(17, 0, &header), true, &mut world.wire);
    let answer = world.wire.sent.pop_front().unwrap();
    assert_eq!(answer[20 + 8 + 3] & 15, 2, "SERVFAIL");
    world.settle();
    for guest in [busy, idle] {
        assert_eq!(world.socket(guest).state(), tcp::State::Closed, "reset");
        assert_eq!(world.socket(guest).recv_queue(), 0);
    }
    assert!(world.lookups.is_empty() && world.far.is_empty() && world.router.flows() == 0);
    assert_eq!(world.released.iter().filter(|(_, how)| *how == How::Refused).count(), 3);
}
