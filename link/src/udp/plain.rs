//! One datagram per system call, for systems without batches.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// Whether batches can be sent.
pub(super) const BATCHES: bool = false;

/// What UDP's length field can say.
const LARGEST: usize = 65_535;

pub(super) fn prepare(socket: &UdpSocket, size: usize) {
    // A smaller buffer loses more, and that is all.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, size);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, size);
}

pub(super) struct Batch {
    buffer: Box<[u8]>,
    received: Option<(SocketAddr, usize)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; LARGEST].into_boxed_slice(), received: None }
    }

    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = None;
        let (length, from) = socket.recv_from(&mut self.buffer)?;
        self.received = Some((from, length));
        Ok(())
    }

    /// Sender, length and the size of the datagrams in it (0: it is one).
    pub(super) fn message(&self, at: usize) -> Option<(SocketAddr, usize, usize)> {
        let (from, length) = self.received.filter(|_| at == 0)?;
        Some((from, length, 0))
    }

    pub(super) fn bytes(&self, _: usize) -> &[u8] {
        &self.buffer
    }
}

pub(super) fn send(
    socket: &UdpSocket,
    to: Option<SocketAddr>,
    bytes: &[u8],
    _: Option<usize>,
) -> io::Result<()> {
    match to {
        Some(to) => socket.send_to(bytes, to)?,
        None => socket.send(bytes)?,
    };
    Ok(())
}
