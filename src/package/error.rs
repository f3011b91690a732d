//! What can go wrong in this room, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::step::StepError;
use crate::exit::{FULL_DISK, is_full};

/// Failure to find, install or open a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The spec does not parse.
    #[error(transparent)]
    Spec(#[from] super::spec::SpecError),
    /// Nothing was asked for, or far too much.
    #[error("{count} packages were named; npxc takes 1 to {max}")]
    PackageCount {
        /// How many were named.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A local spec names nothing that can be installed.
    #[error("{} is not a package: {problem}", path.display())]
    NotAPackage {
        /// The path after resolution.
        path: PathBuf,
        /// What is missing.
        problem: &'static str,
    },
    /// No node on the host.
    #[error("node was not found in PATH")]
    NodeMissing,
    /// node was found and cannot be used.
    #[error("{} cannot be used: {problem}", path.display())]
    NodeUnusable {
        /// What PATH led to.
        path: PathBuf,
        /// What it did.
        problem: String,
        /// What to do.
        hint: Option<String>,
    },
    /// node's version is too low.
    #[error("node {found} at {} is too old, npxc needs {needed} or later", path.display())]
    NodeTooOld {
        /// The executable.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The lowest that works.
        needed: &'static str,
    },
    /// node has no npm beside it.
    #[error("npm was not found for node at {}", node.display())]
    NpmMissing {
        /// The executable.
        node: PathBuf,
    },
    /// npm's configuration cannot be used.
    #[error("npm's configuration ({origin}): {problem}")]
    Config {
        /// The file or variable; never its value.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// A step of an install failed inside the sandbox.
    #[error("{0}")]
    Install(Box<InstallFailure>),
    /// What npm left behind is refused.
    #[error("{package} was refused: {problem}")]
    Refused {
        /// What was asked for.
        package: String,
        /// What was found, values escaped.
        problem: String,
    },
    /// The sandbox itself failed.
    #[error("cannot run npm in the sandbox: {0}")]
    Step(#[from] StepError),
    /// Which program to run cannot be told.
    #[error("{package} {problem}")]
    Bin {
        /// The package.
        package: String,
        /// Why, as the rest of a sentence.
        problem: String,
        /// The bins there are.
        bins: Vec<String>,
    },
}

/// A step that ended without success.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} of {package} failed ({ended}){}", output.as_deref().map(|o| format!(":\n{o}")).unwrap_or_default())]
pub struct InstallFailure {
    /// `download`, or `install script "node-gyp rebuild"`.
    pub what: String,
    /// The package whose script failed, or the request.
    pub package: String,
    /// How the command ended.
    pub ended: String,
    /// The last lines of output, control characters taken out.
    pub output: Option<String>,
    /// What to do, most useful first.
    pub hints: Vec<String>,
}

impl PackageError {
    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { operation, path: path.into(), source }
    }

    /// What the user can do, most useful first.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Spec(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::NodeMissing => vec![format!(
                "install node {} or later (your distribution's nodejs and npm, or nvm, fnm, volta), and start npxc with it in PATH",
                super::node::OLDEST_NODE
            )],
            Self::NodeTooOld { needed, .. } => {
                vec![format!("put node {needed} or later first in PATH")]
            }
            Self::NodeUnusable { hint, .. } => hint.clone().into_iter().collect(),
            Self::NpmMissing { .. } => {
                vec!["install npm (on Debian and Ubuntu: the package npm), or put a node that comes with it first in PATH".to_owned()]
            }
            Self::Install(failure) => failure.hints.clone(),
            Self::Step(error) => error.hint.clone().into_iter().collect(),
            Self::Bin { bins, .. } if !bins.is_empty() => {
                vec![format!("its programs are {}; npxc -p PACKAGE PROGRAM starts one", bins.join(", "))]
            }
            Self::Bin { .. } => {
                vec!["it is no program but a library; npxc -p PACKAGE PROGRAM starts another's".to_owned()]
            }
            Self::NotAPackage { .. } => vec!["name a directory with a package.json, or a .tgz".to_owned()],
            Self::Config { origin, .. } => {
                vec![format!("set it right in {origin}, or with `npm config edit`")]
            }
            Self::Io { source, .. } if is_full(source) => vec![FULL_DISK.to_owned()],
            Self::Io { .. } => vec!["`npxc doctor` tries npxc's directories".to_owned()],
            Self::PackageCount { .. } | Self::Refused { .. } => Vec::new(),
        }
    }
}
