//! The guest's names of shared files in what the server says, and the client's in their place.
//!
//! Wherever it stands: results, errors, notifications, requests; in text, in JSON inside text, in URIs. Only the part that
//! names the directory is replaced: a file's name is the same on both sides. `requestState` is the server's own.

use std::collections::BTreeMap;

use memchr::memmem;

use super::envelope::keys;
use crate::rpc::identify::shape::percent_encode;
use crate::rpc::json::{Kind, Scanner, Splice, splice, text};

/// The part of the guest's directory that looks the same in a path, an URI and JSON.
const MARK: &[u8] = b"npxc-shared";
/// What stands before it, plain or with the solidus escaped.
const BEFORE: [&[u8]; 2] = [b"\\/opt\\/", b"/opt/"];
/// What stands before a path in an URI.
const SCHEME: [&[u8]; 2] = [b"file://", b"file:\\/\\/"];
/// The key of what a server gives out to get it back.
const OPAQUE: &str = "requestState";

/// The line with the client's names, if the guest's are in it.
pub(super) fn restore(line: &[u8], places: &BTreeMap<usize, String>) -> Option<Vec<u8>> {
    memmem::find(line, MARK)?;
    let mut splices = Vec::new();
    let mut scanner = Scanner::new(line);
    while let Some(token) = scanner.next().ok()? {
        if !matches!(token.kind, Kind::String | Kind::Key) {
            continue;
        }
        let Some(raw) = line.get(token.span.clone()).filter(|raw| memmem::find(raw, MARK).is_some()) else {
            continue;
        };
        let position = scanner.position(&token).unwrap_or_default();
        if keys(line, position).iter().any(|key| key == OPAQUE) {
            continue;
        }
        string(raw, token.span.start, places, &mut splices);
    }
    (!splices.is_empty()).then(|| splice(line, &splices))
}

/// The replacements in one string, which starts at `offset` of the line.
fn string(raw: &[u8], offset: usize, places: &BTreeMap<usize, String>, splices: &mut Vec<Splice>) {
    let mut is_json = None;
    for at in memmem::find_iter(raw, MARK) {
        let Some(before) = BEFORE.iter().find(|before| raw[..at].ends_with(before)) else { continue };
        let Some((place, length)) = number(&raw[at + MARK.len()..]) else { continue };
        let Some(directory) = places.get(&place) else { continue };
        let start = at - before.len();
        let mut with = if SCHEME.iter().any(|scheme| raw[..start].ends_with(scheme)) {
            percent_encode(directory)
        } else {
            directory.clone()
        };
        let encoded = text::encode(&with);
        if encoded != with && *is_json.get_or_insert_with(|| holds_json(raw)) {
            with = text::encode(&encoded);
        } else {
            with = encoded;
        }
        splices.push(Splice {
            span: offset + start..offset + at + MARK.len() + length,
            with: with.into_bytes(),
        });
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
