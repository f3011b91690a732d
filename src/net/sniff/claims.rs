//! Holds the names a flow claims (TLS server name, HTTP `Host`) against the name it was dialled for.
//!
//! Claims come from [`tls`](super::tls) and [`http`](super::http) as raw bytes; both sides are compared in the
//! one canonical form of [`HostName`]. A claim never widens what is reachable: the destination was fixed before.

use std::net::IpAddr;

use super::Expected;
use crate::policy::{DenyReason, HostName};

/// Characters of a claim that are kept for the log: a name has at most 253, the rest is room for what is not one.
const MAX_SNIFFED: usize = 300;

/// What is expected of a flow, and what it claimed.
#[derive(Debug)]
pub(super) struct Claims {
    expected: Expected,
    port: u16,
    sniffed: Option<String>,
}

impl Claims {
    pub(super) fn new(expected: Expected, port: u16) -> Self {
        Self { expected, port, sniffed: None }
    }

    /// The latest claim, printable and bounded.
    pub(super) fn sniffed(&self) -> Option<&str> {
        self.sniffed.as_deref()
    }

    /// The one name this flow goes to, as far as that is settled.
    pub(super) fn name(&self) -> Option<&HostName> {
        match &self.expected {
            Expected::Name(name) => Some(name),
            Expected::AnyOf(_) | Expected::Unnamed => None,
        }
    }

    /// A bare name, as TLS carries it.
    pub(super) fn server_name(&mut self, claim: &[u8]) -> Result<(), DenyReason> {
        self.note(claim);
        if self.fits(claim) {
            return Ok(());
        }
        let claimed = self.claimed();
        let address = std::str::from_utf8(claim).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
        Err(if address {
            DenyReason::ServerNameIsAddress { claimed }
        } else {
            DenyReason::ServerNameMismatch { expected: self.expected_text(), claimed }
        })
    }

    /// `host[:port]`, as `Host` and an absolute-form target carry it. Without a port `implied` is meant; in `Host`
    /// that is the flow's own (`None`), since clients leave out a default port and servers do not look at it.
    pub(super) fn authority(&mut self, claim: &[u8], implied: Option<u16>) -> Result<(), DenyReason> {
        self.note(claim);
        if matches!(self.expected, Expected::Unnamed) {
            return Ok(());
        }
        if claim.contains(&b'@') {
            return Err(DenyReason::MalformedHttp { what: "a user name stands in front of the host" });
        }
        let end = match claim {
            // An IPv6 literal is no name, with or without a port.
            [b'[', ..] => claim.len(),
            _ => claim.iter().position(|byte| *byte == b':').unwrap_or(claim.len()),
        };
        let (host, port) = claim.split_at(end);
        let port_fits = match port {
            [] => implied.is_none_or(|implied| implied == self.port),
            [_, digits @ ..] => digits == self.port.to_string().as_bytes(),
        };
        if port_fits && self.fits(host) {
            return Ok(());
        }
        Err(DenyReason::HostMismatch { expected: self.expected_text(), claimed: self.claimed() })
    }

    fn fits(&mut self, claim: &[u8]) -> bool {
        let name = std::str::from_utf8(claim).ok().and_then(|text| HostName::from_ascii(text).ok());
        match (&self.expected, name) {
            (Expected::Unnamed, _) => true,
            (Expected::Name(expected), Some(name)) => *expected == name,
            (Expected::AnyOf(names), Some(name)) if names.contains(&name) => {
                // From here on the flow is that name's: it cannot change its mind half-way.
                self.expected = Expected::Name(name);
                true
            }
            (Expected::Name(_) | Expected::AnyOf(_), _) => false,
        }
    }

    fn claimed(&self) -> String {
        self.sniffed.clone().unwrap_or_default()
    }

    fn expected_text(&self) -> String {
        match &self.expected {
            Expected::Name(name) => name.to_string(),
            Expected::AnyOf(names) => match names.as_slice() {
                [] => "another name".to_owned(),
                [one] => one.to_string(),
                [first, rest @ ..] => format!("{first} (or {} other names)", rest.len()),
            },
            Expected::Unnamed => "any name".to_owned(),
        }
    }

    fn note(&mut self, claim: &[u8]) {
        let text: String = claim.escape_ascii().take(MAX_SNIFFED).map(char::from).collect();
        self.sniffed = Some(text);
    }
}
