//! Where this room's few words for people go. The command line prints them on stderr with its prefix.

#[cfg(test)]
use std::sync::Mutex;

/// Takes one line at a time, without prefix and line end.
pub trait Progress: Send + Sync {
    /// Something that takes time began, goes on or ended.
    fn say(&self, line: &str);
    /// Something the user should know although it stops nothing.
    fn warning(&self, line: &str) {
        self.say(line);
    }
    /// Something the user may want to change, as a hint.
    fn hint(&self, line: &str) {
        self.say(line);
    }
}

/// Keeps what was said.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Vec<String>>);

#[cfg(test)]
impl Kept {
    /// Everything said so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().map(|lines| lines.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
impl Progress for Kept {
    fn say(&self, line: &str) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push(line.to_owned());
        }
    }
}
