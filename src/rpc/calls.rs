//! The tool calls that are under way, for whoever notes what happens during them: the translator [`begin`](Calls::begin)s one when
//! it goes to the guest (256 at most), and drops what that gives when it is answered. Neither says that one came of the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tools that are named of those whose calls are under way at once.
const MOST_NAMED: usize = 8;
/// Longest name of a tool that is kept whole, bytes: the protocol asks for at most 128 characters.
const LONGEST: usize = 256;

/// A session's calls; clones are of the same session.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<String>>>);

/// A call that is under way as long as this is kept.
#[derive(Debug)]
pub struct Call {
    calls: Calls,
    tool: String,
}

impl Calls {
    /// A call of that tool begins.
    pub fn begin(&self, tool: &str) -> Call {
        let mut end = tool.len().min(LONGEST);
        while !tool.is_char_boundary(end) {
            end -= 1;
        }
        let tool = tool.get(..end).unwrap_or_default().to_owned();
        self.lock().push(tool.clone());
        Call { calls: self.clone(), tool }
    }

    /// The tools whose calls are under way, each once, the latest first: a server may leave old ones without an answer.
    pub fn tools(&self) -> Vec<String> {
        let mut tools: Vec<String> = Vec::new();
        for tool in self.lock().iter().rev() {
            if tools.len() < MOST_NAMED && !tools.contains(tool) {
                tools.push(tool.clone());
            }
        }
        tools
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut tools = self.calls.lock();
        if let Some(at) = tools.iter().rposition(|tool| *tool == self.tool) {
            tools.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_under_way_until_it_is_dropped() {
        let calls = Calls::default();
        let (first, second, again) = (calls.begin("search"), calls.begin("read"), calls.begin("search"));
        assert_eq!(calls.tools(), ["search", "read"]);
        drop(again);
        assert_eq!(calls.tools(), ["read", "search"]);
        drop((second, first));
        assert_eq!(calls.tools(), [""; 0]);
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let calls = Calls::default();
        let many: Vec<Call> =
            (0..100).map(|number| calls.begin(&format!("{number}{}", "ü".repeat(1000)))).collect();
        assert_eq!(calls.tools().len(), MOST_NAMED);
        assert!(calls.tools().iter().all(|tool| tool.len() <= LONGEST));
        drop(many);
        assert_eq!(calls.tools(), [""; 0]);
    }
}
