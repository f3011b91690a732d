//! Command lines that are right and probably not what was meant. Pure; nothing is changed for it, only said.

use std::ffi::OsString;

use super::NAMES;
use crate::config::error::nearest;

/// Options that change what a package is granted. Behind the spec they are the package's own and grant nothing, which
/// looks like a sandbox that does not work. Others that packages often have themselves (`--config`, `--cwd`) are left
/// out.
const GRANTS: [&str; 12] = [
    "--allow",
    "--allow-private",
    "--allow-install",
    "--deny",
    "--network",
    "--add-host",
    "--publish",
    "--mount",
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

/// The command of npxc's that a spec was probably meant to be. Only a bare name can be one.
pub(super) fn command(spec: &str) -> Option<&'static str> {
    let bare = spec.bytes().all(|byte| byte.is_ascii_lowercase());
    nearest(spec, NAMES).filter(|name| bare && *name != spec)
}

#[cfg(test)]
mod tests {
    use super::*;

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
