//! Cuts a stream into messages without changing a byte of it. Pure: bytes in any pieces go in, pieces come out whose
//! concatenation is what went in.
//!
//! Only what can be a message is held until it is whole: a line whose first byte that is not blank is `{` or `[`.
//! Everything else goes through as it comes. There is no limit to a line, which would cut somebody's message; one that is
//! longer than [`MOST_HELD`] goes through as well.

use std::ops::Range;

use memchr::{memchr, memchr3};

use super::json::{LONG, Plain};

/// Blanks before a message that are held, so that it comes out with them; more than these go through before it.
const MOST_BLANKS: usize = 4096;

/// The longest line that is held, bytes: far more than any message that is known (8 MB), and not more than a machine has
/// to spare when a package never ends its line.
const MOST_HELD: usize = 256 << 20;

/// A piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole line that may be a message, with its terminator, if it has one; and where it is [`Plain`].
    Message(&'a [u8], &'a Plain),
    /// Bytes that are none, or a part of a line that is none; `ends_line` when the stream is at a line's start after it.
    Through(&'a [u8], EndsLine),
}

/// Whether a line ends with the piece.
pub type EndsLine = bool;

/// What the line that is being read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Only blanks so far, all of them held.
    Start,
    /// Held until it is whole.
    Message,
    /// Passed through as it comes.
    Through,
}

/// One direction's splitter.
#[derive(Debug)]
pub struct Splitter {
    held: Vec<u8>,
    /// Of what is held.
    plain: Vec<Range<usize>>,
    line: Line,
    most: usize,
    /// Messages since the last one that did not fit into [`KEPT`].
    small: u32,
}

/// Capacity that is kept between messages, bytes.
const KEPT: usize = 256 * 1024;
/// Capacity that is kept for a while after a larger message: fresh memory costs as much as the copy into it, and large
/// messages rarely come alone.
const KEPT_FOR_NOW: usize = 16 << 20;
/// For so many smaller messages.
const PATIENCE: u32 = 64;

impl Default for Splitter {
    fn default() -> Self {
        Self { held: Vec::new(), plain: Vec::new(), line: Line::Start, most: MOST_HELD, small: 0 }
    }
}

impl Splitter {
    /// Takes bytes; `give` gets every piece that is complete by now, in order. `holds` says, at the first byte of a line
    /// that may be a message, whether it has to be whole.
    ///
    /// # Errors
    /// What `give` returns; the splitter is not to be used after that.
    pub fn push<E>(
        &mut self,
        bytes: &[u8],
        holds: &mut dyn FnMut() -> bool,
        give: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.line == Line::Start {
                self.line = Self::begin(rest, holds);
            }
            let (end, plain) = match self.line {
                Line::Through => (line_end(rest), false),
                Line::Start | Line::Message => look(rest),
            };
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            if self.line == Line::Message && self.held.len() + part.len() > self.most {
                self.line = Line::Through;
            }
            if self.line == Line::Through {
                if !self.held.is_empty() {
                    give(Piece::Through(&self.held, false))?;
                    self.held.clear();
                    self.plain.clear();
                }
                give(Piece::Through(part, end.is_some()))?;
            } else if end.is_none() {
                self.held.extend_from_slice(part);
                if self.line == Line::Start && self.held.len() > MOST_BLANKS {
                    give(Piece::Through(&self.held, false))?;
                    self.held.clear();
                } else {
                    self.note(part.len(), plain);
                }
            } else {
                self.whole(part, give)?;
            }
            if end.is_some() {
                self.line = Line::Start;
            }
        }
        Ok(())
    }

    /// The message that is held, with room for at least `size` more bytes, once it is as long as that itself: what is
    /// appended to it, and said to [`appended`](Self::appended), needs no copy. Nothing may be changed before that.
    pub fn continuation(&mut self, size: usize) -> Option<&mut Vec<u8>> {
        if self.line != Line::Message || self.held.len() < size || self.held.len() + size > self.most {
            return None;
        }
        self.held.reserve(size);
        Some(&mut self.held)
    }

    /// The message that is held was `before` bytes long, and is continued now; as [`push`](Self::push).
    ///
    /// # Errors
    /// What `give` returns; the splitter is not to be used after that.
    pub fn appended<E>(
        &mut self,
        before: usize,
        holds: &mut dyn FnMut() -> bool,
        give: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let new = self.held.get(before..).unwrap_or_default();
        let (end, plain) = look(new);
        let Some(end) = end else {
            let length = new.len();
            self.note(length, plain);
            return Ok(());
        };
        let rest = self.held.split_off(before + end);
        self.whole(&[], give)?;
        self.line = Line::Start;
        self.push(&rest, holds, give)
    }

    /// What is held of a line that is not whole.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Lets the line that is held go as it is: it is no message after all.
    ///
    /// # Errors
    /// What `give` returns.
    pub fn let_go<E>(&mut self, give: &mut dyn FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let held = std::mem::take(&mut self.held);
        self.plain.clear();
        self.line = Line::Through;
        if held.is_empty() { Ok(()) } else { give(Piece::Through(&held, false)) }
    }

    /// The stream has ended: what is held comes out, a last line without a terminator as a message.
    ///
    /// # Errors
    /// What `give` returns.
    pub fn end<E>(&mut self, give: &mut dyn FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        match self.line {
            Line::Message => {
                let given = self.whole(&[], give);
                self.line = Line::Start;
                given
            }
            Line::Start | Line::Through => self.let_go(give),
        }
    }

    /// A held line and its last part.
    fn whole<E>(&mut self, part: &[u8], give: &mut dyn FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        // Most messages come in one piece, and are not copied.
        if self.held.is_empty() {
            self.keep(part.len());
            return self.message(part, give);
        }
        let mut line = std::mem::take(&mut self.held);
        line.extend_from_slice(part);
        self.message(&line, give)?;
        let length = line.len();
        line.clear();
        self.held = line;
        self.plain.clear();
        self.keep(length);
        Ok(())
    }

    /// Gives back what the next messages hardly need, after one of this length.
    fn keep(&mut self, length: usize) {
        self.small = if length > KEPT { 0 } else { self.small.saturating_add(1) };
        self.held.shrink_to(if self.small < PATIENCE { KEPT_FOR_NOW } else { KEPT });
    }

    /// The last `length` bytes of what is held are `plain`, or not.
    fn note(&mut self, length: usize, plain: bool) {
        let (start, end) = (self.held.len() - length, self.held.len());
        match self.plain.last_mut() {
            Some(last) if plain && last.end == start => last.end = end,
            _ if plain && length >= LONG => self.plain.push(start..end),
            _ => {}
        }
    }

    fn message<E>(&self, line: &[u8], give: &mut dyn FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.line == Line::Message {
            give(Piece::Message(line, &self.plain))
        } else {
            give(Piece::Through(line, true))
        }
    }

    /// What a line becomes with these bytes.
    fn begin(bytes: &[u8], holds: &mut dyn FnMut() -> bool) -> Line {
        match bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
            Some(b'{' | b'[') if holds() => Line::Message,
            Some(b'\n') | None => Line::Start,
            Some(_) => Line::Through,
        }
    }
}

/// Where the first line in the bytes ends, behind its terminator.
fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|at| at + 1)
}

/// The same; and whether nothing in them is a terminator, a quote or a
/// backslash. They are in the cache now, and will not be when their line is whole.
fn look(bytes: &[u8]) -> (Option<usize>, bool) {
    let Some(first) = memchr3(b'\n', b'"', b'\\', bytes) else { return (None, true) };
    let rest = bytes.get(first..).unwrap_or_default();
    (line_end(rest).map(|end| first + end), false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces of a stream that comes in chunks of `size`.
    fn pieces(stream: &[u8], size: usize, holds: bool) -> Vec<(bool, Vec<u8>)> {
        let mut out = Vec::new();
        let mut give = |piece: Piece<'_>| -> Result<(), ()> {
            out.push(match piece {
                Piece::Message(line, _) => (true, line.to_vec()),
                Piece::Through(bytes, _) => (false, bytes.to_vec()),
            });
            Ok(())
        };
        let mut splitter = Splitter::default();
        for chunk in stream.chunks(size) {
            splitter.push(chunk, &mut || holds, &mut give).unwrap();
        }
        splitter.end(&mut give).unwrap();
        out
    }

    #[test]
    fn messages_keep_their_terminators() {
        let stream = b"{\"a\":1}\r\n  [2]\n\n\r\nwords {\n{3}";
        let messages = |size| {
            let all = pieces(stream, size, true);
            all.into_iter().filter(|(message, _)| *message).map(|(_, line)| line).collect::<Vec<_>>()
        };
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(messages(size), [&b"{\"a\":1}\r\n"[..], b"  [2]\n", b"{3}"], "{size}");
        }
    }

    #[test]
    fn what_is_plain_in_a_long_message_is_known() {
        let long = "x".repeat(3 * LONG);
        let line = format!("{{\"a\":\"{long}\",\"b\":\"\\n{long}\"}}\n");
        let mut known = Vec::new();
        let mut give = |piece: Piece<'_>| -> Result<(), ()> {
            if let Piece::Message(_, plain) = piece {
                known.push(plain.to_vec());
            }
            Ok(())
        };
        let mut splitter = Splitter::default();
        for chunk in [&line, "{}\n", &line].concat().as_bytes().chunks(LONG) {
            if let Some(held) = splitter.continuation(2 * LONG) {
                let before = held.len();
                held.extend_from_slice(chunk);
                splitter.appended(before, &mut || true, &mut give).unwrap();
            } else {
                splitter.push(chunk, &mut || true, &mut give).unwrap();
            }
        }
        assert_eq!(known.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 2], "{known:?}");
        for plain in known.iter().flatten() {
            assert!(
                plain.len() >= 2 * LONG && line[plain.clone()].bytes().all(|byte| byte == b'x'),
                "{plain:?}"
            );
        }
    }

    #[test]
    fn what_is_no_message_is_not_held() {
        let mut seen = Vec::new();
        let mut give = |piece: Piece<'_>| -> Result<(), ()> {
            if let Piece::Through(bytes, _) = piece {
                seen.extend_from_slice(bytes);
            }
            Ok(())
        };
        let mut splitter = Splitter::default();
        splitter.push(b"Name: ", &mut || true, &mut give).unwrap();
        splitter.push(&[b' '; 2 * MOST_BLANKS], &mut || true, &mut give).unwrap();
        assert_eq!(splitter.held(), b"");
        assert_eq!(seen.len(), 6 + 2 * MOST_BLANKS);
    }

    #[test]
    fn a_message_behind_any_number_of_blanks_is_one() {
        for blanks in [MOST_BLANKS, MOST_BLANKS + 1, 5 * MOST_BLANKS] {
            let stream = [&vec![b' '; blanks][..], b"{\"a\":1}\n"].concat();
            for size in [100, MOST_BLANKS + 1, stream.len()] {
                let pieces = pieces(&stream, size, true);
                let (last, before) = pieces.split_last().unwrap();
                assert!(last.0 && last.1.ends_with(b"{\"a\":1}\n"), "{blanks} in chunks of {size}");
                assert!(before.iter().all(|(message, bytes)| !message && bytes.trim_ascii().is_empty()));
                assert_eq!(pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), stream.len());
            }
        }
        let mut splitter = Splitter::default();
        for _ in 0..10 {
            splitter.push(&[b'\t'; MOST_BLANKS], &mut || true, &mut |_| Ok::<(), ()>(())).unwrap();
            assert!(splitter.held().len() <= MOST_BLANKS);
        }
    }

    #[test]
    fn room_for_a_large_message_is_given_back_after_small_ones() {
        let mut splitter = Splitter::default();
        let push = |splitter: &mut Splitter, line: &[u8]| {
            for chunk in line.chunks(65_536) {
                splitter.push(chunk, &mut || true, &mut |_| Ok::<(), ()>(())).unwrap();
            }
            splitter.held.capacity()
        };
        let large = [b"{".as_slice(), &vec![b'x'; 2 * KEPT_FOR_NOW], b"}\n"].concat();
        let kept = push(&mut splitter, &large);
        assert!((KEPT + 1..=KEPT_FOR_NOW).contains(&kept), "{kept}");
        for _ in 1..PATIENCE {
            assert_eq!(push(&mut splitter, b"{}\n"), kept);
        }
        assert!(push(&mut splitter, b"{}\n") <= KEPT);
    }

    #[test]
    fn a_line_without_an_end_is_held_only_so_long() {
        let mut seen = Vec::new();
        let mut give = |piece: Piece<'_>| -> Result<(), ()> {
            seen.push(match piece {
                Piece::Message(line, _) => ("message", line.to_vec()),
                Piece::Through(bytes, _) => ("through", bytes.to_vec()),
            });
            Ok(())
        };
        let mut splitter = Splitter { most: 8, ..Splitter::default() };
        for chunk in [&b"{12345"[..], b"67", b"8", b"9}\n{1234567", b"}\n{}\n"] {
            splitter.push(chunk, &mut || true, &mut give).unwrap();
            assert!(splitter.held().len() <= 8);
        }
        let all = [("through", &b"{1234567"[..]), ("through", b"8"), ("through", b"9}\n")];
        let after = [("through", &b"{1234567"[..]), ("through", b"}\n"), ("message", b"{}\n")];
        let expected: Vec<_> =
            all.iter().chain(&after).map(|(kind, bytes)| (*kind, bytes.to_vec())).collect();
        assert_eq!(seen, expected);
    }

    proptest! {
        #[test]
        fn what_is_appended_is_as_what_is_pushed(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b' '), any::<u8>()], 0..200),
            size in 1_usize..40,
            least in 1_usize..8,
        ) {
            let mut out = Vec::new();
            let mut give = |piece: Piece<'_>| -> Result<(), ()> {
                out.push(match piece {
                    Piece::Message(line, _) => (true, line.to_vec()),
                    Piece::Through(bytes, _) => (false, bytes.to_vec()),
                });
                Ok(())
            };
            let mut splitter = Splitter::default();
            for chunk in stream.chunks(size) {
                if let Some(held) = splitter.continuation(least) {
                    let before = held.len();
                    held.extend_from_slice(chunk);
                    splitter.appended(before, &mut || true, &mut give).unwrap();
                } else {
                    splitter.push(chunk, &mut || true, &mut give).unwrap();
                }
            }
            splitter.end(&mut give).unwrap();
            let messages = |all: Vec<(bool, Vec<u8>)>| -> Vec<Vec<u8>> {
                all.into_iter().filter(|(message, _)| *message).map(|(_, line)| line).collect()
            };
            let all: Vec<u8> = out.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            prop_assert_eq!(all, stream.clone());
            prop_assert_eq!(messages(out), messages(pieces(&stream, size, true)));
        }

        #[test]
        fn nothing_is_lost_or_added(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b' '), any::<u8>()], 0..200),
            size in 1_usize..40,
            holds: bool,
        ) {
            let all: Vec<u8> = pieces(&stream, size, holds).into_iter().flat_map(|(_, bytes)| bytes).collect();
            prop_assert_eq!(all, stream);
        }
    }
}
