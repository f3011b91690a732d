//! What a denial says, and what it advises.

use super::*;

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
        DenyReason::NotProxied { destination: Destination::Address(address) },
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
