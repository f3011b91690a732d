//! Command lines that are right and probably not what was meant: some are refused ([`instead`], [`taken_for_rule`]), most get a word.
//! Pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::NAMES;
use crate::config::error::{distance, nearest};
use crate::paths::shell_word;
use crate::policy::Rule;
use crate::runtime::Mount;

/// Options that change what a package is granted. Behind the spec they are the package's own and grant nothing, which
/// looks like a sandbox that does not work. Others that packages often have themselves (`--config`, `--cwd`) are left
/// out.
const GRANTS: [&str; 15] = [
    "--allow",
    "--allow-private",
    "--allow-install",
    "--deny",
    "--network",
    "--add-host",
    "--publish",
    "--mount",
    "--write",
    "--persist",
    "--no-isolate",
    "--env",
    "--memory",
    "--cpus",
    "--pids",
];

/// The options that `npxc probe` alone has, and whether a value follows.
const PROBES: [(&str, bool); 7] = [
    ("--json", false),
    ("--call", true),
    ("--tool", true),
    ("--args", true),
    ("--arguments", true),
    ("--timeout", true),
    ("--wait", true),
];

/// The first of npxc's granting options among a package's own arguments; `words` begin with the spec. What stands
/// behind a `--` is the package's on purpose.
pub(super) fn behind_spec(words: &[OsString]) -> Option<&'static str> {
    let own = words.iter().skip(1).take_while(|word| *word != "--");
    own.filter_map(|word| word.to_str()).find_map(|word| {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        GRANTS.into_iter().find(|option| *option == name)
    })
}

/// Warning and hint about options of `npxc probe` that stand behind the spec, all of them; `words` begin with that.
pub(super) fn probe_behind_spec(words: &[OsString]) -> Option<(String, String)> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let (spec, own) = words.split_first()?;
    let own = own.split(|word| word == "--").next().unwrap_or_default();
    let (mut names, mut before, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = own.iter();
    while let Some(word) = rest.next() {
        let (name, joined) = word.split_once('=').map_or((&**word, false), |(name, _)| (name, true));
        let Some((name, has_value)) = PROBES.into_iter().find(|(option, _)| *option == name) else {
            behind.push(shell_word(word));
            continue;
        };
        names.push(name);
        before.push(shell_word(word));
        if has_value && !joined {
            before.extend(rest.next().map(|value| shell_word(value)));
        }
    }
    if names.is_empty() {
        return None;
    }
    let (stand, were) = if names.len() == 1 { ("stands", "it was") } else { ("stand", "they were") };
    let warning = format!(
        "{} {stand} behind the package's name, so {were} passed to the package and mean nothing to npxc",
        names.join(" and ")
    );
    let line = [before, vec![shell_word(spec)], behind].concat().join(" ");
    Some((
        warning,
        format!("npxc probe {line}; npxc probe -- PACKAGE {} ... passes on without this warning", names[0]),
    ))
}

/// An option for rules that took a word without a dot or a port for its rule, as it takes the package where the rule was
/// forgotten; `words` are npxc's own. A host of such a name is written with a port, or with the option's `=`.
pub(super) fn taken_for_rule(words: &[OsString]) -> Option<(&'static str, String)> {
    let words = words.iter().take_while(|word| *word != "--");
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.windows(2).find_map(|pair| {
        let [option, word] = pair else { return None };
        // A host in one's own network, which may have no dot, is private.
        let option = ["--allow", "--allow-install"].into_iter().find(|known| known == option)?;
        let is_label = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && word != "localhost";
        (is_label && word.parse::<Rule>().is_ok()).then(|| (option, word.clone().into_owned()))
    })
}

/// What to say of a rule that [`taken_for_rule`] found.
pub(super) fn about_rule(option: &str, word: &str) -> (String, [String; 2]) {
    (
        format!("{option} took `{word}` for its rule"),
        [
            format!("if that is the package, the rule is missing: npxc {option} RULE {word}"),
            format!("if it is a host: {option}={word}, or {option} {word}:443"),
        ],
    )
}

/// Warning and hint about an option that [`behind_spec`] found.
pub(super) fn about_option(option: &str) -> (String, String) {
    (
        format!(
            "{option} stands behind the package's name, so it was passed to the package and grants nothing"
        ),
        format!(
            "npxc {option} ... PACKAGE grants it; npxc -- PACKAGE {option} ... passes it on without this warning"
        ),
    )
}

/// The first of a package's own arguments that is an absolute path, or one from `~/`, which `exists` here, and that no mount
/// shows to the package; `--option=PATH` counts. `words` begin with the spec.
pub(super) fn unseen(
    words: &[OsString],
    mounts: &[Mount],
    home: &Path,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    every_unseen(words, mounts, home).find(|path| exists(path))
}

/// The same, all of them, whether they exist or not.
pub(super) fn every_unseen(
    words: &[OsString],
    mounts: &[Mount],
    home: &Path,
) -> impl Iterator<Item = PathBuf> {
    let own = words.iter().skip(1).filter_map(|word| word.to_str());
    let paths = own.map(|word| match word.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        Some(_) | None => word,
    });
    // What no shell has expanded is meant all the same.
    let paths = paths.map(|path| match path.strip_prefix("~/") {
        Some(below) => home.join(below),
        None => PathBuf::from(path),
    });
    // What the sandbox has of its own under these names may be what is meant.
    let is_own =
        |path: &Path| SYSTEM.iter().any(|own| path.starts_with(own)) || path.components().count() <= 2;
    let is_shown = |path: &Path| mounts.iter().any(|mount| path.starts_with(&mount.guest));
    paths.filter(move |path| path.is_absolute() && !is_own(path) && !is_shown(path))
}

/// Hint about a path that [`unseen`] found.
pub(super) fn about_path(path: &Path) -> String {
    let (shown, word) = (path.display(), shell_word(&path.to_string_lossy()));
    format!("the package cannot see {shown}; npxc --mount {word} ... PACKAGE shows it, to be read")
}

/// Directories that the sandbox has, too.
const SYSTEM: [&str; 11] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt/npxc"];

/// The command of npxc's that a spec was probably meant to be. Only a bare name can be one.
pub(super) fn command(spec: &str) -> Option<&'static str> {
    let bare = spec.bytes().all(|byte| byte.is_ascii_lowercase());
    nearest(spec, NAMES).filter(|name| bare && *name != spec)
}

/// Letters of the shortest command that one edit is not taken for: with fewer, a third of it is another word.
const SHORT: usize = 3;

/// The same, only where a single letter is wrong: that is a command rather than a package.
fn mistyped(word: &str) -> Option<&'static str> {
    command(word).filter(|name| name.len() > SHORT && distance(word, name) == 1)
}

/// What npm, npx and other package managers call something that npxc does under another name, or does anyway.
const FOREIGN: [(&str, Meant); 25] = [
    ("uninstall", Meant::Command("clean")),
    ("remove", Meant::Command("clean")),
    ("rm", Meant::Command("clean")),
    ("delete", Meant::Command("clean")),
    ("purge", Meant::Command("clean")),
    ("upgrade", Meant::Command("update")),
    ("add", Meant::Command("install")),
    ("i", Meant::Command("install")),
    ("info", Meant::Command("inspect")),
    ("show", Meant::Command("inspect")),
    ("view", Meant::Command("inspect")),
    ("ls", Meant::Whole("list")),
    ("outdated", Meant::Whole("update --dry-run")),
    ("version", Meant::Whole("--version")),
    ("log", Meant::Whole("audit list")),
    ("logs", Meant::Whole("audit list")),
    ("stop", Meant::Whole("ps")),
    ("kill", Meant::Whole("ps")),
    ("block", Meant::Command("deny")),
    ("unblock", Meant::Command("allow")),
    ("permit", Meant::Command("allow")),
    ("run", Meant::Nothing),
    ("exec", Meant::Nothing),
    ("dlx", Meant::Nothing),
    ("x", Meant::Nothing),
];

/// What npxc has for a word of another program's.
#[derive(Debug, Clone, Copy)]
enum Meant {
    /// This command, for the same packages.
    Command(&'static str),
    /// This, which takes no packages.
    Whole(&'static str),
    /// This command, which was mistyped: everything else stays.
    Mistyped(&'static str),
    /// No word at all: running a package is what npxc does.
    Nothing,
}

/// The command line to type instead of one whose words begin with another package manager's command, or with a mistyped one of
/// npxc's; `options` stood before them.
pub(super) fn instead(options: &[OsString], words: &[OsString]) -> Option<String> {
    let (first, behind) = words.split_first()?;
    let first = first.to_str()?;
    let foreign = FOREIGN.into_iter().find(|(name, _)| first == *name).map(|(_, meant)| meant);
    let meant = foreign.or_else(|| mistyped(first).map(Meant::Mistyped))?;
    // A single letter alone is more likely a package than a command without an object.
    if first.len() == 1 && behind.is_empty() {
        return None;
    }
    let behind = behind.strip_prefix(&["--".into()]).unwrap_or(behind);
    let (command, options, behind) = match meant {
        Meant::Command(command) => (Some(command), &[][..], behind),
        Meant::Whole(line) => return Some(format!("npxc {line}")),
        Meant::Mistyped(command) => (Some(command), options, behind),
        Meant::Nothing => (None, options, behind),
    };
    let mut line = vec!["npxc".to_owned()];
    line.extend(options.iter().map(|word| shell_word(&word.to_string_lossy())));
    line.extend(command.map(str::to_owned));
    line.extend(behind.iter().map(|word| shell_word(&word.to_string_lossy())));
    if behind.is_empty() && !matches!(meant, Meant::Mistyped(_)) {
        line.push("PACKAGE".to_owned());
    }
    Some(line.join(" "))
}

#[cfg(test)]
mod tests;
