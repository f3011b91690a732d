//! How paths in messages are found: the words of `[paths] strategies`.

use std::str::FromStr;

use super::choices::Choice;
use super::error::Fault;

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

impl Choice for Strategy {
    const ALL: &'static [(&'static str, Self)] =
        &[("config", Self::Config), ("schema", Self::Schema), ("heuristic", Self::Heuristic)];
}

impl FromStr for Strategy {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::from_word(text)
    }
}
