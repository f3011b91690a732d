//! The few parts of a message that npxc has to know: one pass, nothing kept but spans.

use std::ops::Range;

use crate::rpc::json::{Kind, Level, Plain, Scanner, Token, text};

/// Messages of a batch that are looked at; a longer batch goes on as it is. Only one revision of MCP has batches at all.
const MOST_MESSAGES: usize = 1024;

/// What a line holds: one message, or a batch of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    /// In order. In a batch everything has its place here, also what is no message.
    pub(super) all: Vec<Envelope>,
    pub(super) batch: bool,
    /// A batch that is too long: then `all` is empty.
    pub(super) too_many: bool,
    /// The line's long strings.
    pub(super) long: Vec<Range<usize>>,
}

/// A single message; of a key that stands there twice the last one counts, as it does for those who read it (`JSON.parse`,
/// Python). What is no object has a place in its line and nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Where the message stands.
    pub(super) whole: Range<usize>,
    /// The id as it is written, quotes and all.
    pub(super) id: Option<Range<usize>>,
    pub(super) method: Option<String>,
    /// `params`, brackets and all.
    pub(super) params: Option<Range<usize>>,
    /// `params.name`.
    pub(super) name: Option<String>,
    /// `params.requestId`, as an id.
    pub(super) about: Option<Range<usize>>,
    /// `result`, whatever it is.
    pub(super) result: Option<Range<usize>>,
    /// Whether there is an `error`.
    pub(super) error: bool,
}

impl Messages {
    /// `None` for what is malformed, or too long a batch. `plain` as far as it is known.
    pub(super) fn read(line: &[u8], plain: &Plain) -> Option<Self> {
        let scanner = Scanner::knowing(line, plain);
        Self::scan(line, scanner, &mut |_, _| {}).filter(|messages| !messages.too_many)
    }

    /// All of them in one pass with whoever wants to `see` every part of the line. `None` for what is malformed: then that
    /// has seen what does not count.
    pub(super) fn read_with(line: &[u8], see: &mut dyn FnMut(&Token, &Scanner<'_>)) -> Option<Self> {
        Self::scan(line, Scanner::new(line), see)
    }

    fn scan(
        line: &[u8],
        mut scanner: Scanner<'_>,
        see: &mut dyn FnMut(&Token, &Scanner<'_>),
    ) -> Option<Self> {
        let mut out = Self::default();
        let mut reader = Reader::default();
        while let Some(token) = scanner.next().ok()? {
            see(&token, &scanner);
            if token.is_long() {
                out.long.push(token.span.clone());
            }
            if out.too_many {
                continue;
            }
            let base = usize::from(out.batch);
            if token.depth == 0 && token.kind == Kind::Open && line.get(token.span.clone())? == b"[" {
                out.batch = true;
            } else if token.depth < base {
                // The batch's end.
            } else if token.depth == base {
                match token.kind {
                    Kind::Open => {
                        let other = line.get(token.span.clone()) != Some(b"{");
                        reader = Reader { start: token.span.start, other, ..Reader::default() };
                    }
                    Kind::Close => out.all.push(reader.finish(token.span.end)),
                    Kind::Key | Kind::String | Kind::Scalar => {
                        out.all.push(Envelope { whole: token.span, ..Envelope::default() });
                    }
                }
                if out.all.len() > MOST_MESSAGES {
                    out = Self { batch: true, too_many: true, ..Self::default() };
                }
            } else if token.depth <= base + 2 && !reader.other {
                let position = scanner.position(&token)?;
                if !position.get(base..)?.contains(&Level::Array) {
                    reader.token(line, &keys(line, position), &token);
                }
            }
        }
        Some(out)
    }
}

/// Collects one message.
#[derive(Default)]
struct Reader {
    start: usize,
    found: Envelope,
    /// It is no object.
    other: bool,
    /// Where the container that is being read was opened.
    opened: usize,
}

impl Reader {
    fn token(&mut self, line: &[u8], keys: &[String], token: &Token) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let span = token.span.clone();
        let id = match token.kind {
            Kind::String => Some(span.start - 1..span.end + 1),
            Kind::Scalar => Some(span.clone()),
            Kind::Key | Kind::Open | Kind::Close => None,
        };
        let string = || {
            let text = (token.kind == Kind::String).then(|| line.get(span.clone()))??;
            text::decode(text).map(std::borrow::Cow::into_owned)
        };
        match (&keys[..], token.kind) {
            (["id"], Kind::Key) => self.found.id = None,
            (["method"], Kind::Key) => self.found.method = None,
            (["params"], Kind::Key) => {
                (self.found.params, self.found.name, self.found.about) = (None, None, None);
            }
            (["result"], Kind::Key) => self.found.result = None,
            (_, Kind::Key) => {}
            (["id"], _) => self.found.id = id,
            (["method"], _) => self.found.method = string(),
            (["params", "name"], _) => self.found.name = string(),
            (["params", "requestId"], _) => self.found.about = id,
            (["params" | "result"], Kind::Open) => self.opened = span.start,
            (["params"], Kind::Close) => self.found.params = Some(self.opened..span.end),
            (["result"], Kind::Close) => self.found.result = Some(self.opened..span.end),
            (["result"], Kind::String | Kind::Scalar) => self.found.result = id,
            (["error"], _) => self.found.error = true,
            _ => {}
        }
    }

    fn finish(&mut self, end: usize) -> Envelope {
        Envelope { whole: self.start..end, ..std::mem::take(&mut self.found) }
    }
}

/// Longest key that is read, bytes: for everything below it, it is read again.
const MOST_KEY: usize = 256;

/// The keys of a position; array levels have none. What is no text, or too long, is no key that anybody looks for.
pub(super) fn keys(line: &[u8], levels: &[Level]) -> Vec<String> {
    let keys = levels.iter().filter_map(|frame| match frame {
        Level::Object(Some(span)) => Some(
            line.get(span.clone())
                .filter(|key| key.len() <= MOST_KEY)
                .and_then(text::decode)
                .map_or_else(String::new, std::borrow::Cow::into_owned),
        ),
        Level::Object(None) | Level::Array => None,
    });
    keys.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(line: &[u8]) -> Envelope {
        let mut messages = Messages::read(line, &[]).unwrap();
        assert!(!messages.batch && messages.all.len() == 1);
        messages.all.remove(0)
    }

    #[test]
    fn calls_are_read_in_any_order() {
        let line = br#"{"params":{"arguments":{"id":2,"a":[1]},"name":"t\u0065st"},"id":"7","method":"tools\/call"}"#;
        let envelope = one(line);
        assert_eq!(&line[envelope.id.unwrap()], b"\"7\"");
        assert_eq!(&line[envelope.params.unwrap()], br#"{"arguments":{"id":2,"a":[1]},"name":"t\u0065st"}"#);
        assert_eq!(
            (envelope.method.as_deref(), envelope.name.as_deref()),
            (Some("tools/call"), Some("test"))
        );
        let line = br#"{"id":-1e3,"result":{"id":3}}"#;
        let envelope = one(line);
        assert_eq!(&line[envelope.result.unwrap()], br#"{"id":3}"#);
        assert_eq!(&line[envelope.id.unwrap()], b"-1e3");
    }

    #[test]
    fn of_a_doubled_key_the_last_counts() {
        let line = br#"{"id":1,"method":"a","params":{"name":"x","requestId":3},"\u0069d":2,"method":7,"params":{"a":1}}"#;
        let envelope = one(line);
        assert_eq!(&line[envelope.id.unwrap()], b"2");
        assert_eq!((envelope.method, envelope.name, envelope.about), (None, None, None));
        assert_eq!(&line[envelope.params.unwrap()], br#"{"a":1}"#);
        let line = br#"{"params":{"name":"x","name":"y"},"params":[],"result":{"a":1},"result":true}"#;
        let envelope = one(line);
        assert_eq!(
            (&line[envelope.params.unwrap()], &line[envelope.result.unwrap()]),
            (&b"[]"[..], &b"true"[..])
        );
        assert_eq!(envelope.name, None);
        assert_eq!(one(br#"{"params":{},"params":null}"#).params, None);
        assert_eq!(one(br#"{"id":1,"id":[2]}"#).id, None);
    }

    #[test]
    fn what_is_malformed_or_deeper_is_not_read() {
        for line in [&b"{\"id\":1"[..], b"{} x", b"[{}", b"words", b"[[{\"id\":1}]]", b"{\"id\":[1]}"] {
            assert!(
                Messages::read(line, &[])
                    .is_none_or(|messages| messages.all.iter().all(|one| one.id.is_none()))
            );
        }
    }

    #[test]
    fn a_batch_has_everything_in_its_place() {
        let line = br#" [{"id":1,"method":"a"} , 2,{"id":3,"id":4},{"result":true,"id":5}]"#;
        let messages = Messages::read(line, &[]).unwrap();
        assert!(messages.batch);
        let parts: Vec<_> = messages.all.iter().map(|one| &line[one.whole.clone()]).collect();
        assert_eq!(
            parts,
            [&br#"{"id":1,"method":"a"}"#[..], b"2", br#"{"id":3,"id":4}"#, br#"{"result":true,"id":5}"#]
        );
        let ids: Vec<_> = messages.all.iter().map(|one| one.id.clone().map(|id| &line[id])).collect();
        assert_eq!(ids, [Some(&b"1"[..]), None, Some(b"4"), Some(b"5")]);
        let many = format!("[{}1]", "1,".repeat(MOST_MESSAGES));
        assert!(Messages::read(many.as_bytes(), &[]).is_none());
    }
}
