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
