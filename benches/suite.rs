//! All sections in turn, and what they come to.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::USAGE;
use crate::common::record::{Record, Records};
use crate::common::scale::Scale;
use crate::common::{gates, machine, picture, report};

/// What to do with the figures.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Fail when a gate does.
    pub gates: bool,
    /// Write them down for the README.
    pub docs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { gates: false, docs: true }
    }
}

/// Runs the sections, prints the table, and writes it down if it is complete.
pub fn run(scale: Scale, options: Options, wanted: &[&str]) -> Result<ExitCode> {
    let known: Vec<&str> = gates::GATES.iter().map(|(section, _)| *section).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !known.contains(wanted)) {
        bail!("unknown section {unknown}\n{USAGE}");
    }
    let sections: Vec<&str> =
        known.iter().copied().filter(|section| wanted.is_empty() || wanted.contains(section)).collect();
    let mut records = Records::default();
    for section in &sections {
        if let Err(error) = collect(section, scale, &mut records) {
            records.notes.push(format!("section {section}: {error:#}"));
        }
    }
    let about = machine::describe();
    let table = report::markdown(&records, &sections, scale, &about);
    print!("{table}");
    if options.docs && sections.len() == known.len() && !scale.quick && scale.pinned {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        fs::create_dir_all(&docs)?;
        fs::write(docs.join("bench.md"), &table).context("writing docs/bench.md")?;
        fs::write(docs.join("bench.svg"), picture::svg(&records, &about))
            .context("writing docs/bench.svg")?;
        eprintln!("bench: wrote docs/bench.md and docs/bench.svg");
    }
    let missed = report::missed(&records, &sections);
    if options.gates && !missed.is_empty() {
        eprintln!("bench: {} gates missed or not measured: {}", missed.len(), missed.join("; "));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn collect(section: &str, scale: Scale, records: &mut Records) -> Result<()> {
    let program = std::env::current_exe()?;
    let mut command = if ["datapath", "wireguard"].contains(&section) {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        // A mount namespace too: /sys shows the network namespace it was mounted in.
        command.args(["--net", "--mount", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    let mut child = command
        .args(["section", section])
        .args(scale.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting section {section} (package util-linux)"))?;
    let output = child.stdout.take().ok_or_else(|| anyhow!("no stdout"))?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        match serde_json::from_str::<Record>(&line) {
            Ok(record) => records.add(record),
            Err(_) => eprintln!("bench: {section}: {line}"),
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}
