//! Where the command line hands over to the rooms that do the work.

use crate::config::Resolved;
use crate::exit::{ExitStatus, Failure};

/// Runs the package: `session::run`.
pub(super) fn run(resolved: Resolved) -> Result<ExitStatus, Failure> {
    let _ = resolved;
    Err(Failure::new(ExitStatus::Runtime, "running packages is not wired up yet"))
}

/// Installs the package, again when `force` is set: `session::install`. Returns what was installed, as a title.
pub(super) fn install(resolved: Resolved, force: bool) -> Result<String, Failure> {
    let _ = (resolved, force);
    Err(Failure::new(ExitStatus::Install, "installing packages is not wired up yet"))
}
