//! JSON-RPC through npxc's standard input and output, beside two plain pipes and beside a proxy that parses every message
//! and prints it again.
//!
//! The server sends every line back, as a JSON-RPC server does: whole, when it has read it whole. A request for its tools
//! gets a long list, a call that names a file what is to be said of that, and a call that wants an answer its text, by way of a
//! tree: both ends of a real connection parse what they get, and what that costs is part of what a pipe reaches.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use memchr::memmem;
use serde_json::{Value, json};

use crate::common::gates::{NPXC, PARSER, PIPE};
use crate::common::process::Process;
use crate::common::record::{note, sample};
use crate::common::scale::Scale;

/// Messages of the large kind, bytes.
const LARGE: usize = 8 << 20;
/// How many of them in one round: fewer are over before a processor has found its pace.
const LARGE_COUNT: u32 = 20;
/// Bytes of a list of tools: the largest real one that is known has 117 KB.
const LIST: usize = 120_000;
/// Files that one session names.
const FILES: usize = 200;
/// Bytes of each: a document.
const FILE: usize = 32 << 10;
/// Not counted, before each round's measured ones.
const WARM_UP: usize = 50;
/// Where a line says what it is.
const HEAD: usize = 256;

/// What the server does.
pub fn serve() -> Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    let mut output = unbuffered(&std::io::stdout())?;
    let list = tools().to_string();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let head = &line[..line.len().min(HEAD)];
        if memmem::find(head, b"\"tools/list\"").is_some() {
            let id = serde_json::from_slice::<Value>(&line)?["id"].clone();
            output
                .write_all(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{list}}}\n").as_bytes())?;
        } else if memmem::find(head, b"\"read\"").is_some() {
            let said = read(&serde_json::from_slice(&line)?)?;
            output.write_all(format!("{said}\n").as_bytes())?;
        } else if memmem::find(head, b"\"answer\"").is_some() {
            answer(&mut output, &line)?;
        } else {
            output.write_all(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// What stands between in other proxies: each line becomes a tree, and the tree a line.
pub fn parse() -> Result<()> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (stdin, stdout) = (server.stdin.take(), server.stdout.take());
    let (mut stdin, stdout) = stdin.zip(stdout).ok_or_else(|| anyhow!("no pipes"))?;
    let back = std::thread::spawn(move || again(stdout, &mut unbuffered(&std::io::stdout())?));
    again(std::io::stdin().lock(), &mut stdin)?;
    drop(stdin);
    back.join().map_err(|_| anyhow!("the way back"))??;
    server.wait()?;
    Ok(())
}

fn again(from: impl Read, to: &mut impl Write) -> Result<()> {
    let mut from = BufReader::with_capacity(64 << 10, from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        let mut printed = serde_json::to_vec(&serde_json::from_slice::<Value>(&line)?)?;
        printed.push(b'\n');
        to.write_all(&printed)?;
        line.clear();
    }
    Ok(())
}

/// Not `stdout()`: it would split a message at its end.
fn unbuffered(stream: &impl AsFd) -> Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// A result of `tools/list`.
fn tools() -> Value {
    let tool = |number: usize| {
        json!({
            "name": format!("tool_{number}"),
            "description": "Reads a document and says what is in it, page by page; \"quoted\", with\nlines. ".repeat(8),
            "inputSchema": {
                "type": "object",
                "properties": {
                    "path": {"type": "string", "description": "Path to the document, absolute or relative"},
                    "pages": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                    "format": {"type": "string", "enum": ["text", "markdown"], "default": "text"},
                },
                "required": ["path"],
            },
        })
    };
    let one = tool(0).to_string().len();
    json!({"tools": (0..LIST / one).map(tool).collect::<Vec<_>>()})
}

/// The answer to a call that names a file: its path, and how many bytes there are.
fn read(call: &Value) -> Result<Value> {
    let path = call["params"]["arguments"]["path"].as_str().ok_or_else(|| anyhow!("no path: {call}"))?;
    let bytes = fs::read(path).with_context(|| format!("reading {path}"))?.len();
    let text = json!({"path": path, "bytes": bytes});
    let content = json!([{"type": "text", "text": text.to_string()}]);
    Ok(json!({"jsonrpc": "2.0", "id": call["id"], "result": {"content": content}}))
}

/// A text of the large kind.
fn text() -> String {
    (0..LARGE).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

/// The answer to a call that has its text come back.
fn answer(output: &mut File, line: &[u8]) -> Result<()> {
    let mut call: Value = serde_json::from_slice(line)?;
    let text = call["params"]["arguments"]["answer"].take();
    let said =
        json!({"id": call["id"], "jsonrpc": "2.0", "result": {"content": [{"text": text, "type": "text"}]}});
    let mut line = serde_json::to_vec(&said)?;
    line.push(b'\n');
    Ok(output.write_all(&line)?)
}

/// Measures and prints records.
pub fn run(scale: Scale) -> Result<()> {
    scale.pin()?;
    // Where the servers start, so that what is in it may be shared.
    let directory = tempfile::tempdir()?;
    for number in 0..FILES {
        fs::write(directory.path().join(format!("document {number}.txt")), vec![b'd'; FILE])?;
    }
    let contenders = [(PIPE, &["echo"][..]), (PARSER, &["parse"]), (NPXC, &["session", "echo"])];
    let mut servers = Vec::new();
    for (name, arguments) in contenders {
        match Server::start(arguments, directory.path()) {
            Ok(server) => servers.push((name, arguments, server)),
            Err(error) => note(format!("{name}: {error:#}")),
        }
    }
    for round in 0..scale.rounds() {
        eprintln!("bench: rpc, round {} of {}", round + 1, scale.rounds());
        servers.rotate_left(1);
        for (name, arguments, server) in &mut servers {
            let time = scale.short();
            let small = server.small(time).with_context(|| format!("{name}, small"))?;
            sample(round, "rpc-small", name, small);
            sample(round, "rpc-large", name, server.large().with_context(|| format!("{name}, large"))?);
            sample(round, "rpc-bytes", name, server.bytes().with_context(|| format!("{name}, bytes"))?);
            sample(round, "rpc-list", name, server.list(time).with_context(|| format!("{name}, list"))?);
            // Files are new to a new session only.
            let mut server = Server::start(arguments, directory.path())?;
            let mut files =
                |metric| server.files(directory.path()).map(|time| sample(round, metric, name, time));
            files("rpc-files").with_context(|| format!("{name}, files"))?;
            files("rpc-files-again").with_context(|| format!("{name}, files again"))?;
            sample(round, "rpc-files-small", name, server.small(time)?);
            // The guest's paths may be in what comes back now: npxc holds it.
            sample(round, "rpc-files-bytes", name, server.bytes().with_context(|| format!("{name}, held"))?);
        }
    }
    Ok(())
}

/// A server and both ends of its pipes, read without a thread between.
struct Server {
    process: Process,
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
}

impl Server {
    /// This program in another role, in a directory.
    fn start(arguments: &[&str], directory: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // What it makes of its own goes with the directory: it is killed in the end.
        command.args(arguments).current_dir(directory).env("TMPDIR", directory);
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("no stdout"))?;
        let output = BufReader::with_capacity(64 << 10, output);
        let mut server = Self { process: Process(child), output, line: Vec::new() };
        server.echo(b"{\"id\":0,\"jsonrpc\":\"2.0\",\"method\":\"ping\"}\n").context("the first message")?;
        Ok(server)
    }

    fn turn(&mut self, message: &[u8]) -> Result<()> {
        let input = self.process.0.stdin.as_mut().ok_or_else(|| anyhow!("no stdin"))?;
        input.write_all(message)?;
        self.line.clear();
        self.output.read_until(b'\n', &mut self.line)?;
        Ok(())
    }

    fn exchange(&mut self, message: &[u8], answer: &[u8]) -> Result<()> {
        self.turn(message)?;
        ensure!(self.line == answer, "another message came back ({} bytes)", self.line.len());
        Ok(())
    }

    fn echo(&mut self, message: &[u8]) -> Result<()> {
        self.exchange(message, message)
    }

    /// Microseconds, median. The messages' keys are in the order in which the parsing proxy prints them.
    fn small(&mut self, time: Duration) -> Result<f64> {
        self.median(time, |server, id| {
            let message = format!(
                "{{\"id\":{id},\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{{\"arguments\":\
                 {{\"message\":\"hello\"}},\"name\":\"echo\"}}}}\n"
            );
            let before = Instant::now();
            server.echo(message.as_bytes())?;
            Ok(before.elapsed())
        })
    }

    /// A list of tools; microseconds, median.
    fn list(&mut self, time: Duration) -> Result<f64> {
        self.median(time, |server, id| {
            let message = format!("{{\"id\":{id},\"jsonrpc\":\"2.0\",\"method\":\"tools/list\"}}\n");
            let before = Instant::now();
            server.turn(message.as_bytes())?;
            let took = before.elapsed();
            ensure!(server.line.len() > LIST / 10 * 9, "a list of {} bytes", server.line.len());
            Ok(took)
        })
    }

    fn median(
        &mut self,
        time: Duration,
        mut turn: impl FnMut(&mut Self, usize) -> Result<Duration>,
    ) -> Result<f64> {
        let start = Instant::now();
        let mut samples = Vec::new();
        while start.elapsed() < time || samples.len() <= 2 * WARM_UP {
            samples.push(turn(self, samples.len())?.as_secs_f64() * 1e6);
        }
        let samples = &mut samples[WARM_UP..];
        samples.sort_by(f64::total_cmp);
        Ok(samples[samples.len() / 2])
    }

    /// A call whose text comes back; megabytes per second, both ways together.
    fn large(&mut self) -> Result<f64> {
        let text = text();
        let call = format!(
            "{{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{{\"name\":\"say\",\
             \"arguments\":{{\"answer\":\"{text}\"}}}}}}\n"
        );
        let answer = format!(
            "{{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{{\"content\":[{{\"text\":\"{text}\",\"type\":\"text\"}}]}}}}\n"
        );
        self.speed(call.as_bytes(), answer.as_bytes())
    }

    /// The same between ends that only copy: a message that nobody has to understand.
    fn bytes(&mut self) -> Result<f64> {
        let text = text();
        let message = format!(
            "{{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{{\"text\":\"{text}\"}}}}\n"
        );
        self.speed(message.as_bytes(), message.as_bytes())
    }

    fn speed(&mut self, message: &[u8], answer: &[u8]) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..LARGE_COUNT {
            self.exchange(message, answer)?;
        }
        let bytes = (message.len() + answer.len()) as f64 * f64::from(LARGE_COUNT);
        Ok(bytes / 1e6 / start.elapsed().as_secs_f64())
    }

    /// A call for each file, read by the server; microseconds of one, mean.
    fn files(&mut self, directory: &Path) -> Result<f64> {
        let start = Instant::now();
        for number in 0..FILES {
            let path = directory.join(format!("document {number}.txt"));
            let call = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call",
                "params": {"name": "read", "arguments": {"path": path}}});
            self.turn(format!("{call}\n").as_bytes())?;
            // The path that was asked for, whatever the server called it.
            let said: Value = serde_json::from_slice(&self.line)?;
            let text = said["result"]["content"][0]["text"].as_str().unwrap_or_default();
            let said: Value = serde_json::from_str(text).with_context(|| format!("no answer: {said}"))?;
            ensure!(said == json!({"path": path, "bytes": FILE}), "another answer: {said}");
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / FILES as f64)
    }
}
