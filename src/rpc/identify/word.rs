//! Paths among the words of a command line and in variables, as far as a word by itself shows.

use super::{Named, Reason, shape};

/// The path that a word is, or `--option=PATH` has, and what stands before it. It may be none after all: what does not exist
/// is not meant.
pub fn word(word: &str) -> Option<(&str, Named)> {
    let (before, value) = match word.split_once('=') {
        Some((option, _)) if option.starts_with('-') => word.split_at(option.len() + 1),
        Some(_) | None => ("", word),
    };
    // A bare word is the name of a command as often as that of a directory.
    let looks = value.contains('/') || value == "." || value == ".." || has_extension(value);
    Some((before, Named::read(value, Reason::Shape).filter(|_| looks)?))
}

/// The path that a variable's value is.
pub fn variable(value: &str) -> Option<Named> {
    Named::read(value, Reason::Shape).filter(|_| value.starts_with('/') || shape::speaks_for_itself(value))
}

fn has_extension(value: &str) -> bool {
    value.rsplit_once('.').is_some_and(|(name, extension)| {
        !name.is_empty() && (1..=8).contains(&extension.len()) && extension.chars().all(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_may_be_paths() {
        for (text, before, path) in [
            ("/home/me", "", "/home/me"),
            ("--root=/home/me", "--root=", "/home/me"),
            ("-c=./a", "-c=", "./a"),
            ("data.db", "", "data.db"),
            ("src/a", "", "src/a"),
            (".", "", "."),
            ("file:///home/me/b%20c", "", "/home/me/b c"),
            ("a=/b/c", "", "a=/b/c"),
        ] {
            let (found, named) = word(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found, named.written.path.as_str()), (before, path), "{text}");
        }
        for text in [
            "build",
            "--root",
            "https://example.com/a",
            "--url=https://example.com/a.b",
            "src/*.ts",
            "-a/b",
            "",
            "1.2.3-",
        ] {
            assert_eq!(word(text), None, "{text}");
        }
        assert!(variable("/data").is_some() && variable("~/x").is_some());
        assert!(variable("a/b").is_none() && variable("x.db").is_none());
    }
}
