//! Which strings of a tool's arguments are paths of the client's machine. Pure.
//!
//! Three strategies whose results are united: what the configuration says ([`Configured`]), what the tool's input schema
//! says ([`schema`]), and the shape of the value ([`shape`]). `[non_path_arguments]` wins over all of them. Every decision
//! has its [`Reason`].
//!
//! An argument is known by the keys that lead to it, array indexes left out: `["sources", "path"]`.

pub mod schema;
pub mod shape;
mod sign;

use std::collections::BTreeMap;
use std::fmt;

pub use self::schema::ToolSchema;
pub use self::shape::Written;
pub use self::sign::Sign;

/// The tool's name that stands for every tool.
const EVERY_TOOL: &str = "*";

/// `[path_arguments]` or `[non_path_arguments]`: by tool, or `*`, the arguments by their name or dotted keys.
pub type Arguments = BTreeMap<String, Vec<String>>;

/// What the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Arguments that are paths.
    pub paths: Arguments,
    /// Arguments that are none.
    pub others: Arguments,
}

/// Why a string is taken for a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `[path_arguments]` names it.
    Configured,
    /// The tool's input schema.
    Schema(Sign),
    /// The value looks like one.
    Shape,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("[path_arguments] names it"),
            Self::Schema(Sign::Format) => f.write_str("the tool's schema gives it a path's format"),
            Self::Schema(Sign::Name) => f.write_str("its name in the tool's schema is that of a path"),
            Self::Schema(Sign::Description) => f.write_str("its description in the tool's schema says so"),
            Self::Shape => f.write_str("the value looks like a path"),
        }
    }
}

/// A string that is a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As the client wrote it.
    pub text: String,
    /// What it says.
    pub written: Written,
    /// Why it is taken for one.
    pub reason: Reason,
}

/// Whether the argument of `tool` below `keys` with this value is a path.
pub fn identify(
    configured: &Configured,
    schema: Option<&ToolSchema>,
    tool: &str,
    keys: &[&str],
    value: &str,
) -> Option<Named> {
    if names(&configured.others, tool, keys) {
        return None;
    }
    let written = shape::read(value)?;
    let reason = if names(&configured.paths, tool, keys) {
        Reason::Configured
    } else if let Some(sign) = schema.and_then(|schema| schema.sign(keys)) {
        Reason::Schema(sign)
    } else if shape::speaks_for_itself(value) {
        Reason::Shape
    } else {
        return None;
    };
    Some(Named { text: value.to_owned(), written, reason })
}

fn names(arguments: &Arguments, tool: &str, keys: &[&str]) -> bool {
    let dotted = keys.join(".");
    let mut lists = [tool, EVERY_TOOL].into_iter().filter_map(|tool| arguments.get(tool));
    lists.any(|list| list.iter().any(|name| *name == dotted || keys.last() == Some(&name.as_str())))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
