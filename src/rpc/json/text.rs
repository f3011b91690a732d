//! The inside of a JSON string: decoded without loss or not at all, and encoded.

use std::borrow::Cow;

/// What the bytes between the quotes stand for. `None` when they stand for no text: invalid UTF-8, half of a surrogate
/// pair, an escape that does not exist, a bare control character.
pub fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(raw).ok()?;
    if text.bytes().any(|byte| byte < 0x20) {
        return None;
    }
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, length) = escape(&rest[at + 1..])?;
        out.push(character);
        rest = &rest[at + 1 + length..];
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// From places in a decoded text to where they are written. Asked in rising order it is one pass.
#[derive(Debug)]
pub struct Offsets<'a> {
    raw: &'a [u8],
    written: usize,
    decoded: usize,
}

impl<'a> Offsets<'a> {
    /// For a text that [`decode`] understood.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, written: 0, decoded: 0 }
    }

    /// Where the byte `at` of the decoded text is written; `at` is not before the last one that was asked for.
    pub fn find(&mut self, at: usize) -> usize {
        while self.decoded < at {
            let rest = self.raw.get(self.written..).unwrap_or_default();
            match rest.first() {
                None => break,
                Some(b'\\') => {
                    let text = rest.get(1..).and_then(|text| std::str::from_utf8(text).ok());
                    let Some((character, length)) = text.and_then(escape) else { break };
                    self.decoded += character.len_utf8();
                    self.written += 1 + length;
                }
                Some(_) => {
                    let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len()).min(at - self.decoded);
                    self.decoded += plain;
                    self.written += plain;
                }
            }
        }
        self.written
    }
}

/// The character of an escape and how long it is behind its backslash.
fn escape(text: &str) -> Option<(char, usize)> {
    let character = match text.as_bytes().first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = unit(text)?;
            if !(0xD800..0xE000).contains(&high) {
                return Some((char::from_u32(high)?, 5));
            }
            let low = unit(text.get(5..)?.strip_prefix('\\')?)?;
            if high >= 0xDC00 || !(0xDC00..0xE000).contains(&low) {
                return None;
            }
            return Some((char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 11));
        }
        _ => return None,
    };
    Some((character, 1))
}

/// The UTF-16 code unit that `u` and four hexadecimal digits stand for.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// `text` as it stands between quotes.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let digit = |number: u32| char::from_digit(number, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([digit(control as u32 >> 4), digit(control as u32 & 15)]);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode(br"a\/b\\\u00e9\ud83e\udd80\n").unwrap(), "a/b\\\u{e9}\u{1f980}\n");
        assert!(matches!(decode(b"plain").unwrap(), Cow::Borrowed("plain")));
    }

    #[test]
    fn what_stands_for_no_text_is_not_decoded() {
        for raw in [
            &b"\xff"[..],
            br"\ud800",
            br"\ud800x",
            br"\ud800\n",
            br"\udc00",
            br"\ud800\ud800",
            br"\x41",
            br"\u12",
            br"\u+123",
            b"\\",
            b"a\nb",
        ] {
            assert_eq!(decode(raw), None, "{}", String::from_utf8_lossy(raw));
        }
    }

    proptest! {
        #[test]
        fn offsets_lead_to_what_is_written(text in "[a\"\\\\\n\u{e9}\u{1f980}]{0,16}", cut in 0_usize..16) {
            let cut = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
            let raw = format!("{}{}", encode(&text[..cut]), encode(&text[cut..]).replace('\u{1f980}', "\\ud83e\\udd80"));
            let at = Offsets::new(raw.as_bytes()).find(cut);
            prop_assert_eq!(decode(&raw.as_bytes()[..at]).unwrap(), &text[..cut]);
            prop_assert_eq!(decode(&raw.as_bytes()[at..]).unwrap(), &text[cut..]);
        }

        #[test]
        fn what_is_encoded_is_decoded(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert_eq!(decode(encoded.as_bytes()).unwrap(), text.as_str());
            prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{encoded}\"")).unwrap(), text);
        }

        #[test]
        fn it_agrees_with_serde(raw in "[ab/\\\\u0-9dD8cC\u{e9}n]{0,24}") {
            let theirs = serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
            // An unescaped quote cannot be in it, but a backslash at the end can.
            prop_assert_eq!(decode(raw.as_bytes()).map(Cow::into_owned), theirs);
        }
    }
}
