//! Names of packages, and the one way in which a name becomes part of a path.
//!
//! Pure. Names come from the command line, the configuration and lock files; they go to npm's arguments and,
//! encoded, into directories of the store. A name that could leave its directory does not parse.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// npm's own limit for names of new packages, in bytes; no old package is longer either.
const MAX_NAME: usize = 214;
/// Longest path component made of a name, in bytes: file names may have 255, and a suffix follows.
const MAX_COMPONENT: usize = MAX_NAME;

/// A package name as npm accepts it for packages that exist, `name` or `@scope/name`.
///
/// Upper case letters and `~'!()*` are allowed, as in some packages from before 2014. Path separators,
/// leading dots, control characters and everything else that would have to be escaped in a URL are not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

impl PackageName {
    /// The name as npm writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its scope.
    pub fn unscoped(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// The name as one component of a path. Injective, also on file systems that ignore case: `@a/b` becomes
    /// `@a+b` and `Ab` becomes `^ab`; neither `+` nor `^` can stand in a name. One that would grow too long for a
    /// file name ends with a hash, after `=`, which cannot stand in a name either.
    pub fn path_component(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 4);
        for c in self.0.chars() {
            match c {
                '/' => out.push('+'),
                'A'..='Z' => {
                    out.push('^');
                    out.push(c.to_ascii_lowercase());
                }
                _ => out.push(c),
            }
        }
        if out.len() > MAX_COMPONENT {
            let hash = super::request::hex(&Sha256::digest(self.0.as_bytes()));
            out.truncate(MAX_COMPONENT - 33);
            out.push('=');
            out.push_str(&hash[..32]);
        }
        out
    }
}

impl FromStr for PackageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |problem| Err(NameError { name: text.to_owned(), problem });
        if text.is_empty() {
            return fail("is empty");
        }
        if text.len() > MAX_NAME {
            return fail("is longer than 214 characters");
        }
        let parts: &[&str] = &match text.strip_prefix('@') {
            Some(rest) => match rest.split_once('/') {
                Some((scope, name)) => vec![scope, name],
                None => return fail("has a scope but no name; scoped names look like @scope/name"),
            },
            None => vec![text],
        };
        for part in parts {
            match part.chars().next() {
                None => return fail("has an empty part"),
                Some('.') => return fail("must not start with a dot"),
                Some('-') => return fail("must not start with a hyphen"),
                Some('_') if parts.len() == 1 => return fail("must not start with an underscore"),
                Some(_) => {}
            }
            if !part.chars().all(is_url_friendly) {
                return fail("has a character that cannot stand in a package name");
            }
        }
        if ["node_modules", "favicon.ico"].iter().any(|reserved| text.eq_ignore_ascii_case(reserved)) {
            return fail("is reserved");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl serde::Serialize for PackageName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for PackageName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is no package name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no package name: it {problem}")]
pub struct NameError {
    /// What was given.
    pub name: String,
    /// What is wrong with it, as the rest of a sentence.
    pub problem: &'static str,
}

/// What JavaScript's `encodeURIComponent` leaves alone: npm's rule for names and tags.
pub(super) fn is_url_friendly(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.!~*'()".contains(c)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_npm_accepts() {
        for name in ["express", "@scope/name", "JSONStream", "a.b-c_d", "@a/_b", "x~y", "http"] {
            assert_eq!(name.parse::<PackageName>().unwrap().as_str(), name);
        }
        let name: PackageName = "@scope/name".parse().unwrap();
        assert_eq!(name.unscoped(), "name");
    }

    #[test]
    fn names_that_could_leave_their_directory() {
        let long = "a".repeat(215);
        for name in [
            "",
            ".",
            "..",
            "@a/..",
            "@../a",
            "@a/b/c",
            "a/b",
            "../a",
            "@a",
            "@/a",
            "@a/",
            "a\0b",
            "a\nb",
            "a b",
            " a",
            "-a",
            "_a",
            "a\\b",
            "a%2fb",
            "a+b",
            "a^b",
            "é",
            "node_modules",
            "Node_Modules",
            "@a@b/c",
            &long,
        ] {
            assert!(name.parse::<PackageName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn scoped_and_dashed_names_share_nothing() {
        let component = |name: &str| name.parse::<PackageName>().unwrap().path_component();
        assert_eq!(component("@a/b"), "@a+b");
        assert_eq!(component("a-b"), "a-b");
        assert_eq!(component("Ab"), "^ab");
        let (long, other) = ("A".repeat(200), "A".repeat(201));
        assert_eq!(component(&long).len(), MAX_COMPONENT);
        assert_ne!(component(&long), component(&other));
    }

    proptest! {
        #[test]
        fn path_components_are_injective_and_stay_in_place(
            a in "@?[a-cA-C~_.!-]{1,4}/?[a-cA-C.]{0,3}",
            b in "@?[a-cA-C~_.!-]{1,4}/?[a-cA-C.]{0,3}",
        ) {
            if let (Ok(a), Ok(b)) = (a.parse::<PackageName>(), b.parse::<PackageName>()) {
                let (x, y) = (a.path_component(), b.path_component());
                prop_assert_eq!(a == b, x == y);
                // Also where the file system ignores case.
                prop_assert_eq!(x.to_ascii_lowercase(), x.clone());
                prop_assert!(!x.contains('/') && !x.starts_with('.'));
            }
        }

        #[test]
        fn any_text_parses_or_fails(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<PackageName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
