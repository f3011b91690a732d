//! `npxc audit report`: writes the page.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::which;
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
    /// Print Markdown, as for a pull request, or write it to this file
    #[arg(long, value_name = "FILE.md")]
    #[allow(clippy::option_option, reason = "not given, given, given with a file")]
    markdown: Option<Option<PathBuf>>,
    /// Say what is different from this log, session, package or version
    #[arg(long, value_name = "LOG")]
    since: Option<String>,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let (log, markdown) = meant(args);
    if let Some(file) = args.html.as_deref().filter(|file| !is_html(file)) {
        let word = file.display();
        return Err(Failure::new(ExitStatus::Config, format!("--html {word}: a page's name ends in .html"))
            .hint(format!("npxc audit report --html report.html {word}, if that is the log")));
    }
    let path = which::one(log)?;
    let (report, verified) = super::believed(&path)?;
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
    match markdown {
        None => {}
        Some(None) => say::print(&markdown::text(&subject)),
        Some(Some(file)) => written(file, &markdown::text(&subject))?,
    }
    if let Some(file) = &args.html {
        written(file, &html::page(&subject))?;
    }
    Ok(ExitStatus::Success)
}

/// The log, and where Markdown goes. The word behind `--markdown` is the log where no other is named and it has no page's name.
#[allow(clippy::option_option, reason = "as above")]
fn meant(args: &Args) -> (Option<&str>, Option<Option<&Path>>) {
    let markdown = args.markdown.as_ref().map(Option::as_deref);
    let word = markdown.flatten().filter(|_| args.log.is_none());
    let is_page = |word: &&Path| word.extension().is_some_and(|end| end == "md" || end == "markdown");
    match word.filter(|word| !is_page(word)).and_then(Path::to_str) {
        Some(log) => (Some(log), Some(None)),
        None => (args.log.as_deref(), markdown),
    }
}

/// Whether it has a page's name: a session or a package in its place would become a file that nobody wanted.
fn is_html(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("html") || end.eq_ignore_ascii_case("htm"))
}

fn written(file: &Path, page: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ExitStatus::Config, format!("{} cannot be written: {error}", file.display()))
            .hint("name a file in a directory that you can write")
    };
    // Beside it first: a page that is there already is replaced whole, or not at all.
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let mut new = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    new.write_all(page.as_bytes()).map_err(failed)?;
    new.persist(file).map_err(|error| failed(error.error))?;
    say::note(&format!("the page is {}", file.display()));
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_word_behind_markdown_is_a_page_or_the_log() {
        let meant = |line: &str| {
            let words = std::iter::once("report").chain(line.split(' '));
            let args = Line::try_parse_from(words).unwrap().args;
            let (log, markdown) = meant(&args);
            let file = |file: Option<&Path>| file.map(|file| file.display().to_string());
            (log.map(str::to_owned), markdown.map(file))
        };
        let some = |text: &str| Some(text.to_owned());
        for (line, log, markdown) in [
            ("--markdown", None, Some(None)),
            ("--markdown out.md", None, Some(some("out.md"))),
            ("--markdown cowsay@1.6.0", some("cowsay@1.6.0"), Some(None)),
            ("--markdown ./log.jsonl", some("./log.jsonl"), Some(None)),
            ("cowsay --markdown", some("cowsay"), Some(None)),
            ("cowsay --markdown page", some("cowsay"), Some(some("page"))),
            ("--markdown out.md cowsay", some("cowsay"), Some(some("out.md"))),
            ("--markdown --html x.html cowsay", some("cowsay"), Some(None)),
            ("--html x.html", None, None),
        ] {
            assert_eq!(meant(line), (log, markdown), "{line}");
        }
        assert!(Line::try_parse_from(["report", "cowsay"]).is_err());
    }
}
