#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::coalesce::Coalescer;
use crate::virtio::Header;

/// A TCP packet by its parts; checksums are 0.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) v6: bool,
    /// IPv4 options or an IPv6 destination options header; multiples of 4 and 8.
    pub(crate) extra: usize,
    pub(crate) options: Vec<[u8; 4]>,
    pub(crate) identification: u16,
    pub(crate) sequence: u32,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

impl Parts {
    pub(crate) fn transport(&self) -> usize {
        self.extra + if self.v6 { 40 } else { 20 }
    }

    pub(crate) fn headers(&self) -> usize {
        self.transport() + 20 + self.options.len() * 4
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let length = self.headers() + self.payload.len();
        let mut packet = vec![0_u8; self.transport()];
        if self.v6 {
            packet[0] = 0x60;
            packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
            packet[6..8].copy_from_slice(&[6, 64]);
            packet[8..24].copy_from_slice(&[0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
            packet[24..40].copy_from_slice(&[0xfe; 16]);
            if self.extra > 0 {
                // Destination options, all padding (PadN).
                packet[6] = 60;
                packet[40..44].copy_from_slice(&[6, (self.extra / 8 - 1) as u8, 1, (self.extra - 4) as u8]);
            }
        } else {
            packet[0] = 0x45 + (self.extra / 4) as u8;
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            packet[4..6].copy_from_slice(&self.identification.to_be_bytes());
            packet[8..10].copy_from_slice(&[64, 6]);
            packet[12..20].copy_from_slice(&[198, 18, 0, 1, 198, 18, 0, 2]);
            packet[20..].fill(1); // no operation
        }
        packet.extend_from_slice(&443_u16.to_be_bytes());
        packet.extend_from_slice(&50_000_u16.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&77_u32.to_be_bytes());
        packet.extend_from_slice(&[((5 + self.options.len()) << 4) as u8, self.flags, 1, 2, 0, 0, 0, 0]);
        packet.extend_from_slice(self.options.as_flattened());
        packet.extend_from_slice(&self.payload);
        packet
    }
}

/// One's complement sum of big-endian words, the slow way.
fn sum(bytes: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum
}

pub(crate) fn assert_checksums(packet: &[u8], transport: usize) {
    let v4 = packet[0] >> 4 == 4;
    if v4 {
        assert_eq!(sum(&packet[..transport]), 0xffff, "the IPv4 header");
    }
    let segment = &packet[transport..];
    let mut pseudo = if v4 { &packet[12..20] } else { &packet[8..40] }.to_vec();
    pseudo.extend_from_slice(&[0, 6]);
    pseudo.extend_from_slice(&(segment.len() as u32).to_be_bytes());
    pseudo.extend_from_slice(segment);
    assert_eq!(sum(&pseudo), 0xffff, "the TCP checksum");
}

fn parts() -> impl Strategy<Value = Parts> {
    (
        any::<bool>(),
        prop::sample::select(vec![0_usize, 8, 24]),
        prop::collection::vec(any::<[u8; 4]>(), 0..=10),
        any::<u16>(),
        any::<u32>(),
        prop::sample::select(vec![0x10_u8, 0x18, 0x11, 0x19, 0x90]),
        prop_oneof![0_usize..3000, 60_000_usize..65_300],
    )
        .prop_map(|(v6, extra, options, identification, sequence, flags, length)| {
            let payload = (0..length).map(|at| (at * 13 + length) as u8).collect();
            let mut parts = Parts { v6, extra, options, identification, sequence, flags, payload };
            let most = 65_535 - parts.headers();
            parts.payload.truncate(most);
            parts
        })
}

fn pieces(parts: &Parts, most: u16, mtu: u16) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    cut(&mut parts.packet(), parts.transport(), most, mtu, |piece| pieces.push(piece.to_vec())).unwrap();
    pieces
}

proptest! {
    #[test]
    fn every_piece_is_a_packet_and_together_they_are_the_segment(parts in parts(), most in 536_u16..1460) {
        let pieces = pieces(&parts, most, 9000);
        let (transport, headers) = (parts.transport(), parts.headers());
        let mut payload = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let last = number + 1 == pieces.len();
            assert_checksums(piece, transport);
            let length = if parts.v6 { word(piece, 4) as usize + 40 } else { word(piece, 2) as usize };
            prop_assert_eq!(length, piece.len());
            prop_assert!(last || piece.len() == headers + usize::from(most));
            let sequence = parts.sequence.wrapping_add(payload.len() as u32);
            prop_assert_eq!(double_word(piece, transport + 4), sequence);
            if !parts.v6 {
                prop_assert_eq!(word(piece, 4), parts.identification.wrapping_add(number as u16));
            }
            let mut flags = parts.flags;
            if !last {
                flags &= !0x09;
            }
            if number > 0 {
                flags &= !0x80;
            }
            prop_assert_eq!(piece[transport + 13], flags);
            payload.extend_from_slice(&piece[headers..]);
        }
        prop_assert_eq!(payload, parts.payload);
    }

    #[test]
    fn cutting_and_joining_is_the_identity(mut parts in parts(), most in 536_u16..1460) {
        // Extension headers and IP options are left alone by joining, CWR as well.
        parts.extra = 0;
        parts.flags &= !0x80;
        let pieces = pieces(&parts, most, 9000);
        let mut coalescer = Coalescer::new();
        for piece in &pieces {
            coalescer.room()[..piece.len()].copy_from_slice(piece);
            coalescer.commit(piece.len());
            prop_assert!(coalescer.finished().is_none() || piece == pieces.last().unwrap());
        }
        coalescer.close();
        let mut whole = coalescer.finished().unwrap().to_vec();
        coalescer.pop();
        prop_assert!(coalescer.finished().is_none());
        let header = Header::decode(whole.first_chunk().unwrap()).unwrap();
        let mut packet = whole.split_off(crate::virtio::HEADER);
        let checksum = parts.transport() + 16;
        if pieces.len() > 1 {
            prop_assert_eq!(header.segment.unwrap().get(), most);
            prop_assert!(crate::virtio::finish(&mut packet, header.checksum.unwrap()));
        } else {
            prop_assert_eq!(header, Header::default());
        }
        assert_checksums(&packet, parts.transport());
        let mut original = parts.packet();
        for at in [10, 11].into_iter().filter(|_| !parts.v6).chain([checksum, checksum + 1]) {
            (packet[at], original[at]) = (0, 0);
        }
        prop_assert_eq!(packet, original);
    }

    #[test]
    fn hostile_packets_are_refused_or_cut_within_bounds(
        mut packet in prop::collection::vec(any::<u8>(), 0..200),
        version in prop::sample::select(vec![4_u8, 6, 0]),
        transport in 0_usize..300,
        most in any::<u16>(),
        mtu in any::<u16>(),
    ) {
        if let Some(first) = packet.first_mut() {
            *first = version << 4 | *first & 0xf;
        }
        let length = packet.len();
        let mut total = 0;
        let _ = cut(&mut packet, transport, most, mtu, |piece| total += piece.len());
        prop_assert!(total <= length * 200);
    }
}

#[test]
fn no_piece_is_longer_than_the_link_takes() {
    let parts = Parts {
        v6: false,
        extra: 0,
        options: vec![[1; 4]; 3],
        identification: 65_535,
        sequence: u32::MAX - 100,
        flags: 0x18,
        payload: vec![3; 20_000],
    };
    let pieces = pieces(&parts, 9000, 1420);
    assert!(pieces.iter().all(|piece| piece.len() <= 1420));
    assert_eq!(pieces[0].len(), 1420);
    assert_eq!(word(&pieces[1], 4), 0, "identifications wrap around");
    assert_eq!(double_word(&pieces[1], 24), (u32::MAX - 100).wrapping_add(1368));
}

#[test]
fn descriptions_that_do_not_fit_are_refused() {
    let parts = Parts {
        v6: false,
        extra: 0,
        options: Vec::new(),
        identification: 0,
        sequence: 0,
        flags: 0x10,
        payload: vec![3; 100],
    };
    let refused = |packet: &mut [u8], transport, most, mtu| {
        assert_eq!(cut(packet, transport, most, mtu, |_| panic!("a piece")), Err(Malformed));
    };
    let mut packet = parts.packet();
    refused(&mut packet, 24, 500, 1420);
    refused(&mut packet, 20, 0, 1420);
    refused(&mut packet, 20, 500, 40);
    refused(&mut packet[..30], 20, 500, 1420);
    packet[32] = 0xf0;
    refused(&mut packet[..60], 20, 500, 1420);
    packet[32] = 0x40;
    refused(&mut packet, 20, 500, 1420);
    refused(&mut [], 0, 500, 1420);
}

#[test]
fn tcp_is_found_behind_plain_headers() {
    let mut parts = Parts {
        v6: false,
        extra: 8,
        options: Vec::new(),
        identification: 0,
        sequence: 0,
        flags: 0x10,
        payload: Vec::new(),
    };
    assert_eq!(tcp_at(&parts.packet()), Some(28));
    parts.v6 = true;
    assert_eq!(tcp_at(&parts.packet()), None);
    parts.extra = 0;
    assert_eq!(tcp_at(&parts.packet()), Some(40));
    assert_eq!(tcp_at(&[0x45; 3]), None);
    assert_eq!(tcp_at(&[]), None);
}
