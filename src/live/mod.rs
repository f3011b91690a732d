//! Running sessions: what they say of themselves, and changes to their policy.
//!
//! Each session listens on a Unix socket of its own, in a directory that only its user enters and that no package is ever
//! given ([`Directories::own`](crate::config::Directories::own)). A connection is one line of JSON each way: a [`Request`] and its
//! [`Reply`]. [`server`] is the session's end, [`client`] the other one. A change holds when the log has it and the datapath
//! judges by it, not before ([`Router::revise`](crate::net::router::Router::revise)).

pub mod client;
pub mod server;

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::policy::Change;

/// Longest line either way, bytes: a status with the most rules there may be.
const MAX_LINE: u64 = 2 << 20;

/// How the name of a socket ends that does not answer yet.
const UNREADY: &str = "new";

/// What a session is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What it is and what it may.
    Status,
    /// To judge differently from now on.
    Change(Change),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// How it stands, after the change where one was asked for.
    Status(Box<Status>),
    /// Why nothing was done.
    Refused {
        /// The reason.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// A running session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its id.
    pub session: Uuid,
    /// npxc's process.
    pub pid: u32,
    /// `name@version`.
    pub package: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// The runtime.
    pub runtime: String,
    /// `none`, `allowlist`, `observe` or `open`.
    pub network: String,
    /// The allow rules, presets spelled out.
    pub allow: Vec<String>,
    /// The allow rules that may also reach private addresses.
    pub allow_private: Vec<String>,
    /// The deny rules.
    pub deny: Vec<String>,
    /// Flows allowed so far.
    pub allowed: u64,
    /// Denials so far.
    pub denied: u64,
    /// The audit log.
    pub log: PathBuf,
}

/// A session's socket in the directory of sockets.
fn socket(directory: &Path, session: Uuid) -> PathBuf {
    directory.join(format!("{session}.sock"))
}

/// Makes the directory of sockets, for nobody else to enter.
fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = directory.symlink_metadata()?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || !own {
        return Err(io::Error::other("it is not a directory of yours"));
    }
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// A path of a socket that fits into its address (unix(7) has 108 bytes for it), and what has to stay open as long as it is used.
fn short(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    const ROOM: usize = 100;
    if path.as_os_str().len() <= ROOM || !cfg!(target_os = "linux") {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(directory)?;
    let number = directory.as_raw_fd().to_string();
    Ok((Path::new("/proc/self/fd").join(number).join(name), Some(directory)))
}

#[cfg(test)]
mod tests;
