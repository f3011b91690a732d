//! `npxc install`: installs ahead, so that the first start of a client does not wait for npm.

use std::ffi::OsString;

use clap::Parser;

use super::options::Options;
use super::say::Stderr;
use super::{log_to_stderr, resolve};
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::session;

/// Installs packages now, so that their first start is fast
#[derive(Debug, Parser)]
#[command(name = "npxc install")]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// Install again even if it is installed
    #[arg(long)]
    force: bool,
    /// The packages
    #[arg(value_name = "PACKAGE-SPEC")]
    specs: Vec<OsString>,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    let voice = Stderr::at(level);
    // With -p, the packages are one request, as they would be when they are run; the bin does not matter.
    let requests: Vec<Vec<OsString>> = if args.options.package.is_empty() {
        args.specs.iter().map(|spec| vec![spec.clone()]).collect()
    } else {
        vec![if args.specs.is_empty() { vec!["-".into()] } else { args.specs.clone() }]
    };
    if requests.is_empty() {
        let command = if args.force { "rebuild" } else { "install" };
        return Err(Failure::new(ExitStatus::Config, "no package is named")
            .hint(format!("npxc {command} PACKAGE...; npxc list shows what is installed")));
    }
    let resolved: Vec<_> =
        requests.iter().map(|words| resolve(&args.options, words)).collect::<Result<_, _>>()?;
    for mut resolved in resolved {
        resolved.request.bin = None;
        for warning in &resolved.warnings {
            voice.warning(warning);
        }
        if let Some(title) = session::install(&resolved, args.force, &voice)? {
            voice.say(&format!("{title} is installed already"));
        }
    }
    Ok(ExitStatus::Success)
}
