//! Takes the refused requests out of a batch (JSON-RPC 2.0, section 6): the rest of it goes on.
//!
//! The server answers what it gets, in one array. The errors for the rest are lines of their own, each with its id; where the
//! server has nothing to answer any more, they are the batch's answer, in one array.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::rpc::json::{Splice, splice};

/// A batch's messages, as far as this matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where each stands, and whether it expects an answer.
    pub(super) messages: Vec<(Range<usize>, bool)>,
}

impl Batch {
    /// What goes on of `line`, with these replacements, if anything does, and what the client is told.
    /// `errors` are whole lines, by the place of their request.
    pub(super) fn without(
        &self,
        line: &[u8],
        mut splices: Vec<Splice>,
        errors: &BTreeMap<usize, Vec<u8>>,
    ) -> (Option<Vec<u8>>, Vec<u8>) {
        let kept = |index: &usize| !errors.contains_key(index);
        let last = (0..self.messages.len()).rev().find(kept);
        let answered = (0..self.messages.len()).filter(kept).any(|index| self.messages[index].1);
        let errors_alone: Vec<&[u8]> = errors.values().map(|error| error.trim_ascii_end()).collect();
        let reply = if answered {
            errors.values().flatten().copied().collect()
        } else {
            [b"[".as_slice(), &errors_alone.join(b",".as_slice()), b"]\n"].concat()
        };
        let Some(last) = last else { return (None, reply) };
        let mut gone: Vec<Range<usize>> = Vec::new();
        for index in errors.keys().copied().filter(|index| *index < last) {
            gone.push(self.messages[index].0.start..self.messages[index + 1].0.start);
        }
        if let Some(end) =
            self.messages.last().map(|(span, _)| span.end).filter(|_| last + 1 < self.messages.len())
        {
            gone.push(self.messages[last].0.end..end);
        }
        splices.retain(|one| !gone.iter().any(|gone| gone.contains(&one.span.start)));
        splices.extend(gone.into_iter().map(|span| Splice { span, with: Vec::new() }));
        splices.sort_by_key(|one| one.span.start);
        (Some(splice(line, &splices)), reply)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn without(line: &str, refused: &[usize]) -> (Option<String>, String) {
        let mut messages = Vec::new();
        let mut from = 0;
        while let Some(at) = line[from..].find('{') {
            let start = from + at;
            from = start + line[start..].find('}').unwrap() + 1;
            messages.push((start..from, line[start..from].contains("id")));
        }
        let errors = refused.iter().map(|index| (*index, format!("error {index}\n").into_bytes())).collect();
        let (line, reply) = Batch { messages }.without(line.as_bytes(), Vec::new(), &errors);
        (line.map(|line| String::from_utf8(line).unwrap()), String::from_utf8(reply).unwrap())
    }

    #[test]
    fn the_rest_of_a_batch_stays_json() {
        let line = "[ {\"id\":0} , {\"id\":1}, {\"id\":2} ]\n";
        for (refused, rest) in [
            (&[0][..], "[ {\"id\":1}, {\"id\":2} ]\n"),
            (&[1], "[ {\"id\":0} , {\"id\":2} ]\n"),
            (&[2], "[ {\"id\":0} , {\"id\":1} ]\n"),
            (&[0, 1], "[ {\"id\":2} ]\n"),
            (&[1, 2], "[ {\"id\":0} ]\n"),
            (&[0, 2], "[ {\"id\":1} ]\n"),
        ] {
            let (line, reply) = without(line, refused);
            assert_eq!(line.unwrap(), rest);
            let lines: Vec<_> = refused.iter().map(|index| format!("error {index}\n")).collect();
            assert_eq!(reply, lines.concat());
        }
        assert_eq!(without(line, &[0, 1, 2]), (None, "[error 0,error 1,error 2]\n".to_owned()));
    }

    #[test]
    fn the_errors_are_the_answer_where_there_is_no_other() {
        let (line, reply) = without("[{\"id\":0},{\"n\":1}]", &[0]);
        assert_eq!((line.unwrap().as_str(), reply.as_str()), ("[{\"n\":1}]", "[error 0]\n"));
    }
}
