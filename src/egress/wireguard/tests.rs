#![allow(clippy::unwrap_used, clippy::expect_used)]

use npxc_link::wg::{self, Keys};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber, UdpPacket, UdpRepr,
};

use super::*;
use npxc_guest::spec::{GATEWAY_V4, GATEWAY_V6, GUEST_V4, GUEST_V6};

#[cfg(target_os = "linux")]
mod through;

const MTU: u16 = 1420;

/// The other end: a tunnel, and sockets it can move between.
struct Guest {
    tunnel: Tunnel,
    sockets: Vec<UdpSocket>,
    at: usize,
    host: SocketAddr,
    outbox: Outbox,
}

impl Guest {
    fn new(keys: &Keys, host: SocketAddr) -> Self {
        let sockets: Vec<_> = (0..2).map(|_| UdpSocket::bind(("127.0.0.1", 0)).unwrap()).collect();
        for socket in &sockets {
            udp::prepare(socket).unwrap();
        }
        Self { tunnel: Tunnel::new(keys, Some(25)), sockets, at: 0, host, outbox: Outbox::new() }
    }

    fn send(&mut self, packet: &[u8]) {
        let socket = &self.sockets[self.at];
        let room = self.outbox.room(socket, Some(self.host), packet.len() + OVERHEAD);
        let length = self.tunnel.encrypt(packet, room);
        self.outbox.commit(socket, length);
    }

    fn flush(&mut self) {
        self.outbox.flush(&self.sockets[self.at]);
    }

    /// The packets that have arrived, on either socket, and on which the last did.
    fn receive(&mut self) -> (Vec<Vec<u8>>, Option<usize>) {
        let (mut inbox, mut packets, mut on) = (Inbox::new(), Vec::new(), None);
        let mut buffer = vec![0; 65_536];
        for (at, socket) in self.sockets.iter().enumerate() {
            while inbox.fill(socket).is_ok() {
                while let Some((from, datagram)) = inbox.take() {
                    on = Some(at);
                    let mut answers = Vec::new();
                    let mut reply = |answer: &[u8]| answers.push(answer.to_vec());
                    if let Decrypted::Packet(packet) =
                        self.tunnel.decrypt(from, datagram, &mut buffer, &mut reply)
                    {
                        packets.push(packet.to_vec());
                    }
                    for answer in answers {
                        socket.send_to(&answer, self.host).unwrap();
                    }
                }
            }
        }
        (packets, on)
    }
}

/// Loopback delivers while it sends, so that nothing has to be waited for.
fn pair() -> (WireGuard, Guest) {
    let (ours, guests) = wg::key_pairs().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let host = socket.local_addr().unwrap();
    let link = WireGuard::new(WireGuardLink::new(socket, &ours, MTU).unwrap()).unwrap();
    (link, Guest::new(&guests, host))
}

fn connected() -> (WireGuard, Guest) {
    let (mut link, mut guest) = pair();
    guest.send(&datagram(b"first"));
    guest.flush();
    assert!(packets(&mut link).is_empty(), "a handshake is no packet");
    guest.receive();
    assert_eq!(packets(&mut link), [datagram(b"first")]);
    (link, guest)
}

/// What the router would be given.
fn packets(link: &mut WireGuard) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    loop {
        match link.receive(Instant::now()) {
            Ok(received) => {
                assert!(received.checksummed);
                let buffer = link.lend();
                packets.push(buffer[received.start..received.end].to_vec());
                link.give_back(buffer);
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                link.flush();
                return packets;
            }
        }
    }
}

fn send(link: &mut WireGuard, packet: &[u8], offload: Offload) {
    link.buffer(packet.len()).copy_from_slice(packet);
    link.send(packet.len(), offload);
}

fn datagram(payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: 5000, dst_port: 53 };
    let ip = Ipv4Repr {
        src_addr: GUEST_V4,
        dst_addr: GATEWAY_V4,
        next_header: IpProtocol::Udp,
        payload_len: 8 + payload.len(),
        hop_limit: 64,
    };
    let mut packet = vec![0; 28 + payload.len()];
    let checksums = ChecksumCapabilities::default();
    let mut view = Ipv4Packet::new_unchecked(&mut packet);
    ip.emit(&mut view, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(view.payload_mut()),
        &IpAddress::Ipv4(GUEST_V4),
        &IpAddress::Ipv4(GATEWAY_V4),
        payload.len(),
        |room| room.copy_from_slice(payload),
        &checksums,
    );
    packet
}

fn data(v6: bool, down: bool, payload: &[u8], checksums: &ChecksumCapabilities) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: 443,
        dst_port: 50_000,
        control: TcpControl::Psh,
        seq_number: TcpSeqNumber(7),
        ack_number: Some(TcpSeqNumber(9)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let (next_header, payload_len, hop_limit) = (IpProtocol::Tcp, 20 + payload.len(), 64);
    if v6 {
        let ends = (GATEWAY_V6, GUEST_V6);
        let (src_addr, dst_addr) = if down { ends } else { (ends.1, ends.0) };
        let mut packet = vec![0; 40 + payload_len];
        let mut view = Ipv6Packet::new_unchecked(&mut packet);
        Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit }.emit(&mut view);
        let mut view = TcpPacket::new_unchecked(view.payload_mut());
        tcp.emit(&mut view, &src_addr.into(), &dst_addr.into(), checksums);
        packet
    } else {
        let ends = (GATEWAY_V4, GUEST_V4);
        let (src_addr, dst_addr) = if down { ends } else { (ends.1, ends.0) };
        let mut packet = vec![0; 20 + payload_len];
        let mut view = Ipv4Packet::new_unchecked(&mut packet);
        Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit }.emit(&mut view, checksums);
        let mut view = TcpPacket::new_unchecked(view.payload_mut());
        tcp.emit(&mut view, &src_addr.into(), &dst_addr.into(), checksums);
        packet
    }
}

/// As a stack writes for a link that finishes TCP.
fn unfinished() -> ChecksumCapabilities {
    let mut checksums = ChecksumCapabilities::default();
    checksums.tcp = smoltcp::phy::Checksum::None;
    checksums
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 13) as u8).collect()
}

#[test]
fn nothing_is_sent_before_the_guest_is_heard() {
    let (mut link, mut guest) = pair();
    send(&mut link, &datagram(b"to nobody"), Offload::None);
    link.wake(Instant::now());
    link.flush();
    assert_eq!(link.outbox.counters().calls, 0);
    assert_eq!(guest.receive(), (vec![], None));
}

#[test]
fn a_large_segment_reaches_the_guest_as_packets_it_can_take() {
    let (mut link, mut guest) = connected();
    for v6 in [false, true] {
        let payload = payload(50_000);
        let packet = data(v6, true, &payload, &unfinished());
        let before = link.outbox.counters().calls;
        send(&mut link, &packet, Offload::Tcp(std::num::NonZeroU16::new(1360)));
        link.flush();
        let (packets, _) = guest.receive();
        let mut arrived = Vec::new();
        for packet in &packets {
            assert!(packet.len() <= usize::from(MTU));
            // Verifies every checksum.
            let parsed = crate::net::packet::Packet::parse(packet, false).unwrap();
            assert_eq!(parsed.source_end().port(), 443);
            arrived.extend_from_slice(&packet[if v6 { 60 } else { 40 }..]);
        }
        assert_eq!(arrived, payload);
        assert_eq!(packets.len(), 37);
        if cfg!(target_os = "linux") {
            assert_eq!(link.outbox.counters().calls - before, 1);
        }
    }
}

#[test]
fn what_the_guest_sends_in_a_row_reaches_the_router_in_one_piece() {
    let (mut link, mut guest) = connected();
    for v6 in [false, true] {
        let payload = payload(40_000);
        let mut packet = data(v6, false, &payload, &unfinished());
        let transport = segment::tcp_at(&packet).unwrap();
        segment::cut(&mut packet, transport, 1360, MTU, |piece| guest.send(piece)).unwrap();
        guest.flush();
        let packets = packets(&mut link);
        let headers = if v6 { 60 } else { 40 };
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0][headers..], payload);
        crate::net::packet::Packet::parse(&packets[0], true).unwrap();
    }
}

#[test]
fn packets_of_all_kinds_keep_their_order() {
    let (mut link, mut guest) = connected();
    let mut sent = Vec::new();
    for number in 0..500 {
        let packet = match number % 5 {
            0 => data(true, false, &payload(number), &ChecksumCapabilities::default()),
            1 => datagram(&payload(1300)),
            _ => datagram(&payload(number)),
        };
        guest.send(&packet);
        sent.push(packet);
    }
    guest.flush();
    assert_eq!(packets(&mut link), sent);
    // And the other way.
    for packet in &sent {
        send(&mut link, packet, Offload::None);
    }
    link.flush();
    assert_eq!(guest.receive().0, sent);
}

#[test]
fn only_an_authenticated_datagram_moves_the_guest() {
    let (mut link, mut guest) = connected();
    let home = link.peer;
    let (stranger, elsewhere) = (UdpSocket::bind(("127.0.0.1", 0)).unwrap(), 1);
    let mut room = vec![0; 2000];
    let length = guest.tunnel.encrypt(&datagram(b"genuine"), &mut room);
    let genuine = room[..length].to_vec();
    let mut forged = genuine.clone();
    forged[20] ^= 1;
    for junk in [&forged[..], b"", b"hello", &[1; 148], &[4; 60]] {
        stranger.send_to(junk, guest.host).unwrap();
    }
    assert!(packets(&mut link).is_empty());
    assert_eq!(link.peer, home);
    assert!(link.rejected >= 4);

    // It is heard from elsewhere, with what only it can make, and answered there.
    guest.sockets[elsewhere].send_to(&genuine, guest.host).unwrap();
    assert_eq!(packets(&mut link), [datagram(b"genuine")]);
    assert_eq!(link.peer, Some(guest.sockets[elsewhere].local_addr().unwrap()));
    send(&mut link, &datagram(b"answer"), Offload::None);
    link.flush();
    assert_eq!(guest.receive(), (vec![datagram(b"answer")], Some(elsewhere)));

    // Who has seen it on its way and sends it again moves nothing.
    stranger.send_to(&genuine, guest.host).unwrap();
    assert!(packets(&mut link).is_empty());
    assert_eq!(link.peer, Some(guest.sockets[elsewhere].local_addr().unwrap()));
}

#[test]
fn a_segment_that_cannot_be_cut_is_counted() {
    let (mut link, _guest) = connected();
    send(&mut link, &datagram(b"not TCP"), Offload::Tcp(None));
    send(&mut link, &[], Offload::Tcp(None));
    assert_eq!(link.unsent, 2);
}
