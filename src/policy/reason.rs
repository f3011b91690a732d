//! Why something was denied: a value that knows its code (for programs), its sentence (for people) and the options
//! that would have let it through.
//!
//! The policy makes the first group; rooms that look at packets, DNS, TLS and HTTP make the others, so that every
//! denial in the audit log has one vocabulary. Values that a guest chose are escaped and cut when they are shown.

use std::fmt;
use std::net::IpAddr;

use super::address::AddressClass;
use super::fault::Shown;
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
    /// An IP fragment, or a packet that claims to be one.
    FragmentNotAllowed,
    /// A packet that contradicts itself.
    MalformedPacket {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A packet from an address that is not the guest's.
    ForgedSource {
        /// The address it claims to come from.
        address: IpAddr,
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
            Self::NotLoopback { .. } => "not-loopback",
            Self::ResolutionFailed { .. } => "resolution-failed",
            Self::ServerNameMismatch { .. } => "server-name-mismatch",
            Self::ServerNameIsAddress { .. } => "server-name-is-address",
            Self::HostMismatch { .. } => "host-mismatch",
            Self::MalformedTls { .. } => "malformed-tls",
            Self::MalformedHttp { .. } => "malformed-http",
            Self::SniffTooLarge { .. } => "sniff-too-large",
            Self::SniffTimeout => "sniff-timeout",
            Self::IcmpNotAllowed => "icmp-not-allowed",
            Self::ProtocolNotAllowed { .. } => "protocol-not-allowed",
            Self::FragmentNotAllowed => "fragment-not-allowed",
            Self::MalformedPacket { .. } => "malformed-packet",
            Self::ForgedSource { .. } => "forged-source",
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
                Some(preset) => option("--allow", &Rule::preset(preset, Protocol::Tcp)),
                None => option("--allow", &Rule::any_port(name)),
            },
            Self::PrivateAddress { name: Some(name), protocol, port, .. } => {
                let rule = Rule::exact(*protocol, &Destination::Name(name.clone()), *port)?;
                option("--allow-private", &rule)
            }
            Self::PrivateAddress { name: None, address, protocol, port, .. } => {
                allow(*protocol, &Destination::Address(*address), *port, None)
            }
            Self::DeniedByRule { .. }
            | Self::NotLoopback { .. }
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
            | Self::FragmentNotAllowed
            | Self::MalformedPacket { .. }
            | Self::ForgedSource { .. }
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
        Some(preset) => option("--allow", &Rule::preset(preset, protocol)),
        None => option("--allow", &Rule::exact(protocol, destination, port)?),
    }
}

/// The option with its rule, if a user could type it: a hint that does not parse would be a lie (`localhost`).
fn option(name: &str, rule: &Rule) -> Option<String> {
    let text = rule.to_string();
    text.parse::<Rule>().ok().map(|_| format!("{name} {text}"))
}

/// The sentence, without a full stop and without the hint.
impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkOff { destination, protocol, port, named, .. } => {
                write!(
                    f,
                    "this session has no network, so {protocol} to {destination} port {port} is denied"
                )?;
                if *named { f.write_str(", although a rule names it") } else { Ok(()) }
            }
            Self::NotAllowed { destination, protocol, port, .. } => {
                write!(f, "no rule allows {protocol} to {destination} port {port}")
            }
            Self::WrongPort { destination, protocol, port, rule } => {
                write!(f, "rule `{rule}` names {destination}, but not {protocol} port {port}")
            }
            Self::NameNotAllowed { name, .. } => write!(f, "no rule names {name}"),
            Self::UnknownAddress { address, protocol, port, .. } => {
                let destination = Destination::Address(*address);
                write!(
                    f,
                    "{destination} is not an address npxc handed out, and no rule allows {protocol} to it on port {port}"
                )
            }
            Self::DeniedByRule { destination, rule } => {
                write!(f, "deny rule `{rule}` covers {destination}")
            }
            Self::PrivateAddress { name: Some(name), address, class, .. } => {
                write!(f, "{name} resolves to {address}, {class}")
            }
            Self::PrivateAddress { name: None, address, class, .. } => {
                write!(f, "{address} is {class}, and no rule names it")
            }
            Self::NotLoopback { address } => {
                write!(f, "{} is this machine's loopback, and {address} is not", super::HOST_NAME)
            }
            Self::ResolutionFailed { name, why } => write!(f, "{name} could not be resolved: {}", Shown(why)),
            Self::ServerNameMismatch { expected, claimed } => write!(
                f,
                "the TLS server name `{}` is not {}, for which the address was handed out",
                Shown(claimed),
                Shown(expected)
            ),
            Self::ServerNameIsAddress { claimed } => {
                write!(f, "the TLS server name `{}` is an IP address", Shown(claimed))
            }
            Self::HostMismatch { expected, claimed } => write!(
                f,
                "the HTTP host `{}` is not {}, for which the address was handed out",
                Shown(claimed),
                Shown(expected)
            ),
            Self::MalformedTls { what } => write!(f, "malformed TLS: {what}"),
            Self::MalformedHttp { what } => write!(f, "malformed HTTP: {what}"),
            Self::SniffTooLarge { limit } => write!(f, "the first {limit} bytes gave no server name"),
            Self::SniffTimeout => f.write_str("the first bytes were never completed"),
            Self::IcmpNotAllowed => f.write_str("ICMP is answered for the gateway only"),
            Self::ProtocolNotAllowed { number } => {
                write!(f, "IP protocol {number} is not allowed; TCP and UDP are")
            }
            Self::FragmentNotAllowed => f.write_str("IP fragments are not allowed"),
            Self::MalformedPacket { what } => write!(f, "malformed packet: {what}"),
            Self::ForgedSource { address } => {
                write!(f, "the packet claims to come from {address}, which is not the guest's")
            }
            Self::MulticastNotAllowed { address } => write!(f, "multicast to {address} is not allowed"),
            Self::AuditUnavailable => f.write_str("the audit log cannot be written, so nothing is allowed"),
            Self::TooManyFlows { limit } => write!(f, "more than {limit} flows at once"),
            Self::TooManyNames { limit } => write!(f, "more than {limit} names in one session"),
            Self::RateLimited { what } => write!(f, "too many {what} in a short time"),
        }
    }
}
