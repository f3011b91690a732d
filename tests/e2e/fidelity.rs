//! The wire through npxc beside a plain pipe: the same bytes reach the server, the same bytes come back.
//!
//! The local package's `tap` writes down what it gets and sends it back. Each message has to be back before the next is
//! sent, so that nothing that is whole may wait for more. npxc looks at messages in three ways, so everything is sent in
//! each of them: to something that has not spoken JSON-RPC, while a list of tools is expected, and while a file is shared.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::json;

use super::patience::{PATIENCE, Patient, ended};
use super::world::world;

/// Where the guest writes down what it got.
const RECORD: &str = "/record";
/// Deeper than any parser's limit that is known (`serde_json`: 128).
const DEPTH: usize = 1000;
/// A real server's image or a file as text.
const LARGE: usize = 8 << 20;

/// Lines, and what is odd about each.
fn lines() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"x\":{}1{}}}\n", open.repeat(DEPTH), close.repeat(DEPTH)).into_bytes()
    };
    let call = |arguments: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{{\"name\":\"read\",\
             \"arguments\":{arguments}}}}}\n"
        )
        .into_bytes()
    };
    let request =
        |id: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n").into_bytes();
    let large = |head: &[u8], tail: &[u8]| [head, &vec![b'm'; LARGE], tail].concat();
    let line = |line: &[u8]| line.to_vec();
    vec![
        ("an ordinary request", request("1")),
        ("a number beyond a double", line(b"{\"jsonrpc\":\"2.0\",\"n\":1e400,\"m\":-1E-400}\n")),
        ("24 digits", line(b"{\"jsonrpc\":\"2.0\",\"n\":123456789012345678901234}\n")),
        ("a trailing zero", line(b"{\"jsonrpc\":\"2.0\",\"n\":1.10,\"m\":1.0,\"k\":-0.0,\"e\":1E+2}\n")),
        ("duplicate keys", line(b"{\"jsonrpc\":\"2.0\",\"a\":1,\"a\":2,\"jsonrpc\":\"2.0\"}\n")),
        (
            "a duplicate method",
            line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"method\":\"ping\",\"method\":\"tools/call\"}\n"),
        ),
        ("keys that are not in order", line(b"{\"params\":{},\"z\":1,\"id\":2,\"a\":1,\"jsonrpc\":\"2.0\"}\n")),
        ("lone surrogates", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\ud800 \\udc00\\udfff x\"}\n")),
        ("a surrogate pair as escapes", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\ud83e\\udd80\"}\n")),
        ("escapes of plain letters", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\u0061\\u00e9\\u00E9\"}\n")),
        ("invalid UTF-8", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\xff\xfe\xc0\x80\xed\xa0\x80\"}\n")),
        ("an escaped NUL", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"a\\u0000b\"}\n")),
        ("a raw NUL", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"a\x00b\"}\n")),
        ("raw control characters", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\x01\x07\x0b\x1b[31m\x7f\"}\n")),
        ("escaped solidi", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"a\\/b \\/home\\/user\\/x \\b\\f\\t\"}\n")),
        ("emoji", line("{\"jsonrpc\":\"2.0\",\"\u{1f980}\":\"\u{1f468}\u{200d}\u{1f469} e\u{301} \u{2028}\"}\n".as_bytes())),
        ("deep arrays", deep("[", "]")),
        ("deep objects", deep("{\"a\":", "}")),
        ("a deep call", call(&format!("{}\"/no/where/at all\"{}", "[".repeat(DEPTH), "]".repeat(DEPTH)))),
        ("CRLF", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n")),
        ("CR and CRLF", line(b"\r{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\r\n")),
        ("an empty line", line(b"\n")),
        ("empty lines", line(b"\n\r\n\n")),
        ("a line of blanks", line(b" \t \r\n")),
        ("leading blanks", line(b"  \t {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")),
        ("many leading blanks", [vec![b' '; 10_000], request("1")].concat()),
        ("trailing blanks", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} \t \n")),
        ("blanks inside", line(b"{ \"jsonrpc\" :\t\"2.0\" , \"id\" : 1 , \"method\" : \"ping\" }\n")),
        ("a byte order mark", line(b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")),
        (
            "a batch",
            line(b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},{\"jsonrpc\":\"2.0\",\"method\":\"a\"}]\n"),
        ),
        ("an empty batch", line(b"[]\n")),
        ("a batch of what is no message", line(b"[1,\"a\",null,[],{\"jsonrpc\":\"2.0\"}]\n")),
        ("an empty object", line(b"{}\n")),
        ("a scalar", line(b"42\n\"text\"\nnull\ntrue\n")),
        ("words", line(b"Server is ready on port 80 {not json}\n")),
        ("words in a brace", line(b"{not json at all}\n")),
        ("two messages on a line", line(b"{\"jsonrpc\":\"2.0\",\"id\":1}{\"jsonrpc\":\"2.0\",\"id\":2}\n")),
        ("two messages at once", [request("1"), request("2")].concat()),
        ("a comment", line(b"{\"jsonrpc\":\"2.0\",/* odd */\"id\":1} // more\n")),
        ("trailing commas", line(b"{\"jsonrpc\":\"2.0\",\"a\":[1,2,],}\n")),
        ("single quotes", line(b"{'jsonrpc':'2.0','id':1}\n")),
        ("NaN and leading zeros", line(b"{\"jsonrpc\":\"2.0\",\"a\":NaN,\"b\":-Infinity,\"c\":007,\"d\":+1,\"e\":.5}\n")),
        ("half a message on a line", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\n")),
        ("half a string on a line", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"no end\n")),
        ("a bad escape", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\x41 \\u12 \\\"}\n")),
        ("brackets that do not fit", line(b"{\"jsonrpc\":\"2.0\",\"a\":[1}]\n")),
        ("an id of text", request("\"7\"")),
        ("an empty id", request("\"\"")),
        ("a negative id", request("-7")),
        ("an id with a fraction", request("7.50")),
        ("an id of null", request("null")),
        ("an id beyond 64 bits", request("18446744073709551616")),
        ("an id that is an object", request("{\"a\":[1]}")),
        (
            "unknown fields",
            line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"x\":1,\"params\":{\"name\":\"read\",\"_meta\":{\"progressToken\":\"7\",\"a/b\":1.0},\"y\":[]}}\n"),
        ),
        ("another version", line(b"{\"jsonrpc\":\"3.0\",\"id\":1,\"method\":\"tools/call\"}\n")),
        ("a result and an error", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{\"code\":1e2}}\n")),
        ("a call without arguments", line(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"read\"}}\n")),
        ("a call whose arguments are no object", call("[\"a\",1.10]")),
        ("a call of odd arguments", call("{\"a\":1e400,\"a\":1.10,\"b\":\"\\ud800\",\"c\":\"\\u00e9\\/\",\"\":[{}]}")),
        (
            "a call with what looks like paths",
            call("{\"u\":\"https:\\/\\/example.com/a/b\",\"g\":\"/src/**/*.rs\",\"r\":\"^/a/b$\",\"n\":\"/help\",\"s\":\"and/or\",\"file\":\"\"}"),
        ),
        ("a method in escapes", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools\\/\\u0063all\",\"params\":{\"name\":\"read\",\"arguments\":{\"a\":1.10}}}\n")),
        ("a list of tools with a cursor", line(b"{\"jsonrpc\":\"2.0\",\"id\":1.0,\"method\":\"tools/list\",\"params\":{\"cursor\":\"\\u0041\"}}\n")),
        (
            "a result that was not asked for",
            line(b"{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{\"tools\":[{\"name\":1e5},{\"inputSchema\":{\"properties\":[1.10]}}]}}\n"),
        ),
        ("a path that only the guest could have", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"/opt/npxc-shared/9999/x \\/opt\\/npxc-shared\\/x\"}\n")),
        ("a huge key", [b"{\"jsonrpc\":\"2.0\",\"".to_vec(), vec![b'k'; 1 << 20], b"\":1}\n".to_vec()].concat()),
        ("many keys", {
            let keys: String = (0..20_000).map(|key| format!(",\"k{key}\":{key}.0")).collect();
            format!("{{\"jsonrpc\":\"2.0\"{keys}}}\n").into_bytes()
        }),
        ("a message of 8 MB", large(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"", b"\"}\n")),
        ("a line of 8 MB that is none", large(b"m", b"\n")),
    ]
}

/// Ends of a stream without a line's end.
const ENDS: [(&str, &[u8]); 8] = [
    ("a message without an end of line", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"n\":1.10}"),
    ("a batch without an end of line", b"[{\"jsonrpc\":\"2.0\",\"id\":1}]"),
    ("half a message", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"to"),
    ("half an escape", b"{\"jsonrpc\":\"2.0\",\"s\":\"\\ud8"),
    ("half a character", b"{\"jsonrpc\":\"2.0\",\"s\":\"\xf0\x9f"),
    ("a carriage return", b"{\"jsonrpc\":\"2.0\",\"id\":1}\r"),
    ("blanks", b" \t "),
    ("words", b"and no more"),
];

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
