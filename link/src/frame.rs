//! Packets over a byte stream: each behind its length, four bytes, most significant first. Pure.
//!
//! On npxc's link a packet comes with the `virtio_net_hdr` that a TUN has in front of it, so that segmentation and
//! checksums stay what the two kernels agree on.

/// The largest packet that is taken: what an IP length field can express, and IPv6's header, which it does not
/// count.
pub const LARGEST: usize = 65_535 + 40;
/// Bytes of the length.
pub const PREFIX: usize = 4;

/// A length beyond [`LARGEST`], or 0: the stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLength(pub u32);

impl std::fmt::Display for BadLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a packet of {} bytes was announced on the link", self.0)
    }
}

impl std::error::Error for BadLength {}

/// What goes in front of a packet of `length` bytes: `None` when it is empty or too large to be sent.
pub fn prefix(length: usize) -> Option<[u8; PREFIX]> {
    (1..=LARGEST).contains(&length).then(|| (length as u32).to_be_bytes())
}

/// Takes packets out of a stream.
///
/// The order of calls: read into [`room`](Self::room), say how much by [`filled`](Self::filled), then
/// [`take`](Self::take) until there is none.
pub struct Decoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("held", &(self.end - self.start)).finish_non_exhaustive()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// One that has read nothing.
    pub fn new() -> Self {
        // Two of the largest, so that a large one is rarely moved.
        Self { buffer: vec![0; 2 * (PREFIX + LARGEST)].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Where to read to. Not empty once every packet has been taken.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// That many bytes of the room are filled.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The next packet, if all of it is there.
    pub fn take(&mut self) -> Result<Option<&[u8]>, BadLength> {
        let held = &self.buffer[self.start..self.end];
        let Some(prefix) = held.first_chunk::<PREFIX>() else { return Ok(None) };
        let announced = u32::from_be_bytes(*prefix);
        let length = announced as usize;
        if length == 0 || length > LARGEST {
            return Err(BadLength(announced));
        }
        let Some(packet) = held.get(PREFIX..PREFIX + length) else { return Ok(None) };
        self.start += PREFIX + length;
        Ok(Some(packet))
    }
}

/// Most bytes that wait for a stream that takes none: two hundred large segments. What comes beyond is dropped, as a
/// network card would, and TCP sends it again.
pub const MOST_WAITING: usize = 12 << 20;

/// Frames on their way into a stream that may take a part of them at a time.
#[derive(Debug, Default)]
pub struct Queue {
    buffer: Vec<u8>,
    start: usize,
    dropped: u64,
}

impl Queue {
    /// Appends one frame made of two parts; false when it was dropped: too large, empty, or too much waits.
    pub fn push(&mut self, head: &[u8], rest: &[u8]) -> bool {
        let length = head.len() + rest.len();
        let prefix = prefix(length).filter(|_| self.waiting().len() + PREFIX + length <= MOST_WAITING);
        let Some(prefix) = prefix else {
            self.dropped += 1;
            return false;
        };
        for part in [&prefix, head, rest] {
            self.buffer.extend_from_slice(part);
        }
        true
    }

    /// What is to be written next.
    pub fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The stream took that many bytes.
    pub fn written(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > self.buffer.len() / 2 {
            // Each byte is moved once at most for one that was written.
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(self.buffer.len() - self.start);
            self.start = 0;
        }
    }

    /// Frames that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 0..40),
            reads in prop::collection::vec(1_usize..5000, 1..20),
        ) {
            let mut stream = Vec::new();
            for packet in &packets {
                stream.extend_from_slice(&prefix(packet.len()).unwrap());
                stream.extend_from_slice(packet);
            }
            let (mut decoder, mut out, mut rest) = (Decoder::new(), Vec::new(), &stream[..]);
            for read in reads.into_iter().cycle() {
                let room = decoder.room();
                prop_assert!(!room.is_empty());
                let count = read.min(rest.len()).min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                decoder.filled(count);
                while let Some(packet) = decoder.take().unwrap() {
                    out.push(packet.to_vec());
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, packets);
        }
    }

    proptest! {
        #[test]
        fn a_queue_gives_what_it_got_however_little_is_taken(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..2000), 1..40),
            writes in prop::collection::vec(1_usize..3000, 1..20),
        ) {
            let (mut queue, mut decoder, mut out) = (Queue::default(), Decoder::new(), Vec::new());
            let mut writes = writes.into_iter().cycle();
            let mut left = packets.iter();
            loop {
                let next = left.next();
                if let Some(packet) = next {
                    let (head, rest) = packet.split_at(packet.len().min(10));
                    prop_assert!(queue.push(head, rest));
                }
                let count = writes.next().unwrap().min(queue.waiting().len());
                let count = count.min(decoder.room().len());
                decoder.room()[..count].copy_from_slice(&queue.waiting()[..count]);
                decoder.filled(count);
                queue.written(count);
                while let Some(packet) = decoder.take().unwrap() {
                    out.push(packet.to_vec());
                }
                if next.is_none() && queue.waiting().is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, packets);
        }
    }

    #[test]
    fn a_queue_that_nobody_empties_drops_and_counts() {
        let mut queue = Queue::default();
        let packet = vec![0; 60_000];
        let taken = std::iter::repeat_with(|| queue.push(&[], &packet)).take_while(|taken| *taken).count();
        assert_eq!(taken, MOST_WAITING / (PREFIX + packet.len()));
        assert!(queue.waiting().len() <= MOST_WAITING);
        assert_eq!(queue.dropped(), 1);
        assert!(!queue.push(&[], &[]) && !queue.push(&[0; 10], &vec![0; LARGEST]));
        queue.written(100_000);
        assert!(queue.push(&[], &packet));
    }

    #[test]
    fn the_largest_fit_and_larger_ones_end_the_stream() {
        let mut decoder = Decoder::new();
        let mut stream = prefix(LARGEST).unwrap().to_vec();
        stream.resize(PREFIX + LARGEST, 7);
        decoder.room()[..stream.len()].copy_from_slice(&stream);
        decoder.filled(stream.len());
        assert_eq!(decoder.take().unwrap().unwrap().len(), LARGEST);
        for bad in [0, LARGEST as u32 + 1, u32::MAX] {
            let mut decoder = Decoder::new();
            decoder.room()[..4].copy_from_slice(&bad.to_be_bytes());
            decoder.filled(4);
            assert_eq!(decoder.take(), Err(BadLength(bad)));
        }
        assert_eq!((prefix(0), prefix(LARGEST + 1)), (None, None));
    }
}
