//! `npxc audit`.
use crate::exit::{ExitStatus, Failure};
use clap::Parser;
/// Reads audit logs
#[derive(Debug, Parser)]
#[command(name = "npxc audit")]
pub(super) struct Args {}
pub(super) fn execute(_args: &Args) -> Result<ExitStatus, Failure> {
    Ok(ExitStatus::Success)
}
