//! Which strings of a tool's arguments are paths of the client's machine. Pure.
//!
//! Three strategies whose results are united: what the configuration says ([`Configured`]), what the tool's input schema
//! says ([`schema`]), and the shape of the value ([`shape`]). `[non_path_arguments]` wins over all of them. Every decision
//! has its [`Reason`].
//!
//! A command line or a statement is none, but there may be paths in it ([`embedded`]).
//!
//! An argument is known by the keys that lead to it, array indexes left out: `["sources", "path"]`.

pub mod embedded;
pub mod schema;
pub mod shape;
mod sign;
pub mod word;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

pub use self::schema::ToolSchema;
pub use self::shape::{NoPath, Written};
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
    /// How paths are found besides.
    pub strategies: Strategies,
}

impl Configured {
    /// Whether an argument is a path, if the configuration says so or otherwise.
    pub fn says(&self, tool: &str, keys: &[&str]) -> Option<bool> {
        if names(&self.others, tool, keys) {
            return Some(false);
        }
        (self.strategies.config && names(&self.paths, tool, keys)).then_some(true)
    }
}

/// How paths are found; the results are united.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategies {
    /// By `[path_arguments]`.
    pub config: bool,
    /// By the tools' schemas.
    pub schema: bool,
    /// By what the values look like.
    pub heuristic: bool,
}

impl Default for Strategies {
    fn default() -> Self {
        Self { config: true, schema: true, heuristic: true }
    }
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
    /// It stands in a command line or a statement.
    Text,
    /// It is a root of the client's.
    Root,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("[path_arguments] names it"),
            Self::Schema(Sign::Format) => f.write_str("the tool's schema gives it a path's format"),
            Self::Schema(Sign::Name) => f.write_str("its name in the tool's schema is that of a path"),
            Self::Schema(Sign::Description) => f.write_str("its description in the tool's schema says so"),
            Self::Shape => f.write_str("the value looks like a path"),
            Self::Text => f.write_str("it stands in a command line or a statement"),
            Self::Root => f.write_str("it is a root of the client's"),
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
    /// The tool makes a file of that name, as far as names say: nothing else can be meant where none is there.
    pub makes: bool,
}

impl Named {
    /// What a text says, if that is a path.
    pub fn read(text: &str, reason: Reason) -> Option<Self> {
        Some(Self { text: text.to_owned(), written: shape::read(text)?, reason, makes: false })
    }
}

/// Why a string is not taken for a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// `[non_path_arguments]` names it.
    Configured,
    /// The value cannot be one.
    Value(NoPath),
    /// Its name is that of a text, which is stored or sent as it is.
    Content,
    /// Nothing says that it is one.
    Unsaid,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("[non_path_arguments] names it"),
            Self::Value(why) => why.fmt(f),
            Self::Content => f.write_str("its name is that of a text, whatever it looks like"),
            Self::Unsaid => {
                f.write_str("neither its name, nor its description, nor its value is that of a path")
            }
        }
    }
}

/// Whether the argument of `tool` below `keys` with this value is a path.
pub fn identify(
    configured: &Configured,
    schema: Option<&ToolSchema>,
    tool: &str,
    keys: &[&str],
    value: &str,
) -> Option<Named> {
    explain(configured, schema, tool, keys, value).ok()
}

/// The same, with the reason when it is none.
///
/// # Errors
/// [`Other`].
pub fn explain(
    configured: &Configured,
    schema: Option<&ToolSchema>,
    tool: &str,
    keys: &[&str],
    value: &str,
) -> Result<Named, Other> {
    if names(&configured.others, tool, keys) {
        return Err(Other::Configured);
    }
    let written = shape::judge(value).map_err(Other::Value)?;
    let strategies = configured.strategies;
    let sign = || schema.filter(|_| strategies.schema).and_then(|schema| schema.sign(keys));
    let reason = if strategies.config && names(&configured.paths, tool, keys) {
        Reason::Configured
    } else if let Some(sign) = sign() {
        Reason::Schema(sign)
    } else if keys.last().is_some_and(|key| sign::is_content(key)) {
        return Err(Other::Content);
    } else if strategies.heuristic && shape::speaks_for_itself(value) {
        Reason::Shape
    } else {
        return Err(Other::Unsaid);
    };
    let makes = keys.last().is_some_and(|argument| sign::makes(tool, argument));
    Ok(Named { text: value.to_owned(), written, reason, makes })
}

/// The path that a value is by itself, unless the configuration has it otherwise: where nobody says what is meant. Also
/// of an object's key below `keys`, as those of `{"/home/me/a.txt": "new content"}` are.
pub fn by_shape(configured: &Configured, tool: &str, keys: &[&str], value: &str) -> Option<Named> {
    let excluded = names(&configured.others, tool, keys) || !configured.strategies.heuristic;
    Named::read(value, Reason::Shape).filter(|_| !excluded && shape::speaks_for_itself(value))
}

/// The paths in an argument that holds a command line or a statement, with where they stand in it.
pub fn within(configured: &Configured, tool: &str, keys: &[&str], value: &str) -> Vec<(Named, Range<usize>)> {
    let excluded = names(&configured.others, tool, keys) || !configured.strategies.heuristic;
    if excluded || !keys.last().is_some_and(|name| embedded::is_command(name, value)) {
        return Vec::new();
    }
    embedded::named(value)
}

fn names(arguments: &Arguments, tool: &str, keys: &[&str]) -> bool {
    let dotted = keys.join(".");
    let mut lists = [tool, EVERY_TOOL].into_iter().filter_map(|tool| arguments.get(tool));
    lists.any(|list| list.iter().any(|name| *name == dotted || keys.last() == Some(&name.as_str())))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "corpus_tests.rs"]
mod corpus_tests;
