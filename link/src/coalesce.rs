//! Joins consecutive packets of one TCP connection to one large segment: segmentation the other way. Pure.
//!
//! Packets are written into the [`Coalescer`]'s own buffer, so that the payload of a packet that continues the one
//! before is in its place at once: its headers lie over the last bytes of what is gathered, which are kept aside
//! meanwhile. The rules are those of Linux's receive offload (`net/ipv4/tcp_offload.c`): only data, in order, with
//! the same headers but for length, checksums, identification, sequence, FIN and PSH; all but the last of one size.
//! Checksums are not verified: packets come out of a tunnel that authenticates them.

use std::num::NonZeroU16;
use std::ops::Range;

use crate::segment::{double_word, word};
use crate::virtio::{self, HEADER};

/// What an IP length field can express.
const LARGEST: usize = 65_535;
/// IPv4 without options or IPv6 without extension headers, and the longest TCP header.
const MOST_HEADERS: usize = 40 + 60;
/// TCP flags.
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Gathers packets.
///
/// For each packet: [`room`](Self::room), [`commit`](Self::commit), then, while there is one,
/// [`finished`](Self::finished) and [`pop`](Self::pop). After the last packet for now: [`close`](Self::close) and
/// the same again. Packets come out in the order they came in.
pub struct Coalescer {
    /// A virtio header and the gathered packet; behind it, room for the next.
    buffer: Vec<u8>,
    /// Length of the gathered packet, 0 for none.
    length: usize,
    /// What continues it, if it can be continued.
    run: Option<Run>,
    /// How many packets were joined.
    joined: usize,
    finished: bool,
    /// The bytes that the next packet's headers lie over, while room is lent; that packet's headers, while it waits.
    aside: [u8; MOST_HEADERS],
    lent: bool,
    /// Length of the packet that waits for the gathered one to be taken.
    waiting: usize,
}

/// What the next packet of a connection has to look like.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Lengths of the IP header and of all headers.
    transport: usize,
    headers: usize,
    /// Payload per packet.
    segment: NonZeroU16,
    sequence: u32,
    /// The last one's.
    identification: u16,
}

impl std::fmt::Debug for Coalescer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coalescer")
            .field("length", &self.length)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new()
    }
}

impl Coalescer {
    /// An empty one. Takes 128 KiB of address space, of which what is used becomes memory.
    pub fn new() -> Self {
        Self {
            // Two of the largest: one gathered, one behind it.
            buffer: vec![0; HEADER + 2 * (LARGEST + 1)],
            length: 0,
            run: None,
            joined: 0,
            finished: false,
            aside: [0; MOST_HEADERS],
            lent: false,
            waiting: 0,
        }
    }

    /// Where the next packet is to be written: room for 65536 bytes. Not while there is a finished one.
    pub fn room(&mut self) -> &mut [u8] {
        self.put_back();
        let start = self.next_start();
        if let Some(run) = &self.run {
            self.aside[..run.headers].copy_from_slice(&self.buffer[start..start + run.headers]);
            self.lent = true;
        }
        &mut self.buffer[start..=start + LARGEST]
    }

    /// The first `length` bytes of the room are a packet; 0: there is none after all, whatever was written.
    pub fn commit(&mut self, length: usize) {
        if length == 0 || self.finished {
            return self.put_back();
        }
        let start = self.next_start();
        let packet = &self.buffer[start..start + length];
        let Some(run) = self.run else {
            self.length = length;
            return self.begin();
        };
        if let Some(payload) = run.continued_by(&self.buffer[HEADER..HEADER + run.headers], packet)
            && self.length + payload <= LARGEST
        {
            let flags = packet[run.transport + 13];
            self.put_back();
            self.buffer[HEADER + run.transport + 13] |= flags;
            self.length += payload;
            self.joined += 1;
            self.finished = payload < usize::from(run.segment.get()) || flags & (FIN | PSH) != 0;
            self.run = Some(Run {
                sequence: run.sequence.wrapping_add(payload as u32),
                identification: run.identification.wrapping_add(1),
                ..run
            });
        } else {
            // Exchange: the gathered packet is whole again, the other's headers are aside.
            self.buffer[start..start + run.headers].swap_with_slice(&mut self.aside[..run.headers]);
            self.lent = false;
            self.waiting = length;
            self.finished = true;
        }
    }

    /// No more packets for now.
    pub fn close(&mut self) {
        self.put_back();
        self.finished |= self.length > 0;
    }

    /// Whether a packet is complete.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// A packet that is complete, behind its virtio header: written to a TUN as it is, or without the header read
    /// as a packet whose TCP checksum is not to be looked at.
    pub fn finished(&mut self) -> Option<&[u8]> {
        let range = self.finish()?;
        Some(&self.buffer[range.start - HEADER..range.end])
    }

    /// The same without the header, moved out together with the buffer, which has to come back by
    /// [`Coalescer::give_back`] before anything else is called.
    pub fn lend(&mut self) -> Option<(Vec<u8>, Range<usize>)> {
        let range = self.finish()?;
        Some((std::mem::take(&mut self.buffer), range))
    }

    /// Gives back what [`Coalescer::lend`] lent.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    fn finish(&mut self) -> Option<Range<usize>> {
        if !self.finished {
            return None;
        }
        // `None` while the buffer is lent.
        let (header, packet) = self.buffer.split_first_chunk_mut::<HEADER>()?;
        let packet = &mut packet[..self.length];
        header.fill(0);
        if let Some(run) = self.run.filter(|_| self.joined > 1) {
            if run.transport == 20 {
                packet[2..4].copy_from_slice(&(self.length as u16).to_be_bytes());
                virtio::finish_ipv4(packet, 20);
            } else {
                packet[4..6].copy_from_slice(&((self.length - 40) as u16).to_be_bytes());
            }
            virtio::finish_by_kernel(header, packet, Some(run.segment));
        }
        Some(HEADER..HEADER + self.length)
    }

    /// Forgets the finished packet; the one that waited for that takes its place.
    pub fn pop(&mut self) {
        let headers = self.run.map_or(0, |run| run.headers);
        let behind = HEADER + self.length;
        self.length = std::mem::take(&mut self.waiting);
        self.finished = false;
        if self.length > 0 {
            let aside = headers.min(self.length);
            self.buffer[HEADER..HEADER + aside].copy_from_slice(&self.aside[..aside]);
            self.buffer.copy_within(behind..behind + self.length - aside, HEADER + aside);
            self.begin();
        } else {
            self.run = None;
        }
    }

    fn begin(&mut self) {
        self.joined = 1;
        self.run = Run::begun_by(&self.buffer[HEADER..HEADER + self.length]);
        self.finished = self.run.is_none();
    }

    /// The room begins where the next packet's payload continues the gathered one.
    fn next_start(&self) -> usize {
        HEADER + self.length - self.run.map_or(0, |run| run.headers)
    }

    fn put_back(&mut self) {
        if std::mem::take(&mut self.lent) {
            let (start, headers) = (self.next_start(), self.run.map_or(0, |run| run.headers));
            self.buffer[start..start + headers].copy_from_slice(&self.aside[..headers]);
        }
    }
}

impl Run {
    /// The run that a packet can begin: data without anything special about it, and more may follow.
    fn begun_by(packet: &[u8]) -> Option<Self> {
        let (transport, headers) = plain_tcp(packet)?;
        let payload = packet.len() - headers;
        if packet[transport + 13] != ACK {
            return None;
        }
        Some(Self {
            transport,
            headers,
            segment: NonZeroU16::new(u16::try_from(payload).ok()?)?,
            sequence: double_word(packet, transport + 4).wrapping_add(payload as u32),
            identification: word(packet, 4),
        })
    }

    /// The payload of a packet that continues this run, whose first packet's headers are `first`.
    fn continued_by(&self, first: &[u8], packet: &[u8]) -> Option<usize> {
        let (transport, headers) = plain_tcp(packet)?;
        let payload = packet.len() - headers;
        let tcp = transport;
        let same = transport == self.transport
            && headers == self.headers
            && payload > 0
            && payload <= usize::from(self.segment.get())
            && if transport == 20 { self.same_v4(first, packet) } else { same_v6(first, packet) }
            // Ports; acknowledgement and data offset; window; options.
            && first[tcp..tcp + 4] == packet[tcp..tcp + 4]
            && double_word(packet, tcp + 4) == self.sequence
            && first[tcp + 8..tcp + 13] == packet[tcp + 8..tcp + 13]
            && packet[tcp + 13] & !(FIN | PSH) == ACK
            && first[tcp + 14..tcp + 16] == packet[tcp + 14..tcp + 16]
            && first[tcp + 20..headers] == packet[tcp + 20..headers];
        same.then_some(payload)
    }

    /// Type of service, flags, time to live and addresses; the identification counts up, or does not matter,
    /// because the packet may not be cut (RFC 6864).
    fn same_v4(&self, first: &[u8], packet: &[u8]) -> bool {
        first[1] == packet[1]
            && first[6..9] == packet[6..9]
            && first[12..20] == packet[12..20]
            && (packet[6] & DONT_FRAGMENT != 0 || word(packet, 4) == self.identification.wrapping_add(1))
    }
}

const DONT_FRAGMENT: u8 = 0x40;

/// Traffic class and flow label, next header and hop limit, addresses.
fn same_v6(first: &[u8], packet: &[u8]) -> bool {
    first[..4] == packet[..4] && first[6..40] == packet[6..40]
}

/// The lengths of the IP header and of all headers of a TCP packet without IP options, extension headers or
/// fragmentation, whose length is the one it says.
fn plain_tcp(packet: &[u8]) -> Option<(usize, usize)> {
    let transport = match packet.first()? {
        0x45 if packet.len() >= 40
            && packet[9] == 6
            && usize::from(word(packet, 2)) == packet.len()
            && word(packet, 6) & 0xbfff == 0 =>
        {
            20
        }
        0x60..=0x6f
            if packet.len() >= 60 && packet[6] == 6 && usize::from(word(packet, 4)) + 40 == packet.len() =>
        {
            40
        }
        _ => return None,
    };
    let headers = transport + usize::from(packet[transport + 12] >> 4) * 4;
    (headers >= transport + 20 && headers <= packet.len()).then_some((transport, headers))
}

#[cfg(test)]
mod tests;
