//! The TUN link: packets of the guest's kernel, with its checksum and segmentation offloads.
//!
//! Each packet on an offloading device is preceded by a `struct virtio_net_hdr` (Virtual I/O Device 1.3,
//! section 5.1.6; `linux/virtio_net.h`), in native byte order. Packets the kernel gives may have an unfinished
//! checksum; packets npxc writes may too, marked `NEEDS_CSUM` with a pseudo-header sum in place: the guest's
//! kernel drops those marked `DATA_VALID` only.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use super::link::{Link, Received};
use crate::net::stack::{LinkProperties, Offload, Transmit};
use crate::runtime::TunLink;

/// `struct virtio_net_hdr` without mergeable buffers.
const HEADER: usize = 10;
/// The largest packet an IP length field can express.
const LARGEST: usize = 65_535;
const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Offset of the checksum in a TCP header (RFC 9293, section 3.1).
const TCP_CHECKSUM: usize = 16;

/// A TUN device, from npxc's side.
pub(super) struct Tun {
    fd: OwnedFd,
    header: usize,
    properties: LinkProperties,
    received: Vec<u8>,
    sending: Vec<u8>,
    failed_writes: u64,
}

impl Tun {
    pub(super) fn new(link: TunLink) -> Self {
        let header = if link.vnet_hdr { HEADER } else { 0 };
        Self {
            fd: link.fd,
            header,
            properties: LinkProperties { mtu: link.mtu, offload: link.vnet_hdr && link.tso },
            received: vec![0; HEADER + LARGEST],
            sending: vec![0; HEADER + LARGEST],
            failed_writes: 0,
        }
    }
}

impl Link for Tun {
    fn properties(&self) -> LinkProperties {
        self.properties
    }

    fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn receive(&mut self, _now: Instant) -> io::Result<Received> {
        let count = rustix::io::read(&self.fd, &mut self.received[..])?;
        let start = self.header.min(count);
        // The kernel vouches for packets it has just made or checked itself.
        let checksummed = self.header > 0 && self.received[0] != 0;
        Ok(Received { start, end: count, checksummed })
    }

    fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        self.received = buffer;
    }
}

impl Transmit for Tun {
    fn buffer(&mut self, length: usize) -> &mut [u8] {
        &mut self.sending[self.header..self.header + length]
    }

    fn send(&mut self, length: usize, offload: Offload) {
        if self.header > 0 {
            let (header, packet) = self.sending.split_at_mut(HEADER);
            header.fill(0);
            if let Offload::Tcp(segment) = offload {
                finish_by_kernel(header, &mut packet[..length], segment);
            }
        }
        // A TUN device takes or drops a packet at once; what it drops, TCP sends again.
        if rustix::io::write(&self.fd, &self.sending[..self.header + length]).is_err() {
            self.failed_writes += 1;
            if self.failed_writes.is_power_of_two() {
                tracing::debug!(failed = self.failed_writes, "the link did not take a packet");
            }
        }
    }
}

/// Writes the header that makes the guest's kernel finish the checksum and cut the segment, and the
/// pseudo-header sum it starts from (RFC 9293, section 3.1).
fn finish_by_kernel(header: &mut [u8], packet: &mut [u8], segment: Option<NonZeroU16>) {
    let (ip_header, addresses, gso) = match packet.first().map(|byte| byte >> 4) {
        Some(4) => (20, 12..20, GSO_TCPV4),
        _ => (40, 8..40, GSO_TCPV6),
    };
    if packet.len() < ip_header + 20 {
        return;
    }
    let length = (packet.len() - ip_header) as u32;
    let mut sum = 6 + (length >> 16) + (length & 0xffff);
    for pair in packet[addresses].chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let at = ip_header + TCP_CHECKSUM;
    packet[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
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

#[cfg(test)]
mod tests {
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
    }
}
