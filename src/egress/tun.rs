//! The TUN link: packets of the guest's kernel, with its checksum and segmentation offloads.
//!
//! Each packet on an offloading device is preceded by a header that says what is unfinished in it
//! ([`npxc_link::virtio`]), in both directions.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use npxc_link::virtio::{self, HEADER};

use super::link::{Link, Received};
use crate::net::stack::{LinkProperties, Offload, Transmit};
use crate::runtime::TunLink;

/// The largest packet an IP length field can express.
const LARGEST: usize = 65_535;

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
            properties: LinkProperties { mtu: link.mtu, offload: link.vnet_hdr && link.tso, lossy: false },
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
            let Some((header, packet)) = self.sending.split_first_chunk_mut::<HEADER>() else { return };
            match offload {
                Offload::None => header.fill(0),
                Offload::Tcp(segment) => virtio::finish_by_kernel(header, &mut packet[..length], segment),
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
