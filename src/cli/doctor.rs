//! `npxc doctor`.
use crate::exit::{ExitStatus, Failure};
use clap::Parser;
/// Tries what npxc needs, and explains what is missing
#[derive(Debug, Parser)]
#[command(name = "npxc doctor")]
pub(super) struct Args {}
pub(super) fn execute(_args: &Args) -> Result<ExitStatus, Failure> {
    Ok(ExitStatus::Success)
}
