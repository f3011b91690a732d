//! One UDP socket, many datagrams per system call.
//!
//! On Linux a batch of datagrams of one size goes out in one call (`UDP_SEGMENT`) and comes in the same way
//! (`UDP_GRO`, `recvmmsg`): the calls cost more than the cipher does. Elsewhere, and where a kernel refuses, they go
//! one by one. Nothing is looked at in here; [`Outbox`] drops a datagram only when the system does not take it for
//! a tenth of a second, and counts it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // sendmsg and recvmmsg with control messages that nobody wraps
mod linux;
#[cfg(not(target_os = "linux"))]
mod plain;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use plain as system;

/// What UDP's length field leaves over IPv4; a batch is not longer than one datagram may be.
pub const LARGEST: usize = 65_507;
/// Datagrams in one batch: `UDP_MAX_SEGMENTS` of kernels before 6.9.
const MOST_IN_BATCH: usize = 64;
/// Room that is given at least, for a handshake where data was expected.
const LEAST_ROOM: usize = 148;
/// What the kernel may hold for us, bytes: a burst of all flows' windows, because a lost datagram costs a flow up
/// to a second.
const SOCKET_BUFFER: usize = 4 << 20;
/// How long a send is tried while the system has no room, in steps of [`PAUSE`].
const MOST_PAUSES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);
/// Batches that had to be sent one by one in a row before no more batches are tried.
const MOST_REFUSALS: u32 = 8;

/// Makes a socket fit for batches: non-blocking, with large buffers, and with `UDP_GRO` where there is that.
pub fn prepare(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    system::prepare(socket, SOCKET_BUFFER);
    Ok(())
}

/// Datagrams that have arrived.
pub struct Inbox {
    batch: system::Batch,
    /// The message of the batch and the place in it that is next.
    message: usize,
    offset: usize,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("message", &self.message).finish_non_exhaustive()
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An empty one. Takes 2 MiB of address space, of which what is used becomes memory.
    pub fn new() -> Self {
        Self { batch: system::Batch::new(), message: 0, offset: 0 }
    }

    /// Reads what has arrived; datagrams not yet taken are lost. `WouldBlock` when there is nothing.
    pub fn fill(&mut self, socket: &UdpSocket) -> io::Result<()> {
        (self.message, self.offset) = (0, 0);
        self.batch.receive(socket)
    }

    /// The next datagram and its sender. Empty ones are passed over.
    pub fn take(&mut self) -> Option<(SocketAddr, &[u8])> {
        loop {
            let (from, length, stride) = self.batch.message(self.message)?;
            let start = self.offset;
            if start >= length {
                (self.message, self.offset) = (self.message + 1, 0);
                continue;
            }
            let end = if stride == 0 { length } else { length.min(start + stride) };
            self.offset = end;
            return Some((from, &self.batch.bytes(self.message)[start..end]));
        }
    }
}

/// Datagrams to send, gathered while they go to one address and have one size.
pub struct Outbox {
    buffer: Box<[u8]>,
    /// Bytes and datagrams in the buffer.
    length: usize,
    count: usize,
    /// Size of each but the last.
    stride: usize,
    to: Option<SocketAddr>,
    batches: bool,
    refusals: u32,
    counters: Counters,
}

/// What became of datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Given to the system.
    pub sent: u64,
    /// System calls made for that.
    pub calls: u64,
    /// Not taken by the system.
    pub dropped: u64,
    /// How often the system had no room at first.
    pub stalls: u64,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; LARGEST + LEAST_ROOM].into_boxed_slice(),
            length: 0,
            count: 0,
            stride: 0,
            to: None,
            batches: system::BATCHES,
            refusals: 0,
            counters: Counters::default(),
        }
    }

    /// Room for a datagram of `length` bytes (and for 148 in any case), which [`Outbox::commit`] then adds. `to`:
    /// where it goes, `None` on a connected socket. Sends what cannot stay together with it.
    pub fn room(&mut self, socket: &UdpSocket, to: Option<SocketAddr>, length: usize) -> &mut [u8] {
        if self.count > 0 && (self.to != to || !self.fits(length)) {
            self.flush(socket);
        }
        self.to = to;
        let end = (self.length + length.max(LEAST_ROOM)).min(self.buffer.len());
        &mut self.buffer[self.length..end]
    }

    /// Adds the first `length` bytes of the room that was given last.
    pub fn commit(&mut self, socket: &UdpSocket, length: usize) {
        if length == 0 {
            return;
        }
        if self.count > 0 && !self.fits(length) {
            let start = self.length;
            self.flush(socket);
            self.buffer.copy_within(start..start + length, 0);
        }
        if self.count == 0 {
            self.stride = length;
        }
        self.length += length;
        self.count += 1;
    }

    /// A copy of a datagram that is complete already.
    pub fn push(&mut self, socket: &UdpSocket, to: Option<SocketAddr>, datagram: &[u8]) {
        if datagram.len() <= LARGEST {
            self.room(socket, to, datagram.len())[..datagram.len()].copy_from_slice(datagram);
            self.commit(socket, datagram.len());
        }
    }

    /// Whether another datagram may be part of the batch: not after a shorter one, and not a longer one.
    fn fits(&self, length: usize) -> bool {
        self.batches
            && self.count < MOST_IN_BATCH
            && length <= self.stride
            && self.length == self.count * self.stride
            && self.length + length <= LARGEST
    }

    /// Sends everything.
    pub fn flush(&mut self, socket: &UdpSocket) {
        let (length, count) = (self.length, self.count);
        (self.length, self.count) = (0, 0);
        if count == 0 {
            return;
        }
        let stride = (count > 1).then_some(self.stride);
        match self.send(socket, 0..length, stride) {
            Ok(()) => {
                self.counters.sent += count as u64;
                self.refusals = 0;
            }
            Err(_) if count > 1 => self.one_by_one(socket, length),
            Err(_) => self.counters.dropped += 1,
        }
    }

    /// The kernel or the device does not cut batches, or not into pieces of this size.
    fn one_by_one(&mut self, socket: &UdpSocket, length: usize) {
        self.refusals += 1;
        self.batches &= self.refusals < MOST_REFUSALS;
        let mut start = 0;
        while start < length {
            let end = length.min(start + self.stride);
            match self.send(socket, start..end, None) {
                Ok(()) => self.counters.sent += 1,
                Err(_) => self.counters.dropped += 1,
            }
            start = end;
        }
    }

    fn send(
        &mut self,
        socket: &UdpSocket,
        range: std::ops::Range<usize>,
        stride: Option<usize>,
    ) -> io::Result<()> {
        let (mut pauses, mut reported) = (0, false);
        loop {
            self.counters.calls += 1;
            let Err(error) = system::send(socket, self.to, &self.buffer[range.clone()], stride) else {
                return Ok(());
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                // Left over from an earlier datagram that nobody listened for.
                io::ErrorKind::ConnectionRefused if !reported => reported = true,
                io::ErrorKind::WouldBlock if pauses < MOST_PAUSES => {
                    pauses += 1;
                    self.counters.stalls += u64::from(pauses == 1);
                    wait_for_room(socket);
                }
                _ if error.raw_os_error() == Some(libc::ENOBUFS) && pauses < MOST_PAUSES => {
                    pauses += 1;
                    self.counters.stalls += u64::from(pauses == 1);
                    // The queue of a device is full, which no descriptor tells.
                    std::thread::sleep(PAUSE);
                }
                _ => return Err(error),
            }
        }
    }

    /// What has become of datagrams so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

fn wait_for_room(socket: &UdpSocket) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE.subsec_nanos().into() };
    // Whatever came of it: the send is tried again.
    let _ = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&pause));
}

#[cfg(test)]
mod tests;
