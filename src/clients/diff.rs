//! What a change looks like, as a unified diff; values that may be secrets are left out of it. Pure.

use std::fmt::Write as _;
use std::ops::Range;

use crate::audit::escape::{harmless, printable};
use crate::rpc::json::Splice;

/// Lines shown around a change.
const CONTEXT: usize = 3;
/// Longest line around a change that is shown whole; of a longer one that changes (a file without line breaks) only what is
/// around the change.
const LONG: usize = 240;
/// Bytes shown around a change in a long line.
const AROUND: usize = 40;
/// What is shown in a secret's place.
const MASK: &str = "\"…\"";

/// The diff of `text` to itself with `splices`, which are in order and do not overlap; none of them touches `secrets`.
pub fn unified(text: &str, splices: &[Splice], secrets: &[Range<usize>]) -> String {
    let text = Text { whole: text, splices, secrets };
    let lines = text.lines();
    let mut out = String::new();
    let mut shift = 0_isize;
    let blocks = text.blocks(&lines);
    for hunk in blocks.chunk_by(|one, next| next.start <= one.end + 2 * CONTEXT) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let start = first.start.saturating_sub(CONTEXT);
        let end = (last.end + CONTEXT).min(lines.len());
        let (mut body, mut at, mut grown) = (String::new(), start, 0_isize);
        for block in hunk {
            text.unchanged(&mut body, &lines[at..block.start]);
            grown += text.changed(&mut body, &lines[block.clone()]);
            at = block.end;
        }
        text.unchanged(&mut body, &lines[at..end]);
        let (old, length) = (start + 1, end - start);
        let _ = writeln!(
            out,
            "@@ -{old},{length} +{},{} @@\n{}",
            old.saturating_add_signed(shift),
            length.saturating_add_signed(grown),
            body.trim_end_matches('\n')
        );
        shift += grown;
    }
    out
}

struct Text<'a> {
    whole: &'a str,
    splices: &'a [Splice],
    secrets: &'a [Range<usize>],
}

impl Text<'_> {
    /// The bytes of each line, without its end.
    fn lines(&self) -> Vec<Range<usize>> {
        let mut at = 0;
        self.whole
            .split_inclusive('\n')
            .map(|line| {
                let start = at;
                at += line.len();
                start..start + line.trim_end_matches('\n').len()
            })
            .collect()
    }

    /// The lines that change, those next to each other together.
    fn blocks(&self, lines: &[Range<usize>]) -> Vec<Range<usize>> {
        let line_of = |at: usize| lines.partition_point(|line| line.start <= at).saturating_sub(1);
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for splice in self.splices {
            let (first, end) = (line_of(splice.span.start), line_of(splice.span.end) + 1);
            match blocks.last_mut() {
                Some(last) if first <= last.end => last.end = end.max(last.end),
                Some(_) | None => blocks.push(first..end),
            }
        }
        blocks
    }

    fn unchanged(&self, out: &mut String, lines: &[Range<usize>]) {
        for line in lines {
            say(out, ' ', &self.piece(line, false));
        }
    }

    /// Writes a block before and after, and gives how many lines it has more.
    fn changed(&self, out: &mut String, lines: &[Range<usize>]) -> isize {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return 0 };
        let whole = first.start..last.end;
        if lines.iter().any(|line| line.len() > LONG) {
            for splice in self.splices.iter().filter(|splice| whole.contains(&splice.span.start)) {
                let from = splice.span.start.saturating_sub(AROUND).max(whole.start);
                let to = (splice.span.end + AROUND).min(whole.end);
                let from = self.whole.ceil_char_boundary(from);
                let to = self.whole.ceil_char_boundary(to);
                for (sign, new) in [('-', false), ('+', true)] {
                    say(out, sign, &format!("… {} …", self.piece(&(from..to), new)));
                }
            }
            return 0;
        }
        let (old, new) = (self.piece(&whole, false), self.piece(&whole, true));
        let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
        // Lines that only stand between changes, or behind an insertion, are none.
        let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let (middle_old, middle_new) = (&old[head..], &new[head..]);
        let tail =
            middle_old.iter().rev().zip(middle_new.iter().rev()).take_while(|(old, new)| old == new).count();
        let (gone, come) = (&middle_old[..middle_old.len() - tail], &middle_new[..middle_new.len() - tail]);
        let signed = [(' ', &old[..head]), ('-', gone), ('+', come), (' ', &old[old.len() - tail..])];
        for (sign, lines) in signed {
            for line in lines {
                say(out, sign, line);
            }
        }
        let count = |lines: &[&str]| isize::try_from(lines.len()).unwrap_or(0);
        count(&new) - count(&old)
    }

    /// A part of the text without its secrets; `new` with the changes.
    fn piece(&self, part: &Range<usize>, new: bool) -> String {
        let clip = |span: &Range<usize>| span.start.max(part.start)..span.end.min(part.end);
        let masks = self.secrets.iter().map(clip).filter(|span| span.start < span.end);
        let inside = |splice: &&Splice| part.start <= splice.span.start && splice.span.end <= part.end;
        let changes = self.splices.iter().filter(|_| new).filter(inside);
        let changes = changes
            .map(|splice| (splice.span.clone(), std::str::from_utf8(&splice.with).unwrap_or_default()));
        let mut all: Vec<_> = masks.map(|span| (span, MASK)).chain(changes).collect();
        all.sort_by_key(|(span, _)| (span.start, span.end));
        let (mut out, mut at) = (String::new(), part.start);
        for (span, with) in all {
            if span.start >= at {
                out.push_str(&self.whole[at..span.start]);
                out.push_str(with);
                at = span.end;
            }
        }
        out.push_str(&self.whole[at..part.end]);
        out
    }
}

fn say(out: &mut String, sign: char, line: &str) {
    // Its tabs and its carriage return are no news.
    let line = line.trim_end_matches('\r').replace('\t', "    ");
    // What changes is agreed to: nothing of it may be out of sight.
    let line = if sign == ' ' { printable(&line, LONG) } else { harmless(&line) };
    let _ = writeln!(out, "{sign}{line}");
}
