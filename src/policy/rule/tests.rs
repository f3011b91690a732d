#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[test]
fn rules_parse_and_print_in_canonical_form() {
    for (text, canonical) in [
        ("example.com", "example.com"),
        ("API.Example.COM.:443", "api.example.com:443"),
        ("tcp://example.com:443", "tcp://example.com:443"),
        ("TCP://example.com", "tcp://example.com"),
        ("udp://example.com:53", "udp://example.com:53"),
        ("*.example.com", "*.example.com"),
        ("*.Example.com.:1-65535", "*.example.com"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("*.internal", "*.internal"),
        ("*.corp.lan:8080", "*.corp.lan:8080"),
        ("example.com:8000-8010", "example.com:8000-8010"),
        ("example.com:80-80", "example.com:80"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32:22", "192.0.2.1:22"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0:443", "0.0.0.0/0:443"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"),
        ("udp://[2001:db8::/32]:53", "udp://[2001:db8::/32]:53"),
        ("[::/0]", "[::/0]"),
        ("[::1/128]", "[::1]"),
        ("@npm", "@npm"),
        ("@NPM:443", "@npm:443"),
        ("udp://@my-preset.2", "udp://@my-preset.2"),
        ("host.npxc.internal:5432", "host.npxc.internal:5432"),
        ("db", "db"),
    ] {
        let rule: Rule = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rule.to_string(), canonical, "{text}");
        assert_eq!(canonical.parse::<Rule>().as_ref(), Ok(&rule), "{text}");
    }
}

/// Text, 1-based column, a piece of the hint (empty: no hint is promised).
const REFUSED: &[(&str, usize, &str)] = &[
    ("", 1, "HOST"),
    (" ", 1, ""),
    ("example.com :443", 12, ""),
    ("example.com\t", 12, ""),
    ("example.com\0", 12, ""),
    ("example.com\u{1b}[0m", 12, ""),
    ("example.com\u{a0}", 12, ""),
    ("a.example,b.example", 10, ""),
    // Wildcards.
    ("*", 1, "--network open"),
    ("*:443", 1, "--network open"),
    ("tcp://*", 7, ""),
    ("*.com", 1, "*.your-domain.com"),
    ("*.co.uk", 1, "*.your-domain.co.uk"),
    ("*.github.io", 1, "*.your-domain.github.io"),
    ("*.CO.UK.:443", 1, ""),
    ("*.ck", 1, ""),
    ("*.kawasaki.jp", 1, ""),
    ("*.新加坡", 1, ""),
    ("*.nosuchtld", 1, ""),
    ("*.localhost", 1, "host.npxc.internal"),
    ("*.*.example.com", 3, "*.example.com"),
    ("api.*.example.com", 5, "*.example.com"),
    ("api*.example.com", 4, "*.example.com"),
    ("*example.com", 1, "*.example.com"),
    ("*.", 3, ""),
    ("*.1.2.3.4", 3, ""),
    // Addresses in disguise.
    ("127.1", 1, "write 127.0.0.1"),
    ("0x7f.0.0.1:80", 1, "write 127.0.0.1"),
    ("2130706433", 1, "write 127.0.0.1"),
    ("017700000001", 1, "write 127.0.0.1"),
    ("1.2.3", 1, "write 1.2.0.3"),
    ("010.0.0.1", 1, "write 8.0.0.1"),
    ("1.2.3.4.", 1, ""),
    ("256.0.0.1", 9, ""),
    ("1２7.0.0.1", 2, "127.0.0.1"),
    ("10.1/16", 1, "four"),
    // Networks.
    ("10.0.0.1/8", 1, "10.0.0.0/8"),
    ("[2001:db8::1/32]", 2, "[2001:db8::/32]"),
    ("10.0.0.0/33", 10, ""),
    ("10.0.0.0/", 10, ""),
    ("10.0.0.0/+8", 10, ""),
    ("10.0.0.0/08", 10, ""),
    ("10.0.0.0/8/8", 10, ""),
    ("10.0.0.0/255.0.0.0", 10, ""),
    ("[2001:db8::/129]", 13, ""),
    // IPv6 without or with the wrong brackets.
    ("2001:db8::1", 1, "write [2001:db8::1]"),
    ("2001:db8::/32", 1, "write [2001:db8::/32]"),
    ("::1", 1, "write [::1]"),
    ("udp://::", 7, "write [::]"),
    ("fe80::1%eth0", 1, "write [fe80::1]"),
    ("[fe80::1%eth0]", 9, "%"),
    ("[2001:db8::1", 1, "[ADDRESS]"),
    ("[2001:db8::]/32", 13, "write [2001:db8::/32]"),
    ("[2001:db8::1]443", 14, ""),
    ("[2001:db8::1]x:443", 14, ""),
    ("[192.0.2.1]", 2, "write 192.0.2.1"),
    ("[example.com]", 2, ""),
    ("[]", 2, ""),
    ("example.com]", 12, ""),
    ("[::ffff:10.0.0.1]", 2, "write 10.0.0.1"),
    ("[::ffff:a00:1]:80", 2, "write 10.0.0.1"),
    ("[::ffff:10.0.0.0/104]", 2, "write 10.0.0.0/8"),
    ("::ffff:10.0.0.1", 1, "write 10.0.0.1"),
    // Ports.
    ("example.com:", 13, "colon"),
    ("example.com:0", 13, ""),
    ("example.com:0-10", 13, ""),
    ("example.com:00", 13, ""),
    ("example.com:080", 13, "zeros out: 80"),
    ("example.com:65536", 13, ""),
    ("example.com:99999999999999999999", 13, ""),
    ("example.com:+80", 13, ""),
    ("example.com:-1", 13, ""),
    ("example.com:80-", 16, ""),
    ("example.com:90-80", 13, "write 80-90"),
    ("example.com:80-90-100", 18, ""),
    ("example.com:http", 13, ""),
    ("example.com:*", 13, "leave the port out"),
    ("example.com:443:80", 16, ""),
    ("example.com:４４３", 13, ""),
    ("example.com：443", 12, ""),
    ("[2001:db8::1]:0", 15, ""),
    (":443", 1, "HOST"),
    // URLs and what comes with them.
    ("https://api.example.com/v1?x", 1, "write api.example.com:443"),
    ("http://example.com:8080", 1, "write example.com:8080"),
    ("http://[2001:db8::1]/", 1, "write [2001:db8::1]:80"),
    ("https://user:pw@example.com", 1, "write example.com:443"),
    ("ftp://example.com", 1, "write example.com"),
    ("://example.com", 1, ""),
    ("icmp://", 1, ""),
    ("tcp://", 7, ""),
    ("tcp://udp://example.com", 11, ""),
    ("example.com/path", 12, "write example.com"),
    ("example.com/24", 12, ""),
    ("example.com:443/path", 16, ""),
    ("udp://example.com#x", 18, ""),
    ("user@example.com", 5, "write example.com"),
    ("user:pw@example.com", 6, ""),
    ("exa%6dple.com", 4, ""),
    ("example.com\\@evil.com", 12, ""),
    ("example.com:https", 13, "write :443"),
    ("udp://example.com:SSH", 19, "write :22"),
    ("example.com:httpx", 13, ""),
    // Presets.
    ("@", 2, "@npm"),
    ("@-x", 2, ""),
    ("@scope/name", 7, ""),
    ("@npm@x", 5, ""),
    ("@ñpm", 2, ""),
    ("@npm:", 6, ""),
    // Names.
    ("localhost:5432", 1, "host.npxc.internal"),
    ("LOCALHOST.", 1, "host.npxc.internal"),
    ("a..b", 3, ""),
    ("tcp://a..b", 9, ""),
    ("exämple..com", 3, ""),
    ("xn--a-ecp.ru", 1, ""),
    ("-example.com", 1, ""),
];

#[test]
fn what_is_not_a_rule_is_refused_at_its_character_with_what_to_write() {
    let mut wrong = Vec::new();
    for (text, column, hint) in REFUSED {
        let error = text.parse::<Rule>().expect_err(text);
        let given = error.hint().unwrap_or("");
        if error.column() != *column || !given.contains(hint) {
            wrong.push(format!("column {column}: {error}, hint {given:?}"));
        }
        assert!(!error.what().is_empty());
        assert_eq!(error.input(), *text);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hint_that_says_write_can_be_followed() {
    for (text, _, _) in REFUSED {
        let Some(hint) = text.parse::<Rule>().unwrap_err().hint().map(str::to_owned) else {
            continue;
        };
        let Some(write) = hint.strip_prefix("write ").and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        let placeholder = ["HOST", "PORT", "ADDRESS", "your-domain", "all", "an"];
        if !placeholder.iter().any(|word| write.contains(word)) {
            assert!(write.parse::<Rule>().is_ok(), "{text:?} says to write {write:?}");
        }
    }
}

#[test]
fn lists_are_split_and_errors_point_into_the_whole() {
    let rules = Rule::parse_list("a.example:1, *.b.example ,@npm").unwrap();
    let texts: Vec<String> = rules.iter().map(Rule::to_string).collect();
    assert_eq!(texts, ["a.example:1", "*.b.example", "@npm"]);
    for (list, column) in [
        ("", 1),
        ("a.example,", 11),
        (",a.example", 1),
        ("a.example,,b", 11),
        ("é.example, b:0", 14),
        ("a, b c", 5),
    ] {
        let error = Rule::parse_list(list).expect_err(list);
        assert_eq!(error.column(), column, "{error}");
    }
}

#[test]
fn the_pointer_stands_under_the_character_and_is_safe_to_print() {
    let error = "example.com:0".parse::<Rule>().unwrap_err();
    assert_eq!(error.pointer(), "example.com:0\n            ^");
    assert_eq!(
        error.to_string(),
        "rule `example.com:0`: port 0 cannot be reached (character 13)",
        "one line for a log"
    );
    let error = "a\u{1b}[2Jb".parse::<Rule>().unwrap_err();
    assert_eq!(error.pointer(), "a\\u{1b}[2Jb\n ^");
    assert!(!error.to_string().contains('\u{1b}'));
    let error = "example.com:".parse::<Rule>().unwrap_err();
    assert_eq!(error.pointer(), "example.com:\n            ^");
}

#[test]
fn long_input_is_refused_and_not_echoed_whole() {
    let error = "a".repeat(1_000_000).parse::<Rule>().unwrap_err();
    assert!(error.to_string().len() < 1000);
    assert!(error.input().len() < 2000);
}

#[test]
fn serde_reads_and_writes_the_text_and_errors_say_what_to_write() {
    let rule: Rule = serde_json::from_str("\"Example.com:443\"").unwrap();
    assert_eq!(serde_json::to_string(&rule).unwrap(), "\"example.com:443\"");
    let error = serde_json::from_str::<Rule>("\"https://example.com/\"").unwrap_err().to_string();
    assert!(error.contains("it is not a URL") && error.contains("write example.com:443"), "{error}");
}

#[test]
fn a_rule_made_by_hand_is_the_rule_its_text_parses_to() {
    let mapped = Destination::Address("::ffff:192.0.2.1".parse().unwrap());
    let rule = Rule::exact(Protocol::Udp, &mapped, 53).unwrap();
    assert_eq!(rule.to_string(), "udp://192.0.2.1:53");
    assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    assert_eq!(Rule::exact(Protocol::Tcp, &mapped, 0), None);
}

#[test]
fn rules_for_loopback_alone_have_something_to_write_instead() {
    for (rule, instead) in [
        ("127.0.0.1:8099", Some("host.npxc.internal:8099")),
        ("udp://127.8.9.10:53-54", Some("udp://host.npxc.internal:53-54")),
        ("127.0.0.0/8", Some("host.npxc.internal")),
        ("127.0.0.0/16", Some("host.npxc.internal")),
        ("[::1]:80", Some("host.npxc.internal:80")),
        ("126.0.0.0/7", None),
        ("0.0.0.0/0", None),
        ("[::/127]", None),
        ("[::/0]", None),
        ("10.0.0.0/8", None),
        ("host.npxc.internal:80", None),
        ("@npm", None),
    ] {
        let rule: Rule = rule.parse().unwrap();
        let said = rule.instead_of_loopback().map(|instead| instead.to_string());
        assert_eq!(said.as_deref(), instead, "{rule}");
    }
}
