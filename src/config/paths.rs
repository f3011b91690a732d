//! `[paths]` in a file: how paths in messages are found, and what becomes of the files.

use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use super::error::Fault;
use super::values::one_of;

/// One way to find paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// By `[path_arguments]`.
    Config,
    /// By the tools' schemas.
    Schema,
    /// By what values look like.
    Heuristic,
}

impl FromStr for Strategy {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        one_of(text, &[("config", Self::Config), ("schema", Self::Schema), ("heuristic", Self::Heuristic)])
    }
}

/// `[paths]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PathsTable {
    pub(super) mount_mode: Option<Spanned<String>>,
    pub(super) strategies: Option<Vec<Spanned<String>>>,
    pub(super) heuristic: HeuristicTable,
}

/// `[paths.heuristic]`: takes "heuristic" away from the strategies, and adds it to none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeuristicTable {
    pub(super) enabled: Option<bool>,
}

impl PathsTable {
    /// `self`, and from `below` what it does not say.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            mount_mode: self.mount_mode.or(below.mount_mode),
            strategies: self.strategies.or(below.strategies),
            heuristic: HeuristicTable { enabled: self.heuristic.enabled.or(below.heuristic.enabled) },
        }
    }
}
