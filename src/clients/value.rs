//! A configuration file as a tree with places: every value knows which bytes it is. Pure; JSON and TOML give the same tree.

use std::ops::Range;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its bytes, quotes and brackets included.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A string, without its quotes and escapes.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// An object or table, in the order of the file, a name that is there twice included.
    Table(Vec<(String, Value)>),
    /// Nothing, said.
    Null,
    /// Anything else: a number, a literal, a string that stands for no text.
    Other,
}

/// Why a text is not read, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The byte.
    pub at: usize,
    /// What is wrong there, a clause.
    pub what: String,
}

impl Fault {
    /// A fault at a byte.
    pub fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }

    /// Line and column in `text`, both from 1; the column counts characters.
    pub fn place(&self, text: &[u8]) -> (usize, usize) {
        place(text, self.at)
    }
}

/// Line and column of a byte, both from 1; the column counts characters.
pub fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let start = if start == 0 && before.starts_with(BOM.as_bytes()) { BOM.len() } else { start };
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// The byte order mark that some editors put first.
pub(super) const BOM: &str = "\u{feff}";

impl Value {
    /// What stands under a name. Of two, the last: so every client takes it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members().iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The members of a table; of anything else none.
    pub fn members(&self) -> &[(String, Value)] {
        match &self.kind {
            Kind::Table(members) => members,
            Kind::Text(_) | Kind::List(_) | Kind::Null | Kind::Other => &[],
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::List(_) | Kind::Table(_) | Kind::Null | Kind::Other => None,
        }
    }
}
