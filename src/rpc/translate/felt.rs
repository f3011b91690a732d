//! Tool calls that end in an error while something was denied: the error says what, and what would have allowed it. The
//! server's own bytes stay; a success is never touched. Sans-IO.
//!
//! A result with `isError` gets one more content item; a JSON-RPC error gets `data`, or one more key of it if it is an object.

use std::fmt::Write as _;
use std::ops::Range;

use super::envelope::{Envelope, keys};
use super::requests::Requests;
use crate::rpc::denials::{Denial, Denials, Mark};
use crate::rpc::json::text::encode;
use crate::rpc::json::{Kind, Scanner, Splice};

/// Denials that one error tells of; more are counted.
const MOST_TOLD: usize = 5;
/// The key of `data` that is npxc's.
const OWN: &str = "npxc";

/// Calls that run, with how much had been denied when they began.
#[derive(Debug, Default)]
pub(super) struct Felt {
    /// None if nothing is to be explained.
    denials: Option<Denials>,
    calls: Requests<Mark>,
}

impl Felt {
    pub(super) fn of(denials: Denials) -> Self {
        Self { denials: Some(denials), calls: Requests::default() }
    }

    /// A tool call goes to the guest.
    pub(super) fn call(&mut self, id: &[u8]) {
        if let Some(denials) = &self.denials {
            self.calls.add(id, denials.mark());
        }
    }

    /// No answer will come.
    pub(super) fn forget(&mut self, id: &[u8]) {
        self.calls.take(id);
    }

    /// Whether a call that runs has something to be told, should it fail.
    pub(super) fn waits(&self) -> bool {
        self.denials.as_ref().is_some_and(|denials| {
            let now = denials.mark();
            self.calls.any(|mark| *mark < now)
        })
    }

    /// What a message of this line of the server gets, if it is the error that such a call ends in.
    pub(super) fn explain(&mut self, line: &[u8], message: &Envelope) -> Option<Splice> {
        let id = message.id.clone().filter(|_| message.method.is_none())?;
        let mark = self.calls.take(line.get(id)?)?;
        let denied = self.denials.as_ref()?.since(mark);
        if denied.is_empty() {
            return None;
        }
        if message.error {
            in_error(line, message.whole.clone(), &denied)
        } else {
            in_result(line, message.result.clone()?, &denied)
        }
    }
}

/// Something at the end of an array or object.
fn append(line: &[u8], inside: Range<usize>, what: &str) -> Option<Splice> {
    let empty = line.get(inside.clone())?.trim_ascii().is_empty();
    let comma = if empty { "" } else { "," };
    // Behind the last value, before the blanks that follow it.
    let end = inside.end
        - line.get(inside.clone())?.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    let end = if empty { inside.end } else { end };
    Some(Splice { span: end..end, with: format!("{comma}{what}").into_bytes() })
}

/// One more content item of a result with `isError`.
fn in_result(line: &[u8], result: Range<usize>, denied: &[Denial]) -> Option<Splice> {
    let (mut failed, mut content, mut opened) = (false, None, None);
    let mut scanner = Scanner::again(line, result, &[]);
    while let Ok(Some(token)) = scanner.next() {
        if token.depth != 1 {
            continue;
        }
        let keys = keys(line, scanner.position(&token)?);
        match (keys.first().map(String::as_str), token.kind) {
            (Some("isError"), Kind::Scalar) => failed = line.get(token.span)? == b"true",
            (Some("content"), Kind::Open) => {
                opened = (line.get(token.span.clone())? == b"[").then_some(token.span.end);
            }
            (Some("content"), Kind::Close) => content = opened.map(|start| start..token.span.start),
            _ => {}
        }
    }
    let text = format!(r#"{{"type":"text","text":"{}"}}"#, encode(&words(denied)));
    append(line, content.filter(|_| failed)?, &text)
}

/// `data` of a JSON-RPC error.
fn in_error(line: &[u8], message: Range<usize>, denied: &[Denial]) -> Option<Splice> {
    let mut scanner = Scanner::again(line, message, &[]);
    let (mut opened, mut data) = (None, None);
    let denied = told(denied);
    while let Ok(Some(token)) = scanner.next() {
        let keys = keys(line, scanner.position(&token)?);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        match (&keys[..], token.kind) {
            (["error"], Kind::Open) => {
                opened = (line.get(token.span.clone())? == b"{").then_some(token.span.end);
            }
            (["error", "data"], Kind::Key) => data = Some(None),
            (["error", "data"], Kind::Open) if line.get(token.span.clone())? == b"{" => {
                data = Some(Some(token.span.end));
            }
            (["error", "data", key], Kind::Key) if *key == OWN => return None,
            (["error", "data"], Kind::Close) => {
                let start = data.flatten()?;
                return append(line, start..token.span.start, &format!("\"{OWN}\":{denied}"));
            }
            (["error"], Kind::Close) => {
                // Data that is no object is the server's alone.
                let start = opened.filter(|_| data.is_none())?;
                return append(line, start..token.span.start, &format!("\"data\":{{\"{OWN}\":{denied}}}"));
            }
            _ => {}
        }
    }
    None
}

/// For programs.
fn told(denied: &[Denial]) -> String {
    let one = |denial: &Denial| {
        let hint =
            denial.hint.as_ref().map_or_else(String::new, |hint| format!(r#","hint":"{}""#, encode(hint)));
        format!(
            r#"{{"destination":"{}","reason":"{}"{hint}}}"#,
            encode(&denial.destination),
            encode(&denial.reason)
        )
    };
    let all: Vec<String> = denied.iter().take(MOST_TOLD).map(one).collect();
    format!(r#"{{"message":"{}","denied":[{}]}}"#, encode(&words(denied)), all.join(","))
}

/// For people.
fn words(denied: &[Denial]) -> String {
    let mut words = "npxc: while this call ran the package was denied ".to_owned();
    for (index, denial) in denied.iter().take(MOST_TOLD).enumerate() {
        let between = if index == 0 { "" } else { "; " };
        let _ = write!(words, "{between}{} ({})", denial.destination, denial.reason);
    }
    if let Some(more @ 1..) = denied.len().checked_sub(MOST_TOLD) {
        let _ = write!(words, "; and {more} more");
    }
    let mut hints: Vec<&str> =
        denied.iter().take(MOST_TOLD).filter_map(|denial| denial.hint.as_deref()).collect();
    // Others are words.
    hints.retain(|hint| hint.starts_with("--"));
    hints.dedup();
    if !hints.is_empty() {
        let _ = write!(words, ". If that is wanted, start npxc with {}", hints.join(" "));
    }
    words
}

#[cfg(test)]
#[path = "felt_tests.rs"]
mod tests;
