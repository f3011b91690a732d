#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

/// Every string with the keys around it.
fn strings(text: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut scanner = Scanner::new(text);
    let mut out = Vec::new();
    while let Some(token) = scanner.next()? {
        if token.kind == Kind::String {
            let show = |span: &Range<usize>| String::from_utf8_lossy(&text[span.clone()]).into_owned();
            let position = scanner.position(&token).map_or_else(
                || "?".to_owned(),
                |levels| {
                    let levels = levels.iter().map(|frame| match frame {
                        Level::Object(key) => show(key.as_ref().unwrap()),
                        Level::Array => "[]".to_owned(),
                    });
                    levels.collect::<Vec<_>>().join(".")
                },
            );
            out.push((position, show(&token.span)));
        }
    }
    Ok(out)
}

#[test]
fn strings_have_their_positions() {
    let text = br#" {"a":{"b":["x",{"c" : "y\"}"}]},"d":1e400,"d":"z","e":[[],"w"]} "#;
    let found = strings(text).unwrap();
    let found: Vec<_> = found.iter().map(|(at, text)| (at.as_str(), text.as_str())).collect();
    assert_eq!(found, [("a.b.[]", "x"), ("a.b.[].c", "y\\\"}"), ("d", "z"), ("e.[]", "w")]);
}

#[test]
fn what_is_not_whole_is_malformed() {
    for text in [
        "{",
        "[",
        "}",
        "{]",
        "[}",
        "{\"a\"",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{} {}",
        "{}x",
        "{\"a\"}",
        "[\"a\":1]",
        "{1:2}",
        "{\"a\":\"b\":\"c\"}",
        "\"a\" 1",
        ",",
        "[1]]",
        ":",
    ] {
        assert_eq!(strings(text.as_bytes()), Err(Malformed), "{text}");
    }
}

#[test]
fn odd_messages_are_scanned() {
    for text in [
        &b"{\"a\":\"\xff\xfe\"}"[..],
        b"{\"a\":\"\\ud800\",\"n\":123456789012345678901234567890}",
        b"{\"a\":1,\"a\":\"2\"}",
        b"[{\"jsonrpc\":\"2.0\"},{\"id\":-1}]\r\n",
        b"\"text\"",
        b"",
    ] {
        assert!(strings(text).is_ok(), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn depth_costs_no_memory() {
    let depth = 1_000_000;
    let mut text = "{\"a\":[".repeat(depth);
    text += "\"x\",{\"k\":\"y\"}";
    text += &"]}".repeat(depth);
    let found = strings(text.as_bytes()).unwrap();
    assert_eq!(found, [("?".to_owned(), "x".to_owned()), ("?".to_owned(), "y".to_owned())]);
    let mut scanner = Scanner::new(text.as_bytes());
    while scanner.next().unwrap().is_some() {}
    assert!(scanner.levels.capacity() <= MOST_LEVELS * 2);
}

proptest! {
    #[test]
    fn spans_lie_in_the_text_and_never_overlap(
        text in proptest::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b':'), Just(b','), Just(b'\\'), any::<u8>(),
        ], 0..100),
    ) {
        let mut scanner = Scanner::new(&text);
        let mut last = 0;
        while let Ok(Some(token)) = scanner.next() {
            prop_assert!(token.span.start >= last && token.span.end >= token.span.start);
            prop_assert!(token.span.end <= text.len());
            last = token.span.end;
        }
    }

    #[test]
    fn what_serde_prints_is_well_formed(value in any_json()) {
        let text = value.to_string();
        let mut scanner = Scanner::new(text.as_bytes());
        let mut found = 0;
        while let Some(token) = scanner.next().unwrap() {
            found += usize::from(token.kind == Kind::String);
        }
        prop_assert_eq!(found, count(&value));
    }

    /// Also of what is no JSON.
    #[test]
    fn what_is_known_to_be_plain_changes_nothing(
        text in r#"\{?("(a|b|\\\\|\\"|\\n)*"|[\[\]{}:, x"\\])*"#,
        size in 1_usize..9,
    ) {
        let text = text.as_bytes();
        let plain = |chunk: &[u8]| !chunk.iter().any(|byte| matches!(byte, b'"' | b'\\'));
        let chunks = text.chunks(size).enumerate().filter(|(_, chunk)| plain(chunk));
        let plain: Vec<_> = chunks.map(|(at, chunk)| at * size..at * size + chunk.len()).collect();
        let (mut expected, mut scanner) = (Scanner::new(text), Scanner::knowing(text, &plain));
        loop {
            let token = expected.next();
            prop_assert_eq!(&scanner.next(), &token);
            if matches!(token, Ok(None) | Err(_)) {
                break;
            }
        }
    }
}

#[test]
fn a_second_scan_of_a_value_finds_the_same() {
    let long = "\\\"x ".repeat(LONG / 4);
    let text = format!(r#"{{"a":["{long}",{{"k":"v","{long}":[1,"{long}"]}},"s"],"b":"{long}"}}"#);
    let text = text.as_bytes();
    let (mut all, mut values, mut long) = (Vec::new(), Vec::new(), Vec::new());
    let mut scanner = Scanner::new(text);
    while let Some(token) = scanner.next().unwrap() {
        long.extend(token.is_long().then(|| token.span.clone()));
        match token.kind {
            Kind::Open => values.push(token.span.start..0),
            Kind::Close => {
                values.iter_mut().rfind(|value| value.end == 0).unwrap().end = token.span.end;
            }
            Kind::Key | Kind::String | Kind::Scalar => {}
        }
        all.push(token);
    }
    assert_eq!((long.len(), values.len()), (4, 4));
    for value in values {
        let mut scanner = Scanner::again(text, value.clone(), &long);
        let inside =
            all.iter().filter(|token| value.start <= token.span.start && token.span.end <= value.end);
        for expected in inside {
            let found = scanner.next().unwrap().unwrap();
            assert_eq!((found.kind, found.span), (expected.kind, expected.span.clone()));
        }
        assert_eq!(scanner.next(), Ok(None));
    }
}

fn count(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(_) => 1,
        serde_json::Value::Array(items) => items.iter().map(count).sum(),
        serde_json::Value::Object(items) => items.values().map(count).sum(),
        _ => 0,
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<f64>().prop_map(|n| serde_json::json!(n)),
        ".*".prop_map(serde_json::Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            proptest::collection::vec((".*", inner), 0..6).prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}
