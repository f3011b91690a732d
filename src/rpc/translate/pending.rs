//! Which calls may be writing to which copies, until their replies come. Sans-IO.

use std::collections::HashMap;
use std::ops::Range;

use super::envelope::keys;
use super::refusal::Refusal;
use crate::rpc::json::{Frame, Kind, Scanner, Splice, text};

/// Calls that wait for their replies. What more of them write is collected when the session ends.
const MOST_CALLS: usize = 4096;
/// JSON-RPC 2.0, section 5.1: internal error. The request was right.
const INTERNAL_ERROR: i32 = -32603;

/// A copy that a call named and that the guest may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Number of its directory.
    pub place: usize,
    /// Its path below that.
    pub name: String,
}

/// What could not be brought to the client's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    /// The client's path.
    pub path: String,
    /// Why, and where it is instead.
    pub refusal: Refusal,
}

/// A call whose reply is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What it may have written.
    pub writes: Vec<Write>,
    /// Its id as the reply has it.
    id: Range<usize>,
    /// The reply, without what is around it.
    span: Range<usize>,
}

impl Due {
    /// The error in place of a reply on this line: the server has done its part, and the client would not find it.
    pub fn instead(&self, line: &[u8], unsaved: &[Unsaved]) -> Option<Splice> {
        let first = unsaved.first()?;
        let said: Vec<String> = unsaved
            .iter()
            .take(3)
            .map(|Unsaved { path, refusal }| format!("{path} {}", refusal.reason))
            .collect();
        let more = match unsaved.len().saturating_sub(said.len()) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let hint = first.refusal.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        let message = text::encode(&format!("npxc: {}{more}{hint}", said.join("; ")));
        let paths: Vec<String> =
            unsaved.iter().map(|one| format!("\"{}\"", text::encode(&one.path))).collect();
        let mut with = br#"{"jsonrpc":"2.0","id":"#.to_vec();
        with.extend_from_slice(line.get(self.id.clone())?);
        with.extend_from_slice(
            format!(
                r#","error":{{"code":{INTERNAL_ERROR},"message":"{message}","data":{{"path":"{}","code":"{}","paths":[{}]}}}}}}"#,
                text::encode(&first.path),
                first.refusal.code,
                paths.join(",")
            )
            .as_bytes(),
        );
        Some(Splice { span: self.span.clone(), with })
    }
}

/// Calls that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: HashMap<Vec<u8>, Vec<Write>>,
}

impl Pending {
    /// A call with this id, as it is written, goes to the guest.
    pub(super) fn expect(&mut self, id: &[u8], writes: Vec<Write>) {
        if !writes.is_empty() && self.calls.len() < MOST_CALLS {
            self.calls.entry(same(id)).or_default().extend(writes);
        }
    }

    /// The calls that a line answers, in its order; each is due once.
    pub(super) fn due(&mut self, line: &[u8]) -> Vec<Due> {
        if self.calls.is_empty() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for Reply { id, span } in replies(line).unwrap_or_default() {
            if let Some(writes) = line.get(id.clone()).and_then(|id| self.calls.remove(&same(id))) {
                due.push(Due { writes, id, span });
            }
        }
        due
    }
}

/// An id as a key: the same text is the same string, however it is escaped. 7 is not "7".
fn same(id: &[u8]) -> Vec<u8> {
    let quoted = id.strip_prefix(b"\"").and_then(|id| id.strip_suffix(b"\""));
    match quoted.and_then(text::decode) {
        Some(text) => [b"\"", text.as_bytes()].concat(),
        None => id.to_vec(),
    }
}

/// A reply in a line, or in its batch.
#[derive(Debug, Default)]
struct Reply {
    id: Range<usize>,
    span: Range<usize>,
}

/// The replies of a line; none, if it is no JSON.
fn replies(line: &[u8]) -> Option<Vec<Reply>> {
    let mut out = Vec::new();
    let mut scanner = Scanner::new(line);
    let (mut batch, mut start, mut id, mut asks) = (false, 0, None, false);
    while let Some(token) = scanner.next().ok()? {
        let level = usize::from(batch);
        if token.depth == 0 && token.kind == Kind::Open && line.get(token.span.clone()) == Some(b"[") {
            batch = true;
            continue;
        }
        if token.depth == level && token.kind == Kind::Open {
            (start, id, asks) = (token.span.start, None, false);
        } else if token.depth == level && token.kind == Kind::Close {
            if let (Some(id), false) = (id.take(), asks) {
                out.push(Reply { id, span: start..token.span.end });
            }
        } else if token.depth == level + 1 && matches!(token.kind, Kind::String | Kind::Scalar) {
            let position = scanner.position(&token)?;
            if batch && !matches!(position.first(), Some(Frame::Array)) {
                continue;
            }
            let keys = keys(line, position);
            match keys.first().map(String::as_str) {
                Some("id") if token.kind == Kind::String => {
                    id = Some(token.span.start - 1..token.span.end + 1);
                }
                Some("id") => id = Some(token.span),
                Some("method") => asks = true,
                Some(_) | None => {}
            }
        }
    }
    Some(out)
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
