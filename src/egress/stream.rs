//! The link over a byte stream, where no descriptor crosses: the guest's TUN packets, framed ([`npxc_link::frame`]), on
//! a unix socket that a virtual machine's relay carries.
//!
//! What comes is as hostile as the packets of any guest. Its headers are believed in one thing, as a TUN's are: that a
//! checksum need not be looked at. The stream's end is not the link's: the guest's end is learnt elsewhere.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use npxc_link::frame::{Decoder, LARGEST as LARGEST_FRAME, Queue};
use npxc_link::virtio::{self, HEADER};
use rustix::io::Errno;

use super::link::{Link, Received};
use crate::net::stack::{LinkProperties, Offload, Transmit};
use crate::runtime::StreamLink;

/// The largest packet an IP length field can express.
const LARGEST: usize = 65_535;
/// What is collected before it is written: a turn's packets in few system calls.
const ENOUGH: usize = 256 << 10;

/// npxc's end of a framed link.
pub(super) struct Stream {
    socket: UnixStream,
    properties: LinkProperties,
    decoder: Decoder,
    queue: Queue,
    /// A packet's buffer, between `receive` and `give_back`.
    received: Vec<u8>,
    sending: Vec<u8>,
    /// The other end is gone.
    ended: bool,
}

impl Stream {
    pub(super) fn new(link: StreamLink) -> io::Result<Self> {
        link.socket.set_nonblocking(true)?;
        Ok(Self {
            socket: link.socket,
            properties: LinkProperties { mtu: link.mtu, offload: link.tso, lossy: false },
            decoder: Decoder::new(),
            queue: Queue::default(),
            received: Vec::with_capacity(LARGEST_FRAME),
            sending: vec![0; LARGEST],
            ended: false,
        })
    }

    /// Writes what waits, as far as the socket takes it.
    fn write(&mut self) {
        while !self.ended && !self.queue.waiting().is_empty() {
            match rustix::io::write(&self.socket, self.queue.waiting()) {
                Ok(count) => self.queue.written(count),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => self.end(error),
            }
        }
    }

    fn end(&mut self, error: Errno) {
        tracing::debug!(%error, "the link's stream has ended");
        self.ended = true;
        self.queue = Queue::default();
    }
}

impl Link for Stream {
    fn properties(&self) -> LinkProperties {
        self.properties
    }

    fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn awaits_room(&self) -> bool {
        true
    }

    fn receive(&mut self, _now: Instant) -> io::Result<Received> {
        loop {
            if let Some(frame) = self.decoder.take().map_err(io::Error::other)? {
                self.received.clear();
                self.received.extend_from_slice(frame);
                let (start, end) = (HEADER.min(frame.len()), frame.len());
                // The guest's kernel vouches for packets it has just made or checked itself.
                return Ok(Received { start, end, checksummed: frame[0] != 0 });
            }
            if self.ended {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            match rustix::io::read(&self.socket, self.decoder.room()) {
                Ok(0) => self.end(Errno::PIPE),
                Ok(count) => self.decoder.filled(count),
                Err(error @ (Errno::AGAIN | Errno::INTR)) => return Err(error.into()),
                Err(error) => self.end(error),
            }
        }
    }

    fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        self.received = buffer;
    }

    fn flush(&mut self) {
        self.write();
    }
}

impl Transmit for Stream {
    fn buffer(&mut self, length: usize) -> &mut [u8] {
        &mut self.sending[..length]
    }

    fn send(&mut self, length: usize, offload: Offload) {
        if self.ended {
            return;
        }
        let mut header = [0; HEADER];
        let packet = &mut self.sending[..length];
        match offload {
            Offload::None => {}
            Offload::Tcp(segment) => virtio::finish_by_kernel(&mut header, packet, segment),
        }
        if !self.queue.push(&header, packet) && self.queue.dropped().is_power_of_two() {
            tracing::debug!(dropped = self.queue.dropped(), "the link did not take a packet");
        }
        if self.queue.waiting().len() >= ENOUGH {
            self.write();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};

    use super::*;

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::new(StreamLink { socket: ours, tso: true, mtu: 1500 }).unwrap(), theirs)
    }

    fn frame(packet: &[u8]) -> Vec<u8> {
        [&npxc_link::frame::prefix(packet.len()).unwrap()[..], packet].concat()
    }

    fn take(link: &mut Stream) -> io::Result<Vec<u8>> {
        let received = link.receive(Instant::now())?;
        let buffer = link.lend();
        let packet = buffer[received.start..received.end].to_vec();
        link.give_back(buffer);
        Ok(packet)
    }

    #[test]
    fn packets_come_out_whole_however_they_are_cut_and_the_end_is_silent() {
        let (mut link, mut guest) = pair();
        let would_block = |link: &mut Stream| take(link).unwrap_err().kind() == io::ErrorKind::WouldBlock;
        let mut bytes = frame(&[&[0; HEADER][..], b"one"].concat());
        bytes.extend(frame(&[&[0; HEADER][..], b"two"].concat()));
        for byte in &bytes[..bytes.len() - 1] {
            guest.write_all(&[*byte]).unwrap();
            if let Ok(packet) = take(&mut link) {
                assert_eq!(packet, b"one");
            }
        }
        guest.write_all(&bytes[bytes.len() - 1..]).unwrap();
        assert_eq!(take(&mut link).unwrap(), b"two");
        // Shorter than a header: an empty packet, which the router throws away.
        guest.write_all(&frame(&[1, 2])).unwrap();
        assert!(take(&mut link).unwrap().is_empty());
        assert!(would_block(&mut link));
        drop(guest);
        assert!(would_block(&mut link) && would_block(&mut link));
        link.buffer(20).fill(1);
        link.send(20, Offload::None);
        link.flush();
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_link() {
        let (mut link, mut guest) = pair();
        guest.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert_ne!(take(&mut link).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_a_full_socket_does_not_take_waits_and_arrives_whole() {
        let (mut link, mut guest) = pair();
        for number in 0..100_u8 {
            link.buffer(50_000).fill(number);
            link.send(50_000, Offload::None);
        }
        link.flush();
        assert!(!link.queue.waiting().is_empty());
        let reader = std::thread::spawn(move || {
            for number in 0..100_u8 {
                let mut bytes = vec![0; 4 + HEADER + 50_000];
                guest.read_exact(&mut bytes).unwrap();
                assert_eq!(bytes[..4], (50_000 + HEADER as u32).to_be_bytes());
                assert!(bytes[4 + HEADER..].iter().all(|byte| *byte == number));
            }
        });
        while !link.queue.waiting().is_empty() {
            let mut room = [rustix::event::PollFd::new(&link.socket, rustix::event::PollFlags::OUT)];
            rustix::event::poll(&mut room, None).unwrap();
            link.flush();
        }
        reader.join().unwrap();
    }
}
