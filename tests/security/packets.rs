//! Packets that are no TCP and no UDP, lies about where they come from, the interface itself (rows 27, 28, 30, 33).
//! What a workload cannot send is refused before it is a packet; the router's own tests feed it those.

use serde_json::json;

use super::ground::{Ground, ground};
use super::harness::{attack, everyone, packets, sealed};
use super::inside;

#[test]
fn row_28_and_30_no_socket_carries_anything_but_tcp_and_udp() {
    for who in everyone() {
        sealed();
        let seen = inside::run(who, &["sockets"]).allow("192.0.2.9,[2001:db8::9]").run();
        let results = inside::results(seen.at(0));
        assert!(results.len() >= 20);
        for (what, result) in results {
            assert_ne!(result, "done", "a {what} socket: {seen:?}");
        }
        assert!(seen.denied().is_empty(), "not a packet: {seen:?}");
    }
}

#[test]
fn row_27_and_33_fragments_options_and_groups_are_dropped_and_counted() {
    for who in everyone() {
        sealed();
        // Rules that cover the groups change nothing.
        let seen = inside::run(who, &["datagrams"])
            .allow("udp://224.0.0.0/4,udp://[ff00::/8],udp://255.255.255.255")
            .run();
        let results = inside::results(seen.at(0));
        seen.assert_nothing_reached();
        assert_eq!(packets(), 0, "nothing left: {seen:?}");
        let limits = seen.limits();
        let dropped = |what: &str| {
            limits.iter().filter(|(limit, _)| limit.contains(what)).map(|(_, count)| *count).sum::<u64>()
        };
        // 4000 bytes are three fragments in either family, 65507 are 45, or 47 in a tunnel over Ethernet.
        let largest = if ground().is_some_and(Ground::wireguard) { 47 } else { 45 };
        for what in ["fragments", "fragments 6", "largest"] {
            assert_eq!(results[what], "sent");
        }
        assert_eq!(dropped("a fragment"), 3 + 3 + largest, "{limits:?} {results:?}");
        if results["record route"] == "sent" {
            assert_eq!(dropped("IPv4 options"), 1, "{limits:?}");
        }
        let denied = seen.denied();
        for group in ["255.255.255.255:9", "224.0.0.251:5353", "239.255.255.250:1900", "[ff02::fb]:5353"] {
            seen.assert_denied(group, "multicast-not-allowed", None);
        }
        assert!(denied.iter().any(|(to, ..)| to == "198.18.0.3:9"), "{seen:?}");
        if results["udp-lite"] == "sent" {
            seen.assert_denied("192.0.2.9:0", "protocol-not-allowed", None);
        }
        // Where the kernel sent it at all, npxc saw through it.
        let forged = ["forged", "forged gateway", "forged 6", "from loopback", "from loopback 6"];
        let sent = forged.iter().filter(|what| results[**what] == "sent").count();
        assert_eq!(dropped("forged source"), sent as u64, "{results:?} {limits:?}");
        for (to, ..) in denied {
            assert!(
                !to.starts_with("192.0.2.9:9") && !to.starts_with("[2001:db8::9]:9"),
                "{to}: {results:?}"
            );
        }
    }
}

#[test]
fn row_27_fragments_are_dropped_for_an_allowed_destination_too() {
    for who in everyone() {
        sealed();
        let steps = json!([
            {"do": "udp", "to": "192.0.2.9", "port": 9, "send": [{"text": "x", "repeat": 4000}], "wait": 200},
            {"do": "udp", "to": "192.0.2.9", "port": 9, "send": ["small"], "wait": 0},
        ]);
        let seen = attack(who, &steps).allow("udp://192.0.2.9:9").run();
        let dropped: u64 =
            seen.limits().iter().filter(|(what, _)| what.contains("fragment")).map(|(_, n)| n).sum();
        assert_eq!(dropped, 3, "{seen:?}");
    }
}

#[test]
fn row_30_the_interface_and_its_routes_stay_as_they_are() {
    for who in everyone() {
        sealed();
        let seen = inside::run(who, &["network"]).run();
        for (what, result) in inside::results(seen.at(0)) {
            assert_ne!(result, "done", "{what}: {seen:?}");
            assert!(!what.starts_with("netlink") || result == "EPERM", "{what}: {result}");
        }
    }
}
