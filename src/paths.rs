//! Paths as users write them, made absolute by name alone. Pure: nothing is looked up and no link is followed.

use std::path::{Component, Path, PathBuf};

use crate::audit::escape::is_hostile;

/// `text` below `base`, or below `home` when it is `~` or starts with `~/`; [`tidy`].
pub(crate) fn absolute(text: &str, base: &Path, home: &Path) -> PathBuf {
    let written = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if text == "~" => home.to_owned(),
        None => base.join(text),
    };
    tidy(&written)
}

/// `text` as one word of a shell, for hints that are copied: what a terminal would obey is written as bash, zsh and ksh read it
/// back.
pub(crate) fn shell_word(text: &str) -> String {
    if !text.contains(is_hostile) {
        return quoted(text);
    }
    let mut out = "$'".to_owned();
    for character in text.chars() {
        if is_hostile(character) {
            let mut bytes = [0; 4];
            let octal = |byte| format!("\\{byte:03o}");
            out.extend(character.encode_utf8(&mut bytes).bytes().map(octal));
        } else {
            out.extend(matches!(character, '\'' | '\\').then_some('\\'));
            out.push(character);
        }
    }
    out.push('\'');
    out
}

/// The same for any POSIX shell that runs it, and never shown.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./@:=,+%".contains(character);
    // `=ls` is a path to zsh.
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(plain) {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_copied_stays_one_word() {
        assert_eq!(shell_word("/home/me/a-b_c.d"), "/home/me/a-b_c.d");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's; $x"), "'it'\\''s; $x'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(shell_word("~/x"), "'~/x'", "a tilde was expanded before");
        assert_eq!(shell_word("=ls"), "'=ls'");
        assert_eq!(shell_word("it's\u{1b}\u{202e}"), "$'it\\'s\\033\\342\\200\\256'");
    }

    /// What the program `shell` makes of one word.
    fn read_back(shell: &str, word: &str) -> String {
        let output =
            std::process::Command::new(shell).args(["-c", &format!("printf %s {word}")]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{word}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_word_is_what_it_was_and_no_terminal_obeys_it() {
        for text in [
            "a b",
            "it's; $(id) `id` \"x\" \\",
            "'",
            "''",
            "\\'",
            "!!",
            "a\nb\rc\td",
            "-rf",
            "*?[a]{b,c}",
            "#x",
            "\u{1b}[2J\u{1b}]0;x\u{7}",
            "\u{9b}31m",
            "\u{202e}txt.exe\u{2066}",
            "it's\u{1b}\\'1\u{7f}0",
            "\u{e9}\u{1f980}",
            "\u{1b}7",
        ] {
            let word = shell_word(text);
            assert!(!word.contains(is_hostile), "{word:?}");
            assert_eq!(read_back("bash", &word), text, "{word:?}");
            assert_eq!(read_back("sh", &quoted(text)), text, "{text:?}");
        }
    }
}
