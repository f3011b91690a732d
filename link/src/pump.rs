//! The guest's end of a WireGuard link: a loop between its TUN and its UDP socket.
//!
//! Packets come from the TUN as the guest's kernel made them (up to 64 KiB, unfinished checksums), are cut,
//! encrypted and sent in batches; what arrives is decrypted, joined to large segments and written to the TUN.
//! Single-threaded; waits in `ppoll`, and for as long as the socket has no room. It trusts the guest's kernel and
//! the peer, nobody else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::coalesce::Coalescer;
use crate::segment;
use crate::udp::{self, Inbox, Outbox};
use crate::virtio::{self, HEADER, Header};
use crate::wg::{OVERHEAD, Received, Tunnel};

/// Packets read from the TUN before the other direction has its turn.
const BATCH: usize = 64;
/// The largest packet a TUN gives.
const LARGEST: usize = 65_535;
/// How often the first handshake is tried: the peer may not listen yet, and nothing runs before it is there.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The peer of a connected socket: what boringtun binds a cookie to, which this end never has to give.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Moves packets until a descriptor fails. `tun` has been made with `IFF_VNET_HDR` (10 bytes) and may have
/// offloads; `udp` is connected to the peer. `mtu` is the TUN's. `on_established` is called once, when the first
/// handshake has been completed.
///
/// Makes these system calls: `ppoll`, `read`, `write`, `sendmsg`, `recvmmsg`, `getrandom`, `clock_gettime` and what
/// the allocator needs; at the start `setsockopt`, `ioctl` and `fcntl`; `nanosleep` where a device's queue is full.
pub fn run(
    tun: OwnedFd,
    udp: UdpSocket,
    tunnel: Tunnel,
    mtu: u16,
    mut on_established: impl FnMut(),
) -> io::Result<()> {
    udp::prepare(&udp)?;
    rustix::io::ioctl_fionbio(&tun, true)?;
    let mut pump = Pump {
        tun,
        udp,
        tunnel,
        mtu,
        inbox: Inbox::new(),
        outbox: Outbox::new(),
        coalescer: Coalescer::new(),
        buffer: vec![0; HEADER + LARGEST],
    };
    let mut retry = Some(Instant::now());
    loop {
        let now = Instant::now();
        if retry.is_some_and(|at| at <= now) {
            pump.connect();
            retry = Some(now + FIRST_RETRY);
        }
        pump.wake(now);
        let next = pump.tunnel.next_timer(now);
        let (from_tun, from_peer) = pump.wait(retry.map_or(next, |at| at.min(next)))?;
        if from_peer {
            pump.receive()?;
            if retry.is_some() && pump.tunnel.established() {
                retry = None;
                on_established();
            }
        }
        if from_tun {
            pump.send()?;
        }
        pump.outbox.flush(&pump.udp);
    }
}

struct Pump {
    tun: OwnedFd,
    udp: UdpSocket,
    tunnel: Tunnel,
    mtu: u16,
    inbox: Inbox,
    outbox: Outbox,
    coalescer: Coalescer,
    buffer: Vec<u8>,
}

impl Pump {
    fn connect(&mut self) {
        self.tunnel.connect(&mut |datagram| self.outbox.push(&self.udp, None, datagram));
        self.outbox.flush(&self.udp);
    }

    fn wake(&mut self, now: Instant) {
        self.tunnel.wake(now, &mut |datagram| self.outbox.push(&self.udp, None, datagram));
        self.outbox.flush(&self.udp);
    }

    /// Whether the TUN and the socket have something.
    fn wait(&self, until: Instant) -> io::Result<(bool, bool)> {
        let left = until.saturating_duration_since(Instant::now());
        // A time that cannot be expressed is as good as none.
        let timeout = Timespec::try_from(left).ok();
        let mut both = [PollFd::new(&self.tun, PollFlags::IN), PollFd::new(&self.udp, PollFlags::IN)];
        match poll(&mut both, timeout.as_ref()) {
            Ok(_) => Ok((!both[0].revents().is_empty(), !both[1].revents().is_empty())),
            Err(Errno::INTR) => Ok((false, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// From the peer to the TUN.
    fn receive(&mut self) -> io::Result<()> {
        match self.inbox.fill(&self.udp) {
            Ok(()) => {}
            Err(error) if fatal(&error) => return Err(error),
            // Nothing there, or an earlier datagram that nobody listened for.
            Err(_) => return Ok(()),
        }
        while let Some((_, datagram)) = self.inbox.take() {
            let mut reply = |answer: &[u8]| self.outbox.push(&self.udp, None, answer);
            let length = match self.tunnel.decrypt(PEER, datagram, self.coalescer.room(), &mut reply) {
                Received::Packet(packet) => packet.len(),
                Received::Control | Received::Answered | Received::Rejected(_) => 0,
            };
            self.coalescer.commit(length);
            deliver(&mut self.coalescer, &self.tun)?;
        }
        self.coalescer.close();
        deliver(&mut self.coalescer, &self.tun)
    }

    /// From the TUN to the peer.
    fn send(&mut self) -> io::Result<()> {
        for _ in 0..BATCH {
            let length = match rustix::io::read(&self.tun, &mut self.buffer[..]) {
                Ok(length) => length,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some((header, packet)) = self.buffer[..length].split_first_chunk_mut::<HEADER>() else {
                continue;
            };
            let Some(header) = Header::decode(header) else { continue };
            let mut send = |packet: &[u8]| {
                let room = self.outbox.room(&self.udp, None, packet.len() + OVERHEAD);
                let length = self.tunnel.encrypt(packet, room);
                self.outbox.commit(&self.udp, length);
            };
            match header {
                Header { segment: Some(segment), checksum } => {
                    let transport = checksum.map(|(start, _)| usize::from(start));
                    if let Some(transport) = transport.or_else(|| segment::tcp_at(packet)) {
                        // What the kernel describes wrongly is dropped, as a network card would.
                        let _ = segment::cut(packet, transport, segment.get(), self.mtu, send);
                    }
                }
                Header { segment: None, checksum: Some(checksum) } => {
                    if virtio::finish(packet, checksum) {
                        send(packet);
                    }
                }
                Header { segment: None, checksum: None } => send(packet),
            }
        }
        Ok(())
    }
}

fn deliver(coalescer: &mut Coalescer, tun: &OwnedFd) -> io::Result<()> {
    while let Some(frame) = coalescer.finished() {
        match rustix::io::write(tun, frame) {
            Err(error) if fatal(&error.into()) => return Err(error.into()),
            // Taken, or dropped because the guest cannot take it: TCP sends it again.
            Ok(_) | Err(_) => coalescer.pop(),
        }
    }
    Ok(())
}

/// Errors that come again and again: the descriptor is none, or what was behind it has gone.
fn fatal(error: &io::Error) -> bool {
    [libc::EBADF, libc::EBADFD, libc::ENOTSOCK, libc::EFAULT]
        .iter()
        .any(|code| error.raw_os_error() == Some(*code))
}

#[cfg(test)]
mod tests;
