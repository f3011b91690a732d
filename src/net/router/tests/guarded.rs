//! What a guest says first is held against the name that it was let out for, and given up in time.

use super::*;

#[test]
fn a_server_name_that_is_not_the_pinned_one_is_refused() {
    let mut world = World::new(&["example.com:80"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
    world.settle();
    world.socket(guest).send_slice(b"GET / HTTP/1.1\r\nHost: evil.example.org\r\n\r\n").unwrap();
    world.settle();
    let mut answer = vec![0; 4096];
    let count = world.socket(guest).recv_slice(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 403 "));
    assert!(world.far.is_empty(), "the upstream is gone with the refusal");
    assert_eq!(world.denials()[0].0, "host-mismatch");
}

#[test]
fn a_request_dripped_forever_is_given_up() {
    let mut world = World::new(&["example.com:80"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
    world.settle();
    world.socket(guest).send_slice(b"GET / HT").unwrap();
    world.pass(Duration::from_secs(30));
    assert_eq!(world.denials()[0].0, "sniff-timeout");
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn last_words_without_a_line_end_are_delivered() {
    for (words, delivered) in
        [("PING", true), ("GET / HTTP/1.1\r\nHost: exa", false), ("\x16\x03\x01", false)]
    {
        let mut world = World::new(&["example.com:80"]);
        let address = world.virtual_address("example.com");
        let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
        world.settle();
        world.socket(guest).send_slice(words.as_bytes()).unwrap();
        world.settle();
        world.socket(guest).close();
        world.settle();
        if delivered {
            let (_, far) = world.only_far();
            assert_eq!((far.received.as_slice(), far.finished), (words.as_bytes(), true));
        } else {
            assert!(world.far.is_empty());
            assert_eq!(world.denials().len(), 1, "{words:?}");
        }
    }
}

#[test]
fn an_upgrade_may_wait_for_its_server() {
    let mut world = World::new(&["example.com:80"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 80).to_string(), 50_000);
    world.settle();
    let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly";
    world.socket(guest).send_slice(request).unwrap();
    world.pass(Duration::from_mins(1));
    let (id, far) = world.only_far();
    assert!(far.received.ends_with(b"\r\n\r\n"), "what follows waits for the answer");
    far.to_send.extend(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    world.router.mark(id);
    world.settle();
    assert!(world.only_far().1.received.ends_with(b"early"));
    assert!(world.denials().is_empty());
}
