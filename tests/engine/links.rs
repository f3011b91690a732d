//! The links: the TUN over the control socket, and the network under a WireGuard tunnel.

use npxc::runtime::Link;
use npxc::runtime::engine::LinkChoice;

use super::world::{alone, sh, try_start, world};

#[test]
fn the_socket_link_is_a_tun() {
    let Some(world) = world() else { return };
    let mut running = try_start(&world.engine(), &sh("true")).unwrap();
    let Some(Link::Tun(link)) = running.guest.take_link() else { panic!("no TUN") };
    assert_eq!(link.mtu, 1500);
    assert!(running.guest.take_link().is_none());
    assert!(rustix::fs::fcntl_getfl(&link.fd).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
}

#[test]
fn the_wireguard_link_is_bound_to_the_gateway_and_its_network_goes_with_it() {
    let Some(world) = world() else { return };
    let _alone = alone();
    let engine = world.engine().link(LinkChoice::Wireguard);
    let mut running = try_start(&engine, &sh("true")).unwrap_or_else(|error| panic!("{error}"));
    let Some(Link::WireGuard(link)) = running.guest.take_link() else { panic!("no WireGuard") };
    let address = link.socket.local_addr().unwrap().ip();
    assert!(!address.is_unspecified() && !address.is_loopback(), "{address}");
    assert!((1280..=1420).contains(&link.mtu), "{}", link.mtu);
    assert_eq!(world.known().lines().count(), 2, "{}", world.known());
    drop(running);
    assert_eq!(world.known(), "");
}

#[test]
fn a_larger_network_makes_a_larger_link() {
    let Some(world) = world() else { return };
    let _alone = alone();
    let engine = world.engine().link(LinkChoice::Wireguard).network_mtu(9000);
    let mut running = try_start(&engine, &sh("true")).unwrap_or_else(|error| panic!("{error}"));
    let Some(Link::WireGuard(link)) = running.guest.take_link() else { panic!("no WireGuard") };
    assert_eq!(link.mtu, 8920);
}
