//! One IP packet from the guest, checked once: lengths, checksums and the parts npxc refuses to interpret.
//!
//! Pure. Bytes come from the link, a [`Packet`] goes to the router. Nothing here decides what may be reached;
//! it only makes sure that every later look at the bytes agrees with this one.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet,
    TcpPacket, UdpPacket,
};

/// A well-formed, unfragmented IP packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The whole packet, cut to the length its header claims.
    pub bytes: &'a [u8],
    /// Who sent it, as claimed.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport<'a>,
}

/// The transport of a [`Packet`], with ports where it has some.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp {
        /// Port of the guest.
        source_port: u16,
        /// Port it sends to.
        destination_port: u16,
        /// What it carries.
        payload: &'a [u8],
    },
    /// An ICMP or `ICMPv6` echo request; the slice is the ICMP message.
    Echo(&'a [u8]),
    /// `ICMPv6` the guest's kernel sends by itself (neighbour and multicast upkeep).
    Upkeep,
    /// Another ICMP message.
    Icmp,
    /// Any other protocol or IPv6 extension header, by its number.
    Other(u8),
}

/// The parts of a TCP header that the router looks at.
#[derive(Debug, Clone, Copy)]
pub struct Tcp {
    /// Port of the guest.
    pub source_port: u16,
    /// Port it sends to.
    pub destination_port: u16,
    /// SYN without ACK: the start of a connection.
    pub opens: bool,
    /// RST is set.
    pub resets: bool,
    /// ACK is set.
    pub acknowledges: bool,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Sequence space the segment takes (payload, SYN, FIN).
    pub length: u32,
}

/// Why a packet is not looked at any further. Counted, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Not IPv4 or IPv6, or a length that does not fit.
    #[error("a length or version that does not fit")]
    Length,
    /// A checksum is wrong.
    #[error("a wrong checksum")]
    Checksum,
    /// An IPv4 fragment or IPv6 fragment header.
    #[error("a fragment")]
    Fragment,
    /// IPv4 options.
    #[error("IPv4 options")]
    Options,
    /// A source or destination that can never be right.
    #[error("an impossible address")]
    Address,
}

impl<'a> Packet<'a> {
    /// Checks `bytes`. `checksummed` says that the link vouches for the transport checksum (an offloading TUN
    /// device leaves it unfinished).
    pub fn parse(bytes: &'a [u8], checksummed: bool) -> Result<Self, Malformed> {
        match bytes.first().map(|byte| byte >> 4) {
            Some(4) => Self::parse_v4(bytes, checksummed),
            Some(6) => Self::parse_v6(bytes, checksummed),
            Some(_) | None => Err(Malformed::Length),
        }
    }

    /// The guest's end of a TCP segment or UDP datagram; port 0 for anything else.
    pub fn source_end(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.ports().0)
    }

    /// The end it is sent to; port 0 for anything without ports.
    pub fn destination_end(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.ports().1)
    }

    fn ports(&self) -> (u16, u16) {
        match self.transport {
            Transport::Tcp(tcp) => (tcp.source_port, tcp.destination_port),
            Transport::Udp { source_port, destination_port, .. } => (source_port, destination_port),
            Transport::Echo(_) | Transport::Upkeep | Transport::Icmp | Transport::Other(_) => (0, 0),
        }
    }

    fn parse_v4(bytes: &'a [u8], checksummed: bool) -> Result<Self, Malformed> {
        let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Malformed::Length)?;
        if packet.header_len() != 20 {
            return Err(Malformed::Options);
        }
        if packet.more_frags() || packet.frag_offset() != 0 {
            return Err(Malformed::Fragment);
        }
        if !packet.verify_checksum() {
            return Err(Malformed::Checksum);
        }
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        if source.is_unspecified() || source.is_multicast() || destination.is_unspecified() {
            return Err(Malformed::Address);
        }
        let bytes = &bytes[..usize::from(packet.total_len())];
        let payload = &bytes[20..];
        let ends = (IpAddress::Ipv4(source), IpAddress::Ipv4(destination));
        let transport = transport(packet.next_header(), payload, ends, checksummed)?;
        Ok(Self { bytes, source: source.into(), destination: destination.into(), transport })
    }

    fn parse_v6(bytes: &'a [u8], checksummed: bool) -> Result<Self, Malformed> {
        let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Malformed::Length)?;
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        if source.is_multicast() || destination.is_unspecified() {
            return Err(Malformed::Address);
        }
        let bytes = &bytes[..packet.total_len()];
        let payload = &bytes[40..];
        let ends = (IpAddress::Ipv6(source), IpAddress::Ipv6(destination));
        let transport = match packet.next_header() {
            IpProtocol::Ipv6Frag => return Err(Malformed::Fragment),
            // Multicast listener reports carry a router alert option.
            IpProtocol::HopByHop if destination.is_multicast() => Transport::Upkeep,
            _ if source.is_unspecified() => return Err(Malformed::Address),
            next => transport(next, payload, ends, checksummed)?,
        };
        Ok(Self { bytes, source: source.into(), destination: destination.into(), transport })
    }
}

fn transport(
    protocol: IpProtocol,
    payload: &[u8],
    (source, destination): (IpAddress, IpAddress),
    checksummed: bool,
) -> Result<Transport<'_>, Malformed> {
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).map_err(|_| Malformed::Length)?;
            if !checksummed && !tcp.verify_checksum(&source, &destination) {
                return Err(Malformed::Checksum);
            }
            if tcp.src_port() == 0 || tcp.dst_port() == 0 {
                return Err(Malformed::Address);
            }
            let flags = u32::from(tcp.syn()) + u32::from(tcp.fin());
            Ok(Transport::Tcp(Tcp {
                source_port: tcp.src_port(),
                destination_port: tcp.dst_port(),
                opens: tcp.syn() && !tcp.ack() && !tcp.rst() && !tcp.fin(),
                resets: tcp.rst(),
                acknowledges: tcp.ack(),
                sequence: tcp.seq_number().0.cast_unsigned(),
                acknowledgement: tcp.ack_number().0.cast_unsigned(),
                length: flags + (payload.len() - usize::from(tcp.header_len())) as u32,
            }))
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).map_err(|_| Malformed::Length)?;
            if !checksummed && !udp.verify_checksum(&source, &destination) {
                return Err(Malformed::Checksum);
            }
            if udp.src_port() == 0 || udp.dst_port() == 0 {
                return Err(Malformed::Address);
            }
            Ok(Transport::Udp {
                source_port: udp.src_port(),
                destination_port: udp.dst_port(),
                payload: &payload[8..usize::from(udp.len())],
            })
        }
        IpProtocol::Icmp => {
            let icmp = Icmpv4Packet::new_checked(payload).map_err(|_| Malformed::Length)?;
            if !icmp.verify_checksum() {
                return Err(Malformed::Checksum);
            }
            Ok(match icmp.msg_type() {
                Icmpv4Message::EchoRequest => Transport::Echo(payload),
                _ => Transport::Icmp,
            })
        }
        IpProtocol::Icmpv6 => icmpv6(payload, source, destination),
        other => Ok(Transport::Other(other.into())),
    }
}

fn icmpv6(payload: &[u8], source: IpAddress, destination: IpAddress) -> Result<Transport<'_>, Malformed> {
    let icmp = Icmpv6Packet::new_checked(payload).map_err(|_| Malformed::Length)?;
    let (IpAddress::Ipv6(from), IpAddress::Ipv6(to)) = (source, destination) else {
        return Ok(Transport::Other(IpProtocol::Icmpv6.into()));
    };
    if ChecksumCapabilities::default().icmpv6.rx() && !icmp.verify_checksum(&from, &to) {
        return Err(Malformed::Checksum);
    }
    Ok(match icmp.msg_type() {
        Icmpv6Message::EchoRequest => Transport::Echo(payload),
        Icmpv6Message::RouterSolicit
        | Icmpv6Message::NeighborSolicit
        | Icmpv6Message::NeighborAdvert
        | Icmpv6Message::MldQuery
        | Icmpv6Message::MldReport => Transport::Upkeep,
        _ => Transport::Icmp,
    })
}
