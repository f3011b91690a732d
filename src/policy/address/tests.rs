#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use super::*;

fn class(address: &str) -> Option<AddressClass> {
    classify(address.parse::<IpAddr>().unwrap())
}

#[test]
fn every_block_of_the_floor_has_its_class_and_ends_where_it_ends() {
    use AddressClass as C;
    // First and last address of each block, then its neighbours.
    for (class_is, inside, outside) in [
        (C::Unspecified, "0.0.0.0 0.255.255.255", "1.0.0.0"),
        (C::Private, "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0"),
        (C::Shared, "100.64.0.0 100.127.255.255", "100.63.255.255 100.128.0.0"),
        (C::Loopback, "127.0.0.0 127.0.0.1 127.255.255.255", "126.255.255.255 128.0.0.0"),
        (C::LinkLocal, "169.254.0.0 169.254.255.255", "169.253.255.255 169.255.0.0"),
        (C::Private, "172.16.0.0 172.31.255.255", "172.15.255.255 172.32.0.0"),
        (C::Protocols, "192.0.0.0 192.0.0.255", "191.255.255.255 192.0.1.0"),
        (C::Private, "192.168.0.0 192.168.255.255", "192.167.255.255 192.169.0.0"),
        (C::Benchmarking, "198.18.0.0 198.19.255.255", "198.17.255.255 198.20.0.0"),
        (C::Multicast, "224.0.0.0 239.255.255.255", "223.255.255.255"),
        (C::Reserved, "240.0.0.0 255.255.255.254", ""),
        (C::Broadcast, "255.255.255.255", ""),
        (C::Metadata, "169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200", "168.63.129.15"),
        (C::Metadata, "fd00:ec2::254 fd20:ce::254", ""),
        (C::Unspecified, "::", ""),
        (C::Loopback, "::1", ""),
        (C::Compatible, "::2 ::127.0.0.1 ::8.8.8.8", ""),
        (C::UniqueLocal, "fc00:: fd6e:7078:6300::1 fdff:ffff::", ""),
        (C::LinkLocal, "fe80::1 febf:ffff::", ""),
        (C::SiteLocal, "fec0:: feff::", ""),
        (C::Multicast, "ff00:: ff02::fb", ""),
        (C::Teredo, "2001:: 2001:0:ffff::", "2001:1::"),
        (C::Benchmarking, "2001:2::1", "2001:2:1::"),
        (C::LocalNat64, "64:ff9b:1::8.8.8.8", ""),
        (C::Reserved, "64:ff9b:2::1 100::1 1fff:: 4000:: 5f00:: 8000:: fbff:: fe00::", "2000:: 3ffe::"),
        (C::Reserved, "2001:10::1 2001:2f:ffff::", "2001:30::"),
    ] {
        for address in inside.split_whitespace() {
            assert_eq!(class(address), Some(class_is), "{address}");
        }
        for address in outside.split_whitespace() {
            assert_eq!(class(address), None, "{address}");
        }
    }
}

#[test]
fn public_and_documentation_addresses_are_not_in_the_floor() {
    for address in "1.1.1.1 8.8.8.8 192.0.2.1 198.51.100.255 203.0.113.0 2001:db8::1 2001:db8:ffff:: 3fff::1 \
                    2606:4700::1111 2a00:1450::1 192.88.99.1"
        .split_whitespace()
    {
        assert_eq!(class(address), None, "{address}");
    }
}

#[test]
fn ipv4_hidden_in_ipv6_is_judged_by_what_is_inside() {
    use AddressClass as C;
    for (v4, hextets, class_is) in [
        ("127.0.0.1", "7f00:1", Some(C::Loopback)),
        ("10.1.2.3", "0a01:203", Some(C::Private)),
        ("169.254.169.254", "a9fe:a9fe", Some(C::Metadata)),
        ("0.0.0.0", "0:0", Some(C::Unspecified)),
        ("192.168.0.1", "c0a8:1", Some(C::Private)),
        ("100.64.0.1", "6440:1", Some(C::Shared)),
        ("8.8.8.8", "808:808", None),
        ("203.0.113.7", "cb00:7107", None),
    ] {
        assert_eq!(class(v4), class_is, "{v4}");
        for hidden in [
            format!("::ffff:{v4}"),
            format!("::ffff:{hextets}"),
            format!("64:ff9b::{hextets}"),
            format!("2002:{hextets}::1"),
            format!("2002:{hextets}:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(class(&hidden), class_is, "{hidden}");
            assert_eq!(ipv4_inside(hidden.parse().unwrap()), v4.parse().ok(), "{hidden}");
        }
    }
    assert_eq!(ipv4_inside("2001:db8::1".parse().unwrap()), None);
}

#[test]
fn a_network_names_private_addresses_only_inside_one_private_block() {
    for net in [
        "10.0.0.0/8",
        "10.1.2.0/24",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "198.18.0.0/15",
        "fc00::/7",
        "fd00::/8",
        "fe80::/64",
        "::/96",
        "2002:a00::/24",
        "2002:c0a8:1::/48",
        "64:ff9b::a00:0/104",
        "8.8.8.8/32",
        "2001:db8::1/128",
        "127.0.0.1/32",
    ] {
        assert!(names_private(&net.parse().unwrap()), "{net}");
    }
    for net in [
        "0.0.0.0/0",
        "0.0.0.0/7",
        "10.0.0.0/7",
        "172.0.0.0/8",
        "192.168.0.0/15",
        "128.0.0.0/1",
        "::/0",
        "f000::/4",
        "2000::/3",
        "2002::/16",
        "2002:a00::/23",
        "64:ff9b::/96",
        "64:ff9b::/95",
        "2001::/16",
    ] {
        assert!(!names_private(&net.parse().unwrap()), "{net}");
    }
}

#[test]
fn legacy_notations_read_as_resolvers_read_them() {
    for (text, address) in [
        ("127.1", Some("127.0.0.1")),
        ("0x7f.0.0.1", Some("127.0.0.1")),
        ("0X7F.1", Some("127.0.0.1")),
        ("2130706433", Some("127.0.0.1")),
        ("017700000001", Some("127.0.0.1")),
        ("0177.0.0.01", Some("127.0.0.1")),
        ("1.2.3", Some("1.2.0.3")),
        ("1.2.65535", Some("1.2.255.255")),
        ("0", Some("0.0.0.0")),
        ("00", Some("0.0.0.0")),
        ("4294967295", Some("255.255.255.255")),
        ("192.0.2.1.", Some("192.0.2.1")),
        ("4294967296", None),
        ("256.1", None),
        ("1.2.65536", None),
        ("1.2.3.4.5", None),
        ("1.2.3.256", None),
        ("09.1", None),
        ("0x", None),
        ("+1", None),
        ("0x+1", None),
        ("", None),
        ("1..2", None),
        ("1.2.3.é", None),
    ] {
        assert_eq!(legacy_ipv4(text), address.map(|address| address.parse().unwrap()), "{text}");
    }
}
