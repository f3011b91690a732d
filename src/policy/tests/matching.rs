//! Which requests a rule is about.

use super::*;

#[test]
fn row_3_an_address_nobody_handed_out() {
    let policy = Spec::allowlist("api.example.com").policy();
    for (text, hint) in [
        ("203.0.113.5:443", "--allow 203.0.113.5:443"),
        ("[2001:db8::5]:443", "--allow [2001:db8::5]:443"),
        ("udp://203.0.113.5:53", "--allow udp://203.0.113.5:53"),
        ("[::ffff:203.0.113.5]:443", "--allow 203.0.113.5:443"),
    ] {
        let reason = refusal(&policy, text);
        assert_eq!(reason.code(), "unknown-address");
        assert_eq!(reason.hint().as_deref(), Some(hint));
    }
}

#[test]
fn row_8_an_address_needs_an_address_rule() {
    let policy = Spec::allowlist("192.0.2.0/24:443,[2001:db8::/32]:443,udp://192.0.2.1:53").policy();
    assert_eq!(code(&policy, "192.0.2.9:443"), "allow");
    assert_eq!(code(&policy, "[::ffff:192.0.2.9]:443"), "allow", "mapped is the IPv4 address it is");
    assert_eq!(code(&policy, "[2001:db8:1::1]:443"), "allow");
    assert_eq!(code(&policy, "udp://192.0.2.1:53"), "allow");
    assert_eq!(code(&policy, "192.0.3.1:443"), "unknown-address");
    assert_eq!(code(&policy, "192.0.2.1:80"), "wrong-port");
    assert_eq!(code(&policy, "udp://192.0.2.9:443"), "unknown-address");
    assert_eq!(name(&policy, "example.com"), "name-not-allowed", "an address rule names no name");
    // The guest chose the address: the permit is for it and no other.
    let permit = permit(&policy, "[::ffff:192.0.2.9]:443");
    assert_eq!(admit(&permit, "192.0.2.9"), "allow");
    assert_eq!(admit(&permit, "::ffff:192.0.2.9"), "allow");
    assert_eq!(admit(&permit, "192.0.2.10"), "unknown-address");
}

#[test]
fn row_12_spellings_of_one_name_get_one_verdict() {
    for rule in ["bücher.example", "BÜCHER.example.", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE"] {
        let policy = Spec::allowlist(rule).policy();
        for spelling in ["bücher.example", "xn--bcher-kva.example.", "Xn--Bcher-Kva.Example"] {
            assert_eq!(code(&policy, &format!("{spelling}:1")), "allow");
            assert_eq!(name(&policy, spelling), "allow");
        }
        assert_eq!(name(&policy, "bucher.example"), "name-not-allowed");
    }
}

#[test]
fn row_14_suffix_confusions() {
    let policy = Spec::allowlist("allowed.com,*.below.example").policy();
    for denied in [
        "evilallowed.com",
        "allowed.com.evil.example",
        "www.allowed.com",
        "allowed.co",
        "com",
        "allowed-com.example",
        "below.example",
        "evilbelow.example",
        "a.below.example.org",
    ] {
        assert_eq!(name(&policy, denied), "name-not-allowed", "{denied}");
        assert_eq!(code(&policy, &format!("{denied}:443")), "not-allowed", "{denied}");
    }
    for allowed in ["allowed.com", "a.below.example", "a.b.c.below.example", "_x.below.example"] {
        assert_eq!(name(&policy, allowed), "allow");
        assert_eq!(code(&policy, &format!("{allowed}:443")), "allow");
    }
}

#[test]
fn row_15_the_right_name_on_the_wrong_port() {
    let policy = Spec::allowlist("api.example.com:443,api.example.com:8000-8010,*.b.example:1").policy();
    for allowed in ["api.example.com:443", "api.example.com:8000", "api.example.com:8010", "x.b.example:1"] {
        assert_eq!(code(&policy, allowed), "allow", "{allowed}");
    }
    for wrong in ["api.example.com:80", "api.example.com:7999", "api.example.com:8011", "x.b.example:2"] {
        let reason = refusal(&policy, wrong);
        assert_eq!(reason.code(), "wrong-port", "{wrong}");
        assert_eq!(reason.hint(), Some(format!("--allow {wrong}")));
    }
    assert_eq!(
        refusal(&policy, "api.example.com:80").to_string(),
        "rule `api.example.com:443` names api.example.com, but not tcp port 80"
    );
    assert_eq!(refusal(&policy, "api.example.com:0").hint(), None, "no rule can name port 0");
    assert_eq!(code(&Spec::allowlist("a.example").policy(), "a.example:0"), "wrong-port");
    assert_eq!(code(&Spec::new(Mode::Open).policy(), "a.example:0"), "not-allowed");
}

#[test]
fn row_26_udp_needs_a_udp_rule() {
    let policy = Spec::allowlist("a.example:443,udp://a.example:53").policy();
    let reason = refusal(&policy, "udp://b.example:443");
    assert_eq!(reason.code(), "not-allowed");
    assert_eq!(reason.hint().as_deref(), Some("--allow udp://b.example:443"));
    assert_eq!(code(&policy, "udp://a.example:53"), "allow");
    assert_eq!(code(&policy, "udp://a.example:443"), "wrong-port");
    assert_eq!(code(&policy, "a.example:53"), "wrong-port");
    assert_eq!(code(&Spec::allowlist("tcp://a.example").policy(), "udp://a.example:443"), "not-allowed");
}

#[test]
fn row_31_the_host_is_reached_by_its_exact_name_only() {
    for spec in [
        Spec::allowlist("*.internal,*.npxc.internal,0.0.0.0/0"),
        Spec::new(Mode::Open),
        Spec::new(Mode::Observe).allow("*.internal"),
        Spec::allowlist("a.example").private("*.internal"),
    ] {
        let policy = spec.policy();
        assert_eq!(name(&policy, HOST_NAME), "name-not-allowed");
        let reason = refusal(&policy, "host.npxc.internal:5432");
        assert_eq!(reason.code(), "not-allowed");
        assert_eq!(reason.hint().as_deref(), Some("--allow host.npxc.internal:5432"));
    }
    for mode in [Mode::Allowlist, Mode::Open, Mode::Observe] {
        let policy = Spec::new(mode).allow("host.npxc.internal:5432,10.0.0.0/8").policy();
        assert_eq!(name(&policy, "HOST.npxc.internal."), "allow");
        let permit = permit(&policy, "host.npxc.internal:5432");
        assert!(permit.observed().is_none());
        assert_eq!(admit(&permit, "127.0.0.1"), "allow");
        assert_eq!(admit(&permit, "::1"), "allow");
        for other in ["10.0.0.1", "203.0.113.1", "0.0.0.0", "::", "169.254.169.254", "::127.0.0.1"] {
            assert_eq!(admit(&permit, other), "not-loopback", "{other}");
        }
        assert_eq!(code(&policy, "host.npxc.internal:5433"), "wrong-port");
    }
    let denied = Spec::allowlist("host.npxc.internal").deny("*.internal").policy();
    assert_eq!(code(&denied, "host.npxc.internal:1"), "denied-by-rule", "a deny wildcard does cover it");
    let denied = Spec::allowlist("host.npxc.internal").deny("127.0.0.0/8").policy();
    assert_eq!(admit(&permit(&denied, "host.npxc.internal:1"), "127.0.0.1"), "denied-by-rule");
}

#[test]
fn rules_are_bounded() {
    let rules: Vec<Rule> = (0..=4096).map(|n| format!("h{n}.example").parse().unwrap()).collect();
    let spec = PolicySpec { allow: rules, ..PolicySpec::default() };
    assert_eq!(Policy::new(spec).unwrap_err(), PolicyError::TooManyRules { limit: 4096 });
}
