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
                (Part::Indent, b' ' | b'\t') => {}
                (Part::Indent | Part::Method, byte) if is_token(byte) => self.part = Part::Method,
                (Part::Method, b' ' | b'\t') => self.part = Part::Rest,
                // No server reads on after a NUL, and binary protocols are full of them.
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
        line.windows(6).any(|window| window[0] <= b' ' && window[1..].eq_ignore_ascii_case(b"http/"));
    if versioned {
        return Line::Http;
    }
    let target = line.split(|byte| *byte <= b' ').filter(|word| !word.is_empty()).nth(1).unwrap_or_default();
    let absolute =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    if absolute(b"http://") || absolute(b"https://") {
        return Line::Malformed("an absolute target in a request line without a version");
    }
    Line::Other
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
