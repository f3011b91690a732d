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
//!    [`Dialable`] it gives holds the address that was checked, so that one is dialled.
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
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use address::{AddressClass, classify, ipv4_inside};
pub use host::{HOST_NAME, HostName, HostNameError};
pub use protocol::{Ports, Protocol};
pub use reason::DenyReason;
pub use rule::{HostPattern, Rule, RuleError};
pub use verdict::{Destination, Dialable, Permit, Request, Verdict};

use ruleset::RuleSet;

/// What happens to a destination that no rule names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No network at all, whatever the rules say.
    #[default]
    None,
    /// Denied: only what rules name is reached.
    Allowlist,
    /// Reached if it is public, and noted as what the allowlist would have denied.
    Observe,
    /// Reached if it is public.
    Open,
}

impl Mode {
    /// `none`, `allowlist`, `observe` or `open`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Allowlist => "allowlist",
            Self::Observe => "observe",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        [Self::None, Self::Allowlist, Self::Observe, Self::Open]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| PolicyError::UnknownMode { input: fault::Shown(text).to_string() })
    }
}

/// A policy as flags and configuration files spell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySpec {
    /// What happens to a destination no rule names.
    pub mode: Mode,
    /// `--allow`.
    pub allow: Vec<Rule>,
    /// `--allow-private`: these may also reach private addresses.
    pub allow_private: Vec<Rule>,
    /// `--deny`.
    pub deny: Vec<Rule>,
    /// What `@name` stands for, by name without the `@`; also those that no rule uses, so that hints can name them.
    pub presets: BTreeMap<String, Vec<Rule>>,
}

/// Why a policy cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A mode that does not exist.
    #[error("`{input}` is not a network mode")]
    UnknownMode {
        /// What was given.
        input: String,
    },
    /// A rule uses a preset that does not exist.
    #[error("rule `{rule}` names a preset that does not exist")]
    UnknownPreset {
        /// The rule.
        rule: String,
        /// The presets there are, with their `@`.
        known: Vec<String>,
    },
    /// A preset's rules use a preset.
    #[error("preset `@{preset}` has the rule `{rule}`, and a preset cannot stand for another")]
    NestedPreset {
        /// The preset, without the `@`.
        preset: String,
        /// Its rule.
        rule: String,
    },
    /// A preset, or what a rule leaves of it, has no rules.
    #[error("rule `{rule}` stands for nothing: the preset has no rule for that protocol and port")]
    EmptyPreset {
        /// The rule.
        rule: String,
    },
    /// More rules than a session may have.
    #[error("more than {limit} rules, presets spelled out")]
    TooManyRules {
        /// The bound.
        limit: usize,
    },
}

impl PolicyError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownMode { .. } => Some("write none, allowlist, observe or open".to_owned()),
            Self::UnknownPreset { known, .. } if !known.is_empty() => {
                Some(format!("presets are {}", known.join(", ")))
            }
            Self::EmptyPreset { .. } => Some("name the preset without protocol and port".to_owned()),
            Self::UnknownPreset { .. } | Self::NestedPreset { .. } | Self::TooManyRules { .. } => None,
        }
    }
}

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
            let preset = self.rules.preset_for(&destination, protocol, Some(port));
            let named = granted.is_some();
            return Verdict::Deny(DenyReason::NetworkOff { destination, protocol, port, preset, named });
        }
        if let Some((entry, private)) = granted {
            let rule = Arc::clone(&entry.text);
            return Verdict::Allow(self.permit(destination, protocol, port, rule, private, None));
        }
        let reason = self.refusal(&destination, protocol, port);
        let observed = match self.mode {
            Mode::Observe if is_public(&destination, port) => Some(Box::new(reason)),
            Mode::Open if is_public(&destination, port) => None,
            Mode::None | Mode::Allowlist | Mode::Observe | Mode::Open => return Verdict::Deny(reason),
        };
        Verdict::Allow(self.permit(destination, protocol, port, self.mode.as_str().into(), false, observed))
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
        let mut revoked = None;
        for grant in grants {
            match self.rules.revoking(name, grant) {
                Some(rule) => revoked = Some(rule),
                None => return Ok(()),
            }
        }
        let destination = Destination::Name(name.clone());
        if let Some(rule) = revoked {
            return Err(DenyReason::DeniedByRule { destination, rule });
        }
        let preset = self.rules.preset_for(&destination, Protocol::Tcp, None);
        Err(DenyReason::NameNotAllowed { name: name.clone(), preset })
    }

    /// Why the allowlist has nothing for a destination.
    fn refusal(&self, destination: &Destination, protocol: Protocol, port: u16) -> DenyReason {
        if let Some(entry) = self.rules.granting_other_port(destination, protocol) {
            let (destination, rule) = (destination.clone(), entry.text.to_string());
            return DenyReason::WrongPort { destination, protocol, port, rule };
        }
        let preset = self.rules.preset_for(destination, protocol, Some(port));
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

    fn permit(
        &self,
        destination: Destination,
        protocol: Protocol,
        port: u16,
        rule: Arc<str>,
        private: bool,
        observed: Option<Box<DenyReason>>,
    ) -> Permit {
        let rules = Arc::clone(&self.rules);
        Permit { rules, destination, protocol, port, rule, private, observed }
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
