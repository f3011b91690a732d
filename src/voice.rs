//! What tells npxc's own words on stderr from a package's, for an npxc that reads both.
//!
//! `npxc probe` and its like start npxc again and repeat its words, but none of the package's, which writes to the same stderr
//! and may begin a line as npxc does. So the one that starts the other names a word that nobody can guess, and what
//! the other says begins with it. No variable of npxc's reaches a package.

use std::sync::LazyLock;

use uuid::Uuid;

/// The variable that names the word.
pub(crate) const VARIABLE: &str = "NPXC_VOICE";

/// What each line of npxc's own begins with, before its usual prefix: nothing, unless another npxc listens. Then it ends the
/// line that the package may have left unfinished; an empty one is nothing to who listens.
pub(crate) fn mark() -> &'static str {
    static MARK: LazyLock<String> =
        LazyLock::new(|| std::env::var(VARIABLE).ok().and_then(|word| said(&word)).unwrap_or_default());
    &MARK
}

/// For this word.
pub(crate) fn said(word: &str) -> Option<String> {
    marked(word).map(|mark| format!("\n{mark}"))
}

/// A new word, and what lines begin with for it.
pub(crate) fn word() -> (String, String) {
    let word = Uuid::new_v4().to_string();
    let mark = marked(&word).unwrap_or_default();
    (word, mark)
}

fn marked(word: &str) -> Option<String> {
    Uuid::parse_str(word).ok().map(|word| format!("{word} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_that_nobody_guesses_marks_lines() {
        let ((one, mark), (other, _)) = (word(), word());
        assert_ne!(one, other);
        assert_eq!(mark, format!("{one} "));
        assert_eq!(said(&one), Some(format!("\n{mark}")), "whatever the package has begun");
        assert_eq!(said(""), None);
        assert_eq!(said("npxc: "), None);
    }
}
