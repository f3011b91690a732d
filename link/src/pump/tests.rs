#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::num::NonZeroU16;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::segment::tests::{Parts, assert_checksums};
use crate::wg::{Keys, key_pairs};

/// A socket pair that keeps packets apart stands for the TUN; this is the kernel's end.
fn start(udp: UdpSocket, keys: &Keys, keepalive: Option<u16>) -> (OwnedFd, Receiver<()>) {
    let (ours, kernels) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let tunnel = Tunnel::new(keys, keepalive);
    let (established, seen) = channel();
    // Ends with the test's process.
    thread::spawn(move || run(ours, udp, tunnel, 1420, move || established.send(()).unwrap()));
    (kernels, seen)
}

fn parts(v6: bool, payload: usize) -> Parts {
    Parts {
        v6,
        extra: 0,
        options: vec![[1, 1, 8, 10], [1, 2, 3, 4], [5, 6, 7, 8]],
        identification: 9,
        sequence: 0xffff_ff00,
        flags: 0x18,
        payload: (0..payload).map(|at| (at * 7) as u8).collect(),
    }
}

/// Two pumps that are each other's peer.
fn pair() -> (OwnedFd, OwnedFd) {
    let bind = || UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let (one, other) = (bind(), bind());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    let (host, guest) = key_pairs().unwrap();
    let (one, one_established) = start(one, &host, None);
    let (other, other_established) = start(other, &guest, Some(25));
    one_established.recv().unwrap();
    other_established.recv().unwrap();
    (one, other)
}

fn read(tun: &OwnedFd) -> (Header, Vec<u8>) {
    let mut buffer = vec![0; 70_000];
    let length = rustix::io::read(tun, &mut buffer[..]).unwrap();
    let (header, packet) = buffer[..length].split_first_chunk().unwrap();
    (Header::decode(header).unwrap(), packet.to_vec())
}

#[test]
fn large_segments_cross_as_packets_and_arrive_as_they_left() {
    let (one, other) = pair();
    for (from, to, v6) in [(&one, &other, false), (&other, &one, true)] {
        let parts = parts(v6, 60_000);
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(&parts.packet());
        let (header, packet) = frame.split_first_chunk_mut().unwrap();
        virtio::finish_by_kernel(header, packet, NonZeroU16::new(1340));
        rustix::io::write(from, &frame).unwrap();

        let (mut payload, mut frames) = (Vec::new(), 0);
        while payload.len() < parts.payload.len() {
            let (header, mut packet) = read(to);
            if let Some(checksum) = header.checksum {
                assert!(virtio::finish(&mut packet, checksum));
            }
            assert_checksums(&packet, parts.transport());
            payload.extend_from_slice(&packet[parts.headers()..]);
            frames += 1;
        }
        assert_eq!(payload, parts.payload);
        // One, but for where a batch ended in its midst.
        assert!(frames <= 4, "{frames} frames");
    }
}

#[test]
fn what_is_not_a_tcp_segment_crosses_as_it_is() {
    let (one, other) = pair();
    let mut datagram = vec![0; 20];
    datagram[0] = 0x45;
    datagram[2..4].copy_from_slice(&1200_u16.to_be_bytes());
    datagram[9] = 17;
    datagram.resize(1200, 3);
    for _ in 0..3 {
        rustix::io::write(&one, &[&[0; HEADER], &datagram[..]].concat()).unwrap();
        assert_eq!(read(&other), (Header::default(), datagram.clone()));
    }
    // Too short for a header; nothing; described wrongly: passed over.
    for bad in [&[0_u8; 5][..], &[0; HEADER], &[[1; HEADER], [0xff; HEADER]].concat()] {
        rustix::io::write(&one, bad).unwrap();
    }
    rustix::io::write(&one, &[&[0; HEADER], &datagram[..]].concat()).unwrap();
    assert_eq!(read(&other).1, datagram);
}

#[test]
fn a_tun_that_has_gone_ends_the_pump() {
    let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    udp.connect(("127.0.0.1", 9)).unwrap();
    let (_, guest) = key_pairs().unwrap();
    // Not a device, and cannot be read from.
    let tun = OwnedFd::from(std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap());
    assert!(run(tun, udp, Tunnel::new(&guest, None), 1420, || {}).is_err());
}
