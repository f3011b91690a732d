//! `npxc list` and `npxc clean`: what is installed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;

use super::say;
use super::table::{Table, bytes};
use crate::config::{self, ConfigError, Directories};
use crate::exit::{ExitStatus, Failure};
use crate::package::store::{Listed, Removed};
use crate::package::{HostEnv, PackageSpec, Request, Store};
use crate::paths::shell_word;
use crate::session;
use crate::storage;

/// Shows what is installed
#[derive(Debug, Parser)]
#[command(name = "npxc list")]
pub(super) struct ListArgs {
    /// For programs: one JSON array
    #[arg(long)]
    json: bool,
}

/// Removes what is installed; what a running npxc uses stays
#[derive(Debug, Parser)]
#[command(name = "npxc clean")]
pub(super) struct CleanArgs {
    /// Everything
    #[arg(long, conflicts_with = "specs")]
    all: bool,
    /// What a killed npxc left: containers, networks, their files, and unfinished installs. The next run clears them away, too
    #[arg(long, conflicts_with_all = ["all", "specs"])]
    orphans: bool,
    /// What no npxc has started for so long, and no running one uses: a number with h, d or w, for example 30d
    #[arg(long, value_name = "AGE", conflicts_with_all = ["all", "orphans", "specs"])]
    older_than: Option<String>,
    /// Packages, with or without a version
    #[arg(value_name = "PACKAGE-SPEC")]
    specs: Vec<String>,
}

pub(super) fn list(args: &ListArgs) -> Result<ExitStatus, Failure> {
    let mut entries = store()?.list()?;
    entries.sort_by_cached_key(|entry| (name(entry), entry.platform.clone()));
    if args.json {
        let rows: Vec<_> = entries
            .iter()
            .map(|entry| {
                serde_json::json!({
                    "packages": roots(entry),
                    "asked": entry.manifest.as_ref().map(|manifest| &manifest.request),
                    "platform": entry.platform,
                    "size": entry.manifest.as_ref().map(|manifest| manifest.size),
                    "dependencies": entry.manifest.as_ref().map(|manifest| manifest.packages.len()),
                    "installScripts": entry.manifest.as_ref().map(|manifest| &manifest.install_scripts),
                    "installed": entry.manifest.as_ref().map(|manifest| manifest.time),
                    "used": entry.used.map(seconds),
                    "directory": entry.dir,
                })
            })
            .collect();
        say::print(&format!("{:#}\n", serde_json::Value::from(rows)));
        return Ok(ExitStatus::Success);
    }
    if entries.is_empty() {
        say::note("nothing is installed");
        return Ok(ExitStatus::Success);
    }
    let mut table =
        Table::new(&["package", "asked for", "size", "packages", "installed", "last use", "node"]).uncut();
    for entry in &entries {
        let manifest = entry.manifest.as_ref();
        table.row(vec![
            name(entry),
            manifest.map_or_else(String::new, |manifest| manifest.request.join(" ")),
            manifest.map_or_else(String::new, |manifest| bytes(manifest.size)),
            manifest.map_or_else(String::new, |manifest| manifest.packages.len().to_string()),
            manifest.map_or_else(|| "unreadable".to_owned(), |manifest| day(manifest.time)),
            entry.used.map_or_else(|| "never".to_owned(), |used| day(seconds(used))),
            entry.platform.clone(),
        ]);
    }
    say::print(&table.render());
    Ok(ExitStatus::Success)
}

pub(super) fn clean(args: &CleanArgs) -> Result<ExitStatus, Failure> {
    if args.orphans {
        return orphans();
    }
    let age = args.older_than.as_deref().map(|text| age("--older-than", text)).transpose()?;
    if args.specs.is_empty() && !args.all && age.is_none() {
        return Err(Failure::new(ExitStatus::Config, "no package is named").hint(
            "npxc clean PACKAGE..., npxc clean --older-than 30d, or npxc clean --all for everything; npxc list shows what \
             there is",
        ));
    }
    let store = store()?;
    store.sweep();
    let entries = store.list()?;
    let mut chosen: Vec<&Listed> = Vec::new();
    for text in &args.specs {
        let spec: PackageSpec = text.parse().map_err(|error: crate::package::spec::SpecError| {
            ConfigError::option("package spec", text, crate::config::schema::spec_fault(&error))
        })?;
        let before = chosen.len();
        for entry in &entries {
            if is_meant(entry, &spec) && !chosen.iter().any(|other| other.dir == entry.dir) {
                chosen.push(entry);
            }
        }
        if chosen.len() == before {
            return Err(Failure::new(ExitStatus::Config, format!("`{text}` is not installed"))
                .hint("npxc list shows what is"));
        }
    }
    if args.all {
        chosen = entries.iter().collect();
    }
    if let Some(age) = age {
        let now = SystemTime::now();
        let is_old = |entry: &&Listed| {
            let unused = entry.last_use().map(|used| now.duration_since(used).unwrap_or_default());
            unused.is_some_and(|unused| unused >= age) && !store.is_in_use(entry)
        };
        chosen = entries.iter().filter(is_old).collect();
        if chosen.is_empty() {
            say::note("nothing is that old");
        }
    }
    let (said, gone, mut failures) = removed(&chosen, |entry| store.remove(entry));
    let (host, data) = (HostEnv::current(), directories()?.data);
    let kept: BTreeSet<PathBuf> = gone.iter().filter_map(|entry| kept_of(entry, &host, &data)).collect();
    if args.all {
        failures.extend(store.clear_tarballs().err().map(Failure::from));
    }
    say::print(&said);
    for place in kept {
        say::note(&format!("what it kept with --persist is still in {}", place.display()));
        say::hint(&format!("if nobody wants it any more: rm -r {}", shell_word(&place.to_string_lossy())));
    }
    let last = failures.pop();
    failures.iter().for_each(say::failure);
    last.map_or(Ok(ExitStatus::Success), Err)
}

/// Removes each; what to say of those that are gone, these, and what went wrong with the others.
fn removed<'a, E: Into<Failure>>(
    chosen: &[&'a Listed],
    remove: impl Fn(&Listed) -> Result<Removed, E>,
) -> (String, Vec<&'a Listed>, Vec<Failure>) {
    let (mut said, mut gone, mut failures) = (String::new(), Vec::new(), Vec::new());
    for entry in chosen {
        let what = match remove(entry) {
            Ok(Removed::Later) => "is in use, and is removed once it is not",
            Ok(Removed::Gone) => "is removed",
            Err(error) => {
                failures.push(error.into());
                continue;
            }
        };
        let _ = writeln!(said, "{} {what}", name(entry));
        gone.push(*entry);
    }
    (said, gone, failures)
}

/// `30d` and the like, as an option's value.
pub(super) fn age(option: &str, text: &str) -> Result<Duration, ConfigError> {
    config::age(text).map_err(|fault| ConfigError::option(option, text, fault))
}

/// Where a package keeps what it wrote, if it keeps anything.
fn kept_of(entry: &Listed, host: &HostEnv, data: &Path) -> Option<PathBuf> {
    let asked = &entry.manifest.as_ref()?.request;
    let packages = asked.iter().map(|text| text.parse().ok()).collect::<Option<Vec<PackageSpec>>>()?;
    let request = Request { packages, bin: None }.resolve(host).ok()?;
    let place = storage::place(data, &storage::name(request.request.packages.iter().zip(&request.packages)));
    place.is_dir().then_some(place)
}

/// Removes what dead sessions left in every engine that is here.
#[cfg(target_os = "linux")]
fn orphans() -> Result<ExitStatus, Failure> {
    use crate::runtime::RuntimeError;
    use crate::runtime::engine::{Kind, leftovers};

    let host = HostEnv::current();
    let (directories, options) = config::ground(&host)?;
    let sessions = directories.sessions(host.var("XDG_RUNTIME_DIR"));
    let mut status = ExitStatus::Success;
    let mut said = killed_installs(&directories);
    for kind in [Kind::Podman, Kind::Docker] {
        let removed = match leftovers::remove(&session::chosen_engine(kind, &options, sessions.clone())) {
            Ok(removed) => removed,
            // No engine, nothing left in it.
            Err(RuntimeError::NoEngine { .. }) => continue,
            // It may not run; what it has is looked for again when it does.
            Err(error) => {
                say::warning(&format!("{} could not be asked: {error}", kind.as_str()));
                continue;
            }
        };
        for (what, names) in [("container", &removed.containers), ("network", &removed.networks)] {
            for name in names {
                let _ = writeln!(said, "{} {what} {name} is removed", kind.as_str());
            }
        }
        for name in &removed.failed {
            say::warning(&format!("{}: {name} could not be removed", kind.as_str()));
            status = ExitStatus::Runtime;
        }
        if removed.directories > 0 {
            let _ = writeln!(said, "the files of {} sessions are removed", removed.directories);
        }
    }
    if said.is_empty() && status == ExitStatus::Success {
        say::note("nothing was left behind");
    }
    say::print(&said);
    Ok(status)
}

/// Removes what dead sessions left in Apple's `container`.
#[cfg(not(target_os = "linux"))]
fn orphans() -> Result<ExitStatus, Failure> {
    let host = HostEnv::current();
    let (directories, options) = config::ground(&host)?;
    let sessions = directories.sessions(host.var("XDG_RUNTIME_DIR"));
    let said = killed_installs(&directories);
    say::print(&said);
    let names = session::chosen_apple(&options, sessions).remove_leftovers();
    if names.is_empty() && said.is_empty() {
        say::note("nothing was left behind");
    }
    for name in names {
        say::print(&format!("container {name} is removed\n"));
    }
    Ok(ExitStatus::Success)
}

/// Removes what killed installs left in the store; says so.
fn killed_installs(directories: &Directories) -> String {
    match Store::at(&directories.data).sweep() {
        0 => String::new(),
        count => format!("what {count} killed installs left is removed\n"),
    }
}

fn store() -> Result<Store, Failure> {
    Ok(Store::at(&directories()?.data))
}

fn directories() -> Result<Directories, Failure> {
    Ok(Directories::new(|name| std::env::var_os(name))?)
}

fn roots(entry: &Listed) -> Vec<String> {
    let roots = entry.manifest.as_ref().map(|manifest| manifest.roots.as_slice()).unwrap_or_default();
    roots.iter().map(|root| format!("{}@{}", root.package, root.version)).collect()
}

fn name(entry: &Listed) -> String {
    let roots = roots(entry);
    if roots.is_empty() { entry.dir.display().to_string() } else { roots.join(" ") }
}

fn is_meant(entry: &Listed, spec: &PackageSpec) -> bool {
    let Some(manifest) = &entry.manifest else {
        return false;
    };
    let wanted = spec.to_string();
    manifest.request.contains(&wanted)
        || roots(entry).contains(&wanted)
        || manifest.roots.iter().any(|root| root.package == wanted || root.name == wanted)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn day(time: u64) -> String {
    i64::try_from(time)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(String::new, |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_that_cannot_be_removed_does_not_keep_the_others() {
        let listed =
            |dir: &str| Listed { platform: String::new(), used: None, manifest: None, dir: dir.into() };
        let all = [listed("/a"), listed("/b"), listed("/c")];
        let (said, gone, failures) = removed(&all.iter().collect::<Vec<_>>(), |entry| {
            let failure = || Failure::new(ExitStatus::Config, entry.dir.display().to_string());
            if entry.dir == Path::new("/b") { Err(failure()) } else { Ok(Removed::Gone) }
        });
        assert_eq!((said.as_str(), gone.len()), ("/a is removed\n/c is removed\n", 2));
        assert_eq!(failures.iter().map(|failure| failure.message.as_str()).collect::<Vec<_>>(), ["/b"]);
    }

    #[test]
    fn ages() {
        let hours = |text: &str| age("--older-than", text).map(|age| age.as_secs() / 3600);
        assert_eq!((hours("12h"), hours("30d"), hours("2w"), hours("0d")), (Ok(12), Ok(720), Ok(336), Ok(0)));
        for bad in
            ["", "d", "30", "30m", "-1d", "1.5d", "99999999999999999999d", "9999999999999999999d", "3é"]
        {
            assert!(age("--older-than", bad).unwrap_err().to_string().starts_with("--older-than: "), "{bad}");
        }
    }
}
