//! Which address is dialled for what the guest asked for, and which never is.

use super::*;

#[test]
fn an_address_never_handed_out_is_reset_before_it_is_answered() {
    for address in ["203.0.113.5:443", "[2001:db8::5]:443", "198.18.77.7:443"] {
        let mut world = World::new(&["example.com:443"]);
        let guest = world.connect(address, 50_000);
        world.settle();
        assert_eq!(world.socket(guest).state(), tcp::State::Closed);
        assert!(world.dials.is_empty() && world.lookups.is_empty());
        assert_eq!(world.denials().len(), 1);
    }
}

#[test]
fn a_name_is_resolved_again_and_its_address_dialled_not_the_guests() {
    let mut world = World::new(&["example.com:443"]);
    let address = world.virtual_address("example.com");
    let guest = world.connect(&SocketAddr::new(address, 443).to_string(), 50_000);
    world.settle();
    assert_eq!(world.socket(guest).state(), tcp::State::Established);
    assert_eq!(world.lookups, ["example.com"]);
    assert_eq!(world.dials[0].1, ["203.0.113.9:443".parse().unwrap()]);
}

#[test]
fn a_name_that_resolves_to_a_private_address_is_not_dialled() {
    for private in
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
    {
        let mut world = World::new(&["example.com:443"]);
        world.names.insert("example.com", vec![private.parse().unwrap()]);
        let address = world.virtual_address("example.com");
        let guest = world.connect(&SocketAddr::new(address, 443).to_string(), 50_000);
        world.settle();
        assert_eq!(world.socket(guest).state(), tcp::State::Closed, "{private}");
        assert!(world.dials.is_empty());
        assert_eq!(world.denials()[0].1.as_deref(), Some("--allow-private example.com:443"));
    }
}

#[test]
fn private_ones_among_public_addresses_are_left_out() {
    let mut world = World::new(&["example.com:443"]);
    world.names.insert("example.com", ["10.0.0.1", "203.0.113.9"].map(|text| text.parse().unwrap()).to_vec());
    let address = world.virtual_address("example.com");
    world.connect(&SocketAddr::new(address, 443).to_string(), 50_000);
    world.settle();
    assert_eq!(world.dials[0].1, ["203.0.113.9:443".parse().unwrap()]);
}

#[test]
fn with_real_addresses_a_rule_about_the_address_still_counts() {
    let mut world = World::new(&["example.com:443", "203.0.113.9:22"]);
    let address: IpAddr = "203.0.113.9".parse().unwrap();
    world.router.pins.pin_real(&"example.com".parse().unwrap(), &[address]).unwrap();
    let by_address = world.connect("203.0.113.9:22", 50_000);
    let by_name = world.connect("203.0.113.9:443", 50_001);
    let neither = world.connect("203.0.113.9:80", 50_002);
    world.settle();
    assert_eq!(world.socket(by_address).state(), tcp::State::Established);
    assert_eq!(world.socket(by_name).state(), tcp::State::Established);
    assert_eq!(world.socket(neither).state(), tcp::State::Closed);
    assert!(world.dials.iter().all(|(_, addresses)| addresses[0].ip() == address));
    // A name on the flow that goes to the address as such is nobody's business.
    world.socket(by_address).send_slice(b"GET / HTTP/1.1\r\nHost: other.example.org\r\n\r\n").unwrap();
    world.settle();
    assert_eq!(world.denials().len(), 1);
}
