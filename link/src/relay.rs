//! The guest's end of a link over a byte stream: a loop between its TUN and a connected unix socket.
//!
//! Packets cross as the guest's kernel made them, header and all (see [`crate::frame`]): nothing is cut, joined or
//! summed up here. Single-threaded; waits in `ppoll`. When the stream takes nothing the TUN is not read, and the kernel
//! drops what its queue cannot hold.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::frame::{Decoder, Queue};
use crate::virtio::HEADER;

/// Packets of one direction before the other has its turn.
const BATCH: usize = 64;
/// The largest packet a TUN gives.
const LARGEST: usize = 65_535;
/// The TUN is not read while more than this waits for the stream: enough to keep it busy.
const ENOUGH: usize = 1 << 20;

/// Moves packets until the stream ends or a descriptor fails. `tun` has been made with `IFF_VNET_HDR` (10 bytes) and
/// may have offloads.
///
/// Makes these system calls: `ppoll`, `read`, `write` and what the allocator needs; at the start `ioctl`.
pub fn run(tun: OwnedFd, stream: OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&tun, true)?;
    rustix::io::ioctl_fionbio(&stream, true)?;
    let buffer = vec![0; HEADER + LARGEST];
    let mut relay = Relay { tun, stream, decoder: Decoder::new(), queue: Queue::default(), buffer };
    loop {
        let (from_tun, from_stream) = relay.wait()?;
        if from_stream && !relay.receive()? {
            return Ok(());
        }
        if from_tun {
            relay.collect()?;
        }
        relay.flush()?;
    }
}

struct Relay {
    tun: OwnedFd,
    stream: OwnedFd,
    decoder: Decoder,
    queue: Queue,
    buffer: Vec<u8>,
}

impl Relay {
    /// Whether the TUN and the stream have something to read; returns as well when the stream takes bytes again.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let waiting = self.queue.waiting().len();
        let tun = if waiting < ENOUGH { PollFlags::IN } else { PollFlags::empty() };
        let stream = if waiting > 0 { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut both = [PollFd::new(&self.tun, tun), PollFd::new(&self.stream, stream)];
        match poll(&mut both, None) {
            Ok(_) => {
                let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
                Ok((both[0].revents().intersects(readable), both[1].revents().intersects(readable)))
            }
            Err(Errno::INTR) => Ok((false, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// From the stream to the TUN; false at the stream's end.
    fn receive(&mut self) -> io::Result<bool> {
        match rustix::io::read(&self.stream, self.decoder.room()) {
            Ok(0) | Err(Errno::CONNRESET) => return Ok(false),
            Ok(count) => self.decoder.filled(count),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        loop {
            let Some(frame) = self.decoder.take().map_err(io::Error::other)? else { return Ok(true) };
            // What else goes wrong drops the packet: the guest cannot take it, and TCP sends it again.
            if let Err(error @ (Errno::BADF | Errno::BADFD | Errno::FAULT)) =
                rustix::io::write(&self.tun, frame)
            {
                return Err(error.into());
            }
        }
    }

    /// From the TUN to the queue.
    fn collect(&mut self) -> io::Result<()> {
        for _ in 0..BATCH {
            if self.queue.waiting().len() >= ENOUGH {
                break;
            }
            match rustix::io::read(&self.tun, &mut self.buffer[..]) {
                Ok(length) => {
                    let _ = self.queue.push(&[], &self.buffer[..length]);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// From the queue to the stream, as much as it takes.
    fn flush(&mut self) -> io::Result<()> {
        while !self.queue.waiting().is_empty() {
            match rustix::io::write(&self.stream, self.queue.waiting()) {
                Ok(count) => self.queue.written(count),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                // Its end is seen when it is read.
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    self.queue.written(usize::MAX);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
