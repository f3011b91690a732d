//! `npxc audit report`: writes the page.

use std::io::Write as _;
use std::path::PathBuf;

use super::which;
use crate::audit::chain;
use crate::audit::diff::diff;
use crate::audit::page::{Subject, html, markdown};
use crate::cli::say;
use crate::exit::{ExitStatus, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A log, a directory of logs, a session or a package: its newest one [default: the newest of all]
    log: Option<String>,
    /// Write a page to this file
    #[arg(long, value_name = "FILE", required_unless_present = "markdown")]
    html: Option<PathBuf>,
    /// Print Markdown, as for a pull request
    #[arg(long)]
    markdown: bool,
    /// Say what is different from this log, session, package or version
    #[arg(long, value_name = "LOG")]
    since: Option<String>,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let path = which::one(args.log.as_deref())?;
    let report = super::believed(&path)?;
    let verified = chain::verify(super::open(&path)?).map_err(|error| super::unreadable(&path, &error))?;
    let findings: Vec<_> = verified.findings.iter().map(ToString::to_string).collect();
    let changes = match &args.since {
        Some(since) => {
            Some((diff(&super::diff::reports(since)?, std::slice::from_ref(&report)), since.as_str()))
        }
        None => None,
    };
    let log = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let subject = Subject {
        report: &report,
        log: &log,
        findings: &findings,
        hash: &verified.last,
        changes: changes.as_ref().map(|(changes, since)| (changes.as_slice(), *since)),
    };
    if args.markdown {
        say::print(&markdown::text(&subject));
    }
    if let Some(file) = &args.html {
        let failed = |error: std::io::Error| {
            Failure::new(ExitStatus::Config, format!("{} cannot be written: {error}", file.display()))
                .hint("name a file in a directory that you can write")
        };
        // Beside it first: a page that is there already is replaced whole, or not at all.
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        let mut new = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        new.write_all(html::page(&subject).as_bytes()).map_err(failed)?;
        new.persist(file).map_err(|error| failed(error.error))?;
        say::note(&format!("the page is {}", file.display()));
    }
    Ok(ExitStatus::Success)
}
