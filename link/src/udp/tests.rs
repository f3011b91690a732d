#![allow(clippy::unwrap_used, clippy::expect_used)]

use rustix::event::{PollFd, PollFlags, poll};

use super::*;

fn sockets(host: &str) -> (UdpSocket, UdpSocket) {
    let (one, other) = (UdpSocket::bind((host, 0)).unwrap(), UdpSocket::bind((host, 0)).unwrap());
    prepare(&one).unwrap();
    prepare(&other).unwrap();
    (one, other)
}

fn arrived(socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut inbox, mut taken) = (Inbox::new(), Vec::new());
    while taken.len() < count {
        poll(&mut [PollFd::new(socket, PollFlags::IN)], None).unwrap();
        inbox.fill(socket).unwrap();
        while let Some((from, datagram)) = inbox.take() {
            taken.push((from, datagram.to_vec()));
        }
    }
    taken
}

fn datagram(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + number) as u8).collect()
}

fn carries(sizes: &[usize], host: &str) -> Counters {
    let (one, other) = sockets(host);
    let to = other.local_addr().unwrap();
    let mut outbox = Outbox::new();
    for (number, &size) in sizes.iter().enumerate() {
        let room = outbox.room(&one, Some(to), size);
        room[..size].copy_from_slice(&datagram(number, size));
        outbox.commit(&one, size);
    }
    outbox.flush(&one);
    let taken = arrived(&other, sizes.len());
    for (number, (from, bytes)) in taken.iter().enumerate() {
        assert_eq!(*from, one.local_addr().unwrap());
        assert_eq!(*bytes, datagram(number, sizes[number]), "datagram {number}");
    }
    assert_eq!(taken.len(), sizes.len());
    let counters = outbox.counters();
    assert_eq!((counters.sent, counters.dropped), (sizes.len() as u64, 0));
    counters
}

#[test]
fn datagrams_of_one_size_go_together() {
    let counters = carries(&[1452; 45], "127.0.0.1");
    if cfg!(target_os = "linux") {
        assert_eq!(counters.calls, 1);
    }
    carries(&[1452; 100], "127.0.0.1");
    carries(&[84; 200], "127.0.0.1");
}

#[test]
fn ipv6_does_as_well() {
    carries(&[1452, 1452, 1452, 800, 64, 64], "::1");
}

#[test]
fn a_shorter_one_ends_a_batch_and_a_longer_one_starts_another() {
    let counters = carries(&[1452, 1452, 100, 100, 100, 1452, 60_000, 1, 65_507, 32], "127.0.0.1");
    if cfg!(target_os = "linux") {
        // 1452 1452 100 | 100 100 | 1452 | 60000 1 | 65507 | 32
        assert_eq!(counters.calls, 6);
    }
}

#[test]
fn a_handshake_in_the_place_of_data_keeps_its_bytes() {
    let (one, other) = sockets("127.0.0.1");
    let to = Some(other.local_addr().unwrap());
    let mut outbox = Outbox::new();
    outbox.push(&one, to, &[1; 84]);
    let room = outbox.room(&one, to, 84);
    assert!(room.len() >= 148);
    room[..148].fill(2);
    outbox.commit(&one, 148);
    // Nothing to send after all.
    outbox.room(&one, to, 84);
    outbox.commit(&one, 0);
    outbox.flush(&one);
    let taken: Vec<_> = arrived(&other, 2).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(taken, [vec![1; 84], vec![2; 148]]);
}

#[test]
fn each_address_gets_its_own() {
    let (one, other) = sockets("127.0.0.1");
    let (third, _) = sockets("127.0.0.1");
    let (to, elsewhere) = (other.local_addr().unwrap(), third.local_addr().unwrap());
    let mut outbox = Outbox::new();
    for number in 0..6 {
        outbox.push(&one, Some(if number % 3 == 2 { elsewhere } else { to }), &[number; 500]);
    }
    outbox.flush(&one);
    let first = |socket, count| arrived(socket, count).iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>();
    assert_eq!(first(&other, 4), [0, 1, 3, 4]);
    assert_eq!(first(&third, 2), [2, 5]);
}

#[test]
fn a_connected_socket_needs_no_address_and_outlives_a_refusal() {
    let (one, other) = sockets("127.0.0.1");
    let port = other.local_addr().unwrap();
    one.connect(port).unwrap();
    drop(other);
    let mut outbox = Outbox::new();
    // The first is answered by ICMP, which the second send is told of.
    outbox.push(&one, None, b"nobody listens");
    outbox.flush(&one);
    outbox.push(&one, None, b"still nobody");
    outbox.flush(&one);
    let other = UdpSocket::bind(port).unwrap();
    prepare(&other).unwrap();
    outbox.push(&one, None, b"somebody");
    outbox.flush(&one);
    assert_eq!(arrived(&other, 1)[0].1, b"somebody");
}

#[test]
fn what_the_system_refuses_is_counted() {
    let (one, _) = sockets("127.0.0.1");
    let mut outbox = Outbox::new();
    // Not connected, and no address.
    outbox.push(&one, None, b"x");
    outbox.flush(&one);
    assert_eq!((outbox.counters().sent, outbox.counters().dropped), (0, 1));
}

/// A socket whose queue is short; loopback's UDP drops what it has no room for.
#[cfg(target_os = "linux")]
fn short_queue() -> (UdpSocket, std::os::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let (one, other) =
        socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    let one = UdpSocket::from(one);
    one.set_nonblocking(true).unwrap();
    (one, other)
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_queue_is_waited_for() {
    let (one, other) = short_queue();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        (0..1000).map(|_| rustix::io::read(&other, &mut buffer).unwrap()).collect::<Vec<_>>()
    });
    let mut outbox = Outbox::new();
    for number in 0..1000 {
        // Growing, so that each goes by itself.
        outbox.push(&one, None, &vec![1; 500 + number]);
    }
    outbox.flush(&one);
    assert_eq!(reader.join().unwrap(), (500..1500).collect::<Vec<_>>());
    assert_eq!((outbox.counters().sent, outbox.counters().dropped), (1000, 0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_queue_that_stays_full_costs_datagrams_and_is_counted() {
    let (one, _other) = short_queue();
    let mut outbox = Outbox::new();
    let mut number = 0;
    while outbox.counters().dropped == 0 {
        number += 1;
        outbox.push(&one, None, &vec![1; 100 + number]);
        outbox.flush(&one);
    }
    assert_eq!(outbox.counters().stalls, 1);
    assert_eq!(outbox.counters().sent, number as u64 - 1);
}
