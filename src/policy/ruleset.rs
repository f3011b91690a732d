//! The rules of a session with their presets spelled out, and the questions that are asked of them.
//!
//! Matching only: what a match means for a mode is decided in [`super::Policy`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::address::{classify, ipv4_inside, names_private};
use super::host::HostName;
use super::protocol::{Ports, Protocol};
use super::rule::{HostPattern, Rule};
use super::spec::{PolicyError, PolicySpec};
use super::verdict::Destination;

/// Rules in a session at most, presets spelled out: each flow and each DNS question walks all of them.
pub(super) const MAX_RULES: usize = 4096;

/// A rule that names hosts (never a preset), with the text the user gave for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rule: Rule,
    /// As given: `@npm` for a rule that came out of that preset.
    pub(super) text: Arc<str>,
    /// Given with `--allow-private`.
    pub(super) private: bool,
}

#[derive(Debug)]
pub(super) struct RuleSet {
    pub(super) allow: Vec<Entry>,
    pub(super) deny: Vec<Entry>,
    presets: BTreeMap<String, Vec<Rule>>,
}

impl RuleSet {
    pub(super) fn new(spec: PolicySpec) -> Result<Self, PolicyError> {
        for (name, rules) in &spec.presets {
            if let Some(nested) = rules.iter().find(|rule| matches!(rule.host, HostPattern::Preset(_))) {
                return Err(PolicyError::NestedPreset { preset: name.clone(), rule: nested.to_string() });
            }
        }
        let mut set = Self { allow: Vec::new(), deny: Vec::new(), presets: spec.presets };
        let mut allow = Vec::new();
        set.spell_out(&spec.allow, List::Allow, &mut allow)?;
        set.spell_out(&spec.allow_private, List::AllowPrivate, &mut allow)?;
        let mut deny = Vec::new();
        set.spell_out(&spec.deny, List::Deny, &mut deny)?;
        set.allow = allow;
        set.deny = deny;
        if set.allow.len() + set.deny.len() > MAX_RULES {
            return Err(PolicyError::TooManyRules { limit: MAX_RULES });
        }
        Ok(set)
    }

    fn spell_out(&self, rules: &[Rule], list: List, out: &mut Vec<Entry>) -> Result<(), PolicyError> {
        let private = list == List::AllowPrivate;
        for rule in rules {
            let text: Arc<str> = rule.to_string().into();
            let HostPattern::Preset(name) = &rule.host else {
                out.push(Entry { rule: rule.clone(), text, private });
                continue;
            };
            let Some(known) = self.presets.get(name) else {
                return Err(PolicyError::UnknownPreset {
                    rule: rule.to_string(),
                    known: self.presets.keys().map(|name| format!("@{name}")).collect(),
                });
            };
            let before = out.len();
            let narrowed = known.iter().filter_map(|inner| narrow(inner, rule, list));
            out.extend(narrowed.map(|rule| Entry { rule, text: Arc::clone(&text), private }));
            if out.len() == before {
                return Err(PolicyError::EmptyPreset { rule: rule.to_string() });
            }
        }
        Ok(())
    }

    /// The first allow rule for a destination, and whether any that matches was given with `--allow-private`.
    /// An address below the floor needs a rule that names it on purpose.
    pub(super) fn granting(
        &self,
        destination: &Destination,
        protocol: Protocol,
        port: u16,
    ) -> Option<(&Entry, bool)> {
        let mut found = None;
        let mut private = false;
        for entry in &self.allow {
            if grants_host(&entry.rule, entry.private, destination)
                && entry.rule.grants(protocol)
                && entry.rule.ports.contains(port)
            {
                found = found.or(Some(entry));
                private |= entry.private;
            }
        }
        found.map(|entry| (entry, private))
    }

    /// The first allow rule that names the host for this protocol, whatever its ports.
    pub(super) fn granting_other_port(
        &self,
        destination: &Destination,
        protocol: Protocol,
    ) -> Option<&Entry> {
        self.allow
            .iter()
            .find(|entry| grants_host(&entry.rule, entry.private, destination) && entry.rule.grants(protocol))
    }

    /// The deny rule that covers a destination. A name's addresses are judged when they are known.
    pub(super) fn denying(&self, destination: &Destination, protocol: Protocol, port: u16) -> Option<String> {
        match destination {
            Destination::Address(address) => self.denying_address(*address, protocol, port),
            Destination::Name(name) => self.denying_entry(protocol, port, |host| host.matches_name(name)),
        }
    }

    /// The deny rule that covers an address, or the IPv4 address hidden in it.
    pub(super) fn denying_address(&self, address: IpAddr, protocol: Protocol, port: u16) -> Option<String> {
        let inside = ipv4_inside(address).map(IpAddr::V4);
        self.denying_entry(protocol, port, |host| {
            host.matches_address(address) || inside.is_some_and(|inside| host.matches_address(inside))
        })
    }

    fn denying_entry(
        &self,
        protocol: Protocol,
        port: u16,
        matches: impl Fn(&HostPattern) -> bool,
    ) -> Option<String> {
        self.deny
            .iter()
            .find(|entry| {
                matches(&entry.rule.host) && entry.rule.forbids(protocol) && entry.rule.ports.contains(port)
            })
            .map(|entry| entry.text.to_string())
    }

    /// Whether an address rule lifts the floor for this address.
    pub(super) fn lifts_floor(&self, address: IpAddr, protocol: Protocol, port: u16) -> bool {
        self.granting(&Destination::Address(address), protocol, port).is_some()
    }

    /// Whether some rule, on some port, lets a name stand for this address: a public one, or one that is private
    /// and named on purpose.
    pub(super) fn reveals(&self, name: &HostName, address: IpAddr) -> bool {
        let (name, host) = (Destination::Name(name.clone()), Destination::Address(address));
        classify(address).is_none()
            || self.allow.iter().any(|entry| {
                entry.private && grants_host(&entry.rule, true, &name)
                    || grants_host(&entry.rule, entry.private, &host)
            })
    }

    /// What the allow rules grant to a name: protocol and ports of each.
    pub(super) fn grants_to_name(&self, name: &HostName) -> impl Iterator<Item = (Protocol, Ports)> {
        let destination = Destination::Name(name.clone());
        let entries =
            self.allow.iter().filter(move |entry| grants_host(&entry.rule, entry.private, &destination));
        entries.map(|entry| entry.rule.grant())
    }

    /// The deny rule that takes all of a grant to a name away.
    pub(super) fn revoking(&self, name: &HostName, (protocol, ports): (Protocol, Ports)) -> Option<String> {
        self.deny
            .iter()
            .find(|entry| {
                entry.rule.host.matches_name(name)
                    && entry.rule.forbids(protocol)
                    && entry.rule.ports.covers(ports)
            })
            .map(|entry| entry.text.to_string())
    }

    /// The preset that would allow a destination on this port.
    pub(super) fn preset_for(
        &self,
        destination: &Destination,
        protocol: Protocol,
        port: u16,
    ) -> Option<String> {
        self.preset_with(|rule| {
            rule.grants(protocol) && rule.ports.contains(port) && grants_host(rule, false, destination)
        })
    }

    /// The preset that would let a name be asked for, deny rules considered.
    pub(super) fn preset_for_name(&self, name: &HostName) -> Option<String> {
        let destination = Destination::Name(name.clone());
        self.preset_with(|rule| {
            grants_host(rule, false, &destination) && self.revoking(name, rule.grant()).is_none()
        })
    }

    fn preset_with(&self, allows: impl Fn(&Rule) -> bool) -> Option<String> {
        self.presets.iter().find(|(_, rules)| rules.iter().any(&allows)).map(|(name, _)| name.clone())
    }
}

/// Which option a rule was given with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Allow,
    AllowPrivate,
    Deny,
}

/// A preset's rule as `@preset` with a protocol or ports takes it; `None` if nothing of it is left. Narrowing never
/// widens: `udp://@preset` does not make an allow rule for TCP one for UDP.
fn narrow(inner: &Rule, by: &Rule, list: List) -> Option<Rule> {
    let is_for = |protocol| match list {
        List::Allow | List::AllowPrivate => inner.grants(protocol),
        List::Deny => inner.forbids(protocol),
    };
    if by.protocol.is_some_and(|protocol| !is_for(protocol)) {
        return None;
    }
    Some(Rule {
        protocol: by.protocol.or(inner.protocol),
        host: inner.host.clone(),
        ports: inner.ports.intersection(by.ports)?,
    })
}

/// Whether an allow rule names a destination: the host's own name only by itself, a private address only by a rule
/// that means private addresses (see [`names_private`]) or was given with `--allow-private`.
fn grants_host(rule: &Rule, private: bool, destination: &Destination) -> bool {
    match destination {
        Destination::Name(name) if name.is_host() => {
            matches!(&rule.host, HostPattern::Name(own) if own == name)
        }
        Destination::Name(name) => rule.host.matches_name(name),
        Destination::Address(address) => match &rule.host {
            HostPattern::Net(net) => {
                net.contains(address) && (private || names_private(net) || classify(*address).is_none())
            }
            HostPattern::Name(_) | HostPattern::Below(_) | HostPattern::Preset(_) => false,
        },
    }
}
