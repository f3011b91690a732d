//! The links: the TUN over the control socket, and the network under a WireGuard tunnel.

use std::process::{Command, Stdio};

use npxc::runtime::Link;
use npxc::runtime::LinkChoice;

use super::world::{again, alone, sh, start, try_start, world};

/// Set for the run in a network of its own, whose host drops every datagram.
const DEAF: &str = "NPXC_TEST_DEAF";
/// `lo` is up as everywhere; engines make their networks here as they do elsewhere.
const SCRIPT: &str = "ip link set lo up && iptables -A INPUT -p udp -j DROP && ip6tables -A INPUT -p udp -j DROP && \
                      exec \"$@\"";

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

/// One run of this file's program for [`links_where_nothing_answers`]: only the host's own firewall can be deaf.
#[test]
fn a_network_that_drops_the_tunnel_is_left_for_the_socket() {
    if again() || std::env::var_os(DEAF).is_some() || world().is_none() {
        return;
    }
    let _alone = alone();
    let output = Command::new("unshare")
        .args(["-n", "sh", "-c", SCRIPT, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "links::links_where_nothing_answers", "--nocapture"])
        .env(DEAF, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("nobody was heard"), "{said}");
}

#[test]
fn links_where_nothing_answers() {
    if std::env::var_os(DEAF).is_none() {
        return;
    }
    let Some(world) = world() else { return };
    let refused = try_start(&world.engine().link(LinkChoice::Wireguard), &sh("true")).unwrap_err();
    assert!(refused.to_string().contains("handshake"), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("--link socket")), "{:?}", refused.hint());

    let engine = world.engine().link(LinkChoice::Auto);
    let mut running = start(&engine, &sh("true"));
    assert!(matches!(running.guest.take_link(), Some(Link::Tun(_))));
    let said = running.guest.warnings().join("\n");
    assert!(said.contains("`socket`") && said.contains("handshake"), "{said}");
    // The next session of the same npxc does not wait again, nor say it again.
    let again = start(&engine, &sh("true"));
    assert_eq!(again.guest.warnings().join("\n"), "");
    eprintln!("nobody was heard");
}
