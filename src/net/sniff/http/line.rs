//! Decides from the first line whether a flow is HTTP/1, as early as it can, so that other protocols do not stall.
//!
//! It errs on the side of HTTP: a line that a lenient server could read as a request is HTTP here, and then has to
//! pass the strict parser. What is not: a line without a version (Redis inline commands, SMTP, HTTP/0.9, whose
//! answer ends the connection), and the HTTP/2 preface, `PRI * HTTP/2.0`. Those pass: the destination is fixed
//! anyway.

use super::MAX_HEAD;

/// The verdict on a first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net::sniff) enum Line {
    NeedMore,
    /// So many bytes of empty lines; servers skip them, and for gopher and finger they are the whole request.
    Empty(usize),
    Http,
    Other,
    Malformed(&'static str),
}

/// Looks at the first line of a flow. Keeps how far it has looked, so that a line that comes byte by byte is
/// looked at once.
#[derive(Debug, Default)]
pub(in crate::net::sniff) struct LineReader {
    scanned: usize,
    part: Part,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Indent,
    Method,
    Rest,
}

impl LineReader {
    /// `bytes` starts at the flow's first byte that was not passed yet and only grows from call to call.
    pub(in crate::net::sniff) fn read(&mut self, bytes: &[u8]) -> Line {
        if self.scanned == 0 {
            let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if empty > 0 {
                return Line::Empty(empty);
            }
        }
        while let Some(&byte) = bytes.get(self.scanned) {
            self.scanned += 1;
            match (self.part, byte) {
                (Part::Indent, byte) if is_space(byte) => {}
                (Part::Indent | Part::Method, byte) if is_token(byte) => self.part = Part::Method,
                (Part::Method, byte) if is_space(byte) => self.part = Part::Rest,
                // Binary protocols are full of NULs, but some servers read a request line with one.
                (Part::Rest, 0) if looks_like_request(&bytes[..self.scanned]) => {
                    return Line::Malformed("a NUL in the request line");
                }
                (Part::Indent | Part::Method, _) | (Part::Rest, 0) => return Line::Other,
                (Part::Rest, b'\n') => return judge(&bytes[..self.scanned]),
                (Part::Rest, _) => {}
            }
            if self.scanned >= MAX_HEAD {
                return Line::Malformed("the first line is too long");
            }
        }
        Line::NeedMore
    }
}

/// A whole line that starts with a token and a space.
fn judge(line: &[u8]) -> Line {
    if line == b"PRI * HTTP/2.0\r\n" {
        return Line::Other;
    }
    let versioned =
        line.windows(6).any(|window| is_space(window[0]) && window[1..].eq_ignore_ascii_case(b"http/"));
    if versioned {
        return Line::Http;
    }
    let target = words(line).nth(1).unwrap_or_default();
    if starts(target, b"http://") || starts(target, b"https://") {
        return Line::Malformed("an absolute target in a request line without a version");
    }
    Line::Other
}

/// Whether a line that is not complete begins like a request: a word of letters, then a path or an absolute target.
fn looks_like_request(line: &[u8]) -> bool {
    let mut words = words(line);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    (3..=16).contains(&method.len())
        && method.iter().all(u8::is_ascii_alphabetic)
        && (target.starts_with(b"/") || target.starts_with(b"*") || starts(target, b"http"))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| is_space(*byte) || *byte < b' ').filter(|word| !word.is_empty())
}

fn starts(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// What some server takes for a space between the words of a request line: RFC 9112 (section 3) warns of the first
/// five, and Python's and others' string functions know the rest (in Latin-1).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r' | 0x1c..=0x1f | 0x85 | 0xa0)
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
