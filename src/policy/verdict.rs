//! What is asked of the policy and what it hands back.
//!
//! Forwarding takes a [`Dialable`]; only [`Permit::admit`] makes one, and only
//! [`Policy::decide`](super::Policy::decide) makes a [`Permit`]. So the address that was checked is the address that
//! is dialled, whatever DNS says in between. Where a proxy dials, it is asked for a [`Tunnel`], which comes from a permit
//! as well.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::address::{AddressClass, classify};
use super::host::HostName;
use super::protocol::Protocol;
use super::reason::DenyReason;
use super::ruleset::RuleSet;

/// Where a flow goes: a name npxc handed a pin out for, or an address it never handed out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A name.
    Name(HostName),
    /// A bare address.
    Address(IpAddr),
}

impl Destination {
    /// The same destination with an IPv4-mapped address (`::ffff:192.0.2.1`) as the IPv4 address it is.
    pub fn canonical(&self) -> Self {
        match self {
            Self::Name(name) => Self::Name(name.clone()),
            Self::Address(address) => Self::Address(address.to_canonical()),
        }
    }
}

impl From<HostName> for Destination {
    fn from(name: HostName) -> Self {
        Self::Name(name)
    }
}

impl From<IpAddr> for Destination {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

/// A name or an address; IPv6 in brackets, so that a port can follow.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// One flow, as far as the policy is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// TCP or UDP; every other protocol is denied before the policy is asked.
    pub protocol: Protocol,
    /// Where to.
    pub destination: Destination,
    /// The destination port.
    pub port: u16,
}

impl Request {
    /// A request; `destination` may be a [`HostName`] or an [`IpAddr`].
    pub fn new(protocol: Protocol, destination: impl Into<Destination>, port: u16) -> Self {
        Self { protocol, destination: destination.into(), port }
    }
}

/// What the policy says about a request.
#[derive(Debug, Clone)]
#[must_use]
pub enum Verdict {
    /// It may go on, to the addresses the permit admits.
    Allow(Permit),
    /// It may not, and why.
    Deny(DenyReason),
}

impl Verdict {
    /// The permit, or the reason for which there is none.
    pub fn permit(self) -> Result<Permit, DenyReason> {
        match self {
            Self::Allow(permit) => Ok(permit),
            Self::Deny(reason) => Err(reason),
        }
    }
}

/// Leave to reach one destination, minted by the policy only. It does not yet say at which address: each address
/// the destination resolves to passes [`Permit::admit`].
#[derive(Clone)]
pub struct Permit {
    pub(super) rules: Arc<RuleSet>,
    pub(super) destination: Destination,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) rule: Arc<str>,
    /// The rule was given with `--allow-private`.
    pub(super) private: bool,
    /// A rule names the destination; not the mode alone allowed it.
    pub(super) named: bool,
    pub(super) observed: Option<Box<DenyReason>>,
}

impl Permit {
    /// Where the flow goes.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// TCP or UDP.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The destination port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The rule that allowed it, as it was given; `open` or `observe` where the mode did.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// In observe mode: why the flow would have been denied.
    pub fn observed(&self) -> Option<&DenyReason> {
        self.observed.as_deref()
    }

    /// Judges one address that the destination resolved to: deny rules by address, then the private floor.
    ///
    /// # Errors
    /// The reason this address is not dialled. Others that the name resolved to may still be admitted.
    pub fn admit(&self, address: IpAddr) -> Result<Dialable, DenyReason> {
        let address = address.to_canonical();
        if let Some(rule) = self.rules.denying_address(address, self.protocol, self.port) {
            return Err(DenyReason::DeniedByRule { destination: Destination::Address(address), rule });
        }
        match &self.destination {
            // The guest chose it and a rule covers it: this address and no other. `decide` held it to the floor.
            Destination::Address(own) if *own == address => {}
            Destination::Address(_) => {
                return Err(DenyReason::UnknownAddress {
                    address,
                    protocol: self.protocol,
                    port: self.port,
                    preset: None,
                });
            }
            Destination::Name(name) => self.admit_for_name(name, address)?,
        }
        Ok(Dialable { address: SocketAddr::new(address, self.port), protocol: self.protocol })
    }

    /// Leave to have a proxy reach the destination by its name, which the proxy resolves. `known` is what this machine knows
    /// of its addresses: each of them has to pass, since nobody here chooses which of its own the proxy takes. A name that
    /// is unknown here is left to the proxy only where a rule names it: then somebody vouched for it.
    ///
    /// # Errors
    /// The reason why the proxy is not asked.
    pub fn by_name(&self, known: &[IpAddr]) -> Result<Tunnel, DenyReason> {
        let name = match &self.destination {
            Destination::Address(address) => return self.admit(*address).map(Tunnel::from),
            Destination::Name(name) => name,
        };
        // The host's own loopback is no business of a proxy's, and one that nobody vouched for has to be known here.
        if name.is_host() || known.is_empty() && !self.named {
            let (name, protocol, port) = (name.clone(), self.protocol, self.port);
            return Err(DenyReason::UnknownBehindProxy { name, protocol, port });
        }
        for address in known {
            self.admit(*address)?;
        }
        Ok(Tunnel { destination: self.destination.clone(), port: self.port, judged: !known.is_empty() })
    }

    fn admit_for_name(&self, name: &HostName, address: IpAddr) -> Result<(), DenyReason> {
        let class = classify(address);
        if name.is_host() {
            let loopback = class == Some(AddressClass::Loopback);
            return loopback.then_some(()).ok_or(DenyReason::NotLoopback { address });
        }
        let Some(class) = class else {
            return Ok(());
        };
        if self.private || self.rules.lifts_floor(address, self.protocol, self.port) {
            return Ok(());
        }
        Err(DenyReason::PrivateAddress {
            name: Some(name.clone()),
            address,
            class,
            protocol: self.protocol,
            port: self.port,
        })
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({}://{}:{} by `{}`)", self.protocol, self.destination, self.port, self.rule)
    }
}

/// What a proxy may be asked to connect to; minted by [`Permit::by_name`], and from a [`Dialable`], only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tunnel {
    destination: Destination,
    port: u16,
    judged: bool,
}

impl Tunnel {
    /// The name, or the address that was checked.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether addresses were held to the floor: the one that the proxy is sent, or those that this machine knows.
    pub fn is_judged(&self) -> bool {
        self.judged
    }
}

impl From<Dialable> for Tunnel {
    fn from(dialable: Dialable) -> Self {
        let address = dialable.socket_addr();
        Self { destination: Destination::Address(address.ip()), port: address.port(), judged: true }
    }
}

/// An address that was checked and may be dialled; minted by [`Permit::admit`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialable {
    address: SocketAddr,
    protocol: Protocol,
}

impl Dialable {
    /// The address and port to dial.
    pub fn socket_addr(&self) -> SocketAddr {
        self.address
    }

    /// TCP or UDP.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}
