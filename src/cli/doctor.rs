//! `npxc doctor`.
use clap::Parser;
use crate::exit::{ExitStatus, Failure};
/// Tries what npxc needs, and explains what is missing
#[derive(Debug, Parser)]
#[command(name = "npxc doctor")]
pub(super) struct Args {}
pub(super) fn execute(_args: &Args) -> Result<ExitStatus, Failure> { Ok(ExitStatus::Success) }
