//! Paths as users write them, made absolute by name alone. Pure: nothing is looked up and no link is followed.

use std::path::{Component, Path, PathBuf};

/// `text` below `base`, or below `home` when it is `~` or starts with `~/`; [`tidy`].
pub(crate) fn absolute(text: &str, base: &Path, home: &Path) -> PathBuf {
    let written = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if text == "~" => home.to_owned(),
        None => base.join(text),
    };
    tidy(&written)
}

/// `text` as one word of a shell, for hints that are copied.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./@:=,+%".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Takes `.`, `..` and doubled slashes out.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_copied_stays_one_word() {
        assert_eq!(shell_word("/home/me/a-b_c.d"), "/home/me/a-b_c.d");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's; $x"), "'it'\\''s; $x'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("~/x"), "'~/x'", "a tilde was expanded before");
    }
}
