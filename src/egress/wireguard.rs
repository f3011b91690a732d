//! The WireGuard link: npxc's end of the tunnel, over one UDP socket.
//!
//! Datagrams come in batches, are decrypted, and joined to large segments before the router sees them; large
//! segments from the flows' stacks are cut, encrypted and sent in batches. The guest is where the last authenticated
//! datagram came from, and nowhere before the first. Nothing is decided in here; a packet that comes out of the
//! tunnel is as hostile as any of the guest's.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use npxc_link::coalesce::Coalescer;
use npxc_link::segment;
use npxc_link::udp::{self, Inbox, Outbox};
use npxc_link::wg::{OVERHEAD, Received as Decrypted, Rejection, Tunnel};

use super::link::{Link, Received};
use crate::net::stack::{LinkProperties, Offload, Transmit};
use crate::runtime::WireGuardLink;

/// The largest packet an IP length field can express.
const LARGEST: usize = 65_535;

/// npxc's end of a tunnel.
pub(super) struct WireGuard {
    socket: UdpSocket,
    tunnel: Box<Tunnel>,
    /// Where the guest was last heard from.
    peer: Option<SocketAddr>,
    properties: LinkProperties,
    inbox: Inbox,
    coalescer: Coalescer,
    /// A packet's buffer, between `receive` and `give_back`.
    received: Vec<u8>,
    outbox: Outbox,
    sending: Vec<u8>,
    due: Instant,
    rejected: u64,
    unsent: u64,
}

impl WireGuard {
    pub(super) fn new(link: WireGuardLink) -> io::Result<Self> {
        udp::prepare(&link.socket)?;
        Ok(Self {
            socket: link.socket,
            tunnel: link.tunnel,
            peer: link.peer,
            properties: LinkProperties { mtu: link.mtu, offload: true, lossy: true },
            inbox: Inbox::new(),
            coalescer: Coalescer::new(),
            received: Vec::new(),
            outbox: Outbox::new(),
            sending: vec![0; LARGEST],
            due: Instant::now(),
            rejected: 0,
            unsent: 0,
        })
    }

    /// Decrypts the next datagram of the inbox; false when there is none.
    fn decrypt(&mut self) -> bool {
        let Some((from, datagram)) = self.inbox.take() else { return false };
        let mut reply = |answer: &[u8]| self.outbox.push(&self.socket, Some(from), answer);
        let (length, authentic) = match self.tunnel.decrypt(from, datagram, self.coalescer.room(), &mut reply)
        {
            Decrypted::Packet(packet) => (packet.len(), true),
            Decrypted::Control => (0, true),
            Decrypted::Answered => (0, false),
            Decrypted::Rejected(why) => {
                self.rejected += 1;
                log_rejection(self.rejected, from, why);
                (0, false)
            }
        };
        if authentic && self.peer != Some(from) {
            tracing::debug!(%from, moved = self.peer.is_some(), "the guest's end of the tunnel");
            self.peer = Some(from);
        }
        self.coalescer.commit(length);
        true
    }

    /// Reads on until the system says that there is nothing: it reports the next datagram only after that.
    fn refill(&mut self) -> io::Result<()> {
        match self.inbox.fill(&self.socket) {
            Ok(()) => Ok(()),
            // What an earlier datagram met on its way, at a container network that comes and goes.
            Err(error) if passes(error.kind()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Link for WireGuard {
    fn properties(&self) -> LinkProperties {
        self.properties
    }

    fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn receive(&mut self, _now: Instant) -> io::Result<Received> {
        loop {
            if let Some((buffer, range)) = self.coalescer.lend() {
                self.received = buffer;
                // Authenticated on its way; what the guest's kernel had summed up is not summed up again.
                return Ok(Received { start: range.start, end: range.end, checksummed: true });
            }
            if self.decrypt() {
                continue;
            }
            self.coalescer.close();
            if !self.coalescer.is_finished() {
                self.refill()?;
            }
        }
    }

    fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        self.coalescer.give_back(buffer);
        self.coalescer.pop();
    }

    fn flush(&mut self) {
        self.outbox.flush(&self.socket);
    }

    fn next_timer(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn wake(&mut self, now: Instant) {
        let peer = self.peer;
        self.tunnel.wake(now, &mut |datagram| {
            if peer.is_some() {
                self.outbox.push(&self.socket, peer, datagram);
            }
        });
        self.due = self.tunnel.next_timer(now);
    }
}

impl Transmit for WireGuard {
    fn buffer(&mut self, length: usize) -> &mut [u8] {
        &mut self.sending[..length]
    }

    fn send(&mut self, length: usize, offload: Offload) {
        // Nobody can be answered before the guest was heard.
        let Some(peer) = self.peer else { return };
        let packet = &mut self.sending[..length];
        let mut send = |packet: &[u8]| {
            let room = self.outbox.room(&self.socket, Some(peer), packet.len() + OVERHEAD);
            let length = self.tunnel.encrypt(packet, room);
            self.outbox.commit(&self.socket, length);
        };
        let sent = match (offload, segment::tcp_at(packet)) {
            (Offload::Tcp(most), Some(transport)) => {
                let most = most.map_or(u16::MAX, std::num::NonZeroU16::get);
                segment::cut(packet, transport, most, self.properties.mtu, send)
            }
            (Offload::Tcp(_), None) => Err(segment::Malformed),
            (Offload::None, _) => {
                send(packet);
                Ok(())
            }
        };
        if sent.is_err() {
            self.unsent += 1;
            tracing::debug!(unsent = self.unsent, "the link cannot cut a segment");
        }
    }
}

impl Drop for WireGuard {
    fn drop(&mut self) {
        let udp = self.outbox.counters();
        tracing::debug!(
            sent = udp.sent,
            calls = udp.calls,
            dropped = udp.dropped,
            stalls = udp.stalls,
            rejected = self.rejected,
            unsent = self.unsent,
            panics = self.tunnel.panics(),
            "the tunnel has ended"
        );
    }
}

/// The first is said at once, the rest when their number has doubled: anybody on the network can send them.
fn log_rejection(count: u64, from: SocketAddr, why: Rejection) {
    if count.is_power_of_two() {
        tracing::debug!(count, %from, ?why, "the tunnel rejected a datagram");
    }
}

fn passes(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

#[cfg(test)]
mod tests;
