//! Private addresses are not reached, whatever is allowed, unless a rule means them.

use super::*;

/// Rows 17, 18 and 29.
const FLOOR: &[&str] = &[
    "127.0.0.1",
    "127.8.9.10",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.1.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.251",
    "255.255.255.255",
    "240.0.0.1",
    "198.18.0.1",
    "::",
    "::1",
    "::127.0.0.1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0.0.0.0",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001::1",
];

#[test]
fn rows_17_and_18_a_name_that_resolves_below_the_floor() {
    for mode in [Mode::Allowlist, Mode::Open, Mode::Observe] {
        let policy = Spec::new(mode).allow("a.example:443,0.0.0.0/0,[::/0]").policy();
        let granted = permit(&policy, "a.example:443");
        for address in FLOOR {
            assert_eq!(admit(&granted, address), "private-address", "{mode} {address}");
            let reason = granted.admit(address.parse().unwrap()).unwrap_err();
            assert_eq!(reason.hint().as_deref(), Some("--allow-private a.example:443"));
        }
        for address in ["203.0.113.1", "2001:db8::1", "::ffff:203.0.113.1", "64:ff9b::203.0.113.1", "8.8.8.8"]
        {
            assert_eq!(admit(&granted, address), "allow", "{mode} {address}");
        }
    }
    let reason = permit(&Spec::allowlist("a.example").policy(), "a.example:80")
        .admit("169.254.169.254".parse().unwrap())
        .unwrap_err();
    assert_eq!(reason.to_string(), "a.example resolves to 169.254.169.254, a cloud metadata address");
}

#[test]
fn the_floor_is_lifted_by_allow_private_for_what_it_names() {
    let policy = Spec::allowlist("a.example,b.example").private("a.example:443").policy();
    for address in FLOOR {
        assert_eq!(admit(&permit(&policy, "a.example:443"), address), "allow", "{address}");
        assert_eq!(admit(&permit(&policy, "a.example:80"), address), "private-address", "other port");
        assert_eq!(admit(&permit(&policy, "b.example:443"), address), "private-address", "other name");
    }
    let policy = Spec::new(Mode::Open).private("*.a.example").policy();
    assert_eq!(admit(&permit(&policy, "x.a.example:1"), "10.0.0.1"), "allow", "rules count in open mode");
    assert_eq!(admit(&permit(&policy, "udp://x.a.example:1"), "10.0.0.1"), "private-address");
}

#[test]
fn the_floor_is_lifted_by_an_address_rule_that_means_it() {
    for (rule, address, verdict) in [
        ("10.0.0.0/8", "10.1.2.3", "allow"),
        ("10.0.0.0/8:443", "10.1.2.3", "allow"),
        ("10.0.0.0/8:80", "10.1.2.3", "private-address"),
        ("udp://10.0.0.0/8:443", "10.1.2.3", "private-address"),
        ("10.0.0.0/8", "192.168.0.1", "private-address"),
        ("10.1.2.3", "10.1.2.3", "allow"),
        ("10.1.2.3", "::ffff:10.1.2.3", "allow"),
        ("10.1.2.3", "64:ff9b::10.1.2.3", "private-address"),
        ("127.0.0.1", "127.0.0.1", "allow"),
        ("169.254.169.254", "169.254.169.254", "allow"),
        ("[fd00::/8]", "fd00::1", "allow"),
        ("[::1]", "::1", "allow"),
        ("[64:ff9b::10.0.0.0/104]", "64:ff9b::10.1.2.3", "allow"),
        // Wider than the private block: any public address.
        ("0.0.0.0/0", "10.1.2.3", "private-address"),
        ("0.0.0.0/0", "203.0.113.1", "allow"),
        ("10.0.0.0/7", "10.1.2.3", "private-address"),
        ("192.168.0.0/15", "192.168.0.1", "private-address"),
        ("168.63.0.0/16", "168.63.129.16", "private-address"),
        ("[::/0]", "fd00::1", "private-address"),
        ("[64:ff9b::/96]", "64:ff9b::10.1.2.3", "private-address"),
    ] {
        let policy = Spec::allowlist("a.example").allow(rule).policy();
        assert_eq!(admit(&permit(&policy, "a.example:443"), address), verdict, "{rule} {address}");
        // The same for the bare address.
        let address: IpAddr = address.parse().unwrap();
        let request = Request::new(Protocol::Tcp, address, 443);
        let allowed = policy.decide(&request).permit().is_ok();
        assert_eq!(allowed, verdict == "allow", "{rule} {address}");
    }
    let everything = Spec::new(Mode::Allowlist).private("0.0.0.0/0").policy();
    assert_eq!(code(&everything, "10.0.0.1:1"), "allow", "allow-private means what it says");
}

#[test]
fn row_20_mixed_answers_are_judged_one_by_one() {
    let policy = Spec::allowlist("a.example").policy();
    let permit = permit(&policy, "a.example:443");
    let verdicts: Vec<&str> =
        ["203.0.113.1", "10.0.0.1", "2001:db8::1", "::1"].iter().map(|ip| admit(&permit, ip)).collect();
    assert_eq!(verdicts, ["allow", "private-address", "allow", "private-address"]);
}

#[test]
fn private_addresses_are_revealed_only_where_a_rule_reaches_them() {
    let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let policy = Policy::new(PolicySpec {
        mode: Mode::Allowlist,
        allow: rules(&["example.com:443", "10.1.0.0/16:22"]),
        allow_private: rules(&["db.example.com:5432"]),
        ..PolicySpec::default()
    })
    .unwrap();
    let reveals =
        |name: &str, address: &str| policy.may_reveal(&name.parse().unwrap(), address.parse().unwrap());
    assert!(reveals("example.com", "203.0.113.1"));
    assert!(reveals("db.example.com", "192.168.0.7"));
    assert!(reveals("example.com", "10.1.2.3"));
    assert!(!reveals("example.com", "10.2.2.3") && !reveals("example.com", "::ffff:192.168.0.7"));
}
