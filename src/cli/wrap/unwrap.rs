//! `npxc unwrap`: takes npxc away again, and nothing else.

use std::fs;

use clap::Parser;

use super::apply::{alone, applied, unrecorded};
use super::look::{Choice, Read, failure};
use super::{agreed, ended, judge};
use crate::cli::level::Level;
use crate::cli::say::{self, Stderr};
use crate::cli::table::Table;
use crate::clients::change::{Kept, Restored, restore};
use crate::clients::diff::unified;
use crate::clients::file::FileError;
use crate::clients::npx::{self, Launch};
use crate::clients::record::{self, Record};
use crate::clients::servers::Start;
use crate::config::Directories;
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::rpc::json::Splice;

/// Takes npxc away from in front of the servers that `npxc wrap` put it in front of
#[derive(Debug, Parser)]
#[command(name = "npxc unwrap")]
pub(in crate::cli) struct UnwrapArgs {
    #[command(flatten)]
    choice: Choice,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// off, error, warn, info, debug or trace; off and error: nothing but why npxc failed
    #[arg(long, value_name = "LEVEL", default_value = "warn", hide_possible_values = true)]
    log_level: Level,
}

/// A file and how it is put back.
pub(super) struct Work {
    read: Read,
    record: Record,
    splices: Vec<Splice>,
    /// What the record has, and what becomes of each.
    outcomes: Vec<(Kept, Restored)>,
}

impl Work {
    /// Decides what becomes of a file's servers.
    pub(super) fn of(read: Read, choice: &Choice, directories: &Directories) -> Result<Self, Failure> {
        let place = record::path(&directories.data, &read.original.path);
        let record = Record::read(&place).map_err(|error| unrecorded(&place, &error))?;
        let meant = |kept: &&Kept| kept.path.last().is_some_and(|name| choice.takes(name));
        let kept: Vec<Kept> = record.servers.iter().filter(meant).cloned().collect();
        let (splices, outcomes) =
            restore(&read.original.text, &read.servers, &kept, &|words| judge::package(words).ok());
        let outcomes = kept.into_iter().zip(outcomes).collect();
        Ok(Self { read, record, splices, outcomes })
    }
}

pub(in crate::cli) fn execute(args: &UnwrapArgs) -> Result<ExitStatus, Failure> {
    let voice = Stderr::at(args.log_level);
    let directories = Directories::new(|name| std::env::var_os(name))?;
    let (read, mut failures) = args.choice.read(&directories)?;
    let mut work = Vec::new();
    for read in read {
        work.push(Work::of(read, &args.choice, &directories)?);
    }
    let shown: Vec<String> = work.iter().filter_map(|work| shown(work, &args.choice)).collect();
    say::print(&shown.concat());
    if work.iter().all(|work| work.splices.is_empty()) {
        if failures.is_empty() {
            voice.say("nothing to put back");
            voice.hint("npxc unwrap FILE takes a file that npxc wrap changed; `npxc wrap --dry-run` lists the servers that it finds");
        }
        // What is gone from a file needs no record any more.
        if !args.choice.dry_run {
            for work in &work {
                write(work, &directories, voice)?;
            }
        }
    } else if args.choice.dry_run {
        voice.say("nothing was changed (--dry-run)");
    } else if agreed(args.yes, "put these servers back")? {
        for work in &work {
            failures.extend(write(work, &directories, voice).err());
        }
    } else {
        voice.say("nothing was changed");
    }
    ended(failures, ExitStatus::Success)
}

/// What becomes of a file, for people; nothing where it has nothing of npxc's.
fn shown(work: &Work, choice: &Choice) -> Option<String> {
    let mut table = Table::bare().uncut();
    let mut rows = 0;
    for (kept, outcome) in &work.outcomes {
        let what = match outcome {
            Restored::Back => "will be put back",
            Restored::Before => "is not npxc any more",
            Restored::Gone => "is not there any more",
            Restored::Strange => "left alone: it was changed so that npxc does not recognize it",
        };
        table.row(vec![kept.path.last().cloned().unwrap_or_default(), what.to_owned()]);
        rows += 1;
    }
    for server in work.read.servers.iter().filter(|server| choice.takes(server.name())) {
        let known = work.outcomes.iter().any(|(kept, _)| kept.path == server.path);
        let Start::Program(program) = &server.start else { continue };
        if !known && npx::launch(program) == Launch::Npxc {
            table.row(vec![server.label(), "left alone: npxc wrap did not write it".to_owned()]);
            rows += 1;
        }
    }
    let secrets: Vec<_> = work.read.servers.iter().flat_map(|server| server.secrets.clone()).collect();
    let diff = unified(&work.read.original.text, &work.splices, &secrets);
    (rows > 0).then(|| format!("{}\n{}{diff}\n", work.read.title(), table.render()))
}

/// Puts a file back, and removes what is not needed any more: the record, and a copy that the file is again.
pub(super) fn write(work: &Work, directories: &Directories, voice: Stderr) -> Result<(), Failure> {
    if work.record == Record::default() {
        return Ok(());
    }
    let original = &work.read.original;
    let _held = alone(original, directories)?;
    let place = record::path(&directories.data, &original.path);
    if Record::read(&place).map_err(|error| unrecorded(&place, &error))? != work.record {
        return Err(failure(&FileError::Changed(original.path.clone())));
    }
    if !work.splices.is_empty() {
        put_back(work, directories, voice)?;
    }
    let record = remaining(work);
    if record == work.record {
        return Ok(());
    }
    record.write(&place).map_err(|error| unrecorded(&place, &error))
}

/// The file, and copies that it is again.
fn put_back(work: &Work, directories: &Directories, voice: Stderr) -> Result<(), Failure> {
    let text = applied(&work.read.original.text, &work.splices)?;
    work.read.original.replace(&text).map_err(|error| failure(&error))?;
    let path = work.read.path.display();
    if record::digest(text.as_bytes()) == work.record.before {
        voice.say(&format!("{path} is what it was before, byte for byte"));
    } else {
        voice.say(&format!("{path}: put back; what else has changed since stays"));
    }
    for backup in &work.record.backups {
        if fs::read(backup).is_ok_and(|bytes| bytes == text.as_bytes()) {
            let _ = fs::remove_file(backup);
        } else if backup.exists() {
            let backup = backup.display();
            voice.hint(&format!("a copy from before is {backup}; remove it when you do not need it"));
        }
    }
    // Only an empty one goes.
    let _ = fs::remove_dir(record::copies(&directories.data, &work.read.original.path));
    Ok(())
}

/// The record without what is done with.
fn remaining(work: &Work) -> Record {
    let mut record = work.record.clone();
    let done = |kept: &Kept| {
        let outcome = work.outcomes.iter().find(|(known, _)| known.path == kept.path);
        outcome.is_some_and(|(_, outcome)| *outcome != Restored::Strange)
    };
    record.servers.retain(|kept| !done(kept));
    record.backups.retain(|backup| backup.exists());
    record
}
