//! Command lines that are right and probably not what was meant. Pure; nothing is changed for it, only said.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::NAMES;
use crate::config::error::nearest;
use crate::paths::shell_word;
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

/// The first of npxc's granting options among a package's own arguments; `words` begin with the spec. What stands
/// behind a `--` is the package's on purpose.
pub(super) fn behind_spec(words: &[OsString]) -> Option<&'static str> {
    let own = words.iter().skip(1).take_while(|word| *word != "--");
    own.filter_map(|word| word.to_str()).find_map(|word| {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        GRANTS.into_iter().find(|option| *option == name)
    })
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

/// The first of a package's own arguments that is an absolute path which `exists` here, and that no mount shows to the
/// package; `--option=PATH` counts. `words` begin with the spec.
pub(super) fn unseen(
    words: &[OsString],
    mounts: &[Mount],
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    every_unseen(words, mounts).find(|path| exists(path)).map(Path::to_owned)
}

/// The same, all of them, whether they exist or not.
pub(super) fn every_unseen<'a>(words: &'a [OsString], mounts: &'a [Mount]) -> impl Iterator<Item = &'a Path> {
    let own = words.iter().skip(1).filter_map(|word| word.to_str());
    let paths = own.map(|word| match word.split_once('=') {
        Some((option, value)) if option.starts_with('-') => Path::new(value),
        Some(_) | None => Path::new(word),
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

/// What npm, npx and other package managers call something that npxc does under another name, or does anyway.
const FOREIGN: [(&str, Meant); 9] = [
    ("uninstall", Meant::Command("clean")),
    ("remove", Meant::Command("clean")),
    ("rm", Meant::Command("clean")),
    ("upgrade", Meant::Command("update")),
    ("ls", Meant::List),
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
    /// `npxc list`, which takes no packages.
    List,
    /// No word at all: running a package is what npxc does.
    Nothing,
}

/// The command line to type instead of one whose words begin with another package manager's command; `options` stood
/// before them.
pub(super) fn instead(options: &[OsString], words: &[OsString]) -> Option<String> {
    let (first, behind) = words.split_first()?;
    let (name, meant) = FOREIGN.into_iter().find(|(name, _)| *first == *name)?;
    // A single letter alone is more likely a package than a command without an object.
    if name == "x" && behind.is_empty() {
        return None;
    }
    let behind = behind.strip_prefix(&["--".into()]).unwrap_or(behind);
    let (command, options, behind) = match meant {
        Meant::Command(command) => (Some(command), &[][..], behind),
        Meant::List => (Some("list"), &[][..], &[][..]),
        Meant::Nothing => (None, options, behind),
    };
    let mut line = vec!["npxc".to_owned()];
    line.extend(options.iter().map(|word| shell_word(&word.to_string_lossy())));
    line.extend(command.map(str::to_owned));
    line.extend(behind.iter().map(|word| shell_word(&word.to_string_lossy())));
    if behind.is_empty() && !matches!(meant, Meant::List) {
        line.push("PACKAGE".to_owned());
    }
    Some(line.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_npm_calls_it_is_said_in_npxcs_words() {
        let instead = |line: &str| {
            instead(&["--allow=@npm".into()], &line.split(' ').map(OsString::from).collect::<Vec<_>>())
        };
        for (line, expected) in [
            ("uninstall cowsay", "npxc clean cowsay"),
            ("remove cowsay@1 x", "npxc clean cowsay@1 x"),
            ("rm", "npxc clean PACKAGE"),
            ("ls", "npxc list"),
            ("ls -g cowsay", "npxc list"),
            ("upgrade cowsay", "npxc update cowsay"),
            ("upgrade", "npxc update PACKAGE"),
            ("run cowsay a;b", "npxc --allow=@npm cowsay 'a;b'"),
            ("exec -- cowsay", "npxc --allow=@npm cowsay"),
            ("x cowsay", "npxc --allow=@npm cowsay"),
            ("run", "npxc --allow=@npm PACKAGE"),
        ] {
            assert_eq!(instead(line).as_deref(), Some(expected), "{line}");
        }
        for line in ["x", "cowsay run", "run@latest cowsay", "list", "update cowsay", "./run", ""] {
            assert_eq!(instead(line), None, "{line}");
        }
    }

    fn found(line: &str) -> Option<&'static str> {
        behind_spec(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_granting_options_before_a_double_dash_count() {
        assert_eq!(found("server --port 1 --allow example.com"), Some("--allow"));
        assert_eq!(found("server --env=A=b"), Some("--env"));
        assert_eq!(found("server -- --allow example.com"), None);
        assert_eq!(found("server allow --allowed --allow-all --config x --cwd y -e"), None);
        assert_eq!(found("--allow"), None, "the first word is the spec");
        assert_eq!(found(""), None);
    }

    #[test]
    fn a_path_that_no_mount_shows_is_found() {
        let mount = |host: &str, guest: &str| Mount {
            host: host.into(),
            guest: guest.into(),
            access: crate::runtime::Access::ReadOnly,
        };
        let mounts = [mount("/home/me/shown", "/home/me/shown"), mount("/home/me/moved", "/data/moved")];
        let unseen = |line: &str| {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            unseen(&words, &mounts, |path| !path.ends_with("none")).map(|path| path.display().to_string())
        };
        for (line, found) in [
            ("server /home/me/notes /home/me/other", "/home/me/notes"),
            ("server /home/me/shown/a /home/me/other", "/home/me/other"),
            ("server --root=/home/me/notes", "/home/me/notes"),
            ("server -- /tmp/x", "/tmp/x"),
            ("server /home/me/moved", "/home/me/moved"),
        ] {
            assert_eq!(unseen(line).as_deref(), Some(found), "{line}");
        }
        for line in [
            "/home/me/package.tgz",
            "server /home/me/shown /data/moved/x",
            "server / /tmp /home /usr/share/x /etc/x/y /dev/shm/x /nothing",
            "server /home/me/none notes ./notes http://example.com/a/b a=/home/me/notes",
        ] {
            assert_eq!(unseen(line), None, "{line}");
        }
        assert_eq!(
            about_path(Path::new("/home/me/a b")),
            "the package cannot see /home/me/a b; npxc --mount '/home/me/a b' ... PACKAGE shows it, to be read"
        );
    }

    #[test]
    fn a_mistyped_command_is_recognized() {
        for (word, meant) in
            [("lst", "list"), ("porbe", "probe"), ("instal", "install"), ("docter", "doctor")]
        {
            assert_eq!(command(word), Some(meant));
        }
        for word in ["list", "list@1", "@a/lst", "./lst", "cowsay", "typescript", "x"] {
            assert_eq!(command(word), None, "{word}");
        }
    }

    #[test]
    fn every_option_of_the_list_is_one() {
        use clap::CommandFactory as _;
        let command = super::super::Args::command();
        let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(GRANTS.iter().all(|option| known.contains(&option.trim_start_matches('-'))));
    }
}
