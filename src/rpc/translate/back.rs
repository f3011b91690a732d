//! The guest's names of shared and mounted files in what the server says, and the client's in their place.
//!
//! Wherever it stands: results, errors, notifications, requests; in text, in JSON inside text, in URIs. Only the part that
//! names the directory is replaced: a file's name is the same on both sides. `requestState` is the server's own.

use std::collections::BTreeMap;
use std::ops::Range;

use memchr::memmem;

use super::envelope::keys;
use super::mounts::{Mounts, SCHEME};
use crate::rpc::identify::shape::percent_encode;
use crate::rpc::json::{Kind, Scanner, Splice, Token, text};

/// The part of the guest's directory that looks the same in a path, an URI and JSON.
const MARK: &[u8] = b"npxc-shared";
/// Bytes that the client's names may make one line longer: the guest chooses how often they stand in it.
const MOST_MORE: usize = 64 << 20;
/// What stands before it, plain or with the solidus escaped.
const BEFORE: [&[u8]; 2] = [b"\\/opt\\/", b"/opt/"];

/// Finds them while a line is read.
pub(super) struct Back<'a> {
    line: &'a [u8],
    places: &'a BTreeMap<usize, String>,
    mounts: &'a Mounts,
    splices: Vec<Splice>,
    /// Bytes of these.
    more: usize,
}

impl<'a> Back<'a> {
    /// `None` if none of the guest's names can be in the line.
    pub(super) fn new(
        line: &'a [u8],
        places: &'a BTreeMap<usize, String>,
        mounts: &'a Mounts,
    ) -> Option<Self> {
        let back = Self { line, places, mounts, splices: Vec::new(), more: 0 };
        back.may_be_in(line).then_some(back)
    }

    fn may_be_in(&self, bytes: &[u8]) -> bool {
        (!self.places.is_empty() && memmem::find(bytes, MARK).is_some()) || self.mounts.may_be_in(bytes)
    }

    /// The next part of the line.
    pub(super) fn see(&mut self, token: &Token, scanner: &Scanner<'_>) {
        let line = self.line;
        if !matches!(token.kind, Kind::String | Kind::Key) {
            return;
        }
        let Some(raw) = line.get(token.span.clone()).filter(|raw| self.may_be_in(raw)) else { return };
        let position = scanner.position(token).unwrap_or_default();
        if keys(line, position).iter().any(|key| key == super::OPAQUE) {
            return;
        }
        let mut text = Text { raw, offset: token.span.start, is_json: None };
        let before = self.splices.len();
        string(&mut text, self.places, &mut |splice| push(&mut self.splices, &mut self.more, splice));
        if self.mounts.may_be_in(raw) {
            for named in self.mounts.named(raw) {
                let splice = text.put(named.span.clone(), &named.written());
                if !push(&mut self.splices, &mut self.more, splice) {
                    break;
                }
            }
            self.splices[before..].sort_by_key(|splice| splice.span.start);
        }
    }

    /// Whether the line says that a copy may not be written, in the system's words.
    pub(super) fn denies_writing(&self) -> bool {
        const WORDS: [&[u8]; 4] = [b"EROFS", b"ead-only file system", b"EACCES", b"ermission denied"];
        !self.splices.is_empty() && WORDS.iter().any(|words| memmem::find(self.line, words).is_some())
    }

    /// The client's names, each in the place of a guest's.
    pub(super) fn splices(self) -> Vec<Splice> {
        self.splices
    }
}

/// One string of the line.
struct Text<'a> {
    raw: &'a [u8],
    /// Where it stands in the line.
    offset: usize,
    /// Whether its text is JSON, once that matters.
    is_json: Option<bool>,
}

impl Text<'_> {
    /// Puts a text in the place of a part of it.
    fn put(&mut self, span: Range<usize>, with: &str) -> Splice {
        let encoded = text::encode(with);
        let with = if encoded != with && *self.is_json.get_or_insert_with(|| holds_json(self.raw)) {
            text::encode(&encoded)
        } else {
            encoded
        };
        Splice { span: self.offset + span.start..self.offset + span.end, with: with.into_bytes() }
    }
}

/// Keeps one more, unless the line becomes too long: then the rest of it stays as it is.
fn push(splices: &mut Vec<Splice>, more: &mut usize, splice: Splice) -> bool {
    *more = more.saturating_add(splice.with.len());
    let fits = *more <= MOST_MORE;
    if fits {
        splices.push(splice);
    }
    fits
}

/// The names of copies in one string, as long as they are taken.
fn string(text: &mut Text<'_>, places: &BTreeMap<usize, String>, put: &mut dyn FnMut(Splice) -> bool) {
    let raw = text.raw;
    for at in memmem::find_iter(raw, MARK) {
        let Some(before) = BEFORE.iter().find(|before| raw[..at].ends_with(before)) else { continue };
        let Some((place, length)) = number(&raw[at + MARK.len()..]) else { continue };
        let Some(directory) = places.get(&place) else { continue };
        let start = at - before.len();
        let with = if SCHEME.iter().any(|scheme| raw[..start].ends_with(scheme)) {
            percent_encode(directory)
        } else {
            directory.clone()
        };
        if !put(text.put(start..at + MARK.len() + length, &with)) {
            return;
        }
    }
}

/// `/12` and what cannot belong to it: the number and its length.
fn number(rest: &[u8]) -> Option<(usize, usize)> {
    let solidus = if rest.starts_with(b"\\/") { 2 } else { usize::from(rest.first() == Some(&b'/')) };
    let digits = rest.get(solidus..)?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends = digits.get(count).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    if solidus == 0 || !ends || (count > 1 && digits[0] == b'0') {
        return None;
    }
    let number = std::str::from_utf8(&digits[..count]).ok()?.parse().ok()?;
    Some((number, solidus + count))
}

/// Whether a string's text is a JSON object or array.
fn holds_json(raw: &[u8]) -> bool {
    let Some(text) = text::decode(raw) else { return false };
    let text = text.trim_ascii();
    if !text.starts_with(['{', '[']) {
        return false;
    }
    let mut scanner = Scanner::new(text.as_bytes());
    loop {
        match scanner.next() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
