//! Replaces parts of a line; every other byte is the sender's.

use std::ops::Range;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// What goes.
    pub span: Range<usize>,
    /// What comes in its place.
    pub with: Vec<u8>,
}

/// `line` with the replacements, which are in order and do not overlap; one that is not so is left out.
pub fn splice(line: &[u8], splices: &[Splice]) -> Vec<u8> {
    let more: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut out = Vec::with_capacity(line.len() + more);
    let mut done = 0;
    for splice in splices {
        let Range { start, end } = splice.span;
        let Some(before) = line.get(done..start) else { continue };
        if end < start || end > line.len() {
            continue;
        }
        out.extend_from_slice(before);
        out.extend_from_slice(&splice.with);
        done = end;
    }
    out.extend_from_slice(&line[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spans_change() {
        let put = |span: Range<usize>, with: &str| Splice { span, with: with.into() };
        assert_eq!(splice(b"abcdef", &[put(0..1, "X"), put(3..3, "-"), put(5..6, "")]), b"Xbc-de");
        assert_eq!(splice(b"abc", &[]), b"abc");
        assert_eq!(splice(b"abc", &[put(1..2, "X"), put(0..1, "Y"), put(2..9, "Z")]), b"aXc");
    }
}
