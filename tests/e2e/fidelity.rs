//! The wire through npxc beside a plain pipe: the same bytes reach the server, the same bytes come back.
//!
//! The local package's `tap` writes down what it gets and sends it back. Each message has to be back before the next is
//! sent, so that nothing that is whole may wait for more. npxc looks at messages in three ways, so everything is sent in
//! each of them: to something that has not spoken JSON-RPC, while a list of tools is expected, and while a file is shared.

mod lines;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::json;

use self::lines::{ENDS, lines};
use super::patience::{PATIENCE, Patient, ended};
use super::world::world;

/// Where the guest writes down what it got.
const RECORD: &str = "/record";

/// What has gone before.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    /// The result of `tools/list` is still to come: what comes back is the request.
    List,
    /// The server has the copy of a file.
    Shared,
}

impl Before {
    const ALL: [Self; 3] = [Self::Nothing, Self::List, Self::Shared];

    /// What makes it so; the path in it is the only thing that may be another one for the server.
    fn message(self, file: &Path) -> Vec<u8> {
        let message = match self {
            Self::Nothing => return Vec::new(),
            Self::List => json!({"jsonrpc": "2.0", "id": "list", "method": "tools/list"}),
            Self::Shared => json!({"jsonrpc": "2.0", "id": "share", "method": "tools/call",
                "params": {"name": "read", "arguments": {"file": file}}}),
        };
        format!("{message}\n").into_bytes()
    }

    /// What is shared by it.
    fn shares(self, file: &Path) -> Option<&Path> {
        matches!(self, Self::Shared).then_some(file)
    }
}

/// Either a plain pipe to node, or npxc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Npxc,
}

/// A server and what it writes down.
struct Tap {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Patient<ChildStdout>,
    record: PathBuf,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// What happened to a stream.
#[derive(PartialEq, Eq)]
struct Traffic {
    /// What the server got.
    reached: Vec<u8>,
    /// What came back.
    received: Vec<u8>,
}

impl Tap {
    /// `words` go to the fixture behind the record's name.
    fn start(way: Way, cwd: &Path, words: &[&str]) -> Self {
        let directory = world().scratch("tap");
        let fixture = world().fixture();
        let mut command = match way {
            Way::Plain => {
                let mut command = Command::new("node");
                command.arg(fixture.join("index.js")).arg("tap").arg(directory.join("bytes"));
                command
            }
            Way::Npxc => {
                let mount = format!("{}:{RECORD}:rw", directory.display());
                let (cwd, fixture) = (cwd.display().to_string(), fixture.display().to_string());
                let record = format!("{RECORD}/bytes");
                world().npxc(&["--cwd", &cwd, "--mount", &mount, &fixture, "tap", &record]).command
            }
        };
        let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), Patient(child.stdout.take().unwrap()));
        let record = directory.join("bytes");
        Self { child, stdin, stdout, record, sent: Vec::new(), received: Vec::new() }
    }

    /// Sends a message and reads so many bytes.
    fn turn(&mut self, message: &[u8]) {
        let Self { child, stdin, stdout, .. } = self;
        let stdin = stdin.as_mut().unwrap();
        let mut back = vec![0; message.len()];
        let read = thread::scope(|scope| {
            let written = scope.spawn(|| stdin.write_all(message));
            let read = stdout.read_exact(&mut back);
            if read.is_err() {
                // Nobody would take the rest.
                let _ = child.kill();
            }
            written.join().unwrap().and(read)
        });
        self.sent.extend_from_slice(message);
        self.received.extend_from_slice(&back);
        read.unwrap_or_else(|e| {
            panic!("{e}; sent {}", String::from_utf8_lossy(&message[..message.len().min(200)]))
        });
    }

    /// Sends bytes that the other end takes in one read, or in several: it has taken all of them when this returns.
    fn piece(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        self.sent.extend_from_slice(bytes);
        let deadline = Instant::now() + PATIENCE;
        while rustix::io::ioctl_fionread(&*stdin).unwrap() > 0 {
            assert!(Instant::now() < deadline, "nobody reads");
            thread::yield_now();
        }
    }

    /// Closes stdin and reads to the end.
    fn end(mut self) -> Traffic {
        drop(self.stdin.take());
        self.stdout.read_to_end(&mut self.received).unwrap();
        assert!(ended(&mut self.child).unwrap().success());
        Traffic { reached: fs::read(&self.record).unwrap(), received: std::mem::take(&mut self.received) }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A directory with a file to be shared.
fn cwd() -> (PathBuf, PathBuf) {
    let cwd = world().scratch("fidelity");
    let file = cwd.join("a file.txt");
    fs::write(&file, "shared").unwrap();
    (cwd, file)
}

/// Does the same with both.
fn both(cwd: &Path, words: &[&str], act: impl Fn(&mut Tap)) -> [Traffic; 2] {
    [Way::Plain, Way::Npxc].map(|way| {
        let mut tap = Tap::start(way, cwd, words);
        act(&mut tap);
        let sent = tap.sent.clone();
        let traffic = tap.end();
        assert_same("back", &sent, &traffic.received);
        if way == Way::Plain {
            assert_same("there", &sent, &traffic.reached);
        }
        traffic
    })
}

/// Nobody wants to see megabytes.
#[track_caller]
fn assert_same(what: &str, one: &[u8], other: &[u8]) {
    let at = one.iter().zip(other).position(|(one, other)| one != other);
    let at = at.or((one.len() != other.len()).then_some(one.len().min(other.len())));
    let Some(at) = at else { return };
    let near = |bytes: &[u8]| {
        let part = &bytes[at.saturating_sub(40).min(bytes.len())..(at + 40).min(bytes.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    panic!("{what}: from byte {at} on\n  {}\nis\n  {}", near(one), near(other));
}

/// The same came back, and the server got the same but for what `before` names: the guest has `shared` elsewhere.
fn compare([plain, npxc]: [Traffic; 2], before: &[u8], shared: Option<&Path>) {
    assert_same("back", &plain.received, &npxc.received);
    let first = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let ends = if before.is_empty() { [0, 0] } else { [first(&plain.reached), first(&npxc.reached)] };
    assert_same("there", &plain.reached[ends[0]..], &npxc.reached[ends[1]..]);
    let Some(file) = shared else {
        return assert_same("the first message", before, &npxc.reached[..ends[1]]);
    };
    let guest = String::from_utf8(npxc.reached[..ends[1]].to_vec()).unwrap();
    let (head, rest) = guest.split_once("/opt/npxc-shared/").expect("the guest has a path of its own");
    let name = format!("/{}", file.file_name().unwrap().to_str().unwrap());
    let (_, tail) = rest.split_once(&name).unwrap();
    let host = format!("{head}{}{tail}", file.display());
    assert_same("all but the path", before, host.as_bytes());
}

#[test]
fn odd_lines_are_the_same_bytes_on_both_sides() {
    let lines = lines();
    assert!(lines.len() >= 40);
    let (cwd, file) = cwd();
    for before in Before::ALL {
        let first = before.message(&file);
        let traffic = both(&cwd, &[], |tap| {
            if !first.is_empty() {
                tap.turn(&first);
            }
            for (what, line) in &lines {
                eprintln!("{before:?}: {what}");
                tap.turn(line);
            }
        });
        compare(traffic, &first, before.shares(&file));
    }
}

#[test]
fn streams_that_end_within_a_line_are_whole() {
    let (cwd, file) = cwd();
    for before in Before::ALL {
        let first = before.message(&file);
        for (what, end) in ENDS {
            let traffic = both(&cwd, &[], |tap| {
                eprintln!("{before:?}: {what}");
                if !first.is_empty() {
                    tap.turn(&first);
                }
                tap.piece(end);
            });
            compare(traffic, &first, before.shares(&file));
        }
    }
}

#[test]
fn a_message_may_come_in_any_two_pieces() {
    let message = b" {\"jsonrpc\":\"2.0\",\"id\":\"7\",\"n\":1.10,\"s\":\"\\ud83e\\udd80 \xc3\xa9\"}\r\n";
    let (cwd, file) = cwd();
    for before in Before::ALL {
        let first = before.message(&file);
        let traffic = both(&cwd, &["drip"], |tap| {
            if !first.is_empty() {
                tap.turn(&first);
            }
            for at in 1..message.len() {
                let (one, other) = message.split_at(at);
                tap.piece(one);
                tap.piece(other);
            }
            // Every byte for itself.
            for byte in message {
                tap.piece(std::slice::from_ref(byte));
            }
            let mut back = vec![0; message.len() * message.len()];
            tap.stdout.read_exact(&mut back).unwrap();
            tap.received.extend_from_slice(&back);
        });
        compare(traffic, &first, before.shares(&file));
    }
}

#[test]
fn in_an_odd_call_nothing_but_the_path_is_another() {
    let (cwd, file) = cwd();
    let path = file.display().to_string();
    let call = format!(
        " {{\"id\":\"7\",\"jsonrpc\":\"2.0\",\"n\":1.10,\"n\":1e400,\"method\":\"tools/call\",\"params\":{{\"_meta\":{{\"progressToken\":-0}},\
         \"name\":\"share\",\"arguments\":{{\"s\":\"\\ud800\\u00e9\",\"list\":[123456789012345678901234,\"{path}\"],\"e\":1E+2,\
         \"e\":[]}}}}}}\r\n"
    );
    let traffic = both(&cwd, &[], |tap| tap.turn(call.as_bytes()));
    compare(traffic, call.as_bytes(), Some(&file));
}
