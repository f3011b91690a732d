//! `npxc SPEC`: the main job.

use super::say::{self, Stderr};
use super::{Args, dry_run, log_to_stderr, resolve};
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::session;

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    log_to_stderr(args.options.log_level);
    let words = Stderr::at(args.options.log_level);
    let resolved = resolve(&args.options, &args.words)?;
    for warning in &resolved.warnings {
        words.warning(warning);
    }
    if args.dry_run {
        say::print(&dry_run::describe(&resolved));
        return Ok(ExitStatus::Success);
    }
    session::run(&resolved, &words)
}
