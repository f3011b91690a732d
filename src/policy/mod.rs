//! What may be reached, and why not: rules, names, address classes, verdicts.
//!
//! **Pure**: no I/O, no clock, no global state; the same question always gets the same answer. Text comes from the
//! command line and the configuration ([`Rule`], [`Mode`]), names and addresses from the guest's packets
//! ([`Request`]); what leaves is a [`Verdict`]: a [`Permit`], without which nothing is dialled, or a [`DenyReason`]
//! with its sentence and its hint.
//!
//! How a flow passes, in three visible steps:
//! 1. [`Policy::decide_name`] when the guest asks for a name: may it be asked for at all?
//! 2. [`Policy::decide`] at the first packet: destination, protocol and port against deny rules, allow rules, mode.
//! 3. [`Permit::admit`] for each address the name resolved to: deny rules again, then the private floor. The
//!    [`Dialable`] it gives holds the address that was checked, so that one is dialled. A proxy that resolves names is
//!    asked with [`Permit::by_name`].
//!
//! What a rule means where it could mean two things:
//! - Deny rules win over every allow rule in every mode, by name and by address. Without a scheme a deny rule is for
//!   both protocols, an allow rule for TCP.
//! - An address rule reaches a private address only if it means to: it is one address, or a network inside one
//!   private block, or was given with `--allow-private`. `0.0.0.0/0` is any *public* address.
//! - [`HOST_NAME`] is reached only by a rule that names it exactly; no wildcard, `open` or `observe` does.
//! - In mode `none` rules change nothing. That an `--allow` turns the allowlist on is up to the configuration.

mod address;
mod fault;
mod grammar;
mod host;
mod protocol;
mod reason;
mod rule;
mod ruleset;
mod spec;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;

pub use address::{AddressClass, classify, ipv4_inside};
pub use host::{HOST_NAME, HostName, HostNameError};
pub use protocol::{Ports, Protocol};
pub use reason::DenyReason;
pub use rule::{HostPattern, Rule, RuleError};
pub use spec::{Change, Mode, PolicyError, PolicySpec};
pub use verdict::{Destination, Dialable, Permit, Request, Tunnel, Verdict};

use ruleset::RuleSet;

/// The policy of one session. Cheap to clone, immutable.
#[derive(Debug, Clone)]
pub struct Policy {
    mode: Mode,
    rules: Arc<RuleSet>,
}

impl Policy {
    /// Compiles a policy: presets are spelled out, bounds checked.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn new(spec: PolicySpec) -> Result<Self, PolicyError> {
        Ok(Self { mode: spec.mode, rules: Arc::new(RuleSet::new(spec)?) })
    }

    /// What happens to a destination no rule names.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The allow rules in canonical form, presets spelled out, for the audit log.
    pub fn allow(&self) -> Vec<String> {
        self.spelled_out(false)
    }

    /// The `--allow-private` rules in canonical form, presets spelled out.
    pub fn allow_private(&self) -> Vec<String> {
        self.spelled_out(true)
    }

    /// The deny rules in canonical form, presets spelled out.
    pub fn deny(&self) -> Vec<String> {
        self.rules.deny.iter().map(|entry| entry.rule.to_string()).collect()
    }

    /// Judges one flow by its destination, at its first packet.
    pub fn decide(&self, request: &Request) -> Verdict {
        let Request { protocol, port, .. } = *request;
        let destination = request.destination.canonical();
        if let Some(rule) = self.rules.denying(&destination, protocol, port) {
            return Verdict::Deny(DenyReason::DeniedByRule { destination, rule });
        }
        let granted = self.rules.granting(&destination, protocol, port);
        if self.mode == Mode::None {
            let preset = self.rules.preset_for(&destination, protocol, port);
            let named = granted.is_some();
            return Verdict::Deny(DenyReason::NetworkOff { destination, protocol, port, preset, named });
        }
        if let Some((entry, private)) = granted {
            let rule = Arc::clone(&entry.text);
            return Verdict::Allow(self.permit(destination, protocol, port, rule, Some(private), None));
        }
        let reason = self.refusal(&destination, protocol, port);
        let observed = match self.mode {
            Mode::Observe if is_public(&destination, port) => Some(Box::new(reason)),
            Mode::Open if is_public(&destination, port) => None,
            Mode::None | Mode::Allowlist | Mode::Observe | Mode::Open => return Verdict::Deny(reason),
        };
        Verdict::Allow(self.permit(destination, protocol, port, self.mode.as_str().into(), None, observed))
    }

    /// Whether the guest may learn that `name` has this address (`--addresses real`): not a private one that no
    /// rule would let it reach.
    pub fn may_reveal(&self, name: &HostName, address: IpAddr) -> bool {
        self.rules.reveals(name, address.to_canonical())
    }

    /// Judges a name that is asked for in DNS: is there any protocol and port on which it could be reached?
    ///
    /// # Errors
    /// The reason for which the name does not exist for this guest.
    pub fn decide_name(&self, name: &HostName) -> Result<(), DenyReason> {
        let mut grants: Vec<(Protocol, Ports)> = match self.mode {
            Mode::None => Vec::new(),
            Mode::Allowlist | Mode::Observe | Mode::Open => self.rules.grants_to_name(name).collect(),
        };
        if matches!(self.mode, Mode::Observe | Mode::Open) && !name.is_host() {
            grants.extend([(Protocol::Tcp, Ports::ANY), (Protocol::Udp, Ports::ANY)]);
        }
        if grants.is_empty() {
            if let Some(preset) = self.rules.preset_for_name(name) {
                return Err(DenyReason::NameNotAllowed { name: name.clone(), preset: Some(preset) });
            }
            // What the hint would grant: if a deny rule takes that away, the deny rule is the reason.
            grants.push((Protocol::Tcp, Ports::ANY));
            return Err(match self.revoked(name, &grants) {
                Some(reason) => reason,
                None => DenyReason::NameNotAllowed { name: name.clone(), preset: None },
            });
        }
        self.revoked(name, &grants).map_or(Ok(()), Err)
    }

    /// The deny rule that leaves nothing of these grants to a name.
    fn revoked(&self, name: &HostName, grants: &[(Protocol, Ports)]) -> Option<DenyReason> {
        let mut last = None;
        for grant in grants {
            last = Some(self.rules.revoking(name, *grant)?);
        }
        last.map(|rule| DenyReason::DeniedByRule { destination: Destination::Name(name.clone()), rule })
    }

    /// Why the allowlist has nothing for a destination.
    fn refusal(&self, destination: &Destination, protocol: Protocol, port: u16) -> DenyReason {
        if let Some(entry) = self.rules.granting_other_port(destination, protocol) {
            let (destination, rule) = (destination.clone(), entry.text.to_string());
            return DenyReason::WrongPort { destination, protocol, port, rule };
        }
        let preset = self.rules.preset_for(destination, protocol, port);
        match destination {
            Destination::Name(_) => {
                DenyReason::NotAllowed { destination: destination.clone(), protocol, port, preset }
            }
            Destination::Address(address) => match classify(*address) {
                Some(class) => {
                    DenyReason::PrivateAddress { name: None, address: *address, class, protocol, port }
                }
                None => DenyReason::UnknownAddress { address: *address, protocol, port, preset },
            },
        }
    }

    /// `named`: whether the rule that names it was given with `--allow-private`; `None` where the mode allows it.
    fn permit(
        &self,
        destination: Destination,
        protocol: Protocol,
        port: u16,
        rule: Arc<str>,
        named: Option<bool>,
        observed: Option<Box<DenyReason>>,
    ) -> Permit {
        let rules = Arc::clone(&self.rules);
        let (private, named) = (named == Some(true), named.is_some());
        Permit { rules, destination, protocol, port, rule, private, named, observed }
    }

    fn spelled_out(&self, private: bool) -> Vec<String> {
        let entries = self.rules.allow.iter().filter(|entry| entry.private == private);
        entries.map(|entry| entry.rule.to_string()).collect()
    }
}

/// Whether a mode may allow it without a rule: a name other than the host's own (its addresses are judged later),
/// or a public address; on a port that exists.
fn is_public(destination: &Destination, port: u16) -> bool {
    port != 0
        && match destination {
            Destination::Name(name) => !name.is_host(),
            Destination::Address(address) => classify(*address).is_none(),
        }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
