//! Walks over a request body without looking at it: by its length, or from chunk to chunk (RFC 9112, section 7.1).
//!
//! Data is counted, never scanned or copied. Size lines and trailers are held until they are whole and must be what
//! the grammar says: where one server ends a chunk and another does not, a request can be hidden.

use super::head::Framing;

/// Bytes of a chunk-size line with its extensions, and of one trailer line. Nobody sends extensions; trailers are
/// short digests.
const MAX_LINE: usize = 4096;
/// Bytes of all trailer lines.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where in a body the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes, then the next request.
    Length(u64),
    /// A chunk-size line comes next.
    Size,
    /// So many bytes, then CRLF and the next chunk-size line.
    Data(u64),
    /// Trailer lines come next; so many bytes of them have gone.
    Trailers(usize),
}

/// One step over a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// So many bytes belong to the body (0: more has to be seen first).
    Pass(usize),
    /// So many bytes, and they were the last of the body.
    End(usize),
    Malformed(&'static str),
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size,
        }
    }

    /// Takes one step; `bytes` starts at the first byte that was not passed yet.
    pub(super) fn walk(&mut self, bytes: &[u8]) -> Walk {
        match *self {
            Self::Length(left) => {
                let step = within(left, bytes);
                let left = left - step as u64;
                *self = Self::Length(left);
                if left == 0 { Walk::End(step) } else { Walk::Pass(step) }
            }
            Self::Data(0) => match bytes {
                [] | [b'\r'] => Walk::Pass(0),
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Walk::Pass(2)
                }
                _ => Walk::Malformed("a chunk does not end where its size says"),
            },
            Self::Data(left) => {
                let step = within(left, bytes);
                *self = Self::Data(left - step as u64);
                Walk::Pass(step)
            }
            Self::Size => match line(bytes) {
                Err(why) => Walk::Malformed(why),
                Ok(None) => Walk::Pass(0),
                Ok(Some(line)) => match chunk_size(line) {
                    None => Walk::Malformed("a chunk size is malformed"),
                    Some(size) => {
                        *self = if size == 0 { Self::Trailers(0) } else { Self::Data(size) };
                        Walk::Pass(line.len() + 2)
                    }
                },
            },
            Self::Trailers(seen) => match line(bytes) {
                Err(why) => Walk::Malformed(why),
                Ok(None) => Walk::Pass(0),
                Ok(Some([])) => Walk::End(2),
                Ok(Some(line)) if !is_trailer(line) => {
                    Walk::Malformed("a trailer that cannot stand after a body")
                }
                Ok(Some(line)) => {
                    let seen = seen + line.len() + 2;
                    if seen > MAX_TRAILERS {
                        return Walk::Malformed("the trailers are too long");
                    }
                    *self = Self::Trailers(seen);
                    Walk::Pass(line.len() + 2)
                }
            },
        }
    }
}

fn within(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

/// The line in front, without its CRLF; no control characters, no bare CR or LF.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    match window.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t') {
        None if window.len() == MAX_LINE => Err("a line in a chunked body is too long"),
        None => Ok(None),
        Some(end) => match window[end..] {
            [b'\r', b'\n', ..] => Ok(Some(&window[..end])),
            [b'\r'] if window.len() < MAX_LINE => Ok(None),
            _ => Err("a line in a chunked body does not end in CRLF"),
        },
    }
}

/// `1*HEXDIG [ ";" extensions ]`, within 60 bits so that no server's integer wraps.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let digits = std::str::from_utf8(&line[..end]).ok()?;
    let plain = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// A field that is no framing, routing or folded line (RFC 9110, section 6.5.1).
fn is_trailer(line: &[u8]) -> bool {
    let Some(end) = line.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let name = &line[..end];
    let forbidden: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
    !name.is_empty()
        && name.iter().all(u8::is_ascii_graphic)
        && !forbidden.iter().any(|known| name.eq_ignore_ascii_case(known))
}
