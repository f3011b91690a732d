//! Packets that npxc writes by itself: resets, ICMP answers and UDP datagrams. Pure.
//!
//! Everything else the guest receives is written by a flow's own TCP stack.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr,
    IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber, TcpTimestampRepr, UdpPacket, UdpRepr,
};

use super::packet::{Packet, Tcp};
use super::stack::{Offload, Transmit};

const HOP_LIMIT: u8 = 64;
/// Bytes of an offending packet that an `ICMPv6` error may quote and stay within 1280 (RFC 4443, section 2.4).
const QUOTE: usize = 1280 - 40 - 8;

/// Why the guest is told that it cannot get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Policy forbids it: code 13 (RFC 1812, section 5.2.7.1), for IPv6 code 1 (RFC 4443, section 3.1).
    Prohibited,
    /// No route to the network.
    Network,
    /// The host does not answer.
    Host,
    /// Nothing listens on that UDP port.
    Port,
}

/// Answers `tcp` with a reset (RFC 9293, section 3.10.7.1).
pub fn reset(packet: &Packet<'_>, tcp: &Tcp, out: &mut dyn Transmit) {
    if tcp.resets {
        return;
    }
    let (sequence, acknowledgement) = if tcp.acknowledges {
        (tcp.acknowledgement, None)
    } else {
        (0, Some(TcpSeqNumber(tcp.sequence.wrapping_add(tcp.length).cast_signed())))
    };
    let repr = TcpRepr {
        src_port: tcp.destination_port,
        dst_port: tcp.source_port,
        control: TcpControl::Rst,
        seq_number: TcpSeqNumber(sequence.cast_signed()),
        ack_number: acknowledgement,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None::<TcpTimestampRepr>,
        payload: &[],
    };
    emit(packet.destination, packet.source, IpProtocol::Tcp, repr.buffer_len(), out, |from, to, buffer| {
        repr.emit(&mut TcpPacket::new_unchecked(buffer), from, to, &ChecksumCapabilities::default());
    });
}

/// Tells the guest that `packet` could not be delivered. Nothing is sent about multicast or broadcast.
pub fn unreachable(packet: &Packet<'_>, why: Unreachable, from: IpAddr, out: &mut dyn Transmit) {
    if packet.destination.is_multicast() {
        return;
    }
    match (packet.source, from) {
        (IpAddr::V4(source), IpAddr::V4(from)) => {
            let Ok(original) = Ipv4Packet::new_checked(packet.bytes) else { return };
            if original.dst_addr().is_broadcast() {
                return;
            }
            let payload = original.payload();
            let repr = Icmpv4Repr::DstUnreachable {
                reason: match why {
                    Unreachable::Prohibited => Icmpv4DstUnreachable::CommProhibited,
                    Unreachable::Network => Icmpv4DstUnreachable::NetUnreachable,
                    Unreachable::Host => Icmpv4DstUnreachable::HostUnreachable,
                    Unreachable::Port => Icmpv4DstUnreachable::PortUnreachable,
                },
                header: Ipv4Repr {
                    src_addr: original.src_addr(),
                    dst_addr: original.dst_addr(),
                    next_header: original.next_header(),
                    payload_len: payload.len(),
                    hop_limit: original.hop_limit(),
                },
                data: &payload[..payload.len().min(8)],
            };
            let (from, to) = (IpAddr::V4(from), IpAddr::V4(source));
            emit(from, to, IpProtocol::Icmp, repr.buffer_len(), out, |_, _, buffer| {
                repr.emit(&mut Icmpv4Packet::new_unchecked(buffer), &ChecksumCapabilities::default());
            });
        }
        (IpAddr::V6(source), IpAddr::V6(from)) => {
            let Ok(original) = Ipv6Packet::new_checked(packet.bytes) else { return };
            let payload = original.payload();
            let repr = Icmpv6Repr::DstUnreachable {
                reason: match why {
                    Unreachable::Prohibited => Icmpv6DstUnreachable::AdminProhibit,
                    Unreachable::Network => Icmpv6DstUnreachable::NoRoute,
                    Unreachable::Host => Icmpv6DstUnreachable::AddrUnreachable,
                    Unreachable::Port => Icmpv6DstUnreachable::PortUnreachable,
                },
                header: Ipv6Repr {
                    src_addr: original.src_addr(),
                    dst_addr: original.dst_addr(),
                    next_header: original.next_header(),
                    payload_len: payload.len(),
                    hop_limit: original.hop_limit(),
                },
                data: &payload[..payload.len().min(QUOTE - 40)],
            };
            let (from6, to6) = (from, source);
            emit(from.into(), source.into(), IpProtocol::Icmpv6, repr.buffer_len(), out, |_, _, buffer| {
                let mut icmp = Icmpv6Packet::new_unchecked(buffer);
                repr.emit(&from6, &to6, &mut icmp, &ChecksumCapabilities::default());
            });
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
}

/// Answers an echo request that was sent to the gateway.
pub fn echo(packet: &Packet<'_>, message: &[u8], out: &mut dyn Transmit) {
    match (packet.source, packet.destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let Ok(request) = Icmpv4Packet::new_checked(message) else { return };
            let repr = Icmpv4Repr::EchoReply {
                ident: request.echo_ident(),
                seq_no: request.echo_seq_no(),
                data: request.data(),
            };
            let (from, to) = (packet.destination, packet.source);
            emit(from, to, IpProtocol::Icmp, repr.buffer_len(), out, |_, _, buffer| {
                repr.emit(&mut Icmpv4Packet::new_unchecked(buffer), &ChecksumCapabilities::default());
            });
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let Ok(request) = Icmpv6Packet::new_checked(message) else { return };
            let repr = Icmpv6Repr::EchoReply {
                ident: request.echo_ident(),
                seq_no: request.echo_seq_no(),
                data: request.payload(),
            };
            let (from, to) = (packet.destination, packet.source);
            emit(from, to, IpProtocol::Icmpv6, repr.buffer_len(), out, |_, _, buffer| {
                let mut icmp = Icmpv6Packet::new_unchecked(buffer);
                repr.emit(&destination, &source, &mut icmp, &ChecksumCapabilities::default());
            });
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
}

/// Sends the guest one UDP datagram.
pub fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8], out: &mut dyn Transmit) {
    let repr = UdpRepr { src_port: from.port(), dst_port: to.port() };
    let length = repr.header_len() + payload.len();
    emit(from.ip(), to.ip(), IpProtocol::Udp, length, out, |from, to, buffer| {
        let mut udp = UdpPacket::new_unchecked(buffer);
        let copy = |buffer: &mut [u8]| buffer.copy_from_slice(payload);
        repr.emit(&mut udp, from, to, payload.len(), copy, &ChecksumCapabilities::default());
    });
}

/// Writes the IP header, lets `fill` write the rest, and sends it. Ends of different families, or a packet that
/// no IP length field can express, send nothing.
fn emit(
    from: IpAddr,
    to: IpAddr,
    protocol: IpProtocol,
    length: usize,
    out: &mut dyn Transmit,
    fill: impl FnOnce(&IpAddress, &IpAddress, &mut [u8]),
) {
    if from.is_ipv4() != to.is_ipv4() {
        return;
    }
    let (from, to) = (IpAddress::from(from), IpAddress::from(to));
    let ip = IpRepr::new(from, to, protocol, length, HOP_LIMIT);
    let header = ip.header_len();
    if header + length > usize::from(u16::MAX) {
        return;
    }
    let buffer = out.buffer(header + length);
    ip.emit(&mut *buffer, &ChecksumCapabilities::default());
    fill(&from, &to, &mut buffer[header..]);
    out.send(header + length, Offload::None);
}
