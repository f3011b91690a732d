//! Cuts a TCP segment of up to 64 KiB into packets of the link's size, each with its checksums. Pure.
//!
//! What a network card's segmentation offload does (`net/ipv4/tcp_offload.c`): the headers are repeated, sequence
//! numbers and IPv4 identifications go on, FIN and PSH stay with the last packet, CWR with the first.

use crate::virtio::{finish_ipv4, finish_tcp};

/// IP and TCP headers are not longer: 60 each in IPv4, and for IPv6 there is room for extension headers.
const MOST_HEADERS: usize = 256;
/// FIN and PSH; CWR (RFC 9293, section 3.1; RFC 3168).
const LAST_ONLY: u8 = 0x01 | 0x08;
const FIRST_ONLY: u8 = 0x80;

/// The packet is not what its description says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Cuts `packet`, whose TCP header is at `transport`, so that no piece has more than `most` bytes of payload nor
/// more than `mtu` bytes in all, and gives each to `piece`. The packet is used up: pieces are made in its place,
/// so that no payload is copied.
pub fn cut(
    packet: &mut [u8],
    transport: usize,
    most: u16,
    mtu: u16,
    mut piece: impl FnMut(&[u8]),
) -> Result<(), Malformed> {
    let headers = headers(packet, transport)?;
    let most = usize::from(most).min(usize::from(mtu).saturating_sub(headers));
    if most == 0 {
        return Err(Malformed);
    }
    let mut template = [0; MOST_HEADERS];
    let template = &mut template[..headers];
    template.copy_from_slice(&packet[..headers]);
    let v4 = packet[0] >> 4 == 4;
    let (identification, sequence) = (word(template, 4), double_word(template, transport + 4));
    let flags = template[transport + 13];

    let payload = packet.len() - headers;
    let mut done = 0;
    loop {
        let length = most.min(payload - done);
        let last = done + length == payload;
        // The headers go where the payload before this one was, which has been sent.
        let one = &mut packet[done..done + headers + length];
        if done > 0 {
            one[..headers].copy_from_slice(template);
        }
        if v4 {
            one[2..4].copy_from_slice(&((headers + length) as u16).to_be_bytes());
            let number = (done / most) as u16;
            one[4..6].copy_from_slice(&identification.wrapping_add(number).to_be_bytes());
            finish_ipv4(one, transport);
        } else {
            one[4..6].copy_from_slice(&((headers + length - 40) as u16).to_be_bytes());
        }
        one[transport + 4..transport + 8].copy_from_slice(&sequence.wrapping_add(done as u32).to_be_bytes());
        one[transport + 13] =
            flags & if last { 0xff } else { !LAST_ONLY } & if done == 0 { 0xff } else { !FIRST_ONLY };
        finish_tcp(one, transport);
        piece(one);
        done += length;
        if last {
            return Ok(());
        }
    }
}

/// Where the TCP header of a packet without extension headers is: `None` when it is not TCP.
pub fn tcp_at(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 if *packet.get(9)? == 6 => Some(usize::from(packet[0] & 0xf) * 4),
        6 if *packet.get(6)? == 6 => Some(40),
        _ => None,
    }
}

/// The length of all headers, when they are there.
fn headers(packet: &[u8], transport: usize) -> Result<usize, Malformed> {
    let fits = match packet.first().map(|byte| byte >> 4) {
        Some(4) => transport >= 20 && transport == usize::from(packet[0] & 0xf) * 4,
        Some(6) => transport >= 40,
        _ => false,
    };
    let offset = *packet.get(transport + 12).ok_or(Malformed)?;
    let headers = transport + usize::from(offset >> 4) * 4;
    let whole = headers >= transport + 20 && headers <= packet.len().min(MOST_HEADERS);
    if fits && whole { Ok(headers) } else { Err(Malformed) }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn double_word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(crate) mod tests;
