#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::segment::tests::{Parts, assert_checksums};
use crate::virtio::Header;

fn data(sequence: u32, identification: u16, payload: usize) -> Parts {
    Parts {
        v6: false,
        extra: 0,
        options: Vec::new(),
        identification,
        sequence,
        flags: ACK,
        payload: vec![identification as u8; payload],
    }
}

/// The packets that come out, and how many bytes each is cut into.
fn through(packets: &[Vec<u8>]) -> Vec<(Vec<u8>, Option<u16>)> {
    let (mut coalescer, mut out) = (Coalescer::new(), Vec::new());
    let drain = |coalescer: &mut Coalescer, out: &mut Vec<_>| {
        while let Some(frame) = coalescer.finished() {
            let (header, packet) = frame.split_first_chunk().unwrap();
            out.push((packet.to_vec(), Header::decode(header).unwrap().segment.map(NonZeroU16::get)));
            coalescer.pop();
        }
    };
    for packet in packets {
        coalescer.room()[..packet.len()].copy_from_slice(packet);
        coalescer.commit(packet.len());
        drain(&mut coalescer, &mut out);
    }
    coalescer.close();
    drain(&mut coalescer, &mut out);
    out
}

/// How many packets come out of two that would be one, were it not for a change to the second.
fn second(change: impl FnOnce(&mut Vec<u8>)) -> usize {
    let mut other = data(1000, 2, 500).packet();
    change(&mut other);
    let packets = [data(0, 1, 1000).packet(), other];
    let out = through(&packets);
    if out.len() == 2 {
        assert_eq!(out, packets.map(|packet| (packet, None)), "what is not joined is not touched");
    }
    out.len()
}

#[test]
fn what_continues_a_connection_is_joined() {
    assert_eq!(second(|_| {}), 1);
    // PSH and FIN may be on the last.
    assert_eq!(second(|packet| packet[33] |= PSH | FIN), 1);
    // The time to live, the identification, the type of service.
    assert_eq!(second(|packet| packet[8] -= 1), 2);
    assert_eq!(second(|packet| packet[5] += 1), 2);
    assert_eq!(second(|packet| packet[1] = 3), 2);
    // A fragment.
    assert_eq!(second(|packet| packet[6] = 0x20), 2);
    assert_eq!(second(|packet| packet[7] = 1), 2);
    // Addresses and ports.
    assert_eq!(second(|packet| packet[15] += 1), 2);
    assert_eq!(second(|packet| packet[19] += 1), 2);
    assert_eq!(second(|packet| packet[21] += 1), 2);
    assert_eq!(second(|packet| packet[23] += 1), 2);
    // Out of order; another acknowledgement, window, flags, urgent pointer that is not looked at.
    assert_eq!(second(|packet| packet[27] += 1), 2);
    assert_eq!(second(|packet| packet[31] += 1), 2);
    assert_eq!(second(|packet| packet[35] += 1), 2);
    for flag in [0x02, 0x04, 0x20, 0x40, 0x80] {
        assert_eq!(second(|packet| packet[33] |= flag), 2, "flag {flag:#x}");
    }
    // No data; more than one of the first; a length that is not the packet's; another protocol.
    assert_eq!(second(|packet| *packet = data(1000, 2, 0).packet()), 2);
    assert_eq!(second(|packet| *packet = data(1000, 2, 1001).packet()), 2);
    assert_eq!(second(|packet| packet.push(0)), 2);
    assert_eq!(second(|packet| packet[9] = 17), 2);
    assert_eq!(second(|packet| packet.truncate(30)), 2);
    // Options, even where the headers are as long.
    assert_eq!(second(|packet| packet[32] = 6 << 4), 2);
}

#[test]
fn a_packet_that_may_not_be_cut_needs_no_identification() {
    let mut packets = [data(0, 0, 800).packet(), data(800, 0, 800).packet()];
    assert_eq!(through(&packets).len(), 2);
    for packet in &mut packets {
        packet[6] = DONT_FRAGMENT;
    }
    assert_eq!(through(&packets).len(), 1);
}

#[test]
fn timestamps_are_compared() {
    let mut parts = data(0, 1, 800);
    parts.options = vec![[1, 1, 8, 10], [0, 0, 0, 1], [0, 0, 0, 2]];
    let mut next = Parts { sequence: 800, identification: 2, ..parts.clone() };
    assert_eq!(through(&[parts.packet(), next.packet()]).len(), 1);
    next.options[1][3] += 1;
    assert_eq!(through(&[parts.packet(), next.packet()]).len(), 2);
}

#[test]
fn extension_headers_and_options_are_left_alone() {
    for v6 in [false, true] {
        let one = Parts { v6, extra: 8, ..data(0, 1, 800) };
        let other = Parts { v6, extra: 8, ..data(800, 2, 800) };
        let packets = [one.packet(), other.packet()];
        assert_eq!(through(&packets), packets.map(|packet| (packet, None)));
    }
}

#[test]
fn a_segment_ends_at_what_a_length_field_can_say() {
    let packets: Vec<_> =
        (0..100_u32).map(|number| data(number * 1400, number as u16, 1400).packet()).collect();
    let out = through(&packets);
    // 46 * 1400 + 40 bytes are the most below 65536.
    assert_eq!(out.iter().map(|(packet, _)| packet.len()).collect::<Vec<_>>(), [64_440, 64_440, 11_240]);
    assert!(out.iter().all(|(_, segment)| *segment == Some(1400)));
}

#[test]
fn a_rejected_datagram_leaves_what_is_gathered_whole() {
    let mut coalescer = Coalescer::new();
    let (one, other) = (data(0, 1, 1000).packet(), data(1000, 2, 1000).packet());
    coalescer.room()[..one.len()].copy_from_slice(&one);
    coalescer.commit(one.len());
    // Written to, then found to be nothing; and lent again without a word.
    coalescer.room()[..3000].fill(0xee);
    coalescer.commit(0);
    coalescer.room()[..3000].fill(0xdd);
    coalescer.room()[..other.len()].copy_from_slice(&other);
    coalescer.commit(other.len());
    coalescer.room()[..3000].fill(0xcc);
    coalescer.close();
    let frame = coalescer.finished().unwrap();
    assert_eq!(frame.len(), HEADER + 2040);
    assert!(frame[HEADER + 40..][..1000].iter().all(|byte| *byte == 1));
    assert!(frame[HEADER + 1040..].iter().all(|byte| *byte == 2));
}

#[test]
fn packets_can_be_taken_with_the_buffer() {
    let mut coalescer = Coalescer::new();
    let one = data(0, 1, 1000).packet();
    coalescer.room()[..one.len()].copy_from_slice(&one);
    coalescer.commit(one.len());
    assert!(coalescer.lend().is_none());
    coalescer.close();
    let (buffer, range) = coalescer.lend().unwrap();
    assert_eq!(buffer[range], one);
    coalescer.give_back(buffer);
    coalescer.pop();
    assert!(coalescer.lend().is_none());
}

#[derive(Debug, Clone)]
enum Sent {
    /// The next data of one of three connections, and whether it is v6.
    Data(usize, usize, u8),
    Bytes(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        8 => (0_usize..3, prop::sample::select(vec![0_usize, 1, 500, 1380, 1380, 1380, 1400]),
              prop::sample::select(vec![ACK, ACK, ACK, ACK | PSH, ACK | FIN, 0x02]))
            .prop_map(|(flow, length, flags)| Sent::Data(flow, length, flags)),
        1 => prop::collection::vec(any::<u8>(), 1..100).prop_map(Sent::Bytes),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_changed_or_reordered(sent in prop::collection::vec(sent(), 0..120)) {
        let mut sequences = [0_u32; 3];
        let packets: Vec<Vec<u8>> = sent.into_iter().enumerate().map(|(number, sent)| match sent {
            Sent::Data(flow, length, flags) => {
                let mut parts = data(sequences[flow], number as u16, length);
                (parts.v6, parts.flags) = (flow == 2, flags);
                sequences[flow] += length as u32;
                let mut packet = parts.packet();
                packet[parts.transport() + 1] = flow as u8;
                let transport = parts.transport();
                if flow != 2 {
                    virtio::finish_ipv4(&mut packet, 20);
                }
                virtio::finish_tcp(&mut packet, transport);
                packet
            }
            Sent::Bytes(bytes) => bytes,
        }).collect();
        let mut apart = Vec::new();
        for (mut packet, segment) in through(&packets) {
            let Some(segment) = segment else { apart.push(packet); continue };
            let transport = if packet[0] == 0x45 { 20 } else { 40 };
            crate::segment::cut(&mut packet, transport, segment, 9000, |piece| {
                assert_checksums(piece, transport);
                apart.push(piece.to_vec());
            }).unwrap();
        }
        prop_assert_eq!(apart, packets);
    }
}
