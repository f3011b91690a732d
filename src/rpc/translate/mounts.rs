//! Mounts whose path inside the guest is not the client's (`--mount HOST:GUEST`), as the translator has to know them.

use std::ops::Range;

use memchr::{memchr_iter, memmem};

use crate::rpc::identify::shape::percent_encode;
use crate::rpc::json::text;

/// What may stand before a path in a text. A letter before it makes it a part of another word; `:` is that of a drive or a
/// port only where a letter or digit stands alone before it.
const BEFORE: &[u8] = b" \"'`=,;(<>[{|&@:";
/// What stands before a path in an URI, plain or with solidi escaped.
pub(super) const SCHEME: [&[u8]; 2] = [b"file://", b"file:\\/\\/"];

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    host: String,
    guest: String,
    /// A part of the guest's path that is written alike in text, URIs and JSON.
    mark: String,
}

/// All mounts of a session, if one of them has two names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The longest path of the guest's first.
    all: Vec<Mount>,
}

impl Mounts {
    /// Of pairs of paths, the host's and the guest's.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mount = |(host, guest): (&str, &str)| Mount {
            host: host.to_owned(),
            guest: guest.to_owned(),
            mark: mark(guest).to_owned(),
        };
        let mut all: Vec<Mount> = pairs.into_iter().map(mount).collect();
        if all.iter().all(|mount| mount.host == mount.guest) {
            all.clear();
        }
        all.sort_by_key(|mount| std::cmp::Reverse(mount.guest.len()));
        Self { all }
    }

    /// Whether every path is the same on both sides.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The guest's name of a path of the client's.
    pub fn inside(&self, path: &str) -> Option<String> {
        let below = |mount: &&Mount| rest(path, &mount.host).is_some();
        let mount = self.all.iter().filter(below).max_by_key(|mount| mount.host.len())?;
        Some(format!("{}{}", mount.guest, rest(path, &mount.host)?))
    }

    /// Whether one of them may be named in these bytes.
    pub(super) fn may_be_in(&self, bytes: &[u8]) -> bool {
        let named =
            |mount: &Mount| mount.host != mount.guest && memmem::find(bytes, mount.mark.as_bytes()).is_some();
        self.all.iter().any(named)
    }

    /// The guest's paths in a string as it is written, each with the client's name for it.
    pub(super) fn named(&self, raw: &[u8]) -> Vec<Occurrence<'_>> {
        let mut out = Vec::new();
        let mut done = 0;
        for solidus in memchr_iter(b'/', raw) {
            let start = raw[..solidus].iter().rposition(|byte| *byte != b'\\').map_or(0, |at| at + 1);
            if start < done {
                continue;
            }
            let uri = SCHEME.iter().any(|scheme| raw[..start].ends_with(scheme));
            if !uri && !begins(&raw[..start]) {
                continue;
            }
            let longest = self.all.iter().find_map(|mount| {
                let end = matches(raw, start, &mount.guest, uri)?;
                ends(&raw[end..]).then_some((mount, end))
            });
            if let Some((mount, end)) = longest.filter(|(mount, _)| mount.host != mount.guest) {
                done = end;
                out.push(Occurrence { span: start..end, path: &mount.host, uri });
            }
        }
        out
    }
}

/// A mount's path that stands in a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Occurrence<'a> {
    pub(super) span: Range<usize>,
    pub(super) path: &'a str,
    pub(super) uri: bool,
}

/// What is left of a path below a directory, with its solidus.
fn rest<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    path.strip_prefix(directory).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The longest run of characters that nobody escapes.
fn mark(path: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    path.split(|c| !plain(c)).max_by_key(|part| part.len()).unwrap_or_default()
}

/// Whether a word may begin behind these bytes of a string.
fn begins(before: &[u8]) -> bool {
    match before {
        // A line's or a column's end, also one that is escaped once more.
        [] | [.., b'\\', b'n' | b'r' | b't' | b'f' | b'b'] => true,
        [rest @ .., b':'] => {
            let word = rest.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            word != 1
        }
        [.., b'\\', b'u', _, _, _, _] => text::decode(&before[before.len() - 6..]).is_some_and(|text| {
            text.chars().all(|c| c.is_whitespace() || u8::try_from(c).is_ok_and(|c| BEFORE.contains(&c)))
        }),
        [.., 0x80..=0xff] => {
            let tail = &before[before.len().saturating_sub(4)..];
            let last = tail.utf8_chunks().last().map(|chunk| chunk.valid().to_owned()).unwrap_or_default();
            last.ends_with(char::is_whitespace)
        }
        [.., byte] => BEFORE.contains(byte),
    }
}

/// Whether a path's part ends where these bytes follow.
fn ends(behind: &[u8]) -> bool {
    match behind {
        [] => true,
        // The end of a sentence, or of a name.
        [b'.', rest @ ..] => {
            rest.iter().find(|byte| **byte != b'.').is_none_or(|byte| !byte.is_ascii_alphanumeric())
        }
        [b'\\', b'u', ..] => behind
            .get(..6)
            .and_then(text::decode)
            .is_some_and(|text| !text.starts_with(char::is_alphanumeric)),
        [0x80..=0xff, ..] => {
            let part = behind.get(..4).unwrap_or(behind);
            part.utf8_chunks().next().is_some_and(|chunk| chunk.valid().starts_with(char::is_whitespace))
        }
        [byte, ..] => !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b'%' | b'+' | b'~'),
    }
}

/// Where `path` ends if it is written at `start` of a string, in JSON of one level or two, or percent-encoded.
fn matches(raw: &[u8], start: usize, path: &str, uri: bool) -> Option<usize> {
    let mut at = start;
    let mut left = path.as_bytes();
    while let Some(next) = left.first() {
        if *next == b'/' {
            at += raw.get(at..)?.iter().take_while(|byte| **byte == b'\\').count();
        }
        let rest = raw.get(at..)?;
        let (character, length) = match rest {
            [b'%', high, low, ..] if uri => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
                left = left.strip_prefix(&[byte])?;
                at += 3;
                continue;
            }
            [b'\\', ..] => escaped(rest)?,
            [byte, ..] => {
                left = left.strip_prefix(&[*byte])?;
                at += 1;
                continue;
            }
            [] => return None,
        };
        left = left.strip_prefix(character.encode_utf8(&mut [0; 4]).as_bytes())?;
        at += length;
    }
    Some(at)
}

/// The character of an escape, and its length with the backslash.
fn escaped(rest: &[u8]) -> Option<(char, usize)> {
    [2, 6, 12].into_iter().find_map(|length| {
        let text = text::decode(rest.get(..length)?)?;
        let mut characters = text.chars();
        characters.next().filter(|_| characters.next().is_none()).map(|character| (character, length))
    })
}

impl Occurrence<'_> {
    /// The client's path as it is written there, before it is encoded for the string.
    pub(super) fn written(&self) -> String {
        if self.uri { percent_encode(self.path) } else { self.path.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Mounts {
        Mounts::new([
            ("/home/me/notes", "/data"),
            ("/home/me/caf\u{e9} x", "/data/caf\u{e9} x/deep"),
            ("/same", "/same"),
            ("/data/same", "/data/same"),
        ])
    }

    fn found(raw: &str) -> Vec<(&str, String)> {
        let mounts = mounts();
        let named = mounts.named(raw.as_bytes()).into_iter();
        named.map(|named| (&raw[named.span.clone()], named.written())).collect()
    }

    #[test]
    fn the_longest_mount_counts() {
        assert_eq!(mounts().inside("/home/me/notes/a"), Some("/data/a".to_owned()));
        assert_eq!(mounts().inside("/home/me/notes"), Some("/data".to_owned()));
        assert_eq!(mounts().inside("/home/me/notes2"), None);
        assert_eq!(mounts().inside("/data/same/x"), Some("/data/same/x".to_owned()));
        assert!(Mounts::new([("/a", "/a")]).is_empty());
    }

    #[test]
    fn paths_are_found_however_they_are_written() {
        let notes = |written| vec![(written, "/home/me/notes".to_owned())];
        for raw in [
            "/data",
            "/data/a.txt",
            "see /data, \\u0027x",
            "at '/data/x'",
            "from:/data:b",
            "\\n/data/x",
            "/data.",
            "\\\\n/data",
        ] {
            assert_eq!(found(raw), notes("/data"), "{raw}");
        }
        assert_eq!(found("\\\"p\\\":\\\"\\/data\\/x\\\""), notes("\\/data"));
        assert_eq!(found("\\u0027/data\\u0027"), notes("/data"));
        assert_eq!(found("file:///data/x"), notes("/data"));
        let deep = "/home/me/caf\u{e9} x".to_owned();
        assert_eq!(found("/data/caf\u{e9} x/deep/f"), [("/data/caf\u{e9} x/deep", deep.clone())]);
        assert_eq!(found("/data/caf\\u00e9 x/deep"), [("/data/caf\\u00e9 x/deep", deep)]);
        assert_eq!(
            found("file:///data/caf%C3%A9%20x/deep/f"),
            [("/data/caf%C3%A9%20x/deep", "/home/me/caf%C3%A9%20x".to_owned())]
        );
    }

    #[test]
    fn look_alikes_are_left() {
        for raw in [
            "/database",
            "/data-1",
            "/data.bak",
            "/data_2",
            "https://example.com/data/x",
            "a/data",
            "/x/data",
            "C:/data",
            "/data/same/x",
            "/same/x",
            "//data",
            "/Data",
            "/data\u{e9}",
        ] {
            assert_eq!(found(raw), [], "{raw}");
        }
    }
}
