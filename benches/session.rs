//! npxc without its command line, with a program of ours as the package: for what is measured with it inside.

use std::process::ExitCode;

use anyhow::{Result, bail};

/// Does not return in the processes that npxc's runtime makes of this program.
pub fn dispatch() {}

/// Runs this program as `role` in a session, with our standard streams.
pub fn run(role: &str) -> Result<ExitCode> {
    bail!("no session to run {role} in yet")
}
