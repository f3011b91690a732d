//! Files that were written for npxc 0.3: its keys, as far as they mean something here, and a word about the others.
//!
//! What only says what npxc does anyway is taken; what would grant less than was meant then is noted; what would grant
//! more is refused.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, mem};

use super::choices::Choice as _;
use super::error::{ConfigError, Fault};
use super::schema::Source;
use super::tables::{Defaults, MountTable, Tables};
use super::written::{Text, Word};
use crate::package::PackageName;
use crate::policy::Mode;

/// The keys of 0.3, by a key of the table that they stand in. No hint names them.
pub(super) const KEYS: [(&str, &[&str]); 4] = [
    ("node_image", &["container_cli", "memory", "cpus", "mount_mode", "log_level"]),
    ("host", &["container", "mode"]),
    ("require_limits", &["network"]),
    ("enabled", &["absolute_prefix", "home_prefix", "uri_prefix"]),
];

/// Whether a key of the table with the keys `known` is only there for files of 0.3.
pub(super) fn is_former(key: &str, known: &[&str]) -> bool {
    KEYS.iter().any(|(beside, keys)| known.contains(beside) && keys.contains(&key))
}

/// The name of 0.3 for networks without a filter.
const UNFILTERED: [&str; 2] = ["bridge", "default"];

/// Keys of `[defaults]` alone.
pub(super) fn defaults(table: &mut Defaults, source: &Source<'_>, notes: &mut Vec<String>) {
    table.runtime.memory = table.runtime.memory.take().or(table.memory.take());
    table.runtime.cpus = table.runtime.cpus.take().or(table.cpus.take());
    table.paths.mount_mode = table.paths.mount_mode.take().or(table.mount_mode.take());
    let left = [
        (&table.container_cli, "container", "`program` below [defaults.runtime] names an engine's program"),
        (&table.log_level, "warn", "the option --log-level and the variable NPXC_LOG_LEVEL say it"),
    ];
    for (written, default, instead) in left {
        if let Some(written) = written.as_ref().filter(|written| written.get_ref() != default) {
            note(source, written, &format!("this key is of npxc 0.3 and does nothing: {instead}"), notes);
        }
    }
}

/// Keys of tables that both files have.
pub(super) fn tables(
    table: &mut Tables,
    source: &Source<'_>,
    notes: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let runtime = table.runtime.network.take();
    table.network.mode = table.network.mode.take().or(runtime);
    table.mounts.iter_mut().for_each(mount);
    let heuristic = &table.paths.heuristic;
    let off = "npxc looks for all of these or for none: `enabled = false` turns them off";
    for flag in [&heuristic.absolute_prefix, &heuristic.home_prefix].into_iter().flatten() {
        if !flag.get_ref() {
            let fault = Fault::new("what looks like a path cannot be told apart here").hint(off);
            return Err(ConfigError::at(&source.place(flag.span().start), fault));
        }
    }
    if let Some(prefixes) = &heuristic.uri_prefix {
        let is_file = |prefix: &&Text| prefix.get_ref() == "file://";
        if !prefixes.get_ref().iter().any(|prefix| is_file(&prefix)) {
            let fault = Fault::new("file:// cannot be left out here").hint(off);
            return Err(ConfigError::at(&source.place(prefixes.span().start), fault));
        }
        if let Some(other) = prefixes.get_ref().iter().find(|prefix| !is_file(prefix)) {
            note(source, other, "no URI but file:// is taken for a path", notes);
        }
    }
    Ok(())
}

/// `container` and `mode` are `guest` and `access`.
fn mount(table: &mut MountTable) {
    table.guest = mem::take(&mut table.guest).or(table.container.take());
    table.access = mem::take(&mut table.access).or(table.mode.take());
}

/// A network mode; of 0.3's names for networks that have no filter, a word.
pub(super) fn mode(text: &str) -> Result<Mode, Fault> {
    if UNFILTERED.contains(&text) {
        return Err(Fault::new(format!("`{text}` was a network without a filter, and is no mode"))
            .hint("name what is needed in `allow`; mode = \"open\" lets every public destination through"));
    }
    Mode::from_word(text)
}

/// The name that 0.3 gave to a package's file and directory: `@a/b` and `a-b` had the same.
pub(super) fn file_name(name: &PackageName) -> String {
    name.to_string().to_lowercase().replace(['@', '/'], "-").trim_start_matches('-').to_owned()
}

/// A word about what a package kept with 0.3, which is not in the way of what it keeps now. `data` is npxc's directory.
pub(super) fn kept(data: &Path, name: &PackageName) -> Option<String> {
    let (old, new) =
        (data.join("packages").join(file_name(name)), data.join("packages").join(name.path_component()));
    // Today's directory has these, and nothing of the package's beside them.
    let is_old =
        |entry: &OsString| !["data", "folder", "lock", "over", "replaced"].iter().any(|own| entry == own);
    let found = fs::read_dir(&old).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).find(is_old)?;
    Some(format!(
        "{} is of npxc 0.3, it seems; what the package is to have in /data goes to {}",
        old.join(found).display(),
        new.join("data").display()
    ))
}

/// `env_passthrough` behind `[env]` is a variable of that table, which is never what was meant.
pub(super) fn below_env(message: &str, text: &str, offset: usize) -> Option<Fault> {
    if message != "invalid type: sequence, expected a string" {
        return None;
    }
    let line = text.get(..offset)?.rsplit('\n').next()?.trim_start();
    line.starts_with("env_passthrough").then(|| {
        Fault::new("this stands in the table [env], so it is taken for a variable's value")
            .hint("move `env_passthrough` to the top, before the first line that begins with [")
    })
}

fn note<K>(source: &Source<'_>, written: &Word<K>, what: &str, notes: &mut Vec<String>) {
    let place = source.place(written.span().start);
    notes.push(ConfigError::at(&place, Fault::new(what)).to_string());
}
