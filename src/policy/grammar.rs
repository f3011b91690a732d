//! The grammar of rules: text in, [`Rule`] or a [`Fault`] that points at the first wrong character out.
//!
//! It is strict on purpose: what looks like two things is refused with the one thing to write instead. Nothing is
//! guessed and nothing is dropped.

mod number;
mod url;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::fault::Fault;
use super::host::{self, HOST_NAME, HostName};
use super::protocol::{Ports, Protocol};
use super::rule::{HostPattern, Rule};
use number::{ports, prefix_length};

/// Characters of one rule at most: a name, a scheme and a port range are fewer than 300.
pub(super) const MAX_RULE: usize = 1100;
/// Characters of a preset's name.
const MAX_PRESET: usize = 64;

/// Names nobody can register publicly, so a wildcard right under one stays in the user's own network
/// (RFC 6761, RFC 6762, ICANN's `internal`, and what routers use).
const PRIVATE_TOP_LEVEL: [&str; 9] =
    ["internal", "local", "lan", "corp", "home", "intranet", "private", "test", "example"];

pub(super) fn parse(text: &str) -> Result<Rule, Fault> {
    if text.is_empty() {
        return Err(
            Fault::new(0, "the rule is empty").hint("write HOST or HOST:PORT, such as example.com:443")
        );
    }
    if text.len() > MAX_RULE {
        return Err(Fault::new(0, format!("a rule has at most {MAX_RULE} characters")));
    }
    for (at, character) in text.chars().enumerate() {
        if character.is_control() {
            return Err(Fault::new(at, "a control character cannot stand in a rule"));
        }
        if character.is_whitespace() {
            return Err(Fault::new(at, "a rule has no spaces in it").hint("separate rules with commas"));
        }
        if character == ',' {
            return Err(Fault::new(at, "a comma separates rules, and one rule is wanted here"));
        }
    }
    let (protocol, rest) = scheme(text)?;
    let offset = text.chars().count() - rest.chars().count();
    let (host, ports) = host_and_ports(rest).map_err(|fault| fault.shifted(offset))?;
    Ok(Rule { protocol, host, ports })
}

/// Splits off `tcp://` or `udp://`.
fn scheme(text: &str) -> Result<(Option<Protocol>, &str), Fault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((None, text));
    };
    let protocol = if scheme.eq_ignore_ascii_case("tcp") {
        Protocol::Tcp
    } else if scheme.eq_ignore_ascii_case("udp") {
        Protocol::Udp
    } else {
        let fault = Fault::new(0, "a rule starts with tcp://, udp:// or the host; it is not a URL");
        return Err(match url::as_rule(scheme, rest) {
            Some(rule) => fault.hint(format!("write {rule}")),
            None => fault.hint("write HOST:PORT"),
        });
    };
    if rest.is_empty() {
        return Err(Fault::new(text.chars().count(), "there is no host after the protocol"));
    }
    Ok((Some(protocol), rest))
}

fn host_and_ports(text: &str) -> Result<(HostPattern, Ports), Fault> {
    if let Some(bracketed) = text.strip_prefix('[') {
        return bracketed_host(bracketed);
    }
    if let Some(fault) = bare_ipv6(text) {
        return Err(fault);
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host_length = host.chars().count();
    let ports = |port| ports(port).map_err(|fault| fault.shifted(host_length + 1));
    // A fault of the host comes first: it stands further left.
    let host = plain_host(host)?;
    Ok((host, port.map_or(Ok(Ports::ANY), ports)?))
}

/// `2001:db8::1` without brackets, with or without a prefix length.
fn bare_ipv6(text: &str) -> Option<Fault> {
    let address = text.split(['/', '%']).next()?;
    address.parse::<Ipv6Addr>().ok()?;
    let length = text.split_once('/').map_or(String::new(), |(_, length)| format!("/{length}"));
    let hint = match bracketed_host(&format!("{address}{length}]")) {
        Ok((host, _)) => Some(format!("write {host}")),
        Err(fault) => fault.hint,
    };
    Some(Fault { hint, ..Fault::new(0, "an IPv6 address stands in brackets") })
}

/// What follows a `[`; columns count from the bracket.
fn bracketed_host(text: &str) -> Result<(HostPattern, Ports), Fault> {
    let Some((inside, after)) = text.split_once(']') else {
        return Err(Fault::new(0, "the bracket is not closed").hint("write [ADDRESS] or [ADDRESS]:PORT"));
    };
    let after_column = inside.chars().count() + 2;
    let host = ipv6_net(inside).map_err(|fault| fault.shifted(1))?;
    let ports = match after.strip_prefix(':') {
        Some(port) => ports(port).map_err(|fault| fault.shifted(after_column + 1))?,
        None if after.is_empty() => Ports::ANY,
        None if after.starts_with('/') => {
            return Err(Fault::new(after_column, "the prefix length stands inside the brackets")
                .hint(format!("write [{inside}{after}]")));
        }
        None => {
            return Err(Fault::new(after_column, "after the bracket comes `:PORT` or nothing"));
        }
    };
    Ok((host, ports))
}

fn ipv6_net(inside: &str) -> Result<HostPattern, Fault> {
    let (text, length) = match inside.split_once('/') {
        Some((text, length)) => (text, Some(length)),
        None => (inside, None),
    };
    if let Some(at) = text.chars().position(|character| character == '%') {
        return Err(Fault::new(at, "a rule names no network interface").hint("leave out the part from `%`"));
    }
    let Ok(address) = text.parse::<Ipv6Addr>() else {
        let fault = Fault::new(0, "this is not an IPv6 address");
        return Err(if text.parse::<Ipv4Addr>().is_ok() {
            fault.hint(format!("an IPv4 address has no brackets: write {inside}"))
        } else {
            fault.hint("brackets are for IPv6 addresses, such as [2001:db8::1]")
        });
    };
    let length = length.map(|length| prefix_length(length, 128, text.chars().count() + 1)).transpose()?;
    if let Some(mapped) = address.to_ipv4_mapped() {
        let fault = Fault::new(0, "this is an IPv4 address in IPv6 clothes, and is never dialled as such");
        return Err(match length.unwrap_or(128) {
            128 => fault.hint(format!("write {mapped}")),
            length @ 96.. => fault.hint(format!("write {mapped}/{}", length - 96)),
            _ => fault.hint("write the IPv4 address"),
        });
    }
    net(IpAddr::V6(address), length.unwrap_or(128))
}

/// A host without brackets: name, wildcard, IPv4 address or network, preset.
fn plain_host(text: &str) -> Result<HostPattern, Fault> {
    if text.is_empty() {
        return Err(Fault::new(0, "the host is missing").hint("write HOST or HOST:PORT"));
    }
    if let Some(name) = text.strip_prefix('@') {
        return preset(name).map_err(|fault| fault.shifted(1));
    }
    if let Some((address, length)) = text.split_once('/')
        && let Ok(address) = address.parse::<Ipv4Addr>()
    {
        let column = text.len() - length.len();
        return net(IpAddr::V4(address), prefix_length(length, 32, column)?);
    }
    url::refuse_parts(text)?;
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return net(IpAddr::V4(address), 32);
    }
    if let Some(parent) = text.strip_prefix("*.") {
        return wildcard(parent).map(HostPattern::Below);
    }
    if text == "*" {
        return Err(Fault::new(0, "`*` would allow every host").hint(
            "name the hosts, one rule each; `--network observe` lists them, `--network open` allows all",
        ));
    }
    if let Some(at) = text.chars().position(|character| character == '*') {
        return Err(Fault::new(at, "`*` stands for whole names below a name, and only at the front")
            .hint("write *.example.com"));
    }
    let name = host::parse(text)?;
    if name.as_str() == "localhost" {
        return Err(Fault::new(0, "localhost inside the sandbox is the sandbox itself")
            .hint(format!("write {HOST_NAME}:PORT for a service on this machine")));
    }
    Ok(HostPattern::Name(name))
}

fn preset(name: &str) -> Result<HostPattern, Fault> {
    let mut characters = name.chars();
    let starts = characters.next().is_some_and(|first| first.is_ascii_alphanumeric());
    if !starts {
        return Err(Fault::new(0, "a preset has a name after the `@`").hint("write @npm"));
    }
    let wrong = |character: &char| !character.is_ascii_alphanumeric() && !"-_.".contains(*character);
    if let Some((at, character)) = name.chars().enumerate().find(|(_, character)| wrong(character)) {
        let what = format!("`{}` cannot stand in a preset's name", character.escape_debug());
        return Err(Fault::new(at, what));
    }
    if name.len() > MAX_PRESET {
        return Err(Fault::new(MAX_PRESET, format!("a preset's name has at most {MAX_PRESET} characters")));
    }
    Ok(HostPattern::Preset(name.to_ascii_lowercase()))
}

/// The name after `*.`; columns count from the star.
fn wildcard(text: &str) -> Result<HostName, Fault> {
    if let Some(at) = text.chars().position(|character| character == '*') {
        return Err(
            Fault::new(at + 2, "one `*` already stands for names at any depth").hint("write *.example.com")
        );
    }
    let parent = host::parse(text).map_err(|fault| fault.shifted(2))?;
    if parent.as_str() == "localhost" {
        return Err(Fault::new(0, "localhost inside the sandbox is the sandbox itself")
            .hint(format!("write {HOST_NAME}:PORT for a service on this machine")));
    }
    if is_public_suffix(parent.as_str()) {
        let what = format!("`*.{parent}` would allow names that anyone can register");
        return Err(Fault::new(0, what).hint(format!("name the host, or write *.your-domain.{parent}")));
    }
    Ok(parent)
}

/// Whether anyone can register names right under `name`, by the Public Suffix List (its private part included).
/// A single label the list does not know counts too: the list in this program may be older than the domain.
fn is_public_suffix(name: &str) -> bool {
    if PRIVATE_TOP_LEVEL.contains(&name) {
        return false;
    }
    let is_suffix = |name: &str| psl::suffix_str(name) == Some(name);
    // The second form is for wildcards in the list (`*.ck`), where the level below is made of suffixes.
    is_suffix(name) || (!name.contains('.')) || is_suffix(&format!("a.{name}"))
}

fn net(address: IpAddr, length: u8) -> Result<HostPattern, Fault> {
    let net = IpNet::new(address, length).map_err(|_| Fault::new(0, "the prefix length is too long"))?;
    if net.addr() != net.network() {
        let network = HostPattern::Net(net.trunc());
        let fault = Fault::new(0, format!("the address has bits set beyond the prefix length {length}"));
        return Err(fault.hint(format!("write {network} for the network, or {} for the address", {
            HostPattern::Net(IpNet::from(address))
        })));
    }
    Ok(HostPattern::Net(net))
}
