//! The client cannot tell: bytes on stdio are the package's own, both ways, however many.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;

use super::processes::{peak_memory, wait};
use super::world::{Npxc, sha256, world};

/// npxc moves bytes, it does not keep them.
const MEMORY: u64 = 96 << 20;

fn start(arguments: &[&str]) -> (Child, ChildStdin, ChildStdout) {
    let fixture = world().fixture().display().to_string();
    let mut words = vec![fixture.as_str()];
    words.extend(arguments);
    let Npxc { mut command, .. } = world().npxc(&words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, stdout)
}

/// Bytes that compress badly and hold every value.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn same(sent: &[u8], received: &[u8]) {
    assert_eq!(sent.len(), received.len());
    // Not assert_eq: nobody wants to see megabytes.
    assert!(sent == received, "bytes changed on their way");
}

/// Sends everything while reading everything back; stdin is closed after the last byte.
fn echoed(bytes: Vec<u8>) {
    let (mut child, mut stdin, mut stdout) = start(&["cat"]);
    let sent = bytes.clone();
    let writer = thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(wait(&mut child).success());
    same(&bytes, &received);
}

/// Whoever starts npxc shares its stdout with it, and may have made that non-blocking.
#[test]
fn a_result_is_whole_where_stdout_is_non_blocking() {
    let completions = || world().command(&["completions", "bash"]);
    let whole = completions().output().unwrap().stdout;
    let (mut read, write) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&write, 4096).unwrap();
    rustix::io::ioctl_fionbio(&write, true).unwrap();
    let mut command = completions();
    let mut child = command.stdout(write).spawn().unwrap();
    // It holds the writing end as well.
    drop(command);
    let mut received = Vec::new();
    read.read_to_end(&mut received).unwrap();
    assert!(wait(&mut child).success());
    assert!(whole.len() > 10 * 4096);
    same(&whole, &received);
}

#[test]
fn lines_of_eight_megabytes_come_back_whole() {
    let mut bytes = Vec::new();
    for number in 0..3 {
        bytes.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"big\",\"params\":{\"text\":\"");
        bytes.resize((number + 1) * (8 << 20), b'a' + u8::try_from(number).unwrap());
        bytes.extend_from_slice(b"\"}}\n");
    }
    echoed(bytes);
}

#[test]
fn what_is_not_text_and_not_json_passes_as_it_is() {
    echoed(noise(5 << 20, 7));
    echoed(b"\r\n\n \x00\xff\xfe{\"id\":1e400}\r\n[1.10, \"\\u00e9\", \"\\ud800\"]\nno end of line".to_vec());
    echoed(Vec::new());
}

#[test]
fn a_message_is_answered_before_the_next_is_sent() {
    let (mut child, mut stdin, mut stdout) = start(&["cat"]);
    for size in [1, 10, 65_535, 65_536, 65_537, 1 << 20, 3] {
        let message = noise(size, size as u64);
        let sent = message.clone();
        let mut received = vec![0; size];
        thread::scope(|scope| {
            scope.spawn(|| stdin.write_all(&sent).unwrap());
            stdout.read_exact(&mut received).unwrap();
        });
        same(&message, &received);
    }
    drop(stdin);
    assert!(wait(&mut child).success());
}

#[test]
fn neither_direction_waits_for_the_other_and_neither_is_kept_in_memory() {
    // The package reads nothing before it has written everything.
    let length: usize = 128 << 20;
    let (mut child, mut stdin, mut stdout) = start(&["flood", &length.to_string()]);
    let sent = noise(length, 3);
    let expected = sha256(&sent);
    let writer = thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut received = vec![0; length];
    stdout.read_exact(&mut received).unwrap();
    for (number, block) in received.chunks(64 << 10).enumerate() {
        let number = u32::try_from(number).unwrap();
        assert_eq!(block[4..8], number.to_le_bytes());
        assert_eq!(block[block.len() - 4..], number.to_le_bytes());
    }
    writer.join().unwrap();
    // Its stdin is closed and it computes a checksum: npxc is still there.
    let peak = peak_memory(child.id());
    let mut sum = String::new();
    stdout.read_to_string(&mut sum).unwrap();
    assert!(wait(&mut child).success());
    assert_eq!(sum, expected);
    assert!(peak < MEMORY, "npxc took {} MiB", peak >> 20);
}

#[test]
fn stderr_passes_and_stdout_is_the_packages_alone() {
    let fixture = world().fixture().display().to_string();
    let (output, _) = world().npxc(&[&fixture, "say", "--allow", "x", "two  words"]).output();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--allow x two  words\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("words on stderr\n"), "{stderr}");
    let others = stderr.lines().filter(|line| *line != "words on stderr");
    for line in others {
        assert!(line.starts_with("npxc: "), "{line}");
    }
}
