//! What a value looks like. URLs, globs, patterns, code and prose are no paths.

use std::fmt;

/// Longest path: what Linux takes (`PATH_MAX`).
const MOST_BYTES: usize = 4096;

/// Whether a string may hold a path as far as its length goes; each byte of one may be written as an escape.
pub fn is_short(raw: &[u8]) -> bool {
    raw.len() <= 6 * MOST_BYTES
}

/// A path as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The path, percent-decoded where it was an URI.
    pub path: String,
    /// Whether it was a `file://` URI.
    pub uri: bool,
}

/// Why a value is no path of the client's machine, whatever its argument is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPath {
    /// Nothing is written there.
    Empty,
    /// Longer than the system takes, or of several lines.
    Text,
    /// Another kind of URI.
    Url,
    /// Wildcards, pipes, redirections.
    Pattern,
    /// An option, JSON, a regular expression.
    Code,
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Text => "it is too long for a path, or has more than one line",
            Self::Url => "it is a URL, or a file:// URI that names no local file",
            Self::Pattern => "it is a pattern: it has one of * | < >",
            Self::Code => "it begins as options, JSON and regular expressions do",
        })
    }
}

/// The path that `value` is, if it can be one.
pub fn read(value: &str) -> Option<Written> {
    judge(value).ok()
}

/// The path that `value` is, or why it cannot be one.
///
/// # Errors
/// [`NoPath`].
pub fn judge(value: &str) -> Result<Written, NoPath> {
    if value.is_empty() {
        return Err(NoPath::Empty);
    }
    if value.len() > MOST_BYTES || value.chars().any(char::is_control) {
        return Err(NoPath::Text);
    }
    if let Some(rest) = value.strip_prefix("file://") {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        let local = path.starts_with('/') && !path.contains(['?', '#']);
        let path = local.then(|| percent_decode(path)).flatten().ok_or(NoPath::Url)?;
        return Ok(Written { path, uri: true });
    }
    if has_scheme(value) {
        return Err(NoPath::Url);
    }
    if value.contains(['*', '|', '<', '>']) {
        return Err(NoPath::Pattern);
    }
    if value.starts_with(['-', '{', '[', '(', '^']) {
        return Err(NoPath::Code);
    }
    Ok(Written { path: value.to_owned(), uri: false })
}

/// Whether the value is taken for a path whatever its argument is called.
pub fn speaks_for_itself(value: &str) -> bool {
    let absolute = value.strip_prefix('/').is_some_and(|rest| {
        // Two parts at least: "/help" is a command. No sentence, no comment.
        !rest.starts_with(['/', ' ', '^']) && rest.split('/').filter(|part| !part.is_empty()).count() > 1
    });
    let local = absolute || value.starts_with("~/") || value.starts_with("./") || value.starts_with("../");
    // Routes with parameters or a query. Braces, backslashes and dollars are in names of files, too; nobody is refused for
    // what only looks like a path and is not there.
    let query = value.split_once('?').is_some_and(|(_, query)| query.contains('='));
    let route = query || value.contains("/:");
    (local && !route) || value.starts_with("file:///") || value.starts_with("file://localhost/")
}

/// `scheme:` as RFC 3986 (section 3.1) has it, of two letters at least.
fn has_scheme(value: &str) -> bool {
    let Some((scheme, _)) = value.split_once(':') else { return false };
    scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !scheme.contains('.')
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// A path as it stands in an URI, as node's `pathToFileURL` writes it.
pub fn percent_encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let hex = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
            out.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    out
}
