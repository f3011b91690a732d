//! What is wrong with a text a user wrote: the one shape behind [`RuleError`](super::RuleError) and
//! [`HostNameError`](super::HostNameError).

use std::borrow::Cow;
use std::fmt;

/// A complaint about one character of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Index of the character, 0-based, counted in characters.
    pub(super) at: usize,
    pub(super) what: Cow<'static, str>,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { at, what: what.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same complaint about a text that has `offset` more characters in front.
    pub(super) fn shifted(mut self, offset: usize) -> Self {
        self.at += offset;
        self
    }
}

/// Characters of a hostile or mistaken text that are shown at most; longer ones are cut.
const SHOWN: usize = 300;

/// Text from outside, made safe for a terminal and a log: control and invisible characters escaped, cut after
/// [`SHOWN`] characters.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, character) in self.0.chars().enumerate() {
            if index == SHOWN {
                return f.write_str("...");
            }
            match character {
                '"' | '\'' | '\\' => write!(f, "{character}")?,
                // `escape_debug` escapes control, format and unassigned characters and leaves letters alone.
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        Ok(())
    }
}
