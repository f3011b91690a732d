//! Paths inside a text: a command line, an SQL statement. Only what stands for itself there: absolute, below `~/`, or a
//! `file://` URI, with something before it that ends a word.

use std::ops::Range;

use super::{Named, Reason};

/// Paths that are taken out of one text.
const MOST: usize = 64;

/// What may stand right before a path.
const BEFORE: &str = "\"'`=:,;(<>[{|&@";
/// What ends a path that is not quoted.
const BEHIND: &str = "\"'`,;()<>[]{}|&";

/// Names of arguments that hold a command line or a statement.
const WORDS: [&str; 9] =
    ["command", "commands", "cmd", "commandline", "sql", "query", "queries", "statement", "statements"];

/// Words that a text begins with which is a statement, and no question in prose.
const STATEMENTS: [&str; 14] = [
    "select", "attach", "copy", "insert", "create", "load", "import", "export", "pragma", "with", "describe",
    "vacuum", "from", "install",
];

/// Whether an argument of this name (the last word of it) with this value holds paths among other words.
pub fn is_command(name: &str, value: &str) -> bool {
    let last = super::sign::last_word(name);
    if !WORDS.contains(&last.as_str()) {
        return false;
    }
    if !last.starts_with("quer") {
        return true;
    }
    let first = value.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    STATEMENTS.contains(&first.to_ascii_lowercase().as_str())
}

/// The paths in `text`, in order, with where they stand.
pub fn named(text: &str) -> Vec<(Named, Range<usize>)> {
    let read = |span: Range<usize>| Some((Named::read(text.get(span.clone())?, Reason::Text)?, span));
    paths(text).into_iter().filter_map(read).collect()
}

/// Where paths stand in `text`, in order.
pub fn paths(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'/', text.as_bytes().get(from..).unwrap_or_default()) {
        let solidus = from + at;
        from = solidus + 1;
        let Some(start) = start(text, solidus) else { continue };
        let before = text[..start].chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace() && !BEFORE.contains(c)) || is_drive(&text[..start]) {
            continue;
        }
        let end = end(text, start, before);
        from = end.max(from);
        if end > solidus + 1 {
            out.push(start..end);
        }
        if out.len() >= MOST {
            break;
        }
    }
    out
}

/// Where the path begins whose first solidus this is.
fn start(text: &str, solidus: usize) -> Option<usize> {
    let (before, behind) = (&text[..solidus], &text[solidus..]);
    if before.ends_with('~') {
        return Some(solidus - 1);
    }
    if behind.starts_with("///") && before.ends_with("file:") {
        return Some(solidus - "file:".len());
    }
    (!behind.starts_with("//")).then_some(solidus)
}

/// `C:`, of a path of another system.
fn is_drive(before: &str) -> bool {
    let Some(rest) = before.strip_suffix(':') else { return false };
    let mut letters = rest.chars().rev().take_while(char::is_ascii_alphanumeric);
    letters.next().is_some_and(|c| c.is_ascii_alphabetic()) && letters.next().is_none()
}

/// The end of a path: that of its quotes, or of its word.
fn end(text: &str, start: usize, before: Option<char>) -> usize {
    let rest = &text[start..];
    if let Some(quote) = before.filter(|c| "\"'`".contains(*c))
        && let Some(length) = rest.find([quote, '\n'])
        && rest[length..].starts_with(quote)
    {
        return start + length;
    }
    let word = rest.split(|c: char| c.is_whitespace() || BEHIND.contains(c)).next().unwrap_or_default();
    start + word.trim_end_matches(['.', ':', '!', '?']).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        paths(text).into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn paths_are_found_between_words() {
        for (text, expected) in [
            ("git -C /home/me/a log --output=/home/me/b.txt", &["/home/me/a", "/home/me/b.txt"][..]),
            ("SELECT * FROM read_csv('/home/me/my data.csv') x", &["/home/me/my data.csv"]),
            (
                "ATTACH '/home/me/a.db' AS b; COPY t TO \"/home/me/b.csv\";",
                &["/home/me/a.db", "/home/me/b.csv"],
            ),
            ("cat ~/notes/a.md, file:///home/me/b%20c.", &["~/notes/a.md", "file:///home/me/b%20c"]),
            ("See /home/me/x.txt.", &["/home/me/x.txt"]),
            ("'/home/me/it", &["/home/me/it"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn look_alikes_are_not() {
        for text in [
            "https://example.com/a/b",
            "a/b and/or c",
            "x // a comment /",
            "C:/Users/me",
            "s/a/b/",
            "1/2",
            "user@host.example:a/b",
            "text/html",
            "http://example.com//a",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn arguments_that_hold_commands_are_known_by_name() {
        assert!(is_command("command", "ls") && is_command("shellCommand", "ls") && is_command("sql", ""));
        assert!(is_command("query", " select 1") && is_command("query", "FROM '/a/b.csv'"));
        assert!(!is_command("query", "what is in /home/me") && !is_command("text", "SELECT"));
    }
}
