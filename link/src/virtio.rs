//! `struct virtio_net_hdr` (Virtual I/O Device 1.3, section 5.1.6; `linux/virtio_net.h`) and the checksums that it
//! is about. Pure.
//!
//! A TUN that offloads puts this header in front of each packet, in native byte order. Packets the kernel gives
//! may have an unfinished checksum; packets written to it may too, marked `NEEDS_CSUM` with a pseudo-header sum in
//! place: Linux drops those that are marked `DATA_VALID` only.

use std::num::NonZeroU16;

/// Bytes of the header, without mergeable buffers.
pub const HEADER: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Explicit congestion notification within a segment; combined with the others.
const GSO_ECN: u8 = 0x80;
/// Offset of the checksum in a TCP header (RFC 9293, section 3.1).
pub(crate) const TCP_CHECKSUM: usize = 16;

/// What a packet's reader has to finish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// Where the unfinished checksum starts and its offset from there; `None` when it is finished.
    pub checksum: Option<(u16, u16)>,
    /// The payload bytes per segment, where this is a TCP segment to be cut.
    pub segment: Option<NonZeroU16>,
}

impl Header {
    /// Reads a header. `None` when it asks for what nobody offered: other kinds of segmentation.
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let segment = match bytes[1] & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 | GSO_TCPV6 => Some(NonZeroU16::new(word(4))?),
            _ => return None,
        };
        let checksum = (bytes[0] & NEEDS_CSUM != 0).then(|| (word(6), word(8)));
        Some(Self { checksum, segment })
    }
}

/// Writes the header that makes the guest's kernel finish a TCP packet's checksum and cut the segment, and the
/// pseudo-header sum it starts from into the packet. `packet` is IPv4 or IPv6 without options or extension headers;
/// for one too short to be that the header says "nothing to do".
pub fn finish_by_kernel(header: &mut [u8; HEADER], packet: &mut [u8], segment: Option<NonZeroU16>) {
    header.fill(0);
    let (ip_header, gso) = match packet.first().map(|byte| byte >> 4) {
        Some(4) => (20, GSO_TCPV4),
        _ => (40, GSO_TCPV6),
    };
    if packet.len() < ip_header + 20 {
        return;
    }
    let sum = fold(pseudo_header(packet, ip_header));
    let at = ip_header + TCP_CHECKSUM;
    packet[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    header[0] = NEEDS_CSUM;
    header[6..8].copy_from_slice(&(ip_header as u16).to_ne_bytes());
    header[8..10].copy_from_slice(&(TCP_CHECKSUM as u16).to_ne_bytes());
    if let Some(segment) = segment {
        let tcp_header = usize::from(packet[ip_header + 12] >> 4) * 4;
        header[1] = gso;
        header[2..4].copy_from_slice(&((ip_header + tcp_header) as u16).to_ne_bytes());
        header[4..6].copy_from_slice(&segment.get().to_ne_bytes());
    }
}

/// Finishes a checksum of which the pseudo-header sum is in place. False when it lies outside of the packet.
pub fn finish(packet: &mut [u8], (start, offset): (u16, u16)) -> bool {
    let start = usize::from(start);
    let at = start + usize::from(offset);
    if at + 2 > packet.len() {
        return false;
    }
    // 0 would say that there is no checksum, in UDP; the other zero stands for it (RFC 768).
    let sum = match !fold(sum(&packet[start..])) {
        0 => 0xffff,
        sum => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
    true
}

/// Finishes the checksum of a TCP packet with its TCP header at `transport`, whatever is in its place.
pub(crate) fn finish_tcp(packet: &mut [u8], transport: usize) {
    let at = transport + TCP_CHECKSUM;
    packet[at..at + 2].fill(0);
    let sum = !fold(pseudo_header(packet, transport) + sum(&packet[transport..]));
    packet[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}

/// Finishes the checksum of an IPv4 header of `length` bytes.
pub(crate) fn finish_ipv4(packet: &mut [u8], length: usize) {
    packet[10..12].fill(0);
    let sum = !fold(sum(&packet[..length]));
    packet[10..12].copy_from_slice(&sum.to_ne_bytes());
}

/// The sum of TCP's pseudo header (RFC 9293, section 3.1; RFC 8200, section 8.1) of a packet with its TCP header
/// at `transport`, which is at least the length of the IP header.
fn pseudo_header(packet: &[u8], transport: usize) -> u64 {
    let addresses = if packet[0] >> 4 == 4 { 12..20 } else { 8..40 };
    // One's complement sums do not care for the byte order, as long as it is one.
    let length = (packet.len() - transport) as u32;
    sum(&packet[addresses]) + u64::from(6_u16.to_be()) + u64::from(length.to_be())
}

/// A one's complement sum of 16-bit words in native byte order, not yet folded (RFC 1071, section 2).
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    if !rest.is_empty() {
        let mut word = [0; 4];
        word[..rest.len()].copy_from_slice(rest);
        total += u64::from(u32::from_ne_bytes(word));
    }
    total
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_segment_is_described_the_way_virtio_wants_it() {
        let mut packet = vec![0_u8; 20 + 32 + 3000];
        packet[0] = 0x45;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20 + 12] = 8 << 4;
        let mut header = [0_u8; HEADER];
        finish_by_kernel(&mut header, &mut packet, NonZeroU16::new(1448));
        assert_eq!(header[0], NEEDS_CSUM);
        assert_eq!(header[1], GSO_TCPV4);
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 52);
        assert_eq!(u16::from_ne_bytes([header[4], header[5]]), 1448);
        assert_eq!(u16::from_ne_bytes([header[6], header[7]]), 20);
        assert_eq!(u16::from_ne_bytes([header[8], header[9]]), 16);
        // 10.0.0.1 + 10.0.0.2 + protocol 6 + length 3032, as 16-bit words.
        let sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 6 + 3032;
        assert_eq!(u16::from_be_bytes([packet[36], packet[37]]), sum);
        let described = Header::decode(&header).unwrap();
        assert_eq!(described, Header { checksum: Some((20, 16)), segment: NonZeroU16::new(1448) });
    }

    #[test]
    fn what_nobody_offered_is_not_understood() {
        let mut header = [0; HEADER];
        assert_eq!(Header::decode(&header), Some(Header::default()));
        header[1] = 3; // UDP fragmentation
        assert_eq!(Header::decode(&header), None);
        header[1] = GSO_TCPV4; // into pieces of nothing
        assert_eq!(Header::decode(&header), None);
    }

    #[test]
    fn a_checksum_outside_of_the_packet_is_refused() {
        let mut packet = [0x45; 40];
        assert!(finish(&mut packet, (20, 18)));
        assert!(!finish(&mut packet, (20, 19)));
        assert!(!finish(&mut packet, (u16::MAX, u16::MAX)));
    }

    #[test]
    fn sums_are_those_of_rfc_1071() {
        // Section 3's example, and an odd number of bytes.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(u16::from_be(fold(sum(&example))), 0xddf2);
        assert_eq!(u16::from_be(fold(sum(&[1, 2, 3]))), 0x0102 + 0x0300);
        let long: Vec<u8> = (0..65_535_u32).map(|at| (at * 31) as u8).collect();
        let mut slow = 0_u64;
        for pair in long.chunks(2) {
            slow += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        assert_eq!(u16::from_be(fold(sum(&long))), fold(slow));
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        // The words sum up to 0xffff, whose complement is 0.
        let mut packet = [0; 8];
        packet[..2].copy_from_slice(&[0xff, 0xff]);
        assert!(finish(&mut packet, (0, 6)));
        assert_eq!(packet[6..], [0xff, 0xff]);
    }
}
