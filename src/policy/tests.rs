//! What a policy decides, row by row of the attacks it stands against.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;

#[derive(Default, Clone)]
struct Spec(PolicySpec);

impl Spec {
    fn new(mode: Mode) -> Self {
        Self(PolicySpec { mode, ..PolicySpec::default() })
    }
    fn allowlist(rules: &str) -> Self {
        Self::new(Mode::Allowlist).allow(rules)
    }
    fn allow(mut self, rules: &str) -> Self {
        self.0.allow.extend(Rule::parse_list(rules).unwrap());
        self
    }
    fn private(mut self, rules: &str) -> Self {
        self.0.allow_private.extend(Rule::parse_list(rules).unwrap());
        self
    }
    fn deny(mut self, rules: &str) -> Self {
        self.0.deny.extend(Rule::parse_list(rules).unwrap());
        self
    }
    fn preset(mut self, name: &str, rules: &str) -> Self {
        self.0.presets.insert(name.to_owned(), Rule::parse_list(rules).unwrap());
        self
    }
    fn policy(self) -> Policy {
        Policy::new(self.0).unwrap()
    }
}

/// `udp://name:port`, `[v6]:port`, ...: a request in the notation of a rule for one port.
fn request(text: &str) -> Request {
    let (protocol, rest) = match text.strip_prefix("udp://") {
        Some(rest) => (Protocol::Udp, rest),
        None => (Protocol::Tcp, text),
    };
    let (host, port) = rest.rsplit_once(':').unwrap();
    let destination = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => Destination::Address(address),
        Err(_) => Destination::Name(host.parse().unwrap()),
    };
    Request { protocol, destination, port: port.parse().unwrap() }
}

fn code(policy: &Policy, text: &str) -> &'static str {
    policy.decide(&request(text)).permit().map_or_else(|reason| reason.code(), |_| "allow")
}

fn permit(policy: &Policy, text: &str) -> Permit {
    policy.decide(&request(text)).permit().unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn refusal(policy: &Policy, text: &str) -> DenyReason {
    policy.decide(&request(text)).permit().expect_err(text)
}

fn admit(permit: &Permit, address: &str) -> &'static str {
    let address: IpAddr = address.parse().unwrap();
    match permit.admit(address) {
        Ok(dialable) => {
            assert_eq!(dialable.socket_addr().ip(), address.to_canonical(), "what was checked is dialled");
            assert_eq!(dialable.socket_addr().port(), permit.port());
            "allow"
        }
        Err(reason) => reason.code(),
    }
}

fn name(policy: &Policy, name: &str) -> &'static str {
    policy.decide_name(&name.parse().unwrap()).map_or_else(|reason| reason.code(), |()| "allow")
}

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
fn deny_wins_by_name_and_by_address_in_every_mode() {
    for mode in [Mode::Allowlist, Mode::Observe, Mode::Open, Mode::None] {
        let policy = Spec::new(mode)
            .allow("*.example.com,bad.example.com,10.0.0.0/8,udp://*.example.com")
            .private("*.example.com")
            .deny("bad.example.com,*.worse.example.com,203.0.113.0/24,10.9.0.0/16,udp://u.example.com,p.example.com:22")
            .policy();
        for text in [
            "bad.example.com:443",
            "udp://bad.example.com:443",
            "a.worse.example.com:443",
            "udp://u.example.com:1",
            "p.example.com:22",
            "203.0.113.9:443",
            "10.9.1.1:443",
            "[::ffff:10.9.1.1]:443",
            "[64:ff9b::10.9.1.1]:443",
        ] {
            let reason = refusal(&policy, text);
            assert_eq!(reason.code(), "denied-by-rule", "{mode} {text}");
            assert_eq!(reason.hint(), None);
        }
        assert_eq!(name(&policy, "a.worse.example.com"), "denied-by-rule");
        if mode == Mode::None {
            continue;
        }
        assert_eq!(name(&policy, "u.example.com"), "allow", "TCP is left");
        assert_eq!(name(&policy, "p.example.com"), "allow", "other ports are left");
        assert_eq!(code(&policy, "u.example.com:1"), "allow");
        let good = permit(&policy, "good.example.com:443");
        for address in
            ["203.0.113.9", "10.9.1.1", "::ffff:10.9.1.1", "2002:a09:101::1", "64:ff9b::203.0.113.9"]
        {
            assert_eq!(admit(&good, address), "denied-by-rule", "{mode} {address}");
        }
        assert_eq!(admit(&good, "10.8.1.1"), "allow");
    }
}

#[test]
fn modes() {
    let none = Spec::new(Mode::None).allow("a.example:443").policy();
    assert_eq!(code(&none, "a.example:443"), "network-off");
    assert_eq!(refusal(&none, "a.example:443").hint().as_deref(), Some("--network allowlist"));
    assert_eq!(refusal(&none, "b.example:443").hint().as_deref(), Some("--allow b.example:443"));
    assert_eq!(name(&none, "a.example"), "name-not-allowed");

    let empty = Spec::new(Mode::Allowlist).policy();
    assert_eq!(code(&empty, "a.example:443"), "not-allowed", "an empty allowlist allows nothing");
    assert_eq!(name(&empty, "a.example"), "name-not-allowed");

    let open = Spec::new(Mode::Open).policy();
    for text in ["a.example:443", "udp://a.example:443", "203.0.113.1:1", "[2001:db8::1]:1"] {
        let permit = permit(&open, text);
        assert_eq!((permit.rule(), permit.observed()), ("open", None));
    }
    assert_eq!(name(&open, "a.example"), "allow");
    assert_eq!(code(&open, "10.0.0.1:1"), "private-address");
    assert_eq!(code(&open, "[::1]:1"), "private-address");

    let observe = Spec::new(Mode::Observe).allow("a.example:443").policy();
    assert!(permit(&observe, "a.example:443").observed().is_none(), "what a rule allows is not noted");
    let permit = permit(&observe, "a.example:80");
    assert_eq!(permit.rule(), "observe");
    let observed = permit.observed().unwrap();
    assert_eq!((observed.code(), observed.hint().as_deref()), ("wrong-port", Some("--allow a.example:80")));
    assert_eq!(code(&observe, "192.168.0.1:1"), "private-address");

    for mode in [Mode::None, Mode::Allowlist, Mode::Observe, Mode::Open] {
        assert_eq!(mode.to_string().parse::<Mode>().as_ref(), Ok(&mode));
        assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
    }
    let error = "Open ".parse::<Mode>().unwrap_err();
    assert!(error.hint().unwrap().contains("observe"));
}

#[test]
fn presets_are_spelled_out_narrowed_and_named_in_hints() {
    let known = Spec::new(Mode::Allowlist)
        .preset("npm", "registry.example.com:443,*.pkg.example:8000-8010")
        .preset("dns", "udp://192.0.2.53:53,192.0.2.53:53");
    let policy = known.clone().policy();
    for text in ["registry.example.com:443", "a.pkg.example:8005"] {
        assert_eq!(refusal(&policy, text).hint().as_deref(), Some("--allow @npm"), "{text}");
    }
    assert_eq!(refusal(&policy, "udp://192.0.2.53:53").hint().as_deref(), Some("--allow @dns"));
    assert_eq!(
        refusal(&policy, "registry.example.com:80").hint().as_deref(),
        Some("--allow registry.example.com:80"),
        "the preset does not cover that port"
    );
    let hint = |policy: &Policy, name: &str| policy.decide_name(&name.parse().unwrap()).unwrap_err().hint();
    assert_eq!(hint(&policy, "registry.example.com").as_deref(), Some("--allow @npm"));
    assert_eq!(hint(&policy, "other.example.com").as_deref(), Some("--allow other.example.com"));

    let policy = known.clone().allow("@npm").deny("@dns").policy();
    let permit = permit(&policy, "registry.example.com:443");
    assert_eq!(permit.rule(), "@npm");
    assert_eq!(policy.allow(), ["registry.example.com:443", "*.pkg.example:8000-8010"]);
    assert_eq!(code(&policy, "192.0.2.53:53"), "denied-by-rule");

    let narrowed = known.clone().allow("@npm:8001-9000,tcp://@dns").private("@npm:443").policy();
    assert_eq!(narrowed.allow(), ["*.pkg.example:8001-8010", "tcp://192.0.2.53:53"]);
    assert_eq!(narrowed.allow_private(), ["registry.example.com:443"]);
    assert_eq!(code(&narrowed, "udp://192.0.2.53:53"), "unknown-address");

    let error = |spec: Spec| Policy::new(spec.0).unwrap_err();
    let unknown = error(known.clone().allow("@nmp"));
    assert_eq!(unknown.to_string(), "rule `@nmp` names a preset that does not exist");
    assert_eq!(unknown.hint().as_deref(), Some("presets are @dns, @npm"));
    assert!(matches!(error(known.clone().deny("@npm:22")), PolicyError::EmptyPreset { .. }));
    let widening = error(known.clone().allow("udp://@npm"));
    assert!(matches!(widening, PolicyError::EmptyPreset { .. }), "a TCP rule does not become one for UDP");
    assert_eq!(known.clone().deny("udp://@npm").policy().deny().len(), 2);
    assert!(matches!(error(known.preset("all", "@npm")), PolicyError::NestedPreset { .. }));
}

#[test]
fn a_names_denial_is_blamed_on_what_would_have_to_change() {
    let policy = Spec::allowlist("a.example:443").deny("a.example:443,b.example,c.example:443").policy();
    assert_eq!(name(&policy, "a.example"), "denied-by-rule");
    assert_eq!(name(&policy, "b.example"), "denied-by-rule", "allowing it would not help");
    assert_eq!(name(&policy, "c.example"), "name-not-allowed", "allowing it would help");
    let policy = Spec::new(Mode::Open).deny("a.example,b.example:1,tcp://c.example").policy();
    assert_eq!(name(&policy, "a.example"), "denied-by-rule");
    assert_eq!(name(&policy, "b.example"), "allow");
    assert_eq!(name(&policy, "c.example"), "allow", "UDP is left");
}

#[test]
fn localhost_is_never_hinted_at() {
    let policy = Spec::new(Mode::Open).policy();
    let permit = permit(&policy, "localhost:80");
    let reason = permit.admit("127.0.0.1".parse().unwrap()).unwrap_err();
    assert_eq!((reason.code(), reason.hint()), ("private-address", None));
}

#[test]
fn rules_are_bounded() {
    let rules: Vec<Rule> = (0..=4096).map(|n| format!("h{n}.example").parse().unwrap()).collect();
    let spec = PolicySpec { allow: rules, ..PolicySpec::default() };
    assert_eq!(Policy::new(spec).unwrap_err(), PolicyError::TooManyRules { limit: 4096 });
}

#[test]
fn reasons_have_codes_of_their_own_and_sentences_safe_to_print() {
    let hostile = "evil\u{1b}[2J\r\n\"}{".to_owned() + &"x".repeat(100_000);
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let expected = "a.example".to_owned();
    let reasons = [
        DenyReason::ServerNameMismatch { expected: expected.clone(), claimed: hostile.clone() },
        DenyReason::ServerNameIsAddress { claimed: hostile.clone() },
        DenyReason::HostMismatch { expected, claimed: hostile.clone() },
        DenyReason::ResolutionFailed { name: "a.example".parse().unwrap(), why: hostile },
        DenyReason::MalformedDns { what: "x" },
        DenyReason::MalformedName { what: "\u{1b}[2J".into(), hint: None },
        DenyReason::NotHandedOut { address },
        DenyReason::MalformedTls { what: "x" },
        DenyReason::MalformedHttp { what: "x" },
        DenyReason::SniffTooLarge { limit: 1 },
        DenyReason::SniffTimeout,
        DenyReason::IcmpNotAllowed,
        DenyReason::ProtocolNotAllowed { number: 47 },
        DenyReason::MulticastNotAllowed { address },
        DenyReason::NotLoopback { address },
        DenyReason::AuditUnavailable,
        DenyReason::TooManyFlows { limit: 1 },
        DenyReason::TooManyNames { limit: 1 },
        DenyReason::RateLimited { what: "questions" },
    ];
    let codes: BTreeSet<&str> = reasons.iter().map(DenyReason::code).collect();
    assert_eq!(codes.len(), reasons.len());
    for reason in &reasons {
        let sentence = reason.to_string();
        assert!(!sentence.chars().any(char::is_control) && sentence.len() < 1000, "{sentence}");
        assert!(reason.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
        assert_eq!(reason.hint(), None);
    }
}

#[test]
fn specs_with_the_same_presets_compare() {
    // PolicySpec is plain data: the store compares what a preset stood for.
    let presets: BTreeMap<String, Vec<Rule>> = Spec::default().preset("npm", "a.example").0.presets;
    assert_eq!(presets, Spec::default().preset("npm", "A.example.").0.presets);
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
