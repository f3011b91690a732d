//! What can go wrong with a runtime: which operation, on what, and what the user can do about it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use npxc_guest::step::Failure;

use super::explain;

/// A sandbox that could not be started, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A step of building the sandbox failed.
    #[error("{}", explain::sentence(.0))]
    Step(Failure),
    /// A host path cannot be made visible inside.
    #[error("cannot mount {}: {why}", path.display())]
    Mount {
        /// The path on the host.
        path: PathBuf,
        /// Why not.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The sandbox's process ended or fell silent without a word.
    #[error("the sandbox ended unexpectedly{0}")]
    Lost(&'static str),
    /// The sandbox's process lives, and said nothing for too long.
    #[error("the sandbox did not stand after {} seconds of silence", patience.as_secs())]
    Silent {
        /// For how long it was waited.
        patience: Duration,
    },
    /// There is no such engine, or it cannot be executed.
    #[error("{}", not_run(program, source))]
    NoEngine {
        /// The engine's program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An engine refused a command.
    #[error("`{command}` failed: {said}")]
    Engine {
        /// The first words of the command.
        command: String,
        /// What it said about it.
        said: String,
    },
    /// An engine cannot do what was asked for.
    #[error("{what}")]
    Unfit {
        /// What it cannot do.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A system call on npxc's side failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl RuntimeError {
    /// What the user can do about it; may have several lines.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Step(failure) => explain::hint(failure),
            Self::Mount { hint, .. } | Self::Unfit { hint, .. } => hint.clone(),
            Self::Lost(_) => {
                Some("`npxc doctor` tries what this machine's runtimes need and says what is missing".into())
            }
            Self::Silent { .. } => {
                Some("a busy machine may need longer: try again when it has less to do".into())
            }
            Self::NoEngine { program, source } if is_missing_name(program, source) && package(program).is_some() => Some(
                format!(
                    "install it (Debian, Ubuntu: `sudo apt-get install {}`), or leave --runtime out",
                    package(program).unwrap_or_default()
                ),
            ),
            Self::NoEngine { .. } => Some(
                "install the engine, or name its program by `program` below `[runtime]`; `npxc doctor` lists what is usable".into(),
            ),
            Self::Engine { said, .. } => Some(explain::refusal(said).into()),
            Self::Io { .. } => None,
        }
    }

    /// Waiting for the sandbox's word, for at most `patience` each time, has failed.
    pub(super) fn waiting(patience: Duration) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            // What a socket's timeout is called.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent { patience },
            _ => Self::io("waiting for the sandbox")(source),
        }
    }

    /// `program` could not be started.
    pub(super) fn no_engine(program: PathBuf, source: io::Error) -> Self {
        // A directory of PATH that may not be searched is the answer of the system, too, if no other has the program.
        let source = match std::env::var_os("PATH") {
            Some(path) if is_name(&program) && !is_below(&program, &path) => io::ErrorKind::NotFound.into(),
            Some(_) | None => source,
        };
        Self::NoEngine { program, source }
    }

    pub(super) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }
}

/// What [`RuntimeError::NoEngine`] says.
fn not_run(program: &Path, source: &io::Error) -> String {
    let shown = program.display();
    if is_missing_name(program, source) {
        format!("{shown} is not in PATH")
    } else {
        format!("cannot run {shown}: {source}")
    }
}

fn is_missing_name(program: &Path, source: &io::Error) -> bool {
    is_name(program) && source.kind() == io::ErrorKind::NotFound
}

/// A name that is looked for in `PATH`, no path.
fn is_name(program: &Path) -> bool {
    program.components().count() == 1 && program.file_name().is_some_and(|name| name == program.as_os_str())
}

/// Whether a directory of `path`, a list as in `PATH`, has the program.
fn is_below(program: &Path, path: &OsStr) -> bool {
    std::env::split_paths(path).any(|directory| directory.join(program).symlink_metadata().is_ok())
}

/// What Debian and its descendants call the package with an engine.
fn package(program: &Path) -> Option<&'static str> {
    [("podman", "podman"), ("docker", "docker.io")]
        .into_iter()
        .find_map(|(name, package)| (program == Path::new(name)).then_some(package))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_engine_that_is_not_there_says_how_to_get_it() {
        let missing = |program: &str, kind: io::ErrorKind| RuntimeError::NoEngine {
            program: program.into(),
            source: kind.into(),
        };
        let podman = missing("podman", io::ErrorKind::NotFound);
        assert_eq!(podman.to_string(), "podman is not in PATH");
        assert!(podman.hint().unwrap().contains("apt-get install podman`), or leave --runtime out"));
        for other in [
            missing("/opt/podman", io::ErrorKind::NotFound),
            missing("podman", io::ErrorKind::PermissionDenied),
        ] {
            assert!(other.to_string().starts_with("cannot run "), "{other}");
            assert!(other.hint().unwrap().contains("`program`"));
        }
    }

    #[test]
    fn a_directory_that_may_not_be_searched_does_not_hide_that_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::env::join_paths([dir.path().join("none"), dir.path().to_owned()]).unwrap();
        assert!(!is_below(Path::new("engine"), &path));
        std::fs::write(dir.path().join("engine"), "").unwrap();
        assert!(is_below(Path::new("engine"), &path));
        let refused = || io::ErrorKind::PermissionDenied.into();
        let error = RuntimeError::no_engine("npxc-no-such-engine".into(), refused());
        assert_eq!(error.to_string(), "npxc-no-such-engine is not in PATH");
        let error = RuntimeError::no_engine("./podman".into(), refused());
        assert!(error.to_string().starts_with("cannot run ./podman: "), "{error}");
    }
}
