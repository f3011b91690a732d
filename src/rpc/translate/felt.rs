//! Tool calls that end in an error while something was denied: the error says what, and what would have allowed it. The
//! server's own values stay; a success is never touched. Sans-IO.
//!
//! A result with `isError` gets one more content item; a JSON-RPC error gets `data`, or one more key of it if it is an object;
//! what is no object becomes a member of one. The key is npxc's alone: where the server has written it, it gets another name.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use super::envelope::{Envelope, keys};
use super::requests::Requests;
use crate::rpc::calls::{Call, Calls};
use crate::rpc::denials::{Denial, Denials, Mark};
use crate::rpc::json::text::encode;
use crate::rpc::json::{Kind, Scanner, Splice};

/// Denials that one error tells of; more are counted.
const MOST_TOLD: usize = 5;
/// The key of `data` that is npxc's.
const OWN: &str = "npxc";
/// What that key is called if the server wrote it.
const THEIRS: &str = "server:npxc";
/// The key of the server's data, if that is no object.
const DATA: &str = "server";

/// Calls that run, with how much had been denied when they began.
#[derive(Debug, Default)]
pub(super) struct Felt {
    /// None if nothing is to be explained.
    denials: Option<Denials>,
    /// Where they are noted.
    noted: Calls,
    calls: Requests<(Mark, Call)>,
}

impl Felt {
    pub(super) fn explaining(self, denials: Denials) -> Self {
        Self { denials: Some(denials), ..self }
    }

    pub(super) fn noting(self, noted: Calls) -> Self {
        Self { noted, ..self }
    }

    /// A tool call goes to the guest.
    pub(super) fn call(&mut self, id: &[u8], tool: &str) {
        // One of this id that is there still is long over.
        self.calls.take(id);
        let mark = self.denials.as_ref().map(Denials::mark).unwrap_or_default();
        self.calls.add(id, (mark, self.noted.begin(tool)));
    }

    /// A line went on without a look at it, and so did the answer that it may be: the oldest call's, for all that is known.
    pub(super) fn unseen(&mut self) {
        self.calls.forget_oldest();
    }

    /// No answer will come.
    pub(super) fn forget(&mut self, id: &[u8]) {
        self.calls.take(id);
    }

    /// Whether a call that runs has something to be told, should it fail.
    pub(super) fn waits(&self) -> bool {
        self.denials.as_ref().is_some_and(|denials| {
            let now = denials.mark();
            self.calls.any(|(mark, _)| *mark < now)
        })
    }

    /// What changes in a message of this line of the server, if it is the error that such a call ends in.
    pub(super) fn explain(&mut self, line: &[u8], message: &Envelope) -> Vec<Splice> {
        self.explained(line, message).unwrap_or_default()
    }

    fn explained(&mut self, line: &[u8], message: &Envelope) -> Option<Vec<Splice>> {
        let id = message.id.clone().filter(|_| message.method.is_none())?;
        let (mark, _over) = self.calls.take(line.get(id)?)?;
        let denied = self.denials.as_ref()?.since(mark);
        if message.error {
            return in_error(line, message.whole.clone(), &denied);
        }
        if denied.is_empty() {
            return None;
        }
        in_result(line, message.result.clone()?, &denied).map(|one| vec![one])
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
    let (mut failed, mut none, mut content, mut opened) = (false, true, None, None);
    let mut scanner = Scanner::again(line, result.clone(), &[]);
    while let Ok(Some(token)) = scanner.next() {
        if token.depth != 1 {
            continue;
        }
        let keys = keys(line, scanner.position(&token)?);
        match (keys.first().map(String::as_str), token.kind) {
            (Some("isError"), Kind::Scalar) => failed = line.get(token.span)? == b"true",
            (Some("content"), Kind::Key) => (none, content) = (false, None),
            (Some("content"), Kind::Open) => {
                opened = (line.get(token.span.clone())? == b"[").then_some(token.span.end);
            }
            (Some("content"), Kind::Close) => content = opened.map(|start| start..token.span.start),
            _ => {}
        }
    }
    let text = format!(r#"{{"type":"text","text":"{}"}}"#, encode(&words(denied)));
    if none && failed {
        return append(line, result.start + 1..result.end - 1, &format!("\"content\":[{text}]"));
    }
    append(line, content.filter(|_| failed)?, &text)
}

/// `data` of a JSON-RPC error. The last of several counts, as it does for who reads them.
fn in_error(line: &[u8], message: Range<usize>, denied: &[Denial]) -> Option<Vec<Splice>> {
    let mut scanner = Scanner::again(line, message, &[]);
    let (mut opened, mut closed, mut start) = (None, None, 0);
    let mut data: Option<Range<usize>> = None;
    let mut splices = Vec::new();
    while let Ok(Some(token)) = scanner.next() {
        // What stands deeper is the server's affair.
        let Some(position) = scanner.position(&token).filter(|_| token.depth <= 3) else { continue };
        let keys = keys(line, position);
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let span = token.span;
        match (&keys[..], token.kind) {
            (["error"], Kind::Key) => (opened, closed, data) = (None, None, None),
            (["error"], Kind::Open) => opened = (line.get(span.clone())? == b"{").then_some(span.end),
            (["error"], Kind::Close) => closed = Some(span.start),
            (["error", "data"], Kind::Open) if token.depth == 2 => start = span.start,
            (["error", "data"], Kind::Close) if token.depth == 2 => data = Some(start..span.end),
            (["error", "data"], Kind::String) if token.depth == 2 => {
                data = Some(span.start - 1..span.end + 1);
            }
            (["error", "data"], Kind::Scalar) if token.depth == 2 => data = Some(span),
            (["error", "data", OWN], Kind::Key) => splices.push(Splice { span, with: THEIRS.into() }),
            _ => {}
        }
    }
    let error = opened?..closed?;
    if denied.is_empty() {
        return Some(splices);
    }
    let own = format!("\"{OWN}\":{}", told(denied));
    match data {
        None => splices.extend(append(line, error, &format!("\"data\":{{{own}}}"))),
        Some(data) if line.get(data.start)? == &b'{' => {
            splices.extend(append(line, data.start + 1..data.end - 1, &own));
        }
        Some(data) => {
            let before = format!("{{{own},\"{DATA}\":");
            splices.push(Splice { span: data.start..data.start, with: before.into_bytes() });
            splices.push(Splice { span: data.end..data.end, with: b"}".to_vec() });
        }
    }
    Some(splices)
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
    let mut seen = BTreeSet::new();
    hints.retain(|hint| hint.starts_with("--") && seen.insert(*hint));
    if !hints.is_empty() {
        let _ = write!(words, ". If that is wanted, start npxc with {}", hints.join(" "));
    }
    words
}

#[cfg(test)]
#[path = "felt_tests.rs"]
mod tests;
