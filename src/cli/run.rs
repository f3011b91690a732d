//! `npxc SPEC`: the main job.

use super::say::{self, Stderr};
use super::{Args, grants, install, log_to_stderr, resolve, slips, warn_of_slips};
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::session;

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    let voice = Stderr::at(level);
    let resolved = resolve(&args.options, &args.words)?;
    for warning in &resolved.warnings {
        voice.advice(warning);
    }
    warn_of_slips(&args.words, args.marked, &resolved, voice);
    if args.dry_run {
        let rows = grants::rows(&resolved, &session::survey(&resolved), &[]);
        say::print(&grants::text(&rows, false));
        return Ok(ExitStatus::Success);
    }
    // A package of that name may be wanted: nothing is stopped, and one that is installed was meant.
    if let Some(command) = slip(args)
        && session::survey(&resolved)
            .is_ok_and(|survey| !matches!(survey.installed, session::Installed::Ready(_)))
    {
        voice.hint(&format!("did you mean `npxc {command}`?"));
    }
    let ahead = install::ahead(&args.options, args.words.first().map_or("".as_ref(), |word| word));
    session::run(&resolved, &ahead, &voice)
}

/// The command that the first word was probably meant to be.
fn slip(args: &Args) -> Option<&'static str> {
    let spec = args.words.first().filter(|_| !args.marked && args.options.package.is_empty())?;
    slips::command(spec.to_str()?)
}
