//! What people paste who think of a rule as a URL, and what they mean by it.

use super::host_and_ports;
use crate::policy::address::legacy_ipv4;
use crate::policy::fault::Fault;
use crate::policy::protocol::Ports;
use crate::policy::rule::Rule;

/// The rule somebody means who pasted a URL.
pub(super) fn as_rule(scheme: &str, rest: &str) -> Option<Rule> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, ports) = host_and_ports(host).ok()?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "ssh" | "git+ssh" => 22,
        "postgres" | "postgresql" => 5432,
        "mysql" => 3306,
        "redis" => 6379,
        "mongodb" => 27017,
        _ => {
            return Some(Rule { protocol: None, host, ports });
        }
    };
    let ports = if ports == Ports::ANY { Ports::one(port)? } else { ports };
    Some(Rule { protocol: None, host, ports })
}

/// The parts of a URL that a rule does not have, each with its own sentence.
pub(super) fn refuse_parts(text: &str) -> Result<(), Fault> {
    for (at, character) in text.chars().enumerate() {
        let before: String = text.chars().take(at).collect();
        match character {
            '/' if legacy_ipv4(&before).is_some() => {
                return Err(Fault::new(0, "an IPv4 network is written with four numbers")
                    .hint("write all four, such as 10.0.0.0/8"));
            }
            '/' | '?' | '#' | '\\' => {
                return Err(
                    Fault::new(at, "a rule names a host, and no path on it").hint(format!("write {before}"))
                );
            }
            '@' => {
                let host: String = text.chars().skip(at + 1).collect();
                return Err(Fault::new(at, "a rule names no user").hint(format!("write {host}")));
            }
            '%' => return Err(Fault::new(at, "percent escapes cannot stand in a name")),
            '[' | ']' => return Err(Fault::new(at, "brackets are for a whole IPv6 address")),
            _ => {}
        }
    }
    Ok(())
}
