//! The few parts of a message that npxc has to know: one pass, nothing kept but spans.

use std::ops::Range;

use crate::rpc::json::{Frame, Kind, Scanner, text};

/// A single message. A batch, something ambiguous (a key of these twice) and something malformed have none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The id as it is written, quotes and all.
    pub(super) id: Option<Range<usize>>,
    pub(super) method: Option<String>,
    /// `params.name`.
    pub(super) name: Option<String>,
    /// `params.arguments`, brackets and all.
    pub(super) arguments: Option<Range<usize>>,
    /// Whether there is a `result`.
    pub(super) result: bool,
}

impl Envelope {
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let mut out = Self::default();
        let mut scanner = Scanner::new(line);
        let mut seen = Vec::new();
        let mut opened = None;
        while let Some(token) = scanner.next().ok()? {
            if token.depth == 0 {
                if line.get(token.span.clone())? == b"[" {
                    return None;
                }
                continue;
            }
            if token.depth > 2 {
                continue;
            }
            let keys = keys(line, scanner.position(&token)?);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let known = matches!(
                keys[..],
                ["id" | "method" | "params" | "result" | "error"] | ["params", "name" | "arguments"]
            );
            if token.kind == Kind::Key {
                if known && seen.contains(&keys.join(".")) {
                    return None;
                }
                if known {
                    seen.push(keys.join("."));
                }
                continue;
            }
            let string = || text::decode(line.get(token.span.clone())?).map(std::borrow::Cow::into_owned);
            match (&keys[..], token.kind) {
                (["id"], Kind::String) => out.id = Some(token.span.start - 1..token.span.end + 1),
                (["id"], Kind::Scalar) => out.id = Some(token.span),
                (["method"], Kind::String) => out.method = Some(string()?),
                (["params", "name"], Kind::String) => out.name = Some(string()?),
                (["params", "arguments"], Kind::Open) => opened = Some(token.span.start),
                (["params", "arguments"], Kind::Close) => {
                    out.arguments = opened.take().map(|start| start..token.span.end);
                }
                (["result"], _) => out.result = true,
                _ => {}
            }
        }
        Some(out)
    }
}

/// The keys of a position; array levels have none. What is no text is no key that anybody looks for.
pub(super) fn keys(line: &[u8], frames: &[Frame]) -> Vec<String> {
    let keys = frames.iter().filter_map(|frame| match frame {
        Frame::Object(Some(span)) => Some(
            line.get(span.clone())
                .and_then(text::decode)
                .map_or_else(String::new, std::borrow::Cow::into_owned),
        ),
        Frame::Object(None) | Frame::Array => None,
    });
    keys.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_in_any_order() {
        let line = br#"{"params":{"arguments":{"id":2,"a":[1]},"name":"t\u0065st"},"id":"7","method":"tools\/call"}"#;
        let envelope = Envelope::read(line).unwrap();
        assert_eq!(&line[envelope.id.unwrap()], b"\"7\"");
        assert_eq!(&line[envelope.arguments.unwrap()], br#"{"id":2,"a":[1]}"#);
        assert_eq!(
            (envelope.method.as_deref(), envelope.name.as_deref()),
            (Some("tools/call"), Some("test"))
        );
        let line = br#"{"id":-1e3,"result":{"id":3}}"#;
        let envelope = Envelope::read(line).unwrap();
        assert!(envelope.result);
        assert_eq!(&line[envelope.id.unwrap()], b"-1e3");
    }

    #[test]
    fn what_is_ambiguous_is_not_read() {
        for line in [
            &b"[{}]"[..],
            br#"{"id":1,"id":2}"#,
            br#"{"method":"a","\u006dethod":"b"}"#,
            b"{\"id\":1",
            b"{} x",
        ] {
            assert_eq!(Envelope::read(line), None);
        }
    }
}
