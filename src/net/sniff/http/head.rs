//! Parses one request head and says which names it claims and where its body ends.
//!
//! `httparse` does the tokens; around it stands what a security boundary needs on top: nothing is accepted that
//! two servers could read in two ways (RFC 9112, sections 3.2, 5 and 6.3). Honest clients are not strict's victims:
//! they write CRLF, one `Host`, one length.

use super::super::claims::Claims;
use crate::policy::DenyReason;

/// Header lines of one request; node's own server accepts more only when it is told to, and each costs 32 bytes
/// of stack here.
const MAX_HEADERS: usize = 256;

/// What matters of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body: Framing,
    /// It has an `Upgrade` field: a `101` from the server ends HTTP here.
    pub(super) upgrade: bool,
    /// It has an `Expect` field: the client may leave the body out when the server declines.
    pub(super) expect: bool,
    /// `HEAD`: the response has no body, whatever its fields say.
    pub(super) bodyless_response: bool,
}

/// How long a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// Judges one whole head (from its first byte through the empty line).
pub(super) fn judge(bytes: &[u8], claims: &mut Claims) -> Result<Head, DenyReason> {
    if bytes
        .iter()
        .zip(std::iter::once(&0).chain(bytes))
        .any(|(byte, before)| *byte == b'\n' && *before != b'\r')
    {
        return malformed("a line ends in a bare LF");
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return malformed("the request head ends in an odd place"),
        Err(error) => return malformed(words(error)),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return malformed("the request line is incomplete");
    };
    if method.eq_ignore_ascii_case("CONNECT") {
        return malformed("CONNECT asks for a tunnel to somewhere else, and there is none");
    }
    judge_target(method, target.as_bytes(), claims)?;
    let fields = Fields::collect(request.headers)?;
    match fields.host {
        Some(host) => claims.authority(host, None)?,
        None if version == 0 => {}
        None => return malformed("an HTTP/1.1 request without a Host"),
    }
    Ok(Head {
        body: fields.framing(version)?,
        upgrade: fields.upgrade,
        expect: fields.expect,
        bodyless_response: method == "HEAD",
    })
}

/// Origin form passes, absolute form is a claim of its own, anything else is refused.
fn judge_target(method: &str, target: &[u8], claims: &mut Claims) -> Result<(), DenyReason> {
    if target.starts_with(b"/") || (target == b"*" && method == "OPTIONS") {
        return Ok(());
    }
    for (scheme, port) in [(&b"http://"[..], 80), (b"https://", 443)] {
        let Some((head, rest)) = target.split_at_checked(scheme.len()) else {
            continue;
        };
        if head.eq_ignore_ascii_case(scheme) {
            let end =
                rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
            return claims.authority(&rest[..end], Some(port));
        }
    }
    malformed("the target is neither a path nor an http URL")
}

/// The fields that decide where a request goes and where it ends.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    upgrade: bool,
    expect: bool,
}

impl<'a> Fields<'a> {
    fn collect(headers: &[httparse::Header<'a>]) -> Result<Self, DenyReason> {
        let mut fields = Self::default();
        for header in headers {
            let slot = match () {
                () if header.name.eq_ignore_ascii_case("host") => &mut fields.host,
                () if header.name.eq_ignore_ascii_case("content-length") => &mut fields.length,
                () if header.name.eq_ignore_ascii_case("transfer-encoding") => &mut fields.encoding,
                () => {
                    fields.upgrade |= header.name.eq_ignore_ascii_case("upgrade");
                    fields.expect |= header.name.eq_ignore_ascii_case("expect");
                    continue;
                }
            };
            if slot.replace(header.value).is_some() {
                return malformed("a Host, Content-Length or Transfer-Encoding stands twice");
            }
        }
        Ok(fields)
    }

    fn framing(&self, version: u8) -> Result<Framing, DenyReason> {
        match (self.encoding, self.length) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(_), Some(_)) => malformed("both Transfer-Encoding and Content-Length"),
            (Some(_), None) if version == 0 => malformed("Transfer-Encoding in HTTP/1.0"),
            (Some(encoding), None) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(_), None) => malformed("a Transfer-Encoding other than chunked"),
            (None, Some(length)) => decimal(length)
                .map(Framing::Length)
                .ok_or(DenyReason::MalformedHttp { what: "a Content-Length that is not a plain number" }),
        }
    }
}

/// Digits only, no leading zero (some read it as octal), and within 64 bits.
fn decimal(text: &[u8]) -> Option<u64> {
    let plain = match text {
        [] | [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn malformed<T>(what: &'static str) -> Result<T, DenyReason> {
    Err(DenyReason::MalformedHttp { what })
}

fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => {
            "a header name has a character that cannot stand there, or a line is folded"
        }
        httparse::Error::HeaderValue => "a header value has a control character",
        httparse::Error::NewLine => "a line ends in a bare CR",
        httparse::Error::Status | httparse::Error::Token => "the request line is malformed",
        httparse::Error::TooManyHeaders => "too many header lines",
        httparse::Error::Version => "the HTTP version is neither 1.0 nor 1.1",
    }
}
