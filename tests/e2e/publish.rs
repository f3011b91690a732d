//! A port of the host that leads into the guest.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use super::processes::wait;
use super::world::{sha256, world};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_published_port_reaches_the_package_and_nothing_else_does() {
    let fixture = world().fixture().display().to_string();
    let port = free_port();
    let mut child = world()
        .npxc(&["--publish", &format!("{port}:8080"), &fixture, "listen", "8080"])
        .command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "listening\n");

    // Several at once, with a body large enough to fill every buffer on the way.
    let body = vec![b'x'; 3 << 20];
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let body = body.clone();
            thread::spawn(move || post(port, number, &body))
        })
        .collect();
    let expected = sha256(&body);
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(client.join().unwrap(), format!("POST /{number} {expected}"));
    }
    drop(child.stdin.take());
    assert!(wait(&mut child).success());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is still open");
}

#[test]
fn a_port_that_is_taken_is_an_error_with_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let fixture = world().fixture().display().to_string();
    let (output, _) = world().npxc(&["--publish", &port, &fixture, "exit", "0"]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("npxc: hint: "), "{stderr}");
}

fn post(port: u16, number: usize, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /{number} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    // Chunked or not, it is one line.
    text.lines().find(|line| line.starts_with("POST ")).unwrap_or(text).to_owned()
}
