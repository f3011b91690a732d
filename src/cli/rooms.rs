//! Where the command line hands over to the rooms that do the work.

use crate::config::Resolved;
use crate::exit::{ExitStatus, Failure};
use crate::session;

use super::say::Stderr;

/// Runs the package. The guest's files are on disk and its processes gone when this returns.
pub(super) fn run(resolved: &Resolved) -> Result<ExitStatus, Failure> {
    session::run(resolved, &Stderr)
}

/// Installs the package, again when `force` is set. Returns what was installed, as a title.
pub(super) fn install(resolved: &Resolved, force: bool) -> Result<String, Failure> {
    session::install(resolved, force, &Stderr)
}
