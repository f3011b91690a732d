//! `npxc completions` and `npxc man`: what a shell and `man` know about npxc, made of the commands themselves.

use std::io;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory as _, Parser, ValueEnum};
use clap_complete::Shell;

use super::say;
use crate::exit::{ExitStatus, Failure};

/// Prints a shell's completions of npxc
#[derive(Debug, Parser)]
#[command(
    name = "npxc completions",
    after_help = "\
bash: npxc completions bash >~/.local/share/bash-completion/completions/npxc
zsh:  npxc completions zsh >DIR/_npxc, where DIR is in $fpath
fish: npxc completions fish >~/.config/fish/completions/npxc.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, required_unless_present = "option")]
    shell: Option<Known>,
    /// The same, as some programs take it
    #[arg(
        long = "shell",
        id = "option",
        value_name = "SHELL",
        value_enum,
        hide = true,
        conflicts_with = "shell"
    )]
    option: Option<Known>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Prints a manual page: npxc man | man -l -
#[derive(Debug, Parser)]
#[command(
    name = "npxc man",
    after_help = "\
npxc man >~/.local/share/man/man1/npxc.1
npxc man inspect >~/.local/share/man/man1/npxc-inspect.1"
)]
pub(super) struct ManArgs {
    /// The page of this command; without it, npxc's own
    #[arg(value_name = "COMMAND", value_parser = PossibleValuesParser::new(super::NAMES), hide_possible_values = true)]
    command: Option<String>,
}

pub(super) fn completions(args: &CompletionsArgs) -> ExitStatus {
    let shell = match args.shell.or(args.option) {
        // clap has seen to it that there is one.
        Some(Known::Bash) | None => Shell::Bash,
        Some(Known::Zsh) => Shell::Zsh,
        Some(Known::Fish) => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole(), "npxc", &mut text);
    say::print(&String::from_utf8_lossy(&text));
    ExitStatus::Success
}

pub(super) fn man(args: &ManArgs) -> Result<ExitStatus, Failure> {
    let page = page(args.command.as_deref())
        .map_err(|error| Failure::new(ExitStatus::Config, format!("cannot make the manual page: {error}")))?;
    say::print(&page);
    Ok(ExitStatus::Success)
}

fn page(command: Option<&str>) -> io::Result<String> {
    let whole = whole();
    let (command, title) = match command.and_then(|name| whole.find_subcommand(name)) {
        Some(found) => (found.clone(), format!("npxc-{}", found.get_name())),
        None => (super::Args::command(), "npxc".to_owned()),
    };
    let usage = if title == "npxc" { "npxc".to_owned() } else { title.replacen('-', " ", 1) };
    let mut page = Vec::new();
    let command = command.bin_name(usage).display_name(title);
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// npxc with all its commands. The parser itself does not have them: what is no command's name is a package.
fn whole() -> clap::Command {
    let commands = super::NAMES.iter().filter_map(|name| {
        let command = super::own_command(name)?;
        Some(command.name(*name).bin_name(format!("npxc {name}")))
    });
    super::Args::command().subcommands(commands).disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_shell_completes_every_command_and_its_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut whole(), "npxc", &mut text);
            let text = String::from_utf8(text).unwrap();
            for word in
                super::super::NAMES.iter().chain(&["allow-private", "older-than", "no-start", "verify"])
            {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let own = page(None).unwrap();
        assert!(own.contains(".TH npxc 1") && own.contains("\\-\\-allow\\-private"), "{own}");
        for name in super::super::NAMES {
            if name == "help" {
                continue;
            }
            let page = page(Some(name)).unwrap();
            assert!(page.contains(&format!(".TH npxc-{name} 1")), "{page}");
        }
    }
}
