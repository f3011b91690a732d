//! Host names in one canonical form, so that two ways of writing a name never get two verdicts.
//!
//! Text comes from rules, configuration, DNS questions, TLS server names and HTTP `Host` headers; what leaves is a
//! [`HostName`]: lower case, A-labels (RFC 5890), no trailing dot. Anything that a resolver could read as an IP
//! address (`127.1`, `0x7f.0.0.1`, `2130706433`) is refused here: an address has to be written as one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::address::legacy_ipv4;
use super::fault::{Fault, Shown};

/// Octets of a name without its trailing dot (RFC 1035, section 3.1, as text).
const MAX_NAME: usize = 253;
/// Octets of one label (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
/// Octets that are looked at at all: four UTF-8 octets for each octet a canonical name may have.
const MAX_INPUT: usize = 4 * MAX_NAME;

/// The name under which a guest reaches the loopback of its host, where a rule names it exactly.
pub const HOST_NAME: &str = "host.npxc.internal";

/// A host name in canonical form: lower case, A-labels, no trailing dot, never an IP address in any notation.
///
/// [`FromStr`] and [`HostName::from_ascii`] both apply every check; the first also takes Unicode names (UTS 46,
/// non-transitional), the second is for text that came over the wire, where Unicode has no place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Parses a name that has to be ASCII: DNS question, TLS server name, HTTP `Host`.
    ///
    /// # Errors
    /// Anything that is not a host name, see [`HostNameError`].
    pub fn from_ascii(text: &str) -> Result<Self, HostNameError> {
        match text.chars().position(|character| !character.is_ascii()) {
            Some(at) => Err(HostNameError::new(text, Fault::new(at, "a name on the wire is ASCII"))),
            None => canonical_ascii(text).map_err(|fault| HostNameError::new(text, fault)),
        }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies below `parent`, at any depth; a name does not lie below itself.
    pub fn is_below(&self, parent: &HostName) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
    }

    /// Whether this is [`HOST_NAME`].
    pub fn is_host(&self) -> bool {
        &*self.0 == HOST_NAME
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        parse(text).map_err(|fault| HostNameError::new(text, fault))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.0)
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for HostName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a host name: {} (character {})", Shown(.input), .fault.what, self.column())]
pub struct HostNameError {
    input: String,
    fault: Fault,
}

impl HostNameError {
    fn new(input: &str, fault: Fault) -> Self {
        Self { input: input.chars().take(MAX_INPUT).collect(), fault }
    }

    /// The offending character, 1-based, counted in characters.
    pub fn column(&self) -> usize {
        self.fault.at + 1
    }

    /// What is wrong, without the text itself.
    pub fn what(&self) -> &str {
        &self.fault.what
    }

    /// What to write instead, where there is something.
    pub fn hint(&self) -> Option<&str> {
        self.fault.hint.as_deref()
    }
}

/// Parses a name as a user writes it. Columns are relative to `text`.
pub(super) fn parse(text: &str) -> Result<HostName, Fault> {
    if text.len() > MAX_INPUT {
        return Err(Fault::new(MAX_NAME, format!("a name has at most {MAX_NAME} characters")));
    }
    let Some(first_unicode) = text.chars().position(|character| !character.is_ascii()) else {
        return canonical_ascii(text);
    };
    for (at, character) in text.chars().enumerate() {
        if character.is_control() || character.is_whitespace() {
            return Err(Fault::new(at, "control characters and spaces cannot stand in a name"));
        }
        if character.is_ascii() && character != '.' {
            check_character(at, character)?;
        }
    }
    let mapped = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| Fault::new(first_unicode, "not a valid internationalised name (UTS 46)"))?;
    // Mapping turns look-alikes (full-width digits, dots, colons) into ASCII: the result is judged from the start.
    canonical_ascii(&mapped).map_err(|fault| Fault {
        at: first_unicode,
        what: format!("{}, once it is written in ASCII", fault.what).into(),
        hint: fault.hint.or_else(|| legacy_ipv4(&mapped).map(|address| format!("write {address}"))),
    })
}

fn canonical_ascii(text: &str) -> Result<HostName, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(Fault::new(0, "the name is empty"));
    }
    if name.len() > MAX_NAME {
        return Err(Fault::new(MAX_NAME, format!("a name has at most {MAX_NAME} characters")));
    }
    let mut start = 0;
    for label in name.split('.') {
        check_label(start, label)?;
        start += label.len() + 1;
    }
    refuse_number(name)?;
    let lower = name.to_ascii_lowercase();
    if lower.split('.').any(|label| label.starts_with("xn--")) {
        check_punycode(&lower)?;
    }
    Ok(HostName(lower.into()))
}

fn check_label(start: usize, label: &str) -> Result<(), Fault> {
    if label.is_empty() {
        return Err(Fault::new(start, "two dots stand side by side, or the name starts with one"));
    }
    for (index, character) in label.chars().enumerate() {
        check_character(start + index, character)?;
    }
    if label.len() > MAX_LABEL {
        return Err(Fault::new(
            start + MAX_LABEL,
            format!("a part of a name between dots has at most {MAX_LABEL} characters"),
        ));
    }
    if label.starts_with('-') {
        return Err(Fault::new(start, "a part of a name cannot start with `-`"));
    }
    if label.ends_with('-') {
        return Err(Fault::new(start + label.len() - 1, "a part of a name cannot end with `-`"));
    }
    Ok(())
}

/// Letters, digits, `-`, and `_` which many real names carry (RFC 2181, section 11).
fn check_character(at: usize, character: char) -> Result<(), Fault> {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => Ok(()),
        '\0' => Err(Fault::new(at, "a NUL cannot stand in a name")),
        control if control.is_control() || control == ' ' => {
            Err(Fault::new(at, "control characters and spaces cannot stand in a name"))
        }
        other => Err(Fault::new(at, format!("`{}` cannot stand in a name", other.escape_debug()))
            .hint("names have letters, digits, hyphens and dots")),
    }
}

/// Refuses a name whose last part is a number, as the URL standard does ("ends in a number"): resolvers read it
/// as an IPv4 address, in forms that hide which one.
fn refuse_number(name: &str) -> Result<(), Fault> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !hexadecimal && !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(match legacy_ipv4(name) {
        Some(address) if address.to_string() == name => {
            Fault::new(0, "this is an IPv4 address, and a name is wanted")
        }
        Some(address) => {
            Fault::new(0, "this is an IPv4 address in disguise").hint(format!("write {address}"))
        }
        None => Fault::new(name.len() - last.len(), "a name cannot end in a number")
            .hint("write an IPv4 address as four numbers from 0 to 255, such as 192.0.2.1"),
    })
}

/// An A-label has to decode, and to be the form its decoding encodes to.
fn check_punycode(lower: &str) -> Result<(), Fault> {
    let again =
        Uts46::new().to_ascii(lower.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    if again.is_ok_and(|again| again == lower) {
        return Ok(());
    }
    let at = lower.find("xn--").unwrap_or(0);
    Err(Fault::new(at, "`xn--` starts a Punycode form (RFC 5891), and this one is not valid"))
}

#[cfg(test)]
mod tests;
