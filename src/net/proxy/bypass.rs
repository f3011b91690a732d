//! `NO_PROXY`: what is reached without the proxy, as curl and Go read it.
//!
//! Entries stand between commas or spaces. `example.com` and `.example.com` are that name and those below it,
//! `*.example.com` those below it, `*` is everything. An address is itself, a network (`10.0.0.0/8`) the addresses in it;
//! names are not resolved for that. Each may end with a port. What is none of these names nothing. This machine's loopback
//! never goes through a proxy.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::{Destination, HostName};

/// Entries that are looked at; each flow walks all of them.
const MOST_ENTRIES: usize = 1024;

/// What is reached without the proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bypass(Vec<(Pattern, Option<u16>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Everything,
    Name(HostName),
    Below(HostName),
    Net(IpNet),
}

impl Bypass {
    /// What `no_proxy`, or else `NO_PROXY`, says.
    pub fn of_environment<'a>(var: impl Fn(&str) -> Option<&'a str>) -> Self {
        var("no_proxy").or_else(|| var("NO_PROXY")).map(Self::parse).unwrap_or_default()
    }

    /// Reads a list.
    pub fn parse(text: &str) -> Self {
        let entries = text.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(entry).take(MOST_ENTRIES).collect())
    }

    /// Whether the destination is reached without the proxy.
    pub fn covers(&self, destination: &Destination, port: u16) -> bool {
        let destination = destination.canonical();
        is_here(&destination)
            || self
                .0
                .iter()
                .any(|(pattern, only)| only.is_none_or(|only| only == port) && pattern.matches(&destination))
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Pattern {
    fn matches(&self, destination: &Destination) -> bool {
        match (self, destination) {
            (Self::Everything, _) => true,
            (Self::Name(own), Destination::Name(name)) => name == own || name.is_below(own),
            (Self::Below(own), Destination::Name(name)) => name.is_below(own),
            (Self::Net(net), Destination::Address(address)) => net.contains(address),
            (Self::Name(_) | Self::Below(_), Destination::Address(_))
            | (Self::Net(_), Destination::Name(_)) => false,
        }
    }
}

/// In its canonical form.
impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (pattern, port)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            match (pattern, port) {
                (Pattern::Everything, _) => f.write_str("*")?,
                (Pattern::Name(name), _) => write!(f, "{name}")?,
                (Pattern::Below(name), _) => write!(f, "*.{name}")?,
                (Pattern::Net(net), Some(_)) if net.addr().is_ipv6() => write!(f, "[{net}]")?,
                (Pattern::Net(net), _) => write!(f, "{net}")?,
            }
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
        }
        Ok(())
    }
}

/// The guest's name for this machine, and loopback as others say it.
fn is_here(destination: &Destination) -> bool {
    match destination {
        Destination::Name(name) => {
            name.is_host() || name.as_str() == "localhost" || name.as_str().ends_with(".localhost")
        }
        Destination::Address(address) => address.is_loopback(),
    }
}

fn entry(text: &str) -> Option<(Pattern, Option<u16>)> {
    if let Some(net) = net(text) {
        return Some((Pattern::Net(net), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Some(net) = net(bare) {
        return Some((Pattern::Net(net), port));
    }
    if host == "*" {
        return Some((Pattern::Everything, port));
    }
    let name = |text: &str| text.trim_end_matches('.').parse::<HostName>().ok();
    let pattern = match host.strip_prefix("*.") {
        Some(parent) => Pattern::Below(name(parent)?),
        None => Pattern::Name(name(host.strip_prefix('.').unwrap_or(host))?),
    };
    Some((pattern, port))
}

/// An address or a network; `[::1]` as well.
fn net(text: &str) -> Option<IpNet> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    bare.parse::<IpNet>().ok().map(|net| net.trunc())
}
