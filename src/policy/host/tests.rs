#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn name(text: &str) -> String {
    text.parse::<HostName>().map_or_else(|error| error.to_string(), |name| name.to_string())
}

#[test]
fn every_spelling_of_a_name_has_one_canonical_form() {
    for (text, canonical) in [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u{308}cher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.EXAMPLE.", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅｘａｍｐｌｅ．com", "example.com"),
        ("exam\u{ad}ple.com", "example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("r3---sn-a5me.example.com", "r3---sn-a5me.example.com"),
        ("a", "a"),
        ("1e100.net", "1e100.net"),
        ("1.2.3.example", "1.2.3.example"),
        ("0xabc.example", "0xabc.example"),
        ("3com", "3com"),
    ] {
        assert_eq!(name(text), canonical, "{text}");
    }
}

#[test]
fn what_is_not_a_name_is_refused_at_its_character() {
    for (text, column) in [
        ("", 1),
        (".", 1),
        ("..", 1),
        (".example.com", 1),
        ("a..b", 3),
        ("a.b..", 5),
        ("exa mple.com", 4),
        ("example.com\0", 12),
        ("example\0.evil.com", 8),
        ("example.com\n", 12),
        ("exam%70le.com", 5),
        ("example.com:443", 12),
        ("user@example.com", 5),
        ("example.com/path", 12),
        ("*.example.com", 1),
        ("[::1]", 1),
        ("::1", 1),
        ("-a.example", 1),
        ("a.b-.example", 4),
        ("xn--a-ecp.ru", 1),
        ("www.xn--0.example", 5),
        ("xn--", 4),
        ("bücher\u{7f}.example", 7),
        ("bücher example", 7),
        ("a.é:443", 4),
        ("example.com：443", 12),
        ("example.com／x", 12),
        ("％００.example", 1),
        ("\u{200b}\u{200b}", 1),
    ] {
        let error = text.parse::<HostName>().expect_err(text);
        assert_eq!(error.column(), column, "{error}");
        assert!(HostName::from_ascii(text).is_err(), "{text:?}");
    }
}

#[test]
fn addresses_in_any_notation_are_no_names() {
    for (text, address) in [
        ("127.1", Some("127.0.0.1")),
        ("0x7f.0.0.1", Some("127.0.0.1")),
        ("2130706433", Some("127.0.0.1")),
        ("017700000001", Some("127.0.0.1")),
        ("1.2.3", Some("1.2.0.3")),
        ("127.1.", Some("127.0.0.1")),
        ("1２7.0.0.1", None),
        ("127。1", None),
        ("①②⑦.1", None),
        ("1.2.3.4", None),
        ("1.2.3.256", None),
        ("example.1", None),
        ("example.0x1f", None),
        ("example.0x", None),
    ] {
        let error = text.parse::<HostName>().expect_err(text);
        if let Some(address) = address {
            assert_eq!(error.hint(), Some(format!("write {address}").as_str()), "{text}");
        }
    }
}

#[test]
fn lengths_are_bounded() {
    let label = "a".repeat(63);
    let longest = [&label[..], &label, &label, &label[..61]].join(".");
    assert_eq!(longest.len(), 253);
    assert_eq!(name(&longest), longest);
    assert_eq!(name(&format!("{longest}.")), longest, "the dot at the end does not count");
    assert!(format!("{longest}a").parse::<HostName>().is_err());
    assert_eq!(format!("{label}a.example").parse::<HostName>().unwrap_err().column(), 64);
    // 60 umlauts fit as text and not as an A-label.
    assert!(format!("{}.example", "üa".repeat(31)).parse::<HostName>().is_err());
    assert!("é".repeat(100_000).parse::<HostName>().is_err());
    assert!("a.".repeat(100_000).parse::<HostName>().is_err());
}

#[test]
fn unicode_is_for_people_and_not_for_the_wire() {
    assert!(HostName::from_ascii("bücher.example").is_err());
    assert_eq!(HostName::from_ascii("XN--bcher-KVA.example.").unwrap().as_str(), "xn--bcher-kva.example");
}

#[test]
fn below_means_whole_labels_and_not_the_name_itself() {
    let below =
        |name: &str, parent: &str| name.parse::<HostName>().unwrap().is_below(&parent.parse().unwrap());
    assert!(below("a.example.com", "example.com"));
    assert!(below("a.b.example.com", "example.com"));
    assert!(!below("example.com", "example.com"));
    assert!(!below("evilexample.com", "example.com"));
    assert!(!below("example.com.evil.org", "example.com"));
    assert!(!below("com", "example.com"));
}

#[test]
fn errors_are_safe_to_print() {
    let error = "a\u{1b}[31m\r\nb\u{202e}".parse::<HostName>().unwrap_err();
    assert!(!error.to_string().chars().any(|c| c.is_control() || c == '\u{202e}'), "{error}");
}

#[test]
fn serde_goes_through_the_parser() {
    assert_eq!(serde_json::from_str::<HostName>("\"Example.COM.\"").unwrap().as_str(), "example.com");
    let error = serde_json::from_str::<HostName>("\"127.1\"").unwrap_err().to_string();
    assert!(error.contains("IPv4 address in disguise"), "{error}");
    assert_eq!(serde_json::to_string(&"a.example".parse::<HostName>().unwrap()).unwrap(), "\"a.example\"");
}
