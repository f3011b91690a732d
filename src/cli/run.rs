//! `npxc SPEC`: the main job.

use super::say::{self, Stderr};
use super::{Args, dry_run, log_to_stderr, resolve, warn_of_slips};
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::session;

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    log_to_stderr(args.options.log_level);
    let voice = Stderr::at(args.options.log_level);
    let resolved = resolve(&args.options, &args.words)?;
    for warning in &resolved.warnings {
        voice.warning(warning);
    }
    warn_of_slips(&args.words, args.marked, voice);
    if args.dry_run {
        say::print(&dry_run::describe(&resolved));
        return Ok(ExitStatus::Success);
    }
    session::run(&resolved, &voice)
}
