//! Host sockets behind flows, non-blocking, with what epoll last said about them remembered.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::{TcpStream, UdpSocket};
use socket2::SockRef;

use crate::net::flow::Upstream;

/// A connected TCP socket.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    readable: bool,
    writable: bool,
    ending: bool,
}

impl Stream {
    pub(super) fn new(socket: TcpStream) -> Self {
        // Best effort: a socket that refuses these still works.
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_keepalive(true);
        Self { socket, readable: true, writable: true, ending: false }
    }

    /// Notes what epoll said (edge-triggered).
    pub(super) fn ready(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        self.ending |= event.is_read_closed() || event.is_error();
    }

    /// Makes dropping the socket reset the connection instead of closing it.
    pub(super) fn reset_on_drop(&self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Upstream for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = uninterrupted(|| (&self.socket).read(buffer));
        match &result {
            // A short read has emptied the socket, unless its end or an error waits behind the bytes.
            Ok(count) => self.readable = *count == buffer.len() || self.ending,
            Err(error) => self.readable = error.kind() != io::ErrorKind::WouldBlock,
        }
        result
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.writable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = uninterrupted(|| (&self.socket).write(bytes));
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.writable = false;
        }
        result
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.socket.shutdown(Shutdown::Write) {
            // The peer has already closed: there is nothing left to finish.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }
}

/// A connected UDP socket.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub(super) socket: UdpSocket,
}

impl Datagrams {
    /// Sends a datagram; one that does not fit now is lost, as on any link.
    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match uninterrupted(|| self.socket.send(datagram)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.socket.recv(buffer))
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
