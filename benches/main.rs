//! The benchmarks: npxc beside its peers, in one run, as ratios.
//!
//! `benches/run` builds and starts this program; without a section it runs all of them, prints the table and
//! writes `docs/bench.md` and `docs/bench.svg`. Each section is a process of its own, which prints its records
//! as JSON lines: `datapath` has to live in network namespaces that it makes itself, and none may disturb the
//! next. The same program is also what runs at both ends of the measured connections (`guest`, `server`,
//! `echo`, `parse`) and what stands for npxc where its library is measured without its command line (`session`).
//!
//! A benchmark is not a test: nothing is asserted here about time, unless `--gates` asks for it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people, not a library")]
#![allow(clippy::cast_precision_loss, reason = "counts and nanoseconds as figures")]
#![allow(unreachable_pub, reason = "modules of a program")]

mod common;
mod datapath;
#[path = "../tests/support/docker.rs"]
mod docker;
mod engines;
mod rpc;
mod session;
mod startup;
mod suite;
mod wireguard;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::common::scale::Scale;

const USAGE: &str = "\
usage: benches/run [--quick] [--gates] [--unpinned] [--offline] [--no-docs] [SECTION...]

sections: datapath (with dns and memory), wireguard, rpc, startup; all of them by default
  --quick      about a minute, figures are rough
  --gates      exit with 1 if a gate is missed or could not be measured
  --unpinned   leave the scheduler its freedom: for information, not for the gates
  --offline    leave out cold starts, which download a package each time
  --no-docs    do not write docs/bench.md and docs/bench.svg
";

fn main() -> ExitCode {
    // npxc's runtime executes this program again to build the sandbox.
    session::dispatch();
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut scale = Scale::default();
    let mut options = suite::Options::default();
    let mut words = Vec::new();
    let mut arguments = std::env::args().skip(1);
    for argument in arguments.by_ref() {
        match argument.as_str() {
            // What `cargo bench` adds.
            "--bench" => {}
            "--quick" => scale.quick = true,
            "--unpinned" => scale.pinned = false,
            "--offline" => scale.offline = true,
            "--gates" => options.gates = true,
            "--no-docs" => options.docs = false,
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            option if option.starts_with('-') => bail!("unknown option {option}\n{USAGE}"),
            _ => words.push(argument),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guest"] => datapath::guest::run()?,
        ["server"] => datapath::server::run()?,
        ["tunnel"] => wireguard::host()?,
        ["echo"] => rpc::serve()?,
        ["parse"] => rpc::parse()?,
        ["session", role] => return session::run(role, true),
        ["unlogged", role] => return session::run(role, false),
        ["section", "datapath"] => datapath::run(scale)?,
        ["section", "wireguard"] => datapath::run_tunnels(scale)?,
        ["section", "rpc"] => rpc::run(scale)?,
        ["section", "startup"] => startup::run(scale)?,
        sections => return suite::run(scale, options, sections),
    }
    Ok(ExitCode::SUCCESS)
}
