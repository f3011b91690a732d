//! Tells npm's versions and ranges from tags. Pure; it never decides which version a range means, npm does.

/// Longest version or range looked at, in bytes: npm's own bound for a version.
const MAX_LENGTH: usize = 256;

/// `1.2.3`, `v1.2.3-rc.1+build`, as npm's semver reads a single version.
pub(super) fn is_version(text: &str) -> bool {
    text.len() <= MAX_LENGTH && {
        let text = text.trim_start_matches(['v', '=', ' ']);
        let (core, rest) = split_core(text);
        core.split('.').count() == 3 && core.split('.').all(is_number) && is_suffix(rest)
    }
}

/// `^1.2`, `1.x || >=2 <3`, `1.0 - 2.0`, `*`.
pub(super) fn is_range(text: &str) -> bool {
    text.len() <= MAX_LENGTH && text.split("||").all(is_comparator_set)
}

fn is_comparator_set(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [low, "-", high] = words.as_slice() {
        return is_partial(low) && is_partial(high);
    }
    let mut pending_operator = false;
    for word in words {
        let rest = strip_operator(word);
        if rest.is_empty() {
            pending_operator = true;
        } else if is_partial(rest) {
            pending_operator = false;
        } else {
            return false;
        }
    }
    !pending_operator
}

fn strip_operator(word: &str) -> &str {
    [">=", "<=", "~>", ">", "<", "=", "~", "^"]
        .iter()
        .find_map(|operator| word.strip_prefix(operator))
        .unwrap_or(word)
}

/// `1`, `1.2`, `1.x`, `*`, `1.2.3-rc`.
fn is_partial(text: &str) -> bool {
    let text = text.strip_prefix(['v', '=']).unwrap_or(text);
    let (core, rest) = split_core(text);
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() <= 3
        && parts.iter().all(|part| is_number(part) || matches!(*part, "x" | "X" | "*"))
        && (rest.is_empty() || (parts.len() == 3 && is_suffix(rest)))
}

fn split_core(text: &str) -> (&str, &str) {
    text.split_at(text.find(['-', '+']).unwrap_or(text.len()))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_suffix(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')) && text.len() != 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for text in ["1.2.3", "v1.2.3", "=1.2.3", "1.2.3-rc.1", "1.2.3+b.5", "2026.8.31"] {
            assert!(is_version(text), "{text}");
        }
        for text in ["1", "1.2", "1.2.x", "^1.2.3", "latest", "1.2.3-", "1.2.3 || 2", "1.2.3.4", ""] {
            assert!(!is_version(text), "{text}");
        }
    }

    #[test]
    fn ranges() {
        for text in [
            "*",
            "x",
            "1",
            "1.x",
            "^1.2.3",
            "~>2",
            ">= 1.0 < 2",
            ">=1 <2",
            "1 - 2.3",
            "1.2.3-rc - 2",
            "1 || 2 || ^3.0.0-0",
            "",
        ] {
            assert!(is_range(text), "{text}");
        }
        for text in ["latest", "x1", "1.2.3.4", ">=", "1 -", "$(x)", "1;2", "beta-1", "1/2"] {
            assert!(!is_range(text), "{text}");
        }
    }
}
