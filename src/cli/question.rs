//! A question to a person. The answer is read on a thread of its own: a signal does not wait for it.

use std::io::{self, BufRead as _, Write as _};

use rustix::termios::isatty;

use crate::exit::Failure;
use crate::session;

/// Whether there is somebody to ask.
pub(super) fn is_possible() -> bool {
    isatty(io::stdin()) && isatty(io::stderr())
}

/// Asks; no answer is no.
pub(super) async fn ask(question: &str) -> bool {
    let _ = write!(io::stderr().lock(), "npxc: {question}? [y/N] ");
    let mut line = Unended(true);
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    });
    let answer = answer.await.unwrap_or(false);
    line.0 = false;
    answer
}

/// The same, where nobody looks after signals: one ends it.
///
/// # Errors
/// A signal came.
pub(super) fn ask_alone(question: &str) -> Result<bool, Failure> {
    session::until_signal(ask(question))
}

/// The question's line: where no answer ended it, the terminal has put a ^C there.
struct Unended(bool);

impl Drop for Unended {
    fn drop(&mut self) {
        if self.0 {
            let _ = io::stderr().lock().write_all(b"\n");
        }
    }
}
