//! `npxc probe`.
use crate::exit::{ExitStatus, Failure};
use clap::Parser;
use std::ffi::OsString;
/// Starts a server, lists its tools, shows what it tried to reach, stops it
#[derive(Debug, Parser)]
#[command(name = "npxc probe")]
pub(super) struct Args {
    #[command(flatten)]
    options: super::options::Options,
    #[arg(trailing_var_arg = true, value_name = "PACKAGE-SPEC")]
    words: Vec<OsString>,
}
impl Args {
    pub(super) fn parse(argv: &[OsString]) -> Result<Self, clap::Error> {
        Ok(super::parse_keeping::<Self>(argv)?.0)
    }
}
pub(super) fn execute(_args: &Args) -> Result<ExitStatus, Failure> {
    Ok(ExitStatus::Success)
}
