//! Much and many through the datapath, with checksums, while npxc's memory stays flat.
//!
//! 64 MB each way by default, 2 GB with `NPXC_TEST_FULL=1`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;

use super::machine::full;
use super::processes::{peak_memory, wait};
use super::world::world;

/// What npxc may take, whatever it moves (an unoptimized build; see the benches for the real figure).
const MEMORY: u64 = 128 << 20;
/// Flows that are open at the same time.
const FLOWS: usize = 200;
const BLOCK: usize = 64 << 10;

fn length() -> u64 {
    if full() { 2 << 30 } else { 64 << 20 }
}

/// The same bytes as the fixture's `block`.
fn block(number: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK);
    for i in (0..BLOCK as u64).step_by(8) {
        let mixed = (i * 2_654_435_761) as u32;
        bytes.extend_from_slice(&mixed.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Computes a checksum beside the transfer; an unoptimized one would be what is measured.
struct Sum {
    child: Child,
    input: Option<ChildStdin>,
}

impl Sum {
    fn start() -> Self {
        let mut child =
            Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        Self { child, input }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn finish(mut self) -> String {
        drop(self.input.take());
        let output = self.child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    }
}

fn request_head(stream: &TcpStream) -> BufReader<TcpStream> {
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the request ended early");
        if line == "\r\n" {
            return reader;
        }
    }
}

/// Starts the fixture against a port of this host. Its stdout is one line when it is done; it ends by itself.
fn start(port: u16, arguments: &[&str]) -> Child {
    let fixture = world().fixture().display().to_string();
    let rule = format!("host.npxc.internal:{port}");
    let mut words = vec!["--allow", &rule, &fixture];
    words.extend(arguments);
    world().npxc(&words).command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What it said, once it has ended well.
fn finish(mut child: Child) -> String {
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(wait(&mut child).success(), "{said}");
    said.trim().to_owned()
}

fn assert_flat(peak: u64) {
    eprintln!("npxc took {} MiB at most", peak >> 20);
    assert!(peak < MEMORY, "npxc took {} MiB", peak >> 20);
}

#[test]
fn a_large_download_arrives_unchanged() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let child = start(port, &["download", &format!("http://host.npxc.internal:{port}/")]);
    let (mut stream, _) = listener.accept().unwrap();
    request_head(&stream);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", length()).unwrap();
    let mut sum = Sum::start();
    let mut bytes = block(0);
    for number in 0..length() / BLOCK as u64 {
        renumber(&mut bytes, u32::try_from(number).unwrap());
        sum.add(&bytes);
        stream.write_all(&bytes).unwrap();
    }
    let peak = peak_memory(child.id());
    drop(stream);
    assert_eq!(finish(child), format!("200 {}", sum.finish()));
    assert_flat(peak);
}

#[test]
fn a_large_upload_arrives_unchanged() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://host.npxc.internal:{port}/");
    let child = start(port, &["upload", &url, &length().to_string()]);
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = request_head(&stream);
    let mut sum = Sum::start();
    let mut left = length();
    let mut buffer = vec![0; 256 << 10];
    while left > 0 {
        let count = reader.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{left} bytes are missing");
        sum.add(&buffer[..count]);
        left -= count as u64;
    }
    let peak = peak_memory(child.id());
    let received = sum.finish();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{received}", received.len()).unwrap();
    assert_eq!(finish(child), format!("200 {received} {received}"));
    assert_flat(peak);
}

#[test]
fn two_hundred_flows_are_open_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://host.npxc.internal:{port}/");
    let child = start(port, &["many", &url, &FLOWS.to_string()]);
    // Nobody is answered before everybody has asked.
    let all_asked = Arc::new(Barrier::new(FLOWS));
    let body = Arc::new((0..16).flat_map(block).collect::<Vec<u8>>());
    let mut sum = Sum::start();
    sum.add(&body);
    let mut threads = Vec::new();
    for _ in 0..FLOWS {
        let (mut stream, _) = listener.accept().unwrap();
        let (all_asked, body) = (Arc::clone(&all_asked), Arc::clone(&body));
        let work = move || {
            request_head(&stream);
            all_asked.wait();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
                .unwrap();
            stream.write_all(&body).unwrap();
        };
        threads.push(thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap());
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let peak = peak_memory(child.id());
    assert_eq!(finish(child), format!("{FLOWS} {}", sum.finish()));
    assert_flat(peak);
}

fn renumber(block: &mut [u8], number: u32) {
    for word in block.chunks_exact_mut(8) {
        word[4..].copy_from_slice(&number.to_le_bytes());
    }
}
