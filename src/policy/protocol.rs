//! Transport protocols and ports as rules and requests name them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A transport that can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, which a rule without a scheme means.
    Tcp,
    /// UDP, only where a rule says `udp://`.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Ports from `first` to `last`, both included; `first <= last`, and never port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Every port there is: what a rule without a port means.
    pub const ANY: Self = Self { first: 1, last: u16::MAX };

    /// One port; `None` for port 0.
    pub fn one(port: u16) -> Option<Self> {
        Self::range(port, port)
    }

    /// A range; `None` if it is reversed or holds port 0.
    pub fn range(first: u16, last: u16) -> Option<Self> {
        (first != 0 && first <= last).then_some(Self { first, last })
    }

    /// Whether `port` is in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether every port of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The ports that are in both.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::range(self.first.max(other.first), self.last.min(other.last))
    }
}

/// `443`, `8000-8010`, or `any` port.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            _ if *self == Self::ANY => f.write_str("any"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}
