//! Carrying out what was agreed to: the packages are installed, then each file is copied, recorded and replaced.

use std::fs::{self, File};
use std::path::Path;

use super::look::{Read, failure};
use super::{Args, Change, Verdict, Work, judge};
use crate::cli::options::Options;
use crate::cli::resolve;
use crate::cli::say::{self, Stderr};
use crate::clients::change::{Kept, restore};
use crate::clients::file::{FileError, Original};
use crate::clients::record::{self, Record};
use crate::clients::servers;
use crate::config::Directories;
use crate::exit::{ExitStatus, Failure};
use crate::package::Progress as _;
use crate::rpc::json::{Splice, splice};
use crate::session;

/// Installs every package. One that cannot be installed is left alone; then the result is `false`.
///
/// # Errors
/// An interrupt, and only that ends it early.
pub(super) fn install(work: &mut [Work], args: &Args, voice: Stderr) -> Result<bool, Failure> {
    let mut all = true;
    for (server, verdict) in work.iter_mut().flat_map(|work| &mut work.verdicts) {
        let Verdict::Wrap(change) = verdict else { continue };
        if change.again {
            // Its options may be somebody else's, who wrote the file: npxc only adds to them.
            continue;
        }
        let installed = judge::run(&change.words)
            .map_err(|what| Failure::new(ExitStatus::Config, what))
            .and_then(|run| {
                let options = Options { log_level: args.options.log_level, ..run.options.of_install() };
                let resolved = resolve(&options, &run.words)?;
                session::install(&resolved, false, &voice)
            });
        if let Ok(Some(title)) = &installed {
            voice.say(&format!("{title} is installed already"));
        }
        if let Err(failure) = installed {
            if failure.status == ExitStatus::Interrupted {
                return Err(failure);
            }
            all = false;
            say::failure(&failure);
            voice.warning(&format!("{} is left alone; --no-install wraps it all the same", server.label()));
            *verdict = Verdict::Leave("it could not be installed".to_owned());
        }
    }
    Ok(all)
}

/// Changes a file: copy, record, then the file itself.
pub(super) fn write(work: &Work, directories: &Directories, voice: Stderr) -> Result<(), Failure> {
    let splices = work.splices();
    if splices.is_empty() {
        return Ok(());
    }
    let original = &work.read.original;
    let _held = alone(original, directories)?;
    let text = applied(&original.text, &splices)?;
    let place = record::path(&directories.data, &original.path);
    let mut record = Record::read(&place).map_err(|error| unrecorded(&place, &error))?;
    let earlier = record.clone();
    record.file = original.path.display().to_string();
    // What stood there before the first time is what comes back.
    let new =
        |change: &&Change| !change.again || record.servers.iter().all(|known| known.path != change.kept.path);
    let new = work.changes().filter(new).map(|change| change.kept.clone()).collect();
    record.add(new);
    // What was changed is put back before anything is written, to see that nothing is lost.
    let before = put_back(&work.read, &original.text, &record.servers)?;
    if put_back(&work.read, &text, &record.servers)? != before {
        let what = format!("{} would not come back from `npxc unwrap` as it is", work.read.path.display());
        return Err(Failure::new(ExitStatus::Config, what)
            .hint("nothing was changed; this is a defect in npxc: please report it"));
    }
    record.before = record::digest(before.as_bytes());
    let copies = record::copies(&directories.data, &original.path);
    let backup = original.back_up(&copies).map_err(|error| failure(&error))?;
    record.backups.push(backup.clone());
    let written = record
        .write(&place)
        .map_err(|error| unrecorded(&place, &error))
        .and_then(|()| original.replace(&text).map_err(|error| failure(&error)));
    if let Err(failure) = written {
        let _ = fs::remove_file(&backup);
        let _ = fs::remove_dir(&copies);
        let _ = earlier.write(&place);
        return Err(failure);
    }
    let count = work.changes().count();
    let servers = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    voice.say(&format!("wrapped {servers} in {}; as it was: {}", work.read.path.display(), backup.display()));
    Ok(())
}

/// Keeps other npxcs away from the records and from this file, which has to be what was read: while packages were installed, or
/// somebody was asked, another program may have changed it.
pub(super) fn alone(original: &Original, directories: &Directories) -> Result<File, Failure> {
    let held = record::lock(&directories.data).map_err(|error| unrecorded(&directories.data, &error))?;
    original.unchanged().map_err(|error| failure(&error))?;
    Ok(held)
}

/// A file's text with its servers put back.
pub(super) fn put_back(read: &Read, text: &str, kept: &[Kept]) -> Result<String, Failure> {
    let servers = servers::find(&read.place, text).map_err(|fault| {
        let error = FileError::faulty(&read.path, text.as_bytes(), fault);
        failure(&error)
    })?;
    let (splices, _) = restore(text, &servers, kept, &|words| judge::package(words).ok());
    applied(text, &splices)
}

pub(super) fn applied(text: &str, splices: &[Splice]) -> Result<String, Failure> {
    // Every span ends where a string does, so this is text again.
    String::from_utf8(splice(text.as_bytes(), splices))
        .map_err(|error| Failure::new(ExitStatus::Config, format!("a change is not UTF-8: {error}")))
}

pub(super) fn unrecorded(place: &Path, error: &std::io::Error) -> Failure {
    let what = format!("{} cannot be used, so nothing was changed: {error}", place.display());
    Failure::new(ExitStatus::Config, what).hint("npxc unwrap would not know what to put back")
}
