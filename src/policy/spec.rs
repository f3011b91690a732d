//! A policy as flags and configuration files spell it, before it is compiled into a [`Policy`](super::Policy).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::Shown;
use super::rule::Rule;

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
            .ok_or_else(|| PolicyError::UnknownMode { input: Shown(text).to_string() })
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

/// What a user changes about a policy that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// As `--allow`; takes back a `Deny` of the same rule.
    Allow(Rule),
    /// As `--allow-private`; takes back a `Deny` of the same rule.
    AllowPrivate(Rule),
    /// As `--deny`; takes the same rule out of those that allow.
    Deny(Rule),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(rule) => write!(f, "allow {rule}"),
            Self::AllowPrivate(rule) => write!(f, "allow-private {rule}"),
            Self::Deny(rule) => write!(f, "deny {rule}"),
        }
    }
}

impl PolicySpec {
    /// The rules once `change` is made. An allow rule changes nothing about what another deny rule covers.
    #[must_use]
    pub fn changed(&self, change: &Change) -> Self {
        let mut spec = self.clone();
        let (list, rule) = match change {
            Change::Allow(rule) => (&mut spec.allow, rule),
            Change::AllowPrivate(rule) => (&mut spec.allow_private, rule),
            Change::Deny(rule) => (&mut spec.deny, rule),
        };
        if !list.contains(rule) {
            list.push(rule.clone());
        }
        match change {
            Change::Allow(_) | Change::AllowPrivate(_) => spec.deny.retain(|denied| denied != rule),
            Change::Deny(_) => {
                spec.allow.retain(|allowed| allowed != rule);
                spec.allow_private.retain(|allowed| allowed != rule);
            }
        }
        spec
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_change_takes_its_opposite_back_and_nothing_else() {
        let rule = |text: &str| text.parse::<Rule>().unwrap();
        let given = PolicySpec {
            allow: vec![rule("a.example.com"), rule("b.example.com:443")],
            deny: vec![rule("*.example.com")],
            ..PolicySpec::default()
        };
        let denied = given.changed(&Change::Deny(rule("a.example.com")));
        assert_eq!(denied.allow, [rule("b.example.com:443")]);
        assert_eq!(denied.deny, [rule("*.example.com"), rule("a.example.com")]);
        assert_eq!(denied.changed(&Change::Deny(rule("a.example.com"))), denied);
        let again = denied.changed(&Change::AllowPrivate(rule("a.example.com")));
        assert_eq!((&again.deny, &again.allow_private), (&given.deny, &vec![rule("a.example.com")]));
        assert_eq!(again.changed(&Change::Deny(rule("a.example.com"))).allow_private, []);
    }
}
