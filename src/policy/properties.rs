//! Properties that hold for every rule, name, address and policy, on generated ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

/// Few labels, so that names, wildcards and requests meet.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "api", "evil", "xn--bcher-kva", "host", "npxc", "internal"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?",
    ]
}

fn name() -> impl Strategy<Value = HostName> {
    let tail = prop::sample::select(vec!["example", "example.com", "internal", "npxc.internal", "co.uk"]);
    (prop::collection::vec(label(), 1..4), tail)
        .prop_filter_map("valid", |(labels, tail)| format!("{}.{tail}", labels.join(".")).parse().ok())
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        any::<u32>().prop_map(Ipv4Addr::from_bits),
        (
            prop::sample::select(vec!["10.0.0.0", "127.0.0.0", "169.254.169.0", "198.18.0.0", "203.0.113.0"]),
            0..4_u32
        )
            .prop_map(|(base, add)| Ipv4Addr::from_bits(base.parse::<Ipv4Addr>().unwrap().to_bits() + add)),
    ]
}

/// Plain addresses, and IPv4 ones in every disguise.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        v4().prop_map(IpAddr::V4),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        v4().prop_map(|v4| IpAddr::V6(v4.to_ipv6_mapped())),
        v4().prop_map(|v4| IpAddr::V6(v4.to_ipv6_compatible())),
        v4().prop_map(|v4| IpAddr::V6(Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(v4.to_bits())))),
        v4().prop_map(|v4| IpAddr::V6(Ipv6Addr::from_bits(0x2002 << 112 | u128::from(v4.to_bits()) << 80))),
        (0..4_u128).prop_map(|low| IpAddr::V6(Ipv6Addr::from_bits(0xfd00 << 112 | low))),
    ]
}

fn net() -> impl Strategy<Value = IpNet> {
    (address(), 0..=128_u8).prop_map(|(address, length)| {
        let address = address.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(longest)).unwrap().trunc()
    })
}

/// Few ports, so that rules and requests meet.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 1..4_u16, 1 => any::<u16>()]
}

fn ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        Just(Ports::ANY),
        (port(), port()).prop_filter_map("range", |(a, b)| Ports::range(a.min(b), a.max(b))),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![2 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let host = prop_oneof![
        name().prop_map(HostPattern::Name),
        name().prop_map(HostPattern::Below),
        net().prop_map(HostPattern::Net),
    ];
    (prop::option::of(protocol()), host, ports())
        .prop_map(|(protocol, host, ports)| Rule { protocol, host, ports })
        // What the grammar refuses (a wildcard under a public suffix, mapped networks) is no rule.
        .prop_filter("parses", |rule| rule.to_string().parse::<Rule>().is_ok())
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..5)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::None, Mode::Allowlist, Mode::Observe, Mode::Open])
}

fn spec() -> impl Strategy<Value = PolicySpec> {
    (mode(), rules(), rules(), rules(), rules()).prop_map(|(mode, allow, allow_private, deny, preset)| {
        PolicySpec { mode, allow, allow_private, deny, presets: [("npm".to_owned(), preset)].into() }
    })
}

fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![name().prop_map(Destination::Name), address().prop_map(Destination::Address)]
}

fn request() -> impl Strategy<Value = Request> {
    (protocol(), destination(), port()).prop_map(|(protocol, destination, port)| Request {
        protocol,
        destination,
        port,
    })
}

/// A spec with what a hint says added to it, the way the command line would.
fn follow(mut spec: PolicySpec, hint: &str) -> PolicySpec {
    let (option, value) = hint.split_once(' ').expect("an option and its value");
    match option {
        "--network" => spec.mode = value.parse().unwrap(),
        "--allow" => spec.allow.push(value.parse().unwrap()),
        "--allow-private" => spec.allow_private.push(value.parse().unwrap()),
        other => panic!("{other} is no option of the policy"),
    }
    if spec.mode == Mode::None {
        spec.mode = Mode::Allowlist;
    }
    spec
}

fn decide(spec: &PolicySpec, request: &Request) -> Result<Permit, DenyReason> {
    Policy::new(spec.clone()).unwrap().decide(request).permit()
}

/// Whether a rule of the list names this address for the request's protocol and port.
fn names_address(
    rules: &[Rule],
    address: IpAddr,
    request: &Request,
    for_protocol: fn(&Rule, Protocol) -> bool,
) -> bool {
    rules.iter().any(|rule| {
        rule.host.matches_address(address)
            && for_protocol(rule, request.protocol)
            && rule.ports.contains(request.port)
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), bytes in "[a-z0-9.:/@*%\\[\\]-]{0,40}") {
        for text in [text.as_str(), bytes.as_str()] {
            let _ = text.parse::<HostName>();
            let _ = HostName::from_ascii(text);
            let _ = text.parse::<Mode>();
            let _ = Rule::parse_list(text).map_err(|error| (error.to_string(), error.pointer()));
            if let Err(error) = text.parse::<Rule>() {
                prop_assert!(error.column() <= text.chars().count() + 1, "{}", error);
            }
        }
    }

    #[test]
    fn a_rule_prints_as_itself(rule in rule()) {
        let text = rule.to_string();
        prop_assert_eq!(text.parse::<Rule>().unwrap(), rule.clone());
        prop_assert_eq!(text.to_ascii_uppercase().parse::<Rule>().unwrap(), rule);
    }

    #[test]
    fn a_name_prints_as_itself_in_every_spelling(name in name()) {
        for spelling in [name.to_string(), name.to_string().to_uppercase(), format!("{name}.")] {
            prop_assert_eq!(HostName::from_ascii(&spelling).unwrap(), name.clone());
            prop_assert_eq!(spelling.parse::<HostName>().unwrap(), name.clone());
        }
        prop_assert!(name.as_str().parse::<IpAddr>().is_err());
    }

    #[test]
    fn no_address_is_a_name(address in address()) {
        prop_assert!(address.to_string().parse::<HostName>().is_err());
        prop_assert!(HostName::from_ascii(&address.to_string()).is_err());
    }

    #[test]
    fn disguises_have_the_class_of_what_they_hide(v4 in v4()) {
        let class = classify(IpAddr::V4(v4));
        let bits = u128::from(v4.to_bits());
        for hidden in [0xffff << 32 | bits, 0x64_ff9b << 96 | bits, 0x2002 << 112 | bits << 80] {
            prop_assert_eq!(classify(IpAddr::V6(Ipv6Addr::from_bits(hidden))), class);
        }
        prop_assert!(classify(IpAddr::V6(v4.to_ipv6_compatible())).is_some());
    }

    #[test]
    fn mapped_and_plain_get_one_verdict(spec in spec(), v4 in v4(), protocol in protocol(), port in port()) {
        let plain = Request::new(protocol, IpAddr::V4(v4), port);
        let mapped = Request::new(protocol, IpAddr::V6(v4.to_ipv6_mapped()), port);
        let (plain, mapped) = (decide(&spec, &plain), decide(&spec, &mapped));
        prop_assert_eq!(plain.map_err(|r| r.to_string()).is_ok(), mapped.map_err(|r| r.to_string()).is_ok());
    }

    #[test]
    fn one_name_rule_allows_that_name_and_nothing_else(allowed in name(), other in destination(), label in label()) {
        let spec = PolicySpec {
            mode: Mode::Allowlist,
            allow: vec![Rule::any_port(&allowed)],
            ..PolicySpec::default()
        };
        let permitted = |destination: Destination| decide(&spec, &Request::new(Protocol::Tcp, destination, 443)).is_ok();
        prop_assert!(permitted(allowed.clone().into()));
        prop_assert_eq!(permitted(other.clone()), other == Destination::Name(allowed.clone()));
        for confusion in [format!("{label}{allowed}"), format!("{label}.{allowed}"), format!("{allowed}.{label}")] {
            if let Ok(confusion) = confusion.parse::<HostName>() {
                prop_assert!(!permitted(confusion.into()));
            }
        }
    }

    #[test]
    fn a_wildcard_allows_what_lies_below(parent in name(), other in name(), label in label()) {
        let below: Rule = match format!("*.{parent}").parse() { Ok(rule) => rule, Err(_) => return Ok(()) };
        let spec = PolicySpec { mode: Mode::Allowlist, allow: vec![below], ..PolicySpec::default() };
        let permitted = |name: &HostName| decide(&spec, &Request::new(Protocol::Tcp, name.clone(), 1)).is_ok();
        prop_assert!(!permitted(&parent));
        let ends = other.as_str().ends_with(&format!(".{parent}"));
        prop_assert_eq!(permitted(&other), ends && !other.is_host());
        if let Ok(child) = format!("{label}.{parent}").parse::<HostName>() {
            prop_assert_eq!(permitted(&child), !child.is_host());
        }
    }

    #[test]
    fn deny_wins(mut spec in spec(), request in request(), resolved in address()) {
        if let Some(rule) = Rule::exact(request.protocol, &request.destination, request.port) {
            spec.deny.push(rule);
            prop_assert_eq!(decide(&spec, &request).unwrap_err().code(), "denied-by-rule");
            spec.deny.pop();
        }
        // By address, once the name is resolved.
        spec.deny.extend(Rule::exact(request.protocol, &resolved.into(), request.port));
        if let Ok(permit) = decide(&spec, &request) {
            prop_assert_eq!(permit.admit(resolved).unwrap_err().code(), "denied-by-rule");
        }
    }

    #[test]
    fn more_deny_rules_never_allow_more(spec in spec(), deny in rules(), request in request(), resolved in address()) {
        let mut stricter = spec.clone();
        stricter.deny.extend(deny);
        if let Ok(permit) = decide(&stricter, &request) {
            let before = decide(&spec, &request).unwrap();
            prop_assert!(permit.admit(resolved).is_err() || before.admit(resolved).is_ok());
        }
    }

    #[test]
    fn what_is_dialled_was_checked(spec in spec(), request in request(), resolved in address()) {
        let Ok(permit) = decide(&spec, &request) else { return Ok(()) };
        let Ok(dialable) = permit.admit(resolved) else { return Ok(()) };
        prop_assert_ne!(spec.mode, Mode::None);
        let address = dialable.socket_addr().ip();
        prop_assert_eq!(address, resolved.to_canonical());
        prop_assert_eq!(dialable.socket_addr().port(), request.port);
        prop_assert!(!names_address(&spec.deny, address, &request, Rule::forbids));
        if let Destination::Address(own) = request.destination {
            prop_assert_eq!(own.to_canonical(), address);
        }
        // Below the floor only with leave: a rule of --allow-private, or an address rule.
        if classify(address).is_some() {
            let private_name = match &request.destination {
                Destination::Name(name) => name.is_host() || spec.allow_private.iter().any(|rule| {
                    rule.host.matches_name(name)
                        && rule.grants(request.protocol)
                        && rule.ports.contains(request.port)
                }),
                Destination::Address(_) => false,
            };
            prop_assert!(
                private_name
                    || names_address(&spec.allow, address, &request, Rule::grants)
                    || names_address(&spec.allow_private, address, &request, Rule::grants)
            );
        }
    }

    #[test]
    fn without_private_leave_the_floor_holds(mut spec in spec(), name in name(), protocol in protocol(), port in port(), resolved in address()) {
        let is_net = |rule: &Rule| matches!(rule.host, HostPattern::Net(_));
        spec.allow_private.clear();
        spec.allow.retain(|rule| !is_net(rule));
        spec.allow.extend(["0.0.0.0/0".parse().unwrap(), "[::/0]".parse().unwrap()]);
        prop_assume!(!name.is_host());
        for request in [Request::new(protocol, name, port), Request::new(protocol, resolved, port)] {
            if let Ok(permit) = decide(&spec, &request) {
                prop_assert!(permit.admit(resolved).is_err() || classify(resolved).is_none());
            }
        }
    }

    #[test]
    fn a_hint_that_is_followed_works(spec in spec(), request in request(), resolved in address()) {
        match decide(&spec, &request) {
            Err(reason) => if let Some(hint) = reason.hint() {
                let after = decide(&follow(spec, &hint), &request);
                prop_assert!(after.is_ok(), "{reason}; {hint}: {after:?}");
            },
            Ok(permit) => if let Err(reason) = permit.admit(resolved) && let Some(hint) = reason.hint() {
                let after = decide(&follow(spec, &hint), &request).unwrap().admit(resolved);
                // A bare address that was swapped after the verdict stays denied: the hint is for the new one.
                let swapped = matches!(&request.destination, Destination::Address(own) if own.to_canonical() != resolved.to_canonical());
                prop_assert!(after.is_ok() || swapped, "{reason}; {hint}: {after:?}");
            },
        }
    }

    #[test]
    fn what_a_proxy_resolves_was_judged_here_or_is_named_by_a_rule(
        spec in spec(), name in name(), protocol in protocol(), port in port(),
        known in prop::collection::vec(address(), 0..4),
    ) {
        let request = Request::new(protocol, name, port);
        if let Ok(permit) = decide(&spec, &request) {
            let all = known.iter().try_for_each(|address| permit.admit(*address).map(drop));
            let named = decide(&PolicySpec { mode: Mode::Allowlist, ..spec.clone() }, &request).is_ok();
            match permit.by_name(&known) {
                Ok(tunnel) => {
                    prop_assert!(all.is_ok() && (named || !known.is_empty()));
                    prop_assert_eq!((tunnel.destination(), tunnel.port()), (permit.destination(), port));
                    prop_assert_eq!(tunnel.is_judged(), !known.is_empty());
                }
                Err(DenyReason::UnknownBehindProxy { name, .. }) => {
                    prop_assert!(name.is_host() || known.is_empty() && !named);
                    if let Some(hint) = permit.by_name(&known).unwrap_err().hint().filter(|_| !name.is_host()) {
                        prop_assert!(decide(&follow(spec, &hint), &request).unwrap().by_name(&known).is_ok());
                    }
                }
                Err(reason) => prop_assert_eq!(Err(reason), all),
            }
        }
    }

    #[test]
    fn what_observe_notes_is_what_the_allowlist_needs(spec in spec(), request in request()) {
        let observe = PolicySpec { mode: Mode::Observe, ..spec.clone() };
        let allowlist = PolicySpec { mode: Mode::Allowlist, ..spec };
        if let Ok(permit) = decide(&observe, &request) {
            match (permit.observed(), decide(&allowlist, &request)) {
                (None, Ok(_)) => {}
                (Some(observed), Err(reason)) => prop_assert_eq!(observed, &reason),
                (observed, verdict) => prop_assert!(false, "{observed:?} but {verdict:?}"),
            }
        }
    }

    #[test]
    fn a_name_that_may_be_asked_for_is_one_that_could_be_reached(spec in spec(), name in name(), protocol in protocol(), port in port()) {
        let policy = Policy::new(spec.clone()).unwrap();
        let Err(reason) = policy.decide_name(&name) else {
            prop_assert_ne!(policy.mode(), Mode::None);
            return Ok(());
        };
        // No flow is allowed to a name that DNS refused.
        prop_assert!(decide(&spec, &Request::new(protocol, name.clone(), port)).is_err());
        if let Some(hint) = reason.hint() {
            let after = Policy::new(follow(spec, &hint)).unwrap().decide_name(&name);
            prop_assert!(after.is_ok(), "{reason}; {hint}: {after:?}");
        }
    }
}
