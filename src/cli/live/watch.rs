//! `npxc watch`: the audit log of a running session, line by line, for people.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;

use super::{one, short, sockets};
use crate::audit::chain::MAX_LINE;
use crate::audit::escape::printable;
use crate::audit::event::destination;
use crate::audit::shelf;
use crate::audit::{Event, Segments};
use crate::cli::say;
use crate::exit::{ExitStatus, Failure};

/// How often the log is looked at for more.
const LOOK: Duration = Duration::from_millis(200);
/// Longest line that is shown, characters.
const LINE: usize = 1000;

/// Shows what a running package reaches and is denied, as it happens
#[derive(Debug, Parser)]
#[command(name = "npxc watch")]
pub(in crate::cli) struct WatchArgs {
    /// The session's id or package, as `npxc ps` shows them [default: the only one]
    session: Option<String>,
    /// From its beginning, not from now on
    #[arg(long)]
    all: bool,
    /// The lines of the audit log as they are
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn watch(args: &WatchArgs) -> Result<ExitStatus, Failure> {
    let status = one(&sockets()?, args.session.as_deref())?;
    let begun = || say::note(&format!("watching {} ({}) until it ends", status.package, short(&status)));
    let session = status.session.to_string();
    let ended =
        follow(&status.log, args.all, begun, |line| shown(line, &session, args.json)).map_err(|error| {
            let what = format!("the log {} cannot be read: {error}", status.log.display());
            Failure::new(ExitStatus::Config, what)
        })?;
    if !ended {
        say::warning("the session is gone, and its log has no end: it was killed");
    }
    Ok(ExitStatus::Success)
}

/// What comes behind a line.
enum Next {
    Line,
    /// The file of this name.
    File(String),
    Nothing,
}

/// Hands on the lines of a log until nothing comes behind one; `begun` hears when none is missed any more. False if whoever
/// writes them is gone before.
fn follow(
    log: &Path,
    all: bool,
    begun: impl FnOnce(),
    mut take: impl FnMut(&[u8]) -> Next,
) -> io::Result<bool> {
    // Locked as long as the log is written, in whichever file.
    let held = File::open(log)?;
    let mut file = if all { BufReader::new(File::open(log)?) } else { at_the_end(log)? };
    begun();
    let mut line = Vec::new();
    loop {
        // Looked at first: what is written until then is read after it.
        let written = shelf::is_written(&held)?;
        while file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
            if line.last() != Some(&b'\n') {
                // The rest of it is still to come.
                continue;
            }
            match take(&line) {
                Next::Line => {}
                Next::File(name) => file = BufReader::new(File::open(log.with_file_name(name))?),
                Next::Nothing => return Ok(true),
            }
            line.clear();
        }
        if !written {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

/// Where the next line of a log will be.
fn at_the_end(log: &Path) -> io::Result<BufReader<File>> {
    loop {
        let files = Segments::of(log)?;
        let mut last = File::open(files.files().last().map_or(log, PathBuf::as_path))?;
        last.seek(SeekFrom::End(0))?;
        // What says that it goes on elsewhere may have been passed over.
        if Segments::of(log)? == files {
            return Ok(BufReader::new(last));
        }
    }
}

/// Shows a line, if it is of this session and anybody is there to see it.
fn shown(line: &[u8], session: &str, json: bool) -> Next {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Next::Line };
    if value["session"] != session {
        // An earlier one, in whose last file this one goes on.
        return match serde_json::from_value(value) {
            Ok(Event::LogRotate { next }) => Next::File(next),
            Ok(_) | Err(_) => Next::Line,
        };
    }
    let time = value["time"].as_str().and_then(|time| time.get(11..19)).unwrap_or_default().to_owned();
    let event = serde_json::from_value::<Event>(value).ok();
    let read = if json {
        say::is_read(&String::from_utf8_lossy(line))
    } else if let Some(words) = event.as_ref().and_then(words) {
        say::is_read(&format!("{time} {}\n", printable(&words, LINE)))
    } else {
        true
    };
    match event {
        _ if !read => Next::Nothing,
        Some(Event::SessionEnd { .. }) => Next::Nothing,
        Some(Event::LogRotate { next }) => Next::File(next),
        Some(_) | None => Next::Line,
    }
}

/// What happened, if that is worth a line.
fn words(event: &Event) -> Option<String> {
    let hinted = |hint: Option<&str>| hint.map_or_else(String::new, |hint| format!("; {hint}"));
    Some(match event {
        Event::SessionStart { package, network, .. } => format!("start    {package}, network {network}"),
        Event::FlowOpen { name, guest_destination, protocol, rule, observed, hint, .. } => {
            let place = destination(name.as_deref(), *guest_destination);
            match observed {
                Some(reason) => format!("observed {protocol} {place} ({reason}{})", hinted(hint.as_deref())),
                None => format!("allowed  {protocol} {place} ({rule})"),
            }
        }
        Event::FlowDeny { .. } | Event::Dns { .. } => {
            let denial = event.denial()?;
            let hint = hinted(denial.hint);
            format!("denied   {} {} ({}{hint})", denial.protocol, denial.destination, denial.reason)
        }
        Event::FlowDenySummary { count, protocol, code, example } => {
            format!("denied   {protocol} {example} and others ({count} more, {code})")
        }
        Event::FlowClose { flow, bytes_up, bytes_down, how, .. } => {
            format!("closed   flow {flow}, {bytes_up} bytes sent, {bytes_down} received ({how})")
        }
        Event::PolicyChange { change, .. } => format!("changed  {change}"),
        Event::FilePublish { path, bytes, .. } => format!("shared   {path} ({bytes} bytes)"),
        Event::FileCollect { path, bytes, .. } => format!("wrote    {path} ({bytes} bytes)"),
        Event::FileLeave { path, reason } => format!("left out {path} ({reason})"),
        Event::FileRefuse { path, reason, .. } => format!("refused  {path} {reason}"),
        Event::Limit { what, detail, count } => format!("limit    {what}: {detail} ({count})"),
        Event::SessionEnd { how, allowed, denied, .. } => {
            format!("end      {how}; {allowed} allowed, {denied} denied")
        }
        Event::LogRotate { .. } => return None,
    })
}
