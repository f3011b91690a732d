//! Much through a tunnel whose other end was written by others.

use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;

use super::guest::Peer;
use super::host::Host;
use super::machine::{full, leave_out};
use super::sys::{ready, seal, thread};
use super::transfer;

/// Over a network that loses one of twenty datagrams. The host's stack waits a second where more than one of a window
/// is missing, so that less has to do for downloads.
const LOSSY_UPLOAD: u64 = 4 << 20;
const LOSSY_DOWNLOAD: u64 = 1 << 20;
/// Keys are renewed after two minutes (the WireGuard paper, section 6.1).
const LONG: u64 = 135;

fn amount() -> u64 {
    if full() { 500_000_000 } else { 32_000_000 }
}

/// Runs `what` in a guest's namespace, with the peer and npxc's end, which has a namespace of its own.
fn between(program: &str, bad: bool, what: impl FnOnce(&Peer, &Host)) {
    // The test's thread ends with the test, and its namespace with it.
    seal();
    let here = thread();
    let (started, host) = channel();
    thread::spawn(move || started.send(Host::start(here, bad)).unwrap());
    let host = host.recv().expect("npxc's end");
    let peer = Peer::start(program, &host.keys, host.endpoint);
    what(&peer, &host);
    drop(peer);
    host.stop();
}

fn carries_much(program: &str) {
    if !ready(program) {
        return;
    }
    between(program, false, |_, host| {
        let up = transfer::upload(host.port, amount());
        let down = transfer::download(host.port, amount());
        eprintln!("{program}, {} MB each way: {up:.0} Mb/s up, {down:.0} Mb/s down", amount() / 1_000_000);
    });
}

fn survives_loss(program: &str) {
    if !ready(program) {
        return;
    }
    between(program, true, |_, host| {
        let up = transfer::upload(host.port, LOSSY_UPLOAD);
        let down = transfer::download(host.port, LOSSY_DOWNLOAD);
        let damage = host.damage.as_ref().unwrap();
        let [passed, lost, swapped] =
            [&damage.passed, &damage.lost, &damage.swapped].map(|count| count.load(Ordering::Relaxed));
        assert!(lost > 50 && swapped > 50, "{lost} lost, {swapped} swapped");
        eprintln!(
            "{program}, 5 % lost and 5 % swapped: {up:.1} Mb/s up, {down:.1} Mb/s down \
             ({passed} datagrams passed, {lost} lost, {swapped} swapped)"
        );
    });
}

fn renews_its_keys(program: &str) {
    if !full() {
        leave_out("the renewal of keys within a transfer, more than two minutes (NPXC_TEST_FULL=1)");
        return;
    }
    if !ready(program) {
        return;
    }
    between(program, false, |peer, host| {
        transfer::steady(host.port, 1);
        let first = peer.handshake();
        transfer::steady(host.port, LONG);
        let last = peer.handshake();
        // A second may be the rounding.
        assert!(last > first + 1, "no handshake since {first}");
        eprintln!("{program}: keys renewed {} s after the first handshake", last - first);
    });
}

#[test]
fn wireguard_go_carries_much_both_ways() {
    carries_much("wireguard-go");
}

#[test]
fn boringtun_carries_much_both_ways() {
    carries_much("boringtun-cli");
}

#[test]
fn wireguard_go_survives_loss_and_reordering() {
    survives_loss("wireguard-go");
}

#[test]
fn boringtun_survives_loss_and_reordering() {
    survives_loss("boringtun-cli");
}

#[test]
fn wireguard_go_renews_its_keys_within_a_transfer() {
    renews_its_keys("wireguard-go");
}

#[test]
fn boringtun_renews_its_keys_within_a_transfer() {
    renews_its_keys("boringtun-cli");
}
