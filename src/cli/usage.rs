//! What clap has to say, in npxc's words: help and version on stdout, mistakes on stderr with a hint each.

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Args, NAMES, say};
use crate::exit::{ExitStatus, Failure};

/// What other programs call it, and the level of `--log-level` that it is.
const LEVELS: [(&str, &str); 5] = [
    ("--verbose", "info"),
    ("--debug", "debug"),
    ("--quiet", "error"),
    ("--silent", "error"),
    ("-q", "error"),
];

/// How a line with advice begins in an error that npxc made for clap.
pub(super) const TIP: &str = "\n  tip: ";

/// Prints it. A mistake is 1, not clap's 2, which is npxc's status for a missing sandbox.
pub(super) fn said(error: &clap::Error, argv: &[OsString]) -> ExitStatus {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // What can be said is all that there is to see.
        say::failure(
            &Failure::new(ExitStatus::Config, "a command is missing")
                .hint(format!("`{} --help` shows them; they are:", command(argv))),
        );
        let help = error.render().to_string();
        let list = help.split_once("Commands:\n").map_or(help.as_str(), |(_, list)| list);
        for line in list.lines().take_while(|line| !line.is_empty()) {
            say::note(line);
        }
        return ExitStatus::Config;
    }
    if error.use_stderr() {
        let failure = mistake(error, argv);
        say::failure(&failure);
        return failure.status;
    }
    say::print(&error.render().to_string());
    ExitStatus::Success
}

/// A mistake, and how it is put right.
pub(super) fn mistake(error: &clap::Error, argv: &[OsString]) -> Failure {
    let rendered = error.render().to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    // Usage and advice stand in paragraphs of their own behind it.
    let what = text.split("\n\n").next().unwrap_or(text).trim_end();
    let failure = Failure::new(ExitStatus::Config, what);
    let own: Vec<String> = rendered
        .split(TIP)
        .skip(1)
        // clap's own have a context, and other words.
        .filter(|_| error.context().next().is_none())
        .map(|tip| tip.lines().next().unwrap_or_default().to_owned())
        .collect();
    if !own.is_empty() {
        return failure.hints(own);
    }
    let command = command(argv);
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| first(error.get(kind)?));
    let missing = first_of(error, ContextKind::InvalidArg).filter(|_| {
        matches!(error.kind(), ErrorKind::InvalidValue)
            && first_of(error, ContextKind::InvalidValue).is_none_or(|value| value.is_empty())
    });
    let unknown =
        first_of(error, ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    let level = unknown.and_then(|word| LEVELS.into_iter().find(|(option, _)| word == *option));
    match (near, missing) {
        _ if level.is_some() => failure.hints(level.map(|(_, level)| format!("write --log-level {level}"))),
        (Some(near), _) => {
            failure.hint(format!("did you mean `{near}`? `{command} --help` shows what there is"))
        }
        (None, Some(option)) => {
            let option = option.replace(['<', '>'], "");
            failure.hint(format!("write {option}; `{command} --help` shows what there is"))
        }
        (None, None) => failure.hint(format!("`{command} --help` shows what there is")),
    }
}

/// The command that was meant.
fn command(argv: &[OsString]) -> String {
    let args = Args::try_parse_from(argv).ok();
    let word = args.as_ref().and_then(|args| args.words.first()).and_then(|word| word.to_str());
    match word.filter(|word| NAMES.contains(word)) {
        Some(name) => format!("npxc {name}"),
        None => "npxc".to_owned(),
    }
}

fn first_of(error: &clap::Error, kind: ContextKind) -> Option<String> {
    first(error.get(kind)?)
}

fn first(value: &ContextValue) -> Option<String> {
    match value {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
