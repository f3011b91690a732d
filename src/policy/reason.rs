//! Why something was denied: a value that knows its code (for programs), its sentence (for people) and the options
//! that would have let it through.
//!
//! The policy makes the first group; rooms that look at packets, DNS, TLS and HTTP make the others, so that every
//! denial in the audit log has one vocabulary. Values that a guest chose are escaped and cut when they are shown.

mod sentence;

use std::net::IpAddr;

use super::address::AddressClass;
use super::host::HostName;
use super::protocol::Protocol;
use super::rule::Rule;
use super::verdict::Destination;

/// Why a flow, a question or a packet was denied.
///
/// A `preset` is the preset whose rules cover the destination, where one does: the hint names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyReason {
    /// The session has no network (`--network none`).
    NetworkOff {
        /// Where the flow was to go.
        destination: Destination,
        /// TCP or UDP.
        protocol: Protocol,
        /// The destination port.
        port: u16,
        /// The preset that covers it.
        preset: Option<String>,
        /// A rule names it, but the mode is `none` all the same.
        named: bool,
    },
    /// No rule names the destination. UDP needs a `udp://` rule, so QUIC ends here.
    NotAllowed {
        /// Where the flow was to go.
        destination: Destination,
        /// TCP or UDP.
        protocol: Protocol,
        /// The destination port.
        port: u16,
        /// The preset that covers it.
        preset: Option<String>,
    },
    /// A rule names the host, for other ports.
    WrongPort {
        /// Where the flow was to go.
        destination: Destination,
        /// TCP or UDP.
        protocol: Protocol,
        /// The destination port.
        port: u16,
        /// The first rule that names the host.
        rule: String,
    },
    /// No rule names a host that was asked for in DNS.
    NameNotAllowed {
        /// The name asked for.
        name: HostName,
        /// The preset that covers it.
        preset: Option<String>,
    },
    /// An address that npxc never handed out and no rule covers.
    UnknownAddress {
        /// The address.
        address: IpAddr,
        /// TCP or UDP.
        protocol: Protocol,
        /// The destination port.
        port: u16,
        /// The preset that covers it.
        preset: Option<String>,
    },
    /// A deny rule covers it; there is no hint, since somebody meant it.
    DeniedByRule {
        /// Where the flow was to go, or the address it would have gone to.
        destination: Destination,
        /// The deny rule.
        rule: String,
    },
    /// The address lies below the private floor.
    PrivateAddress {
        /// The name that resolved to it; none where the guest chose the address.
        name: Option<HostName>,
        /// The address.
        address: IpAddr,
        /// What the address is.
        class: AddressClass,
        /// TCP or UDP.
        protocol: Protocol,
        /// The destination port.
        port: u16,
    },
    /// A name that is unknown here, that a proxy would resolve, and that only the mode allows.
    UnknownBehindProxy {
        /// The name.
        name: HostName,
        /// TCP or UDP.
        protocol: Protocol,
        /// The destination port.
        port: u16,
    },
    /// UDP, where connections go through a proxy.
    NotProxied {
        /// Where the flow was to go.
        destination: Destination,
    },
    /// The host's own name stood for something that is not its loopback.
    NotLoopback {
        /// The address.
        address: IpAddr,
    },
    /// The name could not be resolved, or has no address.
    ResolutionFailed {
        /// The name.
        name: HostName,
        /// What the resolver said.
        why: String,
    },

    /// A message to the resolver that is no question it answers.
    MalformedDns {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The name asked for is no host name.
    MalformedName {
        /// What is wrong with it.
        what: String,
        /// What could have been meant.
        hint: Option<String>,
    },
    /// A reverse question about an address that npxc never handed out.
    NotHandedOut {
        /// The address.
        address: IpAddr,
    },

    /// The TLS server name is not the name the flow's address stands for.
    ServerNameMismatch {
        /// The pinned name or names.
        expected: String,
        /// What the guest sent.
        claimed: String,
    },
    /// The TLS server name is an IP address, which RFC 6066, section 3 does not allow.
    ServerNameIsAddress {
        /// What the guest sent.
        claimed: String,
    },
    /// The HTTP host is not the name the flow's address stands for.
    HostMismatch {
        /// The pinned name or names.
        expected: String,
        /// What the guest sent.
        claimed: String,
    },
    /// It started as TLS and is not.
    MalformedTls {
        /// What is wrong with it.
        what: &'static str,
    },
    /// It started as HTTP and is not, or says two things at once.
    MalformedHttp {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The first bytes gave no verdict within the bound.
    SniffTooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The first bytes did not come in time.
    SniffTimeout,

    /// ICMP other than an echo to the gateway.
    IcmpNotAllowed,
    /// An IP protocol other than TCP, UDP and ICMP.
    ProtocolNotAllowed {
        /// The protocol number (IANA).
        number: u8,
    },
    /// Multicast and broadcast stay inside.
    MulticastNotAllowed {
        /// The group or broadcast address.
        address: IpAddr,
    },

    /// The audit log cannot be written, so nothing is allowed.
    AuditUnavailable,
    /// More flows at once than a session may have.
    TooManyFlows {
        /// The bound.
        limit: usize,
    },
    /// More names than a session may ask for.
    TooManyNames {
        /// The bound.
        limit: usize,
    },
    /// More of something in a span of time than is allowed.
    RateLimited {
        /// Of what.
        what: &'static str,
    },
}

impl DenyReason {
    /// A stable identifier for programs, in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NetworkOff { .. } => "network-off",
            Self::NotAllowed { .. } => "not-allowed",
            Self::WrongPort { .. } => "wrong-port",
            Self::NameNotAllowed { .. } => "name-not-allowed",
            Self::UnknownAddress { .. } => "unknown-address",
            Self::DeniedByRule { .. } => "denied-by-rule",
            Self::PrivateAddress { .. } => "private-address",
            Self::UnknownBehindProxy { .. } => "unknown-behind-proxy",
            Self::NotProxied { .. } => "not-proxied",
            Self::NotLoopback { .. } => "not-loopback",
            Self::ResolutionFailed { .. } => "resolution-failed",
            Self::MalformedDns { .. } => "malformed-dns",
            Self::MalformedName { .. } => "malformed-name",
            Self::NotHandedOut { .. } => "not-handed-out",
            Self::ServerNameMismatch { .. } => "server-name-mismatch",
            Self::ServerNameIsAddress { .. } => "server-name-is-address",
            Self::HostMismatch { .. } => "host-mismatch",
            Self::MalformedTls { .. } => "malformed-tls",
            Self::MalformedHttp { .. } => "malformed-http",
            Self::SniffTooLarge { .. } => "sniff-too-large",
            Self::SniffTimeout => "sniff-timeout",
            Self::IcmpNotAllowed => "icmp-not-allowed",
            Self::ProtocolNotAllowed { .. } => "protocol-not-allowed",
            Self::MulticastNotAllowed { .. } => "multicast-not-allowed",
            Self::AuditUnavailable => "audit-unavailable",
            Self::TooManyFlows { .. } => "too-many-flows",
            Self::TooManyNames { .. } => "too-many-names",
            Self::RateLimited { .. } => "rate-limited",
        }
    }

    /// The options that would have let this very request through, such as `--allow api.example.com:443`; none
    /// where no option would, or where nobody should be talked into it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NetworkOff { named: true, .. } => Some("--network allowlist".to_owned()),
            Self::NetworkOff { destination, protocol, port, preset, .. }
            | Self::NotAllowed { destination, protocol, port, preset } => {
                allow(*protocol, destination, *port, preset.as_deref())
            }
            Self::WrongPort { destination, protocol, port, .. } => allow(*protocol, destination, *port, None),
            Self::UnknownAddress { address, protocol, port, preset } => {
                allow(*protocol, &Destination::Address(*address), *port, preset.as_deref())
            }
            Self::NameNotAllowed { name, preset } => match preset {
                Some(preset) => option("--allow", &Rule::preset(preset)),
                None => option("--allow", &Rule::any_port(name)),
            },
            Self::PrivateAddress { name: Some(name), protocol, port, .. } => {
                let rule = Rule::exact(*protocol, &Destination::Name(name.clone()), *port)?;
                option("--allow-private", &rule)
            }
            Self::PrivateAddress { name: None, address, protocol, port, .. } => {
                allow(*protocol, &Destination::Address(*address), *port, None)
            }
            Self::UnknownBehindProxy { name, protocol, port } => {
                allow(*protocol, &Destination::Name(name.clone()), *port, None)
            }
            Self::MalformedName { hint, .. } => hint.clone(),
            Self::DeniedByRule { .. }
            | Self::MalformedDns { .. }
            | Self::NotHandedOut { .. }
            | Self::NotLoopback { .. }
            | Self::NotProxied { .. }
            | Self::ResolutionFailed { .. }
            | Self::ServerNameMismatch { .. }
            | Self::ServerNameIsAddress { .. }
            | Self::HostMismatch { .. }
            | Self::MalformedTls { .. }
            | Self::MalformedHttp { .. }
            | Self::SniffTooLarge { .. }
            | Self::SniffTimeout
            | Self::IcmpNotAllowed
            | Self::ProtocolNotAllowed { .. }
            | Self::MulticastNotAllowed { .. }
            | Self::AuditUnavailable
            | Self::TooManyFlows { .. }
            | Self::TooManyNames { .. }
            | Self::RateLimited { .. } => None,
        }
    }
}

fn allow(protocol: Protocol, destination: &Destination, port: u16, preset: Option<&str>) -> Option<String> {
    match preset {
        Some(preset) => option("--allow", &Rule::preset(preset)),
        None => option("--allow", &Rule::exact(protocol, destination, port)?),
    }
}

/// The option with its rule, if a user could type it: a hint that does not parse would be a lie (`localhost`).
fn option(name: &str, rule: &Rule) -> Option<String> {
    let text = rule.to_string();
    text.parse::<Rule>().ok().map(|_| format!("{name} {text}"))
}
