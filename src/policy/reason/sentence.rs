//! The sentence of each [`DenyReason`]: one line, safe to print, no full stop, no hint.

use std::fmt;

use super::DenyReason;
use crate::policy::HOST_NAME;
use crate::policy::fault::Shown;
use crate::policy::verdict::Destination;

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
            Self::UnknownBehindProxy { name, .. } => write!(
                f,
                "this machine knows no address of {name}, the proxy's would be judged by nobody, and no rule names it"
            ),
            Self::NotProxied { destination } => write!(
                f,
                "UDP to {destination} cannot go through the proxy (NO_PROXY says what is reached without it)"
            ),
            Self::NotLoopback { address } => {
                write!(f, "{HOST_NAME} is this machine's loopback, and {address} is not")
            }
            Self::ResolutionFailed { name, why } => write!(f, "{name} could not be resolved: {}", Shown(why)),
            Self::MalformedDns { what } => write!(f, "malformed DNS question: {what}"),
            Self::MalformedName { what, .. } => write!(f, "not a host name: {}", Shown(what)),
            Self::NotHandedOut { address } => write!(f, "npxc never handed {address} out"),
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
            Self::MulticastNotAllowed { address } => write!(f, "multicast to {address} is not allowed"),
            Self::AuditUnavailable => f.write_str("the audit log cannot be written, so nothing is allowed"),
            Self::TooManyFlows { limit } => write!(f, "more than {limit} flows at once"),
            Self::TooManyNames { limit } => write!(f, "more than {limit} names in one session"),
            Self::RateLimited { what } => write!(f, "too many {what} in a short time"),
        }
    }
}
