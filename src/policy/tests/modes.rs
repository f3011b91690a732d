//! What rules come to together: deny over allow, the modes, presets.

use super::*;

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
fn specs_with_the_same_presets_compare() {
    // PolicySpec is plain data: the store compares what a preset stood for.
    let presets: BTreeMap<String, Vec<Rule>> = Spec::default().preset("npm", "a.example").0.presets;
    assert_eq!(presets, Spec::default().preset("npm", "A.example.").0.presets);
}
