//! npxc's own words on stderr: every line begins with `npxc: `, nothing in it is obeyed by a terminal.
//!
//! stdout belongs to the package; only the results of npxc's own commands go there ([`print()`]).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use super::level::Level;
use crate::audit::escape::printable;
use crate::exit::Failure;
use crate::package::Progress;
use crate::patient::Patient;
use crate::voice::mark;

/// Longest line that is said, characters.
const LINE: usize = 4000;

/// Says why a command failed and what to do.
pub fn failure(failure: &Failure) {
    write(&mut stderr(), mark(), failure);
}

/// Something the user should know although it stops nothing.
pub fn warning(text: &str) {
    line(&mut stderr(), mark(), "npxc: warning: ", text);
}

/// The same of npxc's own configuration, where a second line is the hint to it. Never with words of a package's: a line feed
/// in them would let it say what to type.
pub fn advice(text: &str) {
    let (what, hint) = text.split_once('\n').map_or((text, None), |(what, hint)| (what, Some(hint)));
    line(&mut stderr(), mark(), "npxc: warning: ", what);
    if let Some(text) = hint {
        self::hint(text);
    }
}

/// What npxc is doing.
pub fn note(text: &str) {
    line(&mut stderr(), mark(), "npxc: ", text);
}

/// What to type or change.
pub fn hint(text: &str) {
    line(&mut stderr(), mark(), "npxc: hint: ", text);
}

/// The result of one of npxc's own commands, on stdout. A reader that went away is no error.
pub fn print(text: &str) {
    is_read(text);
}

/// The same; whether anybody reads on.
pub(super) fn is_read(text: &str) -> bool {
    // Not by way of its buffer, which forgets what a full pipe has not taken.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    out.and_then(|out| Patient(out).write_all(text.as_bytes())).is_ok()
}

fn stderr() -> Patient<io::StderrLock<'static>> {
    Patient(io::stderr().lock())
}

/// npxc's words beside a package's: what it is doing, and what stops nothing. Of those, `--log-level error` and `off`
/// want none; why a command failed is said at every level.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr {
    level: Level,
}

impl Stderr {
    /// For this `--log-level`.
    pub fn at(level: Level) -> Self {
        Self { level }
    }

    fn speaks(self) -> bool {
        self.level >= Level::Warn
    }
}

impl Stderr {
    /// As [`advice`].
    pub(super) fn advice(self, text: &str) {
        if self.speaks() {
            advice(text);
        }
    }
}

impl Progress for Stderr {
    fn say(&self, line: &str) {
        if self.speaks() {
            note(line);
        }
    }

    fn warning(&self, line: &str) {
        if self.speaks() {
            warning(line);
        }
    }

    fn hint(&self, line: &str) {
        if self.speaks() {
            hint(line);
        }
    }
}

fn write(out: &mut impl io::Write, mark: &str, failure: &Failure) {
    let mut lines = failure.message.lines();
    line(out, mark, "npxc: error: ", lines.next().unwrap_or_default());
    for more in lines {
        line(out, mark, "npxc:   ", more);
    }
    for hint in &failure.hints {
        line(out, mark, "npxc: hint: ", hint);
    }
}

fn line(out: &mut impl io::Write, mark: &str, prefix: &str, text: &str) {
    // One write per line: the package writes to the same stderr.
    let _ = out.write_all(format!("{mark}{prefix}{}\n", printable(text, LINE)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitStatus;

    #[test]
    fn every_line_has_the_prefix_and_nothing_is_obeyed() {
        let failure =
            Failure::new(ExitStatus::Config, "--allow: no\nexa mple\n   ^").hint("try \u{1b}[2J this");
        let mut out = Vec::new();
        write(&mut out, "", &failure);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "npxc: error: --allow: no\nnpxc:   exa mple\nnpxc:      ^\nnpxc: hint: try \\u{1b}[2J this\n"
        );
        let mut marked = Vec::new();
        write(&mut marked, "word ", &failure);
        let (marked, plain) = (String::from_utf8_lossy(&marked), String::from_utf8_lossy(&out));
        assert!(marked.lines().eq(plain.lines().map(|line| format!("word {line}"))), "{marked}");
    }
}
