//! One rule: a protocol, a host and ports. Its text form is parsed in [`super::grammar`]; [`Rule`]'s `Display` is
//! the canonical form, which parses back to an equal rule.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::address::{AddressClass, classify};
use super::fault::{Fault, Shown};
use super::grammar;
use super::host::{HOST_NAME, HostName};
use super::protocol::{Ports, Protocol};
use super::verdict::Destination;

/// `[tcp://|udp://] HOST [:PORT | :PORT-PORT]`, as given to `--allow`, `--allow-private` and `--deny`.
///
/// | HOST | what it names |
/// |---|---|
/// | `api.example.com` | that name |
/// | `*.example.com` | every name below it, at any depth, and not `example.com` itself |
/// | `192.0.2.1`, `[2001:db8::1]` | that address |
/// | `192.0.2.0/24`, `[2001:db8::/32]` | the addresses of that network |
/// | `@npm` | the rules of that preset; a protocol or ports narrow them |
///
/// Without a port: any port. Without a scheme: TCP for an allow rule, both protocols for a deny rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    pub(super) protocol: Option<Protocol>,
    pub(super) host: HostPattern,
    pub(super) ports: Ports,
}

/// The host part of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One name.
    Name(HostName),
    /// All names below this one, at any depth, without the name itself.
    Below(HostName),
    /// One address (a full-length prefix) or a network; never IPv4-mapped, no host bits set.
    Net(IpNet),
    /// The rules of a preset, by its name without the `@`.
    Preset(String),
}

impl Rule {
    /// The rule for exactly this destination, protocol and port; `None` for port 0, which no rule can name.
    ///
    /// For rooms that make rules themselves (presets, hints); users' text goes through [`FromStr`].
    pub fn exact(protocol: Protocol, destination: &Destination, port: u16) -> Option<Self> {
        let host = match destination {
            Destination::Name(name) => HostPattern::Name(name.clone()),
            Destination::Address(address) => HostPattern::Net(IpNet::from(address.to_canonical())),
        };
        Some(Self { protocol: Self::shorthand(protocol), host, ports: Ports::one(port)? })
    }

    /// The rule `@name`.
    pub(super) fn preset(name: &str) -> Self {
        Self { protocol: None, host: HostPattern::Preset(name.to_owned()), ports: Ports::ANY }
    }

    /// The rule for a name on any port.
    pub(super) fn any_port(name: &HostName) -> Self {
        Self { protocol: None, host: HostPattern::Name(name.clone()), ports: Ports::ANY }
    }

    /// What to write instead of a rule for loopback addresses and nothing else: inside the sandbox those are its own, and
    /// this machine's loopback has a name. `None` for every other rule.
    pub fn instead_of_loopback(&self) -> Option<Self> {
        let HostPattern::Net(net) = &self.host else { return None };
        let is_loopback = |address| matches!(classify(address), Some(AddressClass::Loopback));
        let own = is_loopback(net.network()) && is_loopback(net.broadcast());
        let name = HostName::from_str(HOST_NAME).ok().filter(|_| own)?;
        Some(Self { host: HostPattern::Name(name), ..self.clone() })
    }

    /// Parses a comma-separated list; spaces around the commas are allowed, empty items are not.
    ///
    /// # Errors
    /// The first item that is not a rule. The column counts from the start of the whole list.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RuleError> {
        let mut rules = Vec::new();
        let mut offset = 0;
        for item in text.split(',') {
            let trimmed = item.trim_start_matches(' ');
            let start = offset + (item.len() - trimmed.len());
            let trimmed = trimmed.trim_end_matches(' ');
            rules.push(grammar::parse(trimmed).map_err(|fault| RuleError::new(text, fault.shifted(start)))?);
            offset += item.chars().count() + 1;
        }
        Ok(rules)
    }

    /// The host part.
    pub fn host(&self) -> &HostPattern {
        &self.host
    }

    /// The ports; [`Ports::ANY`] where the rule names none.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The protocol the rule was written with, if it was.
    pub fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// What an allow rule grants to its hosts.
    pub(super) fn grant(&self) -> (Protocol, Ports) {
        (self.protocol.unwrap_or(Protocol::Tcp), self.ports)
    }

    /// Whether an allow rule is for `protocol`: TCP unless it says `udp://`.
    pub(super) fn grants(&self, protocol: Protocol) -> bool {
        self.protocol.unwrap_or(Protocol::Tcp) == protocol
    }

    /// Whether a deny rule is for `protocol`: both, unless it says which.
    pub(super) fn forbids(&self, protocol: Protocol) -> bool {
        self.protocol.is_none_or(|own| own == protocol)
    }

    fn shorthand(protocol: Protocol) -> Option<Protocol> {
        match protocol {
            Protocol::Tcp => None,
            Protocol::Udp => Some(Protocol::Udp),
        }
    }
}

impl HostPattern {
    /// Whether the pattern names `name`, as far as text goes.
    pub fn matches_name(&self, name: &HostName) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Below(parent) => name.is_below(parent),
            Self::Net(_) | Self::Preset(_) => false,
        }
    }

    /// Whether the pattern is a network that holds `address`, which is to be canonical (not IPv4-mapped).
    pub fn matches_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(&address),
            Self::Name(_) | Self::Below(_) | Self::Preset(_) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Preset(name) => write!(f, "@{name}"),
            Self::Net(net) => {
                let single = net.prefix_len() == net.max_prefix_len();
                match net {
                    IpNet::V4(net) if single => write!(f, "{}", net.addr()),
                    IpNet::V4(net) => write!(f, "{net}"),
                    IpNet::V6(net) if single => write!(f, "[{}]", net.addr()),
                    IpNet::V6(net) => write!(f, "[{net}]"),
                }
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{protocol}://")?;
        }
        write!(f, "{}", self.host)?;
        if self.ports == Ports::ANY { Ok(()) } else { write!(f, ":{}", self.ports) }
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        grammar::parse(text).map_err(|fault| RuleError::new(text, fault))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|error: RuleError| match error.hint() {
            Some(hint) => de::Error::custom(format!("{error}; {hint}")),
            None => de::Error::custom(error),
        })
    }
}

/// Why a text is not a rule, and at which character.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule `{}`: {} (character {})", Shown(.input), .fault.what, self.column())]
pub struct RuleError {
    input: String,
    fault: Fault,
}

impl RuleError {
    fn new(input: &str, fault: Fault) -> Self {
        // A list may be long; what is kept of it reaches past the character the complaint is about.
        let kept = grammar::MAX_RULE + fault.at;
        Self { input: input.chars().take(kept).collect(), fault }
    }

    /// The text that was refused.
    pub fn input(&self) -> &str {
        &self.input
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

    /// Two lines for a terminal: the text, safe to print, and a caret under the offending character.
    pub fn pointer(&self) -> String {
        let mut line = String::new();
        let mut caret = None;
        for (index, character) in self.input.chars().enumerate() {
            if index == self.fault.at {
                caret = Some(line.chars().count());
            }
            line.push_str(&Shown(character.encode_utf8(&mut [0; 4])).to_string());
        }
        let caret = caret.unwrap_or_else(|| line.chars().count());
        format!("{line}\n{:caret$}^", "")
    }
}

#[cfg(test)]
mod tests;
