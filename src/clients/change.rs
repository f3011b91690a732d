//! Putting npxc in the place of npx, and back: which bytes of a file change. Pure.
//!
//! Only two spans of a server ever change: its command, and its arguments up to the package (the *head*). Everything else in
//! the file stays byte for byte, so putting both back gives the original, whatever else has changed meanwhile.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::npx::{self, Npx};
use super::servers::{Program, Server, Start};
use crate::rpc::json::Splice;
use crate::rpc::json::text::encode;

/// What a server's changed parts were, as they were written: enough to put them back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The names that lead to the server.
    pub path: Vec<String>,
    /// The command, quotes included.
    pub command: String,
    /// The arguments before the package.
    pub head: String,
}

/// What stands in npx's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// npxc, by name or by path.
    pub command: String,
    /// Its options, each one word; with a `--` at the end where the package's name needs that.
    pub options: Vec<String>,
}

impl Plan {
    /// The arguments as the client will hand them over.
    pub fn words(&self, program: &Program, npx: Npx) -> Vec<String> {
        let args: Vec<&String> = program.args.iter().map(|arg| &arg.text).collect();
        let (before, behind) = (&args[npx.skip..npx.at], &args[npx.at..]);
        before.iter().copied().chain(&self.options).chain(behind.iter().copied()).cloned().collect()
    }
}

/// The replacements that put npxc in front of a server. `None` where a comment would be lost.
pub fn wrap(text: &str, program: &Program, npx: Npx, plan: &Plan) -> Option<Vec<Splice>> {
    let start = |index: usize| program.args[index].span.start;
    let gone = start(0)..start(npx.skip);
    let between = program.args[..npx.skip]
        .iter()
        .fold(text[gone].to_owned(), |left, arg| left.replacen(&text[arg.span.clone()], "", 1));
    if !between.trim_matches([' ', '\t', '\r', '\n', ',']).is_empty() {
        return None;
    }
    let mut head = text[start(npx.skip)..start(npx.at)].to_owned();
    let separator = separator(text, program, npx.at);
    for option in &plan.options {
        head.push_str(&quoted(option));
        head.push_str(&separator);
    }
    head.push_str(&text[start(npx.at)..start(npx.spec)]);
    Some(both(text, program, npx.spec, &quoted(&plan.command), &head))
}

/// The replacement that gives a server which is npxc's already more options; `spec` is the package among its arguments.
pub fn add(text: &str, program: &Program, spec: usize, options: &[String]) -> Splice {
    // A `--` in front of the package ends them.
    let at = if spec > 0 && program.args[spec - 1].text == "--" { spec - 1 } else { spec };
    let separator = separator(text, program, at);
    let with: String = options.iter().flat_map(|option| [quoted(option), separator.clone()]).collect();
    let start = program.args[at].span.start;
    Splice { span: start..start, with: with.into_bytes() }
}

/// The replacements that put a server back. `spec` is the package among its arguments.
pub fn unwrap(text: &str, program: &Program, spec: usize, kept: &Kept) -> Vec<Splice> {
    both(text, program, spec, &kept.command, &kept.head)
}

/// What [`unwrap`] needs to put a server back to what it is in `text`.
pub fn keep(text: &str, path: &[String], program: &Program, spec: usize) -> Kept {
    Kept {
        path: path.to_vec(),
        command: text[program.command.span.clone()].to_owned(),
        head: text[head(program, spec)].to_owned(),
    }
}

/// The arguments before the package.
fn head(program: &Program, spec: usize) -> Range<usize> {
    program.args[0].span.start..program.args[spec].span.start
}

/// Replaces command and head where they differ.
fn both(text: &str, program: &Program, spec: usize, command: &str, new: &str) -> Vec<Splice> {
    let parts = [(program.command.span.clone(), command), (head(program, spec), new)];
    let mut splices: Vec<Splice> = parts
        .into_iter()
        .filter(|(span, with)| text[span.clone()] != **with)
        .map(|(span, with)| Splice { span, with: with.as_bytes().to_vec() })
        .collect();
    splices.sort_by_key(|splice| splice.span.start);
    splices
}

/// What stands between two arguments here: as before this one, on lines of their own or on one.
fn separator(text: &str, program: &Program, at: usize) -> String {
    let before = &text[..program.args[at].span.start];
    let blank = &before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
    if blank.contains('\n') {
        return format!(",{blank}");
    }
    let tight = program.args.windows(2).any(|pair| &text[pair[0].span.end..pair[1].span.start] == ",");
    if tight { ",".to_owned() } else { ", ".to_owned() }
}

/// A string as JSON and TOML both write it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", encode(text).replace('\u{7f}', "\\u007f"))
}

/// What became of a server that was to be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is npx's again.
    Back,
    /// It was already.
    Before,
    /// It is gone from the file.
    Gone,
    /// It is no longer how npxc would be started.
    Strange,
}

/// The replacements that put servers back, in order, and what becomes of each. `package` finds the package among npxc's
/// arguments.
pub fn restore(
    text: &str,
    servers: &[Server],
    kept: &[Kept],
    package: &dyn Fn(&[String]) -> Option<usize>,
) -> (Vec<Splice>, Vec<Restored>) {
    let mut splices = Vec::new();
    let mut outcomes = Vec::new();
    for kept in kept {
        outcomes.push(
            match servers.iter().find(|server| server.path == kept.path).map(|server| &server.start) {
                None => Restored::Gone,
                Some(Start::Unknown(_)) => Restored::Strange,
                Some(Start::Program(program)) => {
                    let args: Vec<String> = program.args.iter().map(|arg| arg.text.clone()).collect();
                    // Wherever it is by now: the record says that npxc is what stood there.
                    let is_npxc = matches!(npx::launch(program), npx::Launch::Npxc);
                    match package(&args).filter(|_| is_npxc) {
                        Some(spec) => {
                            splices.extend(unwrap(text, program, spec, kept));
                            Restored::Back
                        }
                        None if text[program.command.span.clone()] == kept.command => Restored::Before,
                        None => Restored::Strange,
                    }
                }
            },
        );
    }
    splices.sort_by_key(|splice| splice.span.start);
    (splices, outcomes)
}
