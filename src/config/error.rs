//! What is wrong with a configuration and where: an option, or file, line and column.

use std::fmt;
use std::path::{Path, PathBuf};

use super::masked;
use crate::audit::escape::printable;
use crate::exit::{ExitStatus, Failure};
use crate::policy::{HostNameError, RuleError};

/// Longest excerpt that is shown, characters.
const EXCERPT: usize = 200;

/// A complaint about one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The character it is about, from 0; `None` for the value as a whole.
    pub at: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Fault {
    /// A complaint about a value as a whole.
    pub fn new(what: impl Into<String>) -> Self {
        Self { at: None, what: what.into(), hint: None }
    }

    /// The same, about one character.
    #[must_use]
    pub fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<RuleError> for Fault {
    fn from(error: RuleError) -> Self {
        Self {
            at: Some(error.column().saturating_sub(1)),
            what: error.what().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<HostNameError> for Fault {
    fn from(error: HostNameError) -> Self {
        Self {
            at: Some(error.column().saturating_sub(1)),
            what: error.what().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// Where a value stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An option of the command line, with its dashes.
    Option(String),
    /// A configuration file; line and column from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// The surroundings: an environment variable, a directory.
    Surroundings,
}

/// A configuration that npxc does not start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What is wrong, as a sentence.
    pub what: String,
    /// The text it is about and the character to point at, from 0.
    pub excerpt: Option<Box<(String, usize)>>,
    /// What to do instead.
    pub hint: Option<String>,
}

impl ConfigError {
    /// About an option's value.
    pub fn option(option: &str, value: &str, fault: Fault) -> Self {
        let what = if fault.at.is_some() {
            fault.what
        } else {
            format!("`{}`: {}", printable(value, EXCERPT), fault.what)
        };
        Self {
            place: Place::Option(option.to_owned()),
            what,
            excerpt: fault.at.map(|at| Box::new((value.to_owned(), at))),
            hint: fault.hint,
        }
    }

    /// About a value in a file that starts at byte `offset` of its text; the character is counted from there.
    pub fn file(path: &Path, text: &str, offset: usize, fault: Fault) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + fault.at.unwrap_or(0);
        let excerpt = masked::line(text, line);
        Self {
            place: Place::File { path: path.to_owned(), line: line + 1, column: column + 1 },
            what: fault.what,
            excerpt: Some(Box::new((excerpt, column))),
            hint: fault.hint,
        }
    }

    /// About a value whose place is known already, as a whole.
    pub fn at(place: &Place, fault: Fault) -> Self {
        Self { place: place.clone(), what: fault.what, excerpt: None, hint: fault.hint }
    }

    /// About neither an option nor a file.
    pub fn surroundings(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place: Place::Surroundings, what: what.into(), excerpt: None, hint: Some(hint.into()) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Option(option) => write!(f, "{option}: {}", self.what)?,
            Place::File { path, line, column } => {
                write!(f, "{}:{line}:{column}: {}", path.display(), self.what)?;
            }
            Place::Surroundings => f.write_str(&self.what)?,
        }
        if let Some(excerpt) = &self.excerpt {
            let (line, column) = pointer(&excerpt.0, excerpt.1);
            write!(f, "\n{line}\n{:column$}^", "")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint.clone().unwrap_or_else(|| {
            let instead = match error.place {
                Place::Option(_) => "`npxc --help` shows what each option takes",
                Place::File { .. } => "`npxc config schema` prints what each key takes",
                Place::Surroundings => "`npxc doctor` tries what npxc needs",
            };
            instead.to_owned()
        });
        Self::new(ExitStatus::Config, error.to_string()).hint(hint)
    }
}

/// `text` made printable, and the column under which the character `at` of it stands then.
fn pointer(text: &str, at: usize) -> (String, usize) {
    let start = at.saturating_sub(EXCERPT / 2);
    let shown: String =
        text.chars().skip(start).take(EXCERPT).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let before: String = shown.chars().take(at - start).collect();
    let column = printable(&before, usize::MAX / 8).chars().count();
    (printable(&shown, usize::MAX / 8), column)
}

/// The word of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let length = word.chars().count();
    let limit = (length / 3).clamp(1, 3);
    known
        .into_iter()
        // Whoever is that much longer or shorter is not near; and it may be very long.
        .filter(|candidate| candidate.chars().take(length + limit + 1).count().abs_diff(length) <= limit)
        .map(|candidate| (distance(&word, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let above = rows.get(i).and_then(|row| row.get(j + 1)).copied().unwrap_or(0);
            let diagonal = rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
            let left = row.get(j).copied().unwrap_or(0);
            let mut best = (above + 1).min(left + 1).min(diagonal + usize::from(x != y));
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                let swapped = rows.get(i - 1).and_then(|row| row.get(j - 1)).copied().unwrap_or(0);
                best = best.min(swapped + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_points_at_the_character() {
        let fault = Fault::new("a space cannot stand in a name").at(3);
        let error = ConfigError::option("--allow", "exa mple.com", fault);
        assert_eq!(error.to_string(), "--allow: a space cannot stand in a name\nexa mple.com\n   ^");
    }

    #[test]
    fn a_file_points_at_line_and_column() {
        let text = "a = 1\n[network]\nallow = [\"exa mple.com\"]\n";
        let offset = text.find("exa").unwrap_or(0);
        let error = ConfigError::file(Path::new("x.toml"), text, offset, Fault::new("no").at(3));
        assert_eq!(error.to_string(), "x.toml:3:14: no\nallow = [\"exa mple.com\"]\n             ^");
    }

    #[test]
    fn a_lines_password_is_not_shown_and_the_caret_stays() {
        let text = "proxy = http://us:p\u{e4}ss@w@p.example:1 x\n";
        let error = ConfigError::file(Path::new("x.toml"), text, 8, Fault::new("no"));
        assert_eq!(error.to_string(), "x.toml:1:9: no\nproxy = http://*********@p.example:1 x\n        ^");
    }

    #[test]
    fn hostile_text_is_shown_harmlessly_and_the_caret_stays_under_it() {
        let error = ConfigError::option("--allow", "a\u{1b}[2Jb", Fault::new("no").at(5));
        assert_eq!(error.to_string(), "--allow: no\na\\u{1b}[2Jb\n          ^");
    }

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["allow", "allow_private", "deny", "mode", "memory"];
        assert_eq!(nearest("alow", known), Some("allow"));
        assert_eq!(nearest("allwo", known), Some("allow"));
        assert_eq!(nearest("allow-private", known), Some("allow_private"));
        assert_eq!(nearest("Memory", known), Some("memory"));
        assert_eq!(nearest("zzz", known), None);
        // A table of all their letters would not fit into memory.
        let long = "allow".repeat(20_000_000);
        assert_eq!(nearest("alow", [long.as_str(), "allow"]), Some("allow"));
    }
}
