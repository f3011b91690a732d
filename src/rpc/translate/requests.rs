//! Requests that wait for their answers, by id. One table for each direction: an id means nothing in the other.

use std::collections::VecDeque;

use crate::rpc::json::text;

/// Requests that are remembered. When there are more, the oldest is forgotten: its answer never came, or is taken for what
/// it looks like.
const MOST: usize = 256;

/// What is known of requests that have not been answered.
#[derive(Debug)]
pub(super) struct Requests<T> {
    waiting: VecDeque<(Vec<u8>, T)>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T> Requests<T> {
    /// A request with this id, as it is written.
    pub(super) fn add(&mut self, id: &[u8], what: T) {
        if self.waiting.len() >= MOST {
            self.forget_oldest();
        }
        self.waiting.push_back((key(id), what));
    }

    /// The answer is here, or none will be. Of two requests with the same id it is the older one's.
    pub(super) fn take(&mut self, id: &[u8]) -> Option<T> {
        let id = key(id);
        let at = self.waiting.iter().position(|(known, _)| *known == id)?;
        self.waiting.remove(at).map(|(_, what)| what)
    }

    /// No more is expected of the one that has waited longest.
    pub(super) fn forget_oldest(&mut self) {
        self.waiting.pop_front();
    }

    /// Whether an answer is expected of which this is so.
    pub(super) fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        self.waiting.iter().any(|(_, what)| is(what))
    }

    /// Whether no answer is expected.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Below it a double is one integer (2^53); from there on, an id is what is written.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// An id however it is written: the answer may escape a string otherwise, and `7.0` and `70e-1` are `7` to whoever reads
/// doubles. `7` and `"7"` are not the same.
pub(super) fn key(id: &[u8]) -> Vec<u8> {
    let inside = id.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    match inside.and_then(text::decode) {
        Some(text) => [b"\"", text.as_bytes()].concat(),
        None => number(id).unwrap_or_else(|| id.to_vec()),
    }
}

fn number(id: &[u8]) -> Option<Vec<u8>> {
    let value: f64 = std::str::from_utf8(id).ok()?.parse().ok()?;
    // Minus zero is zero.
    (value.abs() < EXACT).then(|| (value + 0.0).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart_and_answered_in_any_order() {
        let mut requests = Requests::default();
        for (id, what) in [(&b"7"[..], 'a'), (b"\"7\"", 'b'), (b"\"\\u0041\"", 'c'), (b"7", 'd')] {
            requests.add(id, what);
        }
        let taken = [&b"\"A\""[..], b"\"7\"", b"8", b"7", b"7", b"7"].map(|id| requests.take(id));
        assert_eq!(taken, [Some('c'), Some('b'), None, Some('a'), Some('d'), None]);
        assert!(requests.is_empty());
    }

    #[test]
    fn a_number_is_its_value() {
        for same in [
            &[&b"7"[..], b"7.0", b"7e0", b"70E-1", b"0.7e+1", b"7.00000000000000000001"][..],
            &[b"0", b"-0", b"0.0"],
        ] {
            assert!(same.iter().all(|id| key(id) == key(same[0])), "{same:?}");
        }
        let different: &[&[u8]] = &[
            b"7",
            b"-7",
            b"\"7\"",
            b"\"7.0\"",
            b"7.5",
            b"70",
            b"1e400",
            b"-1e400",
            b"null",
            b"true",
            b"nan",
            b"9007199254740992",
            b"9007199254740993",
            b"9007199254740995",
            b"18446744073709551615",
            b"18446744073709551614",
        ];
        let keys: std::collections::BTreeSet<_> = different.iter().map(|id| key(id)).collect();
        assert_eq!(keys.len(), different.len());
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut requests = Requests::default();
        for id in 0..=MOST {
            requests.add(id.to_string().as_bytes(), id);
        }
        assert_eq!(requests.take(b"0"), None);
        assert_eq!(requests.take(b"1"), Some(1));
        assert_eq!(requests.take(MOST.to_string().as_bytes()), Some(MOST));
    }
}
