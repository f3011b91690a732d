//! The node and npm that run a package: the host's, or a container image's ([`image`]); where they really are, what they are, and what the guest has to see of them.
//!
//! `PATH` may lead to node itself, to a link (nvm, fnm, Debian) or to a shim that starts some other node (volta,
//! asdf). So node is asked once where and what it is, in [`probe`], and the answer is kept in the cache directory until
//! one of the files it came from changes: a warm start runs nothing here. A shim is asked in the home directory, never
//! in the working directory, whose files could name a program of their own (asdf's `path:` versions).

mod image;
mod probe;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::GUEST_NODE;
use super::error::PackageError;
use super::host::HostEnv;
use crate::runtime::{Access, Mount};

/// The oldest node that is supported: the first whose npm knows `--install-links`.
pub const OLDEST_NODE: &str = "18.12.0";

/// A node with its npm, as found on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The executable itself, links and shims resolved.
    pub exec: PathBuf,
    /// `process.version` without its `v`.
    pub version: String,
    /// `process.versions.modules`: what native modules are built against.
    pub modules: String,
    /// `process.platform`.
    pub platform: String,
    /// `process.arch`.
    pub arch: String,
    /// `glibc` or `musl`.
    pub libc: String,
    /// `npm-cli.js`, links resolved.
    pub npm_cli: PathBuf,
    /// npm's version.
    pub npm_version: String,
    /// The registry that npm uses when nothing is configured.
    pub default_registry: String,
    /// Fingerprints of the certificates that node trusts by itself: SHA-256 of the PEM body without line breaks,
    /// shortened.
    pub roots: BTreeSet<String>,
    /// Whose file system the paths are in.
    #[serde(default)]
    pub home: Home,
    /// What stands for the image's content, where it is an image's: of its digest, 16 hex digits.
    #[serde(skip)]
    pub image: Option<String>,
    /// What the guest has to see besides `/usr`, read-only.
    #[serde(skip)]
    pub mounts: Vec<Mount>,
}

/// Whose file system a node is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Home {
    /// The host's; the guest sees `/usr` of it, and what is mounted.
    #[default]
    Host,
    /// A container image's: the guest sees it where it is.
    Image {
        /// Whether the image has this node's headers.
        headers: bool,
    },
}

/// What a node says about itself.
#[derive(Deserialize)]
struct Answer {
    exec: PathBuf,
    version: String,
    modules: String,
    platform: String,
    arch: String,
    libc: String,
    /// A node that is too old leaves them out.
    roots: Option<BTreeSet<String>>,
}

/// What an npm says about itself, and where it is.
#[derive(Deserialize)]
struct Npm {
    #[serde(rename = "npm_cli")]
    cli: PathBuf,
    #[serde(rename = "npm_version")]
    version: String,
    registry: String,
}

impl Answer {
    fn with(self, npm: Npm, home: Home) -> Node {
        Node {
            exec: self.exec,
            version: self.version,
            modules: self.modules,
            platform: self.platform,
            arch: self.arch,
            libc: self.libc,
            npm_cli: npm.cli,
            npm_version: npm.version,
            default_registry: npm.registry,
            roots: self.roots.unwrap_or_default(),
            home,
            image: None,
            mounts: Vec::new(),
        }
    }
}

/// Keeps what was learnt in a file of the cache, whole or not at all: another npxc may be reading.
fn keep(path: &Path, learnt: &impl Serialize) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec(learnt)?)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

impl Node {
    /// Finds node and npm by `PATH`. `cache` is npxc's cache directory.
    pub fn find(host: &HostEnv, cache: &Path) -> Result<Self, PackageError> {
        let mut node = probe::find(host, cache)?;
        node.mounts = node.needed_mounts();
        node.new_enough()
    }

    fn new_enough(self) -> Result<Self, PackageError> {
        let oldest = semver::Version::parse(OLDEST_NODE);
        if let (Ok(found), Ok(oldest)) = (semver::Version::parse(&self.version), oldest)
            && found < oldest
        {
            return Err(PackageError::NodeTooOld {
                path: self.exec,
                found: self.version,
                needed: OLDEST_NODE,
            });
        }
        Ok(self)
    }

    /// What native modules depend on, and whose programs installed: an image's npm and shell decide what is in an entry
    /// as much as the package does, so that one image's entries are no other's, nor the host's. A path component.
    pub fn platform_key(&self) -> String {
        let clean = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(32).collect()
        };
        let image = self.image.as_ref().map(|image| format!("-image{}", clean(image))).unwrap_or_default();
        format!(
            "{}-{}-{}-node{}{image}",
            clean(&self.platform),
            clean(&self.arch),
            clean(&self.libc),
            clean(&self.modules)
        )
    }

    /// The executable inside the guest.
    pub fn guest_exec(&self) -> PathBuf {
        if self.is_at_home_in_guest() { self.exec.clone() } else { Path::new(GUEST_NODE).join("bin/node") }
    }

    /// `npm-cli.js` inside the guest.
    pub fn guest_npm_cli(&self) -> PathBuf {
        if self.is_images()
            || is_system(&self.npm_cli)
            || self.whole_store().is_some_and(|store| self.npm_cli.starts_with(store))
        {
            self.npm_cli.clone()
        } else {
            Path::new(GUEST_NODE).join("lib/node_modules/npm/bin/npm-cli.js")
        }
    }

    /// The guest's `PATH`: node, npm's own scripts where they are not beside it, and the system.
    pub fn guest_path(&self) -> OsString {
        let mut path = OsString::new();
        for directory in [self.guest_exec(), self.guest_npm_cli()] {
            if let Some(directory) = directory.parent()
                && !["/usr/bin", "/usr/local/bin", "/bin"].iter().any(|known| directory == Path::new(known))
            {
                path.push(directory);
                path.push(":");
            }
        }
        path.push("/usr/local/bin:/usr/bin:/bin");
        path
    }

    /// Where node-gyp finds node's headers on the host, if they belong to this node: the prefix that holds
    /// `include/node`.
    pub fn headers(&self) -> Option<PathBuf> {
        if self.is_images() {
            return None;
        }
        let prefix = self.exec.parent()?.parent()?;
        headers_match(prefix, &self.version).then(|| prefix.to_owned())
    }

    /// The same prefix inside the guest.
    pub fn guest_headers(&self) -> Option<PathBuf> {
        if self.home == (Home::Image { headers: true }) {
            return Some(self.exec.parent()?.parent()?.to_owned());
        }
        let prefix = self.headers()?;
        Some(if self.is_at_home_in_guest() { prefix } else { PathBuf::from(GUEST_NODE) })
    }

    /// npm's directory.
    pub fn npm_dir(&self) -> &Path {
        self.npm_cli.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    fn needed_mounts(&self) -> Vec<Mount> {
        let read_only = |host: PathBuf, guest: PathBuf| Mount { host, guest, access: Access::ReadOnly };
        let mut mounts = Vec::new();
        if let Some(store) = self.whole_store() {
            mounts.push(read_only(store.into(), store.into()));
        } else if !is_system(&self.exec) {
            mounts.push(read_only(self.exec.clone(), self.guest_exec()));
            if let Some(prefix) = self.headers() {
                mounts
                    .push(read_only(prefix.join("include/node"), Path::new(GUEST_NODE).join("include/node")));
            }
        }
        if self.guest_npm_cli() != self.npm_cli {
            mounts.push(read_only(
                self.npm_dir().to_owned(),
                Path::new(GUEST_NODE).join("lib/node_modules/npm"),
            ));
        }
        mounts
    }

    fn is_images(&self) -> bool {
        matches!(self.home, Home::Image { .. })
    }

    fn is_at_home_in_guest(&self) -> bool {
        self.is_images() || is_system(&self.exec) || self.whole_store().is_some()
    }

    /// Nix and Homebrew link node against libraries in their own store: the guest sees all of it, at its own place.
    fn whole_store(&self) -> Option<&'static str> {
        ["/nix/store", "/home/linuxbrew/.linuxbrew"].into_iter().find(|store| self.exec.starts_with(store))
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self {
            exec: "/usr/bin/node".into(),
            version: "20.0.0".into(),
            modules: "115".into(),
            platform: "linux".into(),
            arch: "x64".into(),
            libc: "glibc".into(),
            npm_cli: "/usr/lib/node_modules/npm/bin/npm-cli.js".into(),
            npm_version: "10.0.0".into(),
            default_registry: "https://registry.example.com/".into(),
            roots: BTreeSet::new(),
            home: Home::Host,
            image: None,
            mounts: Vec::new(),
        }
    }
}

/// What the guest sees of the host anyway.
fn is_system(path: &Path) -> bool {
    path.starts_with("/usr")
}

/// Whether `prefix/include/node` are the headers of exactly this version.
pub(super) fn headers_match(prefix: &Path, version: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(prefix.join("include/node/node_version.h")) else {
        return false;
    };
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name)).then(|| words.next())?
        })
    };
    let parts = ["NODE_MAJOR_VERSION", "NODE_MINOR_VERSION", "NODE_PATCH_VERSION"].map(number);
    let [Some(major), Some(minor), Some(patch)] = parts else {
        return false;
    };
    version.split('-').next() == Some(format!("{major}.{minor}.{patch}").as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
