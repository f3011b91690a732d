//! JSON-RPC through npxc's standard input and output, beside two plain pipes.
//!
//! The server sends every line back, as a JSON-RPC server does: whole, when it has read it whole.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::common::gates::{NPXC, PIPE};
use crate::common::process::Process;
use crate::common::record::{note, sample};
use crate::common::scale::Scale;

/// Messages of the large kind, bytes.
const LARGE: usize = 8 << 20;
/// How many of them in one round.
const LARGE_COUNT: u32 = 6;
/// Not counted, before each round's measured ones.
const WARM_UP: usize = 50;

/// What the server does.
pub fn echo() -> Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    // Not `stdout()`: it would split a message at its end.
    let mut output = std::fs::File::from(std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned()?);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        output.write_all(&line)?;
        line.clear();
    }
    Ok(())
}

/// Measures and prints records.
pub fn run(scale: Scale) -> Result<()> {
    scale.pin()?;
    let program = std::env::current_exe()?;
    let mut servers = Vec::new();
    for (name, arguments) in [(PIPE, &["echo"][..]), (NPXC, &["session", "echo"])] {
        match Server::start(Command::new(&program).args(arguments)) {
            Ok(server) => servers.push((name, server)),
            Err(error) => note(format!("{name}: {error:#}")),
        }
    }
    for round in 0..scale.rounds() {
        eprintln!("bench: rpc, round {} of {}", round + 1, scale.rounds());
        servers.rotate_left(1);
        for (name, server) in &mut servers {
            let time = scale.short();
            sample(round, "rpc-small", name, server.small(time).with_context(|| format!("{name}, small"))?);
            sample(round, "rpc-large", name, server.large().with_context(|| format!("{name}, large"))?);
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
    fn start(command: &mut Command) -> Result<Self> {
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("no stdout"))?;
        let output = BufReader::with_capacity(64 << 10, output);
        let mut server = Self { process: Process(child), output, line: Vec::new() };
        server.turn(b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"ping\"}\n").context("the first message")?;
        Ok(server)
    }

    fn turn(&mut self, message: &[u8]) -> Result<()> {
        let input = self.process.0.stdin.as_mut().ok_or_else(|| anyhow!("no stdin"))?;
        input.write_all(message)?;
        self.line.clear();
        self.output.read_until(b'\n', &mut self.line)?;
        ensure!(self.line == message, "another message came back ({} bytes)", self.line.len());
        Ok(())
    }

    /// Median, microseconds.
    fn small(&mut self, time: std::time::Duration) -> Result<f64> {
        let start = Instant::now();
        let mut samples = Vec::new();
        while start.elapsed() < time || samples.len() <= 2 * WARM_UP {
            let id = samples.len();
            let message = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\
                 \"arguments\":{{\"message\":\"hello\"}}}}}}\n"
            );
            let before = Instant::now();
            self.turn(message.as_bytes())?;
            samples.push(before.elapsed().as_secs_f64() * 1e6);
        }
        let samples = &mut samples[WARM_UP..];
        samples.sort_by(f64::total_cmp);
        Ok(samples[samples.len() / 2])
    }

    /// Megabytes per second, both ways together.
    fn large(&mut self) -> Result<f64> {
        let mut message =
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":{\"text\":\"".to_vec();
        message.extend((message.len()..LARGE).map(|at| b'a' + (at % 23) as u8));
        message.extend_from_slice(b"\"}}\n");
        let start = Instant::now();
        for _ in 0..LARGE_COUNT {
            self.turn(&message)?;
        }
        let bytes = 2.0 * message.len() as f64 * f64::from(LARGE_COUNT);
        Ok(bytes / 1e6 / start.elapsed().as_secs_f64())
    }
}
