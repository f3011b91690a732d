//! What one end of a flow says or does reaches the other end: bytes, closes, resets, silence.

use super::*;

#[test]
fn an_allowed_address_carries_bytes_both_ways_and_closes_in_order() {
    for address in ["203.0.113.5:443", "[2001:db8::5]:443"] {
        let rule = address.parse::<SocketAddr>().unwrap();
        let mut world = World::new(&[&rule.to_string()]);
        let guest = world.connect(address, 50_000);
        world.settle();
        assert_eq!(world.socket(guest).state(), tcp::State::Established);
        world.socket(guest).send_slice(b"\0hello").unwrap();
        world.settle();
        let (id, far) = world.only_far();
        assert_eq!(far.received, b"\0hello");
        far.to_send.extend(b"world");
        world.router.mark(id);
        world.settle();
        let mut answer = [0; 16];
        let count = world.socket(guest).recv_slice(&mut answer).unwrap();
        assert_eq!(&answer[..count], b"world");
        world.socket(guest).close();
        world.settle();
        let (id, far) = world.only_far();
        assert!(far.finished, "the guest's FIN reaches the far side");
        far.closes = true;
        world.router.mark(id);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.closes(), ["finished"]);
        assert_eq!(world.router.flows(), 0);
    }
}

#[test]
fn refused_stays_refused_and_silence_stays_silence() {
    let mut world = World::new(&["203.0.113.5:443"]);
    world.dial = |_| Err(DialError::Refused);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert_eq!(world.closes(), ["refused by peer"]);

    let mut world = World::new(&["203.0.113.5:443"]);
    world.dial = |_| Err(DialError::TimedOut);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.socket(guest).state(), tcp::State::SynSent);
    assert_eq!(world.dials.len(), 1, "repeated SYNs are not new attempts");
}

#[test]
fn a_reset_of_the_far_side_reaches_the_guest() {
    let mut world = World::new(&["203.0.113.5:443"]);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    let (id, far) = world.only_far();
    far.resets = true;
    world.router.mark(id);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Closed);
    assert_eq!(world.closes(), ["reset by peer"]);
}

#[test]
fn a_reset_of_the_guest_reaches_the_far_side() {
    let mut world = World::new(&["203.0.113.5:443"]);
    let guest = world.connect("203.0.113.5:443", 50_000);
    world.settle();
    world.socket(guest).abort();
    world.settle();
    assert_eq!(world.released.last().unwrap().1, How::ResetByGuest);
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn a_far_side_that_takes_nothing_holds_the_guest_back() {
    let mut world = World::new(&["203.0.113.5:9000"]);
    let guest = world.connect("203.0.113.5:9000", 50_000);
    world.settle();
    world.only_far().1.room = Some(1000);
    let mut sent = 0;
    for _ in 0..100 {
        if world.socket(guest).can_send() {
            sent += world.socket(guest).send_slice(&vec![7; 65_536]).unwrap();
        }
        world.settle();
    }
    assert!(sent < 600_000, "buffers are bounded, {sent} bytes were taken");
    let (id, far) = world.only_far();
    far.room = None;
    world.router.mark(id);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.only_far().1.received.len(), sent);
}

/// What is left when both sides have closed has to wait for the guest's window, and for nothing else.
#[test]
fn a_guest_that_closed_first_gets_the_rest_as_fast_as_it_reads() {
    for length in [0, 1, 60_000, 150_000, 400_000] {
        let mut world = World::new(&["203.0.113.5:9000"]);
        let guest = world.connect("203.0.113.5:9000", 50_000);
        world.settle();
        world.socket(guest).send_slice(b"all of it").unwrap();
        world.socket(guest).close();
        world.settle();
        let (id, far) = world.only_far();
        assert!(far.finished);
        far.to_send = (0..length).map(|at| (at % 251) as u8).collect();
        far.closes = true;
        world.router.mark(id);
        world.settle();
        let (start, mut read) = (world.now, Vec::new());
        while world.socket(guest).may_recv() {
            assert!(world.now - start < Duration::from_millis(500), "{length}: stalls at {}", read.len());
            // It reads in one go what has filled its window, and it is an acknowledgement's delay until the next.
            while world.socket(guest).can_recv() {
                world.socket(guest).recv(|bytes| (bytes.len(), read.extend_from_slice(bytes))).unwrap();
            }
            world.pass(Duration::from_millis(20));
        }
        assert!(read.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        assert_eq!(read.len(), length);
        world.pass(Duration::from_millis(20));
        assert_eq!(world.closes(), ["finished"]);
    }
}

/// Its last questions and its end come in one segment.
#[test]
fn a_connection_to_the_resolver_ends_when_the_guest_ends_it() {
    let well_formed = b"\0\x1d\x4e\x58\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    // No questions at all, such that get no answer, and one that has to be looked up.
    for (questions, answers) in [(&b""[..], false), (&[0; 600], false), (well_formed, true)] {
        let mut world = World::new(&["example.com"]);
        let guest = world.connect("198.18.0.1:53", 50_000);
        world.settle();
        world.socket(guest).send_slice(questions).unwrap();
        world.socket(guest).close();
        world.settle();
        assert_eq!(world.socket(guest).can_recv(), answers, "{} bytes", questions.len());
        while world.socket(guest).can_recv() {
            world.socket(guest).recv(|bytes| (bytes.len(), ())).unwrap();
        }
        assert!(!world.socket(guest).may_recv(), "{} bytes", questions.len());
        // Its acknowledgement may be delayed.
        world.pass(Duration::from_secs(1));
        assert_eq!(world.router.flows(), 0, "{} bytes", questions.len());
    }
}

#[test]
fn a_server_may_speak_first() {
    let mut world = World::new(&["example.com:25"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 25).to_string(), 50_000);
    world.settle();
    let (id, far) = world.only_far();
    far.to_send.extend(b"220 ready\r\n");
    world.router.mark(id);
    world.settle();
    assert_eq!(world.socket(guest).recv_queue(), 11);
}

#[test]
fn published_ports_open_connections_into_the_guest() {
    let mut world = World::new(&[]);
    let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
    let mut server = tcp::Socket::new(buffer(), buffer());
    server.listen(8080).unwrap();
    let server = world.sockets.add(server);
    let id = world.router.publish(world.now, 8080, "127.0.0.1:5555".parse().unwrap()).unwrap();
    let mut far = Far::default();
    far.to_send.extend(b"ping");
    world.far.insert(id, far);
    world.settle();
    world.router.mark(id);
    world.settle();
    assert_eq!(world.socket(server).recv_queue(), 4);
    world.socket(server).send_slice(b"pong").unwrap();
    world.settle();
    assert_eq!(world.far[&id].received, b"pong");
}
