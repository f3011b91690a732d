//! The guest's end of a WireGuard link: a loop between its TUN and its UDP socket.
//!
//! Packets come from the TUN as the guest's kernel made them (up to 64 KiB, unfinished checksums), are cut,
//! encrypted and sent in batches; what arrives is decrypted, joined to large segments and written to the TUN.
//! Single-threaded; waits in `ppoll` only. It trusts the guest's kernel and the peer, nobody else.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;

use crate::wg::Tunnel;

/// Moves packets until a descriptor fails. `tun` has been made with `IFF_VNET_HDR` (10 bytes) and may have
/// offloads; `udp` is connected to the peer. `mtu` is the TUN's. `on_established` is called once, when the first
/// handshake has been completed.
///
/// Makes these system calls: `ppoll`, `read`, `write`, `sendmsg`, `recvmmsg`, `setsockopt`, `fcntl`, `getrandom`,
/// `clock_gettime` and what the allocator needs.
pub fn run(
    tun: OwnedFd,
    udp: UdpSocket,
    tunnel: Tunnel,
    mtu: u16,
    on_established: impl FnMut(),
) -> io::Result<()> {
    let _ = (tun, udp, tunnel, mtu, on_established);
    Err(io::ErrorKind::Unsupported.into())
}
