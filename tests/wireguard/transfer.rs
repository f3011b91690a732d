//! Streams whose every byte is known at both ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// What the first byte of a connection asks for. No letters: those may begin an HTTP request, which npxc looks at.
const UPLOAD: u8 = 1;
const DOWNLOAD: u8 = 2;
const STEADY: u8 = 3;
/// Bytes that repeat; no power of two, so that nothing may be lost, doubled or moved unseen.
const PERIOD: usize = 1_000_003;
/// Longer than any retransmission that is to be expected.
const PATIENCE: Duration = Duration::from_mins(1);
/// One piece of a steady stream, and how often there is one.
const PIECE: usize = 64 << 10;
const PACE: Duration = Duration::from_millis(50);

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut pattern = vec![0; PERIOD];
    fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15).fill(&mut pattern);
    pattern
});

/// The bytes from `at` on, up to where the pattern repeats.
fn at(at: u64) -> &'static [u8] {
    &PATTERN[(at % PERIOD as u64) as usize..]
}

fn send(stream: &mut TcpStream, from: u64, to: u64) {
    let mut sent = from;
    while sent < to {
        let part = at(sent);
        let part = &part[..part.len().min((to - sent) as usize)];
        stream.write_all(part).expect("the other end takes it");
        sent += part.len() as u64;
    }
}

/// Reads to the end; how much that was.
fn receive(stream: &mut TcpStream) -> u64 {
    let mut buffer = vec![0; 256 << 10];
    let mut received = 0;
    loop {
        let count = stream.read(&mut buffer).expect("it arrives in time");
        if count == 0 {
            return received;
        }
        let mut part = &buffer[..count];
        while !part.is_empty() {
            let wanted = at(received);
            let length = part.len().min(wanted.len());
            assert!(
                part[..length] == wanted[..length],
                "other bytes arrived than were sent, near {received}"
            );
            received += length as u64;
            part = &part[length..];
        }
    }
}

/// Serves in the calling thread's namespace until the process ends.
pub(super) fn serve(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    let mut request = [0; 9];
    stream.read_exact(&mut request[..1]).unwrap();
    if request[0] == UPLOAD {
        let received = receive(&mut stream);
        return stream.write_all(&received.to_be_bytes()).unwrap();
    }
    stream.read_exact(&mut request[1..]).unwrap();
    let amount = u64::from_be_bytes(request[1..].try_into().unwrap());
    if request[0] == DOWNLOAD {
        send(&mut stream, 0, amount);
    } else {
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(amount) {
            send(&mut stream, sent, sent + PIECE as u64);
            sent += PIECE as u64;
            thread::sleep(PACE);
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    // Until the guest has everything: closing earlier could cut the end off.
    let _ = stream.read(&mut request);
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((super::host::SERVER, port)).expect("a way to the server");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `amount` bytes; megabits per second.
pub(super) fn upload(port: u16, amount: u64) -> f64 {
    let (mut stream, start) = (connect(port), Instant::now());
    stream.write_all(&[UPLOAD]).unwrap();
    send(&mut stream, 0, amount);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut received = [0; 8];
    stream.read_exact(&mut received).expect("the server's count");
    assert_eq!(u64::from_be_bytes(received), amount);
    rate(amount, start)
}

/// Receives `amount` bytes; megabits per second.
pub(super) fn download(port: u16, amount: u64) -> f64 {
    let (mut stream, start) = (connect(port), Instant::now());
    stream.write_all(&request(DOWNLOAD, amount)).unwrap();
    assert_eq!(receive(&mut stream), amount);
    rate(amount, start)
}

/// Receives some bytes twenty times a second for so many seconds.
pub(super) fn steady(port: u16, seconds: u64) {
    let mut stream = connect(port);
    stream.write_all(&request(STEADY, seconds)).unwrap();
    assert!(receive(&mut stream) > 0);
}

fn request(what: u8, amount: u64) -> Vec<u8> {
    [&[what][..], &amount.to_be_bytes()].concat()
}

#[allow(clippy::cast_precision_loss)] // for people
fn rate(amount: u64, start: Instant) -> f64 {
    amount as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6
}
