//! Questions for the tests of this room, written by hand so that they can be wrong.
#![allow(clippy::unwrap_used)]

/// A query with one question; `kind` is the number of its type.
pub(super) fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// The same with an OPT record.
pub(super) fn opt(mut message: Vec<u8>, payload: u16, version: u8, dnssec_ok: bool) -> Vec<u8> {
    message[11] += 1;
    message.extend([0, 0, 41]);
    message.extend(payload.to_be_bytes());
    message.extend([0, version, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    message
}
