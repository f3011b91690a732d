//! Runs an engine's program for an answer, bounded in time and size. A command line client that hangs (a daemon
//! that is restarting, a locked store) must not hang npxc.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::RuntimeError;

/// Most that is kept of one stream, bytes: an `info` is about 10 KiB, an `inspect` of an image about as much.
const MOST_OUTPUT: usize = 4 << 20;
/// How long a stream may stay open after its program has ended: something it started holds it, and would for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often an ended program's exit is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// A program with the arguments that precede every command: `podman --root DIRECTORY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

/// What a command said.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Client {
    /// The command with its first arguments; stdin is empty.
    pub(super) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(arguments).stdin(Stdio::null());
        // A signal from the terminal is for npxc, which ends its guests in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Runs it to its end, whatever its exit status.
    ///
    /// # Errors
    /// It could not be started, or took longer than `patience` and was killed.
    pub(super) fn ask<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        patience: Duration,
    ) -> Result<Output, RuntimeError> {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|source| self.not_started(source))?;
        let deadline = Instant::now() + patience;
        let stdout = gather(child.stdout.take());
        let stderr = gather(child.stderr.take());
        let status = match wait(&mut child, deadline) {
            Ok(status) => status,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(self.failed(arguments, error.to_string()));
            }
        };
        Ok(Output {
            success: status.success(),
            stdout: stdout.finish(LAST_WORDS),
            stderr: stderr.finish(LAST_WORDS),
        })
    }

    /// Runs it to its end; an exit status other than 0 is an error with what it said.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        patience: Duration,
    ) -> Result<String, RuntimeError> {
        let output = self.ask(arguments, patience)?;
        if output.success { Ok(output.stdout) } else { Err(self.failed(arguments, essence(&output.stderr))) }
    }

    /// The error of a command that did not do what it was asked for.
    pub(super) fn failed<A: AsRef<OsStr>>(&self, arguments: &[A], said: String) -> RuntimeError {
        // Two words say which command it was; the others may be long.
        let words: Vec<_> = arguments.iter().take(2).map(|word| word.as_ref().to_string_lossy()).collect();
        RuntimeError::Engine { command: format!("{} {}", self.name(), words.join(" ")), said }
    }

    pub(super) fn not_started(&self, source: io::Error) -> RuntimeError {
        RuntimeError::no_engine(self.program.clone(), source)
    }

    /// The program's name for people.
    pub(super) fn name(&self) -> String {
        let name = Path::new(&self.program).file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// The last of what a program said on standard error, on one line: engines print warnings first.
pub(super) fn essence(stderr: &str) -> String {
    let telling = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("time=")
            && !line.starts_with("Run 'docker")
            && *line != "exit status 1"
    };
    let mut lines: Vec<&str> = stderr.lines().map(str::trim).filter(telling).collect();
    if lines.is_empty() {
        lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    }
    let from = lines.len().saturating_sub(3);
    let mut text = lines.split_off(from).join("; ");
    if text.len() > MOST_WORDS {
        let end = (0..=MOST_WORDS).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Longest message of an engine that is passed on, bytes.
const MOST_WORDS: usize = 1000;

/// A thread that reads a stream to its end.
#[derive(Debug)]
pub(super) struct Gather {
    text: mpsc::Receiver<String>,
}

impl Gather {
    /// What came, once the stream has ended; nothing if that takes too long.
    pub(super) fn finish(&self, patience: Duration) -> String {
        self.text.recv_timeout(patience).unwrap_or_default()
    }
}

/// Reads `stream` to its end and keeps the first [`MOST_OUTPUT`] bytes.
pub(super) fn gather(stream: Option<impl Read + Send + 'static>) -> Gather {
    let (sender, text) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.by_ref().take(MOST_OUTPUT as u64).read_to_end(&mut bytes);
            let _ = io::copy(&mut stream, &mut io::sink());
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    Gather { text }
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell() -> Client {
        Client { program: "/bin/sh".into(), arguments: vec!["-c".into()] }
    }

    #[test]
    fn an_answer_and_a_refusal_come_back_in_words() {
        let patience = Duration::from_secs(20);
        assert_eq!(shell().run(&["echo yes"], patience).unwrap(), "yes\n");
        let error =
            shell().run(&["echo 'time=1 level=warning' >&2; echo no >&2; exit 3"], patience).unwrap_err();
        assert!(error.to_string().ends_with(": no"), "{error}");
        let missing = Client { program: "/nonexistent/engine".into(), arguments: Vec::new() };
        assert!(matches!(missing.run(&["info"], patience), Err(RuntimeError::NoEngine { .. })));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = shell().run(&["exec sleep 600"], Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not answer in time"), "{error}");
    }

    #[test]
    fn more_output_than_is_kept_does_not_stop_the_program() {
        let output =
            shell().run(&["head -c 6000000 /dev/zero | tr '\\0' x"], Duration::from_mins(1)).unwrap();
        assert_eq!(output.len(), MOST_OUTPUT);
    }
}
