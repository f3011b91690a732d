//! What people meet beside warm starts. Without gates: the one depends on the registry and the way there, the other has
//! no peer that does the same.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{COLD, PACKAGES, Scratch, start};
use crate::common::gates::{NODE, NPX, NPXC};
use crate::common::record::{note, sample};
use crate::common::scale::Scale;
use crate::engines::Engines;

/// The package of these measurements: one is enough for a registry that others use, too.
const PACKAGE: (&str, &str) = (PACKAGES[1].1, PACKAGES[1].2);

/// How long `npxc inspect` of an installed package takes, to its end.
///
/// - `inspect`: it starts the server, asks for its tools and stops it. npx does nothing like it; what stands beside it
///   is the warm start of the same server, to its first reply (`start-registry`).
/// - `grants`: with `--no-start`, when it only reads configuration and store. Beside it stands what npx and node take to
///   say anything at all, their `--version`.
pub(super) fn inspecting(scratch: &Scratch, scale: Scale) -> Result<()> {
    let spec = format!("{}@{}", PACKAGE.0, PACKAGE.1);
    let inspect = |options: &[&str]| scratch.npxc(&[&["inspect"], options].concat(), &spec);
    // Installs it if the warm starts could not.
    if let Err(error) = to_its_end(&mut inspect(&[])) {
        note(format!("npxc inspect: {error:#}"));
        return Ok(());
    }
    for round in 0..scale.starts() {
        eprintln!("bench: inspect {} of {}", round + 1, scale.starts());
        sample(round, "inspect", NPXC, to_its_end(&mut inspect(&[]))?);
        sample(round, "grants", NPXC, to_its_end(&mut inspect(&["--no-start"]))?);
        for (contender, program) in [(NPX, "npx"), (NODE, "node")] {
            sample(round, "grants", contender, to_its_end(Command::new(program).arg("--version"))?);
        }
    }
    Ok(())
}

/// From spawning a server that is not installed to its reply to `initialize`: npxc with an empty store and cache, npx
/// with an empty cache of npm's, the same version. Both resolve and download it; npxc also checks and keeps it.
///
/// Every download loads a registry that is others': two rounds, one with `--quick`, none with `--offline`.
pub(super) fn cold(scratch: &Scratch, scale: Scale) -> Result<()> {
    if scale.offline {
        note("cold starts: left out, as --offline says");
        return Ok(());
    }
    for round in 0..scale.cold_starts() {
        let mut ways = [NPXC, NPX];
        ways.rotate_left(round % 2);
        for way in ways {
            eprintln!("bench: cold start {} of {} with {way}", round + 1, scale.cold_starts());
            let directory = tempfile::tempdir_in(&scratch.directory)?;
            let empty = Scratch { directory: directory.path().to_owned(), engines: Engines::none()? };
            let mut command = empty.command(way, PACKAGE.0, PACKAGE.1)?;
            // Where there is no network, npm does not have to find out three times.
            let started = start(command.env("npm_config_fetch_retries", "0"), &empty, COLD);
            // What is in a store is read-only, its directories as well.
            let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(directory.path()).status();
            match started {
                Ok(started) => sample(round, "cold-registry", way, started.milliseconds),
                Err(error) => {
                    note(format!(
                        "cold start of {} with {way}, no further one is tried: {error:#}",
                        PACKAGE.0
                    ));
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Runs a command to its end and gives how long it took, milliseconds.
fn to_its_end(command: &mut Command) -> Result<f64> {
    let before = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("starting it")?;
    let milliseconds = before.elapsed().as_secs_f64() * 1e3;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.trim());
    Ok(milliseconds)
}
