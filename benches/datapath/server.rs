//! The far end of every measured connection. One program for all contenders, in a network namespace of its own.
//!
//! Ends with its standard input.

use std::io::{BufRead, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::pattern;

/// Uploads, downloads and round trips, as the first byte says.
pub const BULK: u16 = 5001;
/// Connections that are kept and say nothing.
pub const IDLE: u16 = 5002;
/// One request, one answer, and the end.
pub const HTTP: u16 = 8080;
/// A name server for the peers, which have none of their own.
pub const DNS: u16 = 53;

/// The first byte of a connection to [`BULK`].
pub const UPLOAD: u8 = b'u';
/// Followed by four bytes of milliseconds.
pub const DOWNLOAD: u8 = b'd';
/// Every byte is sent back.
pub const ECHO: u8 = b'e';

/// Bytes of the count at the end of an upload or download.
const COUNT: usize = size_of::<u64>();
/// What is said about an upload or download that did not arrive as it was sent.
pub const DAMAGED: u64 = u64::MAX;
/// What is said about one whose end is missing.
pub const CUT_OFF: u64 = u64::MAX - 1;

/// Stack of a thread that only waits.
const SMALL: usize = 64 << 10;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\nhello there\n";

/// Serves until standard input ends.
pub fn run() -> Result<()> {
    super::raise_descriptors()?;
    super::choose_congestion_control()?;
    pattern::at(0);
    let bulk = listen(BULK)?;
    std::thread::spawn(move || {
        for stream in bulk.incoming().flatten() {
            std::thread::spawn(move || serve_bulk(stream));
        }
    });
    let http = listen(HTTP)?;
    std::thread::spawn(move || {
        for stream in http.incoming().flatten() {
            let _ = serve_http(stream);
        }
    });
    let idle = listen(IDLE)?;
    std::thread::spawn(move || {
        for stream in idle.incoming().flatten() {
            let _ = std::thread::Builder::new().stack_size(SMALL).spawn(move || keep(stream));
        }
    });
    let dns = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, DNS)).context("binding the name server")?;
    std::thread::spawn(move || serve_dns(&dns));
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
    }
    Ok(())
}

fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).with_context(|| format!("listening on port {port}"))
}

fn serve_bulk(mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    match first[0] {
        UPLOAD => {
            let received = receive(&mut stream)?;
            stream.write_all(&received.to_be_bytes())
        }
        DOWNLOAD => {
            let mut milliseconds = [0; 4];
            stream.read_exact(&mut milliseconds)?;
            let time = Duration::from_millis(u32::from_be_bytes(milliseconds).into());
            send(&mut stream, time)?;
            // Until the guest has read everything: closing earlier could cut the end off with a reset.
            stream.read(&mut first).map(|_| ())
        }
        ECHO => {
            stream.set_nodelay(true)?;
            let mut buffer = [0; 2048];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => stream.write_all(&buffer[..count])?,
                }
            }
        }
        _ => Ok(()),
    }
}

/// Sends the pattern for `time`, then how many bytes that were, and the end of the stream.
pub fn send(stream: &mut TcpStream, time: Duration) -> std::io::Result<u64> {
    let until = Instant::now() + time;
    let mut sent = 0;
    while Instant::now() < until {
        sent += stream.write(pattern::at(sent))? as u64;
    }
    stream.write_all(&sent.to_be_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(sent)
}

/// Takes what [`send`] sends; how many bytes that were, or [`DAMAGED`] or [`CUT_OFF`].
pub fn receive(stream: &mut TcpStream) -> std::io::Result<u64> {
    let mut buffer = vec![0; pattern::CHUNK];
    let (mut received, mut held) = (0, 0);
    loop {
        let count = stream.read(&mut buffer[held..])?;
        if count == 0 {
            break;
        }
        // The last eight bytes may be the count.
        let filled = held + count;
        let payload = filled.saturating_sub(COUNT);
        if !pattern::matches(received, &buffer[..payload]) {
            return Ok(DAMAGED);
        }
        received += payload as u64;
        buffer.copy_within(payload..filled, 0);
        held = filled - payload;
    }
    Ok(if buffer[..held] == received.to_be_bytes() { received } else { CUT_OFF })
}

fn serve_http(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = [0; 1024];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[length..])? {
            0 => return Ok(()),
            count => length += count,
        }
    }
    stream.write_all(ANSWER)
}

/// Greets a connection and keeps it until the other side closes it.
fn keep(mut stream: TcpStream) -> std::io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Answers every question for an A record with one address.
fn serve_dns(socket: &UdpSocket) {
    const RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 2];
    let mut message = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut message[..400]) {
        if length < 12 {
            continue;
        }
        // An answer, recursion available, no error, one record.
        message[2..4].copy_from_slice(&[0x81, 0x80]);
        message[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
        message[length..length + RECORD.len()].copy_from_slice(&RECORD);
        let _ = socket.send_to(&message[..length + RECORD.len()], from);
    }
}
