//! What to install, as `npx` takes it: a name with a version, range or tag, or something local.
//!
//! Pure: a path is only told apart from a name here, nothing is looked up. Specs come from the command line
//! and the configuration; they go to [`super::request`], which ties local ones to what is on disk.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::name::{PackageName, is_url_friendly};
use super::range;
use crate::paths;

/// Longest spec that is looked at, in bytes: a path can be 4096 long, everything else is shorter.
const MAX_SPEC: usize = 4096;

/// One package, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PackageSpec {
    /// From the registry that npm is configured for.
    Registry {
        /// The package.
        name: PackageName,
        /// Which version of it.
        version: VersionSpec,
    },
    /// From the registry, installed under another name: `alias@npm:name@version`.
    Alias {
        /// The name it gets in `node_modules`.
        alias: PackageName,
        /// The package.
        name: PackageName,
        /// Which version of it.
        version: VersionSpec,
    },
    /// A directory with a `package.json`.
    Directory(LocalPath),
    /// A tarball as `npm pack` makes it.
    Tarball(LocalPath),
}

/// Which version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum VersionSpec {
    /// None was named: what the registry calls latest.
    Default,
    /// One version, in npm's own writing.
    Exact(String),
    /// A range as npm writes them, `^1.2`, `1.x || >=2.5 <3`.
    Range(String),
    /// A tag such as `latest` or `next`.
    Tag(String),
}

/// A path as the user wrote it, without `file:`; may be relative or start with `~/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalPath(String);

impl PackageSpec {
    /// The name under which it is installed, when the spec itself says so. A local package's name is only
    /// known once its `package.json` has been read.
    pub fn name(&self) -> Option<&PackageName> {
        match self {
            Self::Registry { name, .. } | Self::Alias { alias: name, .. } => Some(name),
            Self::Directory(_) | Self::Tarball(_) => None,
        }
    }

    /// The same package with a version, where none was named.
    pub fn or_version(self, default: VersionSpec) -> Self {
        match self {
            Self::Registry { name, version: VersionSpec::Default } => {
                Self::Registry { name, version: default }
            }
            other => other,
        }
    }
}

impl LocalPath {
    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The absolute path, `.` and `..` taken out by name (links are not followed).
    pub fn absolute(&self, cwd: &Path, home: &Path) -> PathBuf {
        paths::absolute(&self.0, cwd, home)
    }
}

impl FromStr for PackageSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        parse(text).map_err(|problem| SpecError { spec: text.chars().take(200).collect(), problem })
    }
}

impl FromStr for VersionSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        parse_version(text).map_err(|problem| SpecError { spec: text.chars().take(200).collect(), problem })
    }
}

fn parse(text: &str) -> Result<PackageSpec, SpecProblem> {
    if text.is_empty() {
        return Err(SpecProblem::Empty);
    }
    if text.len() > MAX_SPEC {
        return Err(SpecProblem::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(SpecProblem::Control);
    }
    if text.starts_with('-') {
        return Err(SpecProblem::Option);
    }
    if let Some(path) = strip_prefix_ignoring_case(text, "file:") {
        return local(path.strip_prefix("//").filter(|p| p.starts_with('/')).unwrap_or(path));
    }
    if is_path(text) {
        return local(text);
    }
    refuse_remote(text)?;

    let name_end = text.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(i, _)| i);
    let (name, version) = match name_end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    };
    if version.trim().is_empty() && (is_path(name) || !name.starts_with('@') && is_tarball(name)) {
        // `~@` is what `~` is, and so are all that would be written back as a path.
        return local(name);
    }
    if !name.starts_with('@') && name.contains('/') {
        return Err(SpecProblem::Hosted);
    }
    let name: PackageName = name.parse().map_err(SpecProblem::Name)?;
    if let Some(target) = strip_prefix_ignoring_case(version, "npm:") {
        return match parse(target)? {
            PackageSpec::Registry { name: target, version } => {
                Ok(PackageSpec::Alias { alias: name, name: target, version })
            }
            PackageSpec::Alias { .. } | PackageSpec::Directory(_) | PackageSpec::Tarball(_) => {
                Err(SpecProblem::Alias)
            }
        };
    }
    let version = version.trim();
    if strip_prefix_ignoring_case(version, "file:").is_some() || is_path(version) {
        return Err(SpecProblem::NamedPath);
    }
    refuse_remote(version)?;
    if version.contains('/') {
        return Err(SpecProblem::Hosted);
    }
    Ok(PackageSpec::Registry { name, version: parse_version(version)? })
}

fn parse_version(text: &str) -> Result<VersionSpec, SpecProblem> {
    let text = text.trim();
    if text.is_empty() {
        Ok(VersionSpec::Default)
    } else if range::is_version(text) {
        Ok(VersionSpec::Exact(text.trim_start_matches(['v', '=', ' ']).to_owned()))
    } else if range::is_range(text) {
        Ok(VersionSpec::Range(text.to_owned()))
    } else if text.chars().all(is_url_friendly) && !text.starts_with(['-', '.']) {
        Ok(VersionSpec::Tag(text.to_owned()))
    } else {
        Err(SpecProblem::Version)
    }
}

fn local(path: &str) -> Result<PackageSpec, SpecProblem> {
    if path.is_empty() {
        return Err(SpecProblem::Empty);
    }
    let path = LocalPath(path.to_owned());
    Ok(if is_tarball(&path.0) { PackageSpec::Tarball(path) } else { PackageSpec::Directory(path) })
}

/// What npm takes for a path whatever follows: `.`, `./x`, `../x`, `/x`, `~/x`.
fn is_path(text: &str) -> bool {
    matches!(text, "." | ".." | "~") || ["./", "../", "/", "~/"].iter().any(|start| text.starts_with(start))
}

fn is_tarball(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    [".tgz", ".tar.gz", ".tar"].iter().any(|end| lower.ends_with(end))
}

fn refuse_remote(text: &str) -> Result<(), SpecProblem> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("http:") || lower.starts_with("https:") {
        return Err(SpecProblem::Url);
    }
    // `user@host.example:path` is git over ssh to npm.
    let scp = text
        .split_once('@')
        .and_then(|(user, rest)| rest.split_once(':').map(|(host, _)| (user, host)))
        .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('/'));
    let scheme = lower.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphabetic() || c == '+')
    });
    if scp || (scheme && strip_prefix_ignoring_case(text, "npm:").is_none()) {
        return Err(SpecProblem::Git);
    }
    Ok(())
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { name, version } => write!(f, "{name}{}{version}", at(version)),
            Self::Alias { alias, name, version } => write!(f, "{alias}@npm:{name}{}{version}", at(version)),
            // A bare `x.tgz` was taken for a file; `./` keeps it one when it is read again.
            Self::Directory(path) | Self::Tarball(path) if is_path(&path.0) => f.write_str(&path.0),
            Self::Directory(path) | Self::Tarball(path) => write!(f, "./{}", path.0),
        }
    }
}

fn at(version: &VersionSpec) -> &'static str {
    if matches!(version, VersionSpec::Default) { "" } else { "@" }
}

impl fmt::Display for VersionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Exact(text) | Self::Range(text) | Self::Tag(text) => f.write_str(text),
        }
    }
}

/// Why a text is no package spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("package spec {spec:?}: {problem}")]
pub struct SpecError {
    /// What was given.
    pub spec: String,
    /// What is wrong.
    pub problem: SpecProblem,
}

impl SpecError {
    /// What the user can do instead.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.problem {
            SpecProblem::Hosted => {
                Some("for a local directory write ./ before it; a git repository has to be cloned first")
            }
            SpecProblem::Git => Some("clone the repository and give its directory, ./NAME"),
            SpecProblem::Url => Some("download the tarball and give its path, ./NAME.tgz"),
            SpecProblem::NamedPath => Some("give the path alone; its package.json holds the name"),
            SpecProblem::Option => Some("options of npxc stand before the package; see npxc --help"),
            SpecProblem::Alias => Some("write NAME@npm:PACKAGE, or PACKAGE alone"),
            SpecProblem::Version => {
                Some("for example NAME@1.2.3, NAME@^1.2 or NAME@latest; NAME alone is the latest")
            }
            SpecProblem::Empty | SpecProblem::TooLong | SpecProblem::Control | SpecProblem::Name(_) => Some(
                "write a package's name, for example cowsay, cowsay@1.6.0 or @scope/name; a directory is ./NAME",
            ),
        }
    }
}

/// What is wrong with a package spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecProblem {
    /// Nothing was given.
    #[error("nothing is named")]
    Empty,
    /// Longer than any path.
    #[error("it is too long")]
    TooLong,
    /// NUL, a line break or the like.
    #[error("it holds a control character")]
    Control,
    /// It would be read as an option by npm.
    #[error("it starts with a hyphen, like an option")]
    Option,
    /// A git URL or `user@host:path`.
    #[error("packages from git are not installed")]
    Git,
    /// A tarball on the web.
    #[error("packages from a URL are not installed")]
    Url,
    /// `user/repository`.
    #[error("this is npm's shorthand for a git repository, and packages from git are not installed")]
    Hosted,
    /// `name@./dir`.
    #[error("a name and a path cannot be given together")]
    NamedPath,
    /// An alias for something else than a package of the registry.
    #[error("an alias can only stand for a package of the registry")]
    Alias,
    /// Neither version nor range nor tag.
    #[error("its version is neither a version nor a range nor a tag")]
    Version,
    /// The name itself.
    #[error(transparent)]
    Name(super::name::NameError),
}

#[cfg(test)]
mod tests;
