//! npxc's end of a WireGuard tunnel across a container network, until the datapath takes it over: it answers the guest's
//! first handshake, so that a network that drops it is known before anything is started on it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use npxc_link::wg::{Keys, Received, Tunnel};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The largest UDP datagram there is, bytes.
const LARGEST: usize = 65_535;

/// npxc's end of a tunnel.
#[derive(Debug)]
pub struct WireGuardLink {
    /// Bound to the one address that the guest may send to. Non-blocking.
    pub socket: UdpSocket,
    /// With the session that was agreed upon, if there is one already.
    pub tunnel: Box<Tunnel>,
    /// Where the guest was heard from: the sender of an authentic datagram.
    pub peer: Option<SocketAddr>,
    /// Of the guest's `wg0`, bytes of an IP packet.
    pub mtu: u16,
}

impl WireGuardLink {
    /// An end that nobody has spoken to.
    pub fn new(socket: UdpSocket, keys: &Keys, mtu: u16) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // The guest keeps the tunnel up: only it can move.
        Ok(Self { socket, tunnel: Box::new(Tunnel::new(keys, None)), peer: None, mtu })
    }

    /// Answers handshakes until there is something to read on `control`, or for `patience`. What else comes is dropped:
    /// before the workload starts there is nothing to say.
    pub(super) fn answer(&mut self, control: &impl AsFd, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        let (mut datagram, mut packet) = (vec![0; LARGEST], vec![0; LARGEST]);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let (heard, spoken) = {
                let mut ends =
                    [PollFd::new(control, PollFlags::IN), PollFd::new(&self.socket, PollFlags::IN)];
                match poll(&mut ends, Some(&timeout)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                (!ends[0].revents().is_empty(), !ends[1].revents().is_empty())
            };
            if spoken && let Ok((length, from)) = self.socket.recv_from(&mut datagram) {
                let mut reply = |answer: &[u8]| drop(self.socket.send_to(answer, from));
                match self.tunnel.decrypt(from, &datagram[..length], &mut packet, &mut reply) {
                    Received::Packet(_) | Received::Control => self.peer = Some(from),
                    Received::Answered | Received::Rejected(_) => {}
                }
            } else if heard {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_answered_until_the_guest_speaks() {
        let (ours, guests) = npxc_link::wg::key_pairs().unwrap();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = socket.local_addr().unwrap();
        let mut link = WireGuardLink::new(socket, &ours, 1420).unwrap();
        let (control, guest_control) = std::os::unix::net::UnixStream::pair().unwrap();
        let guest = std::thread::spawn(move || {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            socket.connect(endpoint).unwrap();
            let mut tunnel = Tunnel::new(&guests, Some(25));
            // Nobody else's datagrams matter.
            socket.send(b"hello").unwrap();
            tunnel.connect(&mut |datagram| assert_ne!(socket.send(datagram).unwrap(), 0));
            let (mut datagram, mut packet) = (vec![0; LARGEST], vec![0; LARGEST]);
            let length = socket.recv(&mut datagram).unwrap();
            tunnel.decrypt(endpoint, &datagram[..length], &mut packet, &mut |answer| {
                assert_ne!(socket.send(answer).unwrap(), 0);
            });
            assert!(tunnel.established());
            drop(guest_control);
            socket.local_addr().unwrap()
        });
        link.answer(&control, Duration::from_mins(1)).unwrap();
        let guest = guest.join().unwrap();
        // The session goes on from where the handshake has left it.
        assert_eq!(link.peer, Some(guest));
        assert!(link.tunnel.established());
    }

    #[test]
    fn a_guest_that_is_not_heard_is_not_waited_for_for_ever() {
        let (ours, _) = npxc_link::wg::key_pairs().unwrap();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let mut link = WireGuardLink::new(socket, &ours, 1420).unwrap();
        let (control, _guest) = std::os::unix::net::UnixStream::pair().unwrap();
        link.answer(&control, Duration::from_millis(1)).unwrap();
        assert_eq!(link.peer, None);
    }
}
