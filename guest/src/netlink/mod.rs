//! Netlink: what the kernel is asked, and what it answers (netlink(7), `linux/netlink.h`).
//!
//! [`Request`], [`messages`] and [`attributes`] are pure; [`Socket`] exchanges one for the others. Numbers are in the
//! machine's byte order, everything is filled up to four bytes. An answer is checked as if anybody had sent it: it can
//! be wrong, but not read beyond its end, and not without an end.

mod socket;
#[cfg(test)]
pub(crate) mod tests;

use zeroize::Zeroizing;

pub(crate) use self::socket::{Error, Socket};

/// `NLM_F_ACK`: an answer comes even if there is nothing to say.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_CREATE | NLM_F_EXCL`: make what is not there yet.
pub(crate) const CREATE: u16 = 0x600;
/// `NLM_F_DUMP`: everything there is.
pub(crate) const DUMP: u16 = 0x300;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`.
const TYPE: u16 = 0x3fff;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// Room of a request; the longest has some 300 bytes. One that grew would leave copies of keys behind.
const ROOM: usize = 1024;

/// A request, written from front to back. May hold keys: wiped when dropped.
pub(crate) struct Request(Zeroizing<Vec<u8>>);

impl Request {
    /// Of type `kind`, with `flags` beside `NLM_F_REQUEST`.
    pub(crate) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
        // Length, type, flags, sequence number, the sender's port: the first and the fourth are written at the end.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self(bytes)
    }

    /// What comes before the attributes.
    pub(crate) fn head(mut self, bytes: &[u8]) -> Self {
        self.put(bytes);
        self
    }

    /// One attribute.
    pub(crate) fn attribute(self, kind: u16, value: &[u8]) -> Self {
        self.enclose(kind, |request| request.head(value))
    }

    /// One attribute made of those that `fill` adds.
    pub(crate) fn nest(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        self.enclose(kind | NESTED, fill)
    }

    fn enclose(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.put(&[0; 2]);
        self.put(&kind.to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.0.len() - start).unwrap_or(u16::MAX);
        filled.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        let end = filled.0.len().next_multiple_of(4);
        filled.0.resize(end, 0);
        filled
    }

    fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.0.len() + bytes.len() + 4 <= ROOM);
        self.0.extend_from_slice(bytes);
    }

    /// The whole message, under this number.
    fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.0
    }
}

/// An answer ends before it should, or has impossible lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's answer makes no sense")]
pub(crate) struct Malformed;

/// One message of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of a datagram. After a malformed one there is none.
fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    pieces(datagram, |rest| {
        let length = number(rest, 0).map(u32::from_ne_bytes)? as usize;
        let message = Message {
            kind: u16::from_ne_bytes(number(rest, 4)?),
            flags: u16::from_ne_bytes(number(rest, 6)?),
            sequence: u32::from_ne_bytes(number(rest, 8)?),
            body: rest.get(HEADER..length)?,
        };
        Some((message, length))
    })
}

/// Attributes: type without flags, value. After a malformed one there is none.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    pieces(bytes, |rest| {
        let length = number(rest, 0).map(u16::from_ne_bytes)?.into();
        let kind = u16::from_ne_bytes(number(rest, 2)?) & TYPE;
        Some(((kind, rest.get(ATTRIBUTE..length)?), length))
    })
}

/// The first attribute of a type.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Result<Option<&[u8]>, Malformed> {
    for found in attributes(bytes) {
        let (kind, value) = found?;
        if kind == wanted {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Cuts bytes into what `first` finds at their start, and how long that is without what fills it up.
fn pieces<'a, T>(
    mut rest: &'a [u8],
    first: impl Fn(&'a [u8]) -> Option<(T, usize)>,
) -> impl Iterator<Item = Result<T, Malformed>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = first(rest);
        // What fills the last one up may be missing.
        rest = found.as_ref().and_then(|(_, length)| rest.get(length.next_multiple_of(4)..)).unwrap_or(&[]);
        Some(found.map(|(piece, _)| piece).ok_or(Malformed))
    })
}

/// The bytes of a number.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
