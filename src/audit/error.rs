//! Why there is no log, and what can be done about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::is_full;

/// What to do where the disk is full.
pub(super) const ROOM: &str =
    "the disk is full: free some space, or choose a place on another one with --audit-log PATH";

/// Why there is no log. Nothing runs without one.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory could not be made.
    #[error("the directory for audit logs, {}, cannot be made: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be opened or read.
    #[error("the audit log {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A symbolic link, a pipe, a device.
    #[error("the audit log {} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Something else is in the file.
    #[error("{} holds something that is not an audit log of npxc; it is left as it is", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Another session writes it.
    #[error("the audit log {} is being written by another npxc", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The key that signs could not be read or made.
    #[error("the key that signs audit logs, {}, cannot be used: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This npxc cannot send events to a collector.
    #[error("[audit] says `otel = true`, and this npxc is built without OpenTelemetry")]
    NoExport,
    /// Events cannot be sent to a collector.
    #[error("events cannot be sent to an OpenTelemetry collector: {0}")]
    Export(String),
    /// The thread could not be started.
    #[error("the thread that writes the audit log cannot be started: {0}")]
    Thread(io::Error),
    /// A write failed; the log ends early.
    #[error("the audit log {} is incomplete: {detail}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What failed.
        detail: String,
    },
}

impl AuditError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Directory { source, .. } | Self::Open { source, .. } if is_full(source) => ROOM.to_owned(),
            Self::Directory { .. } | Self::Open { .. } => {
                "choose a place you can write with --audit-log PATH".to_owned()
            }
            Self::NotAFile { .. } | Self::NotALog { .. } => {
                "name a new file, or a directory (one file per session)".to_owned()
            }
            Self::InUse { path } => format!(
                "give a directory, which gets one file per session: --audit-log {}",
                path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")).display()
            ),
            Self::Incomplete { .. } => "free some space; what was written still verifies".to_owned(),
            Self::Key { path, .. } => {
                format!("see who owns {}; `sign = false` below [audit] does without", path.display())
            }
            Self::NoExport => {
                "build it with `cargo build --release --features otel`, or take the key out of npxc.toml"
                    .to_owned()
            }
            Self::Export(_) => "see the OTEL_EXPORTER_OTLP_ variables that npxc is started with".to_owned(),
            Self::Thread(_) => return None,
        })
    }
}
