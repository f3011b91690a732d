//! The near end of every measured connection: the program that runs inside the sandbox, or where a peer puts
//! it. Takes one command a line on standard input and answers each with `ok` and figures, or `error` and why.
//! Payload is checked, not only counted.

use std::io::{BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::pattern;
use super::server::{self, BULK, CUT_OFF, DAMAGED, DOWNLOAD, ECHO, HTTP, IDLE, UPLOAD};

/// How long a peer may stay silent before a measurement counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves commands until standard input ends.
pub fn run() -> Result<()> {
    super::raise_descriptors()?;
    pattern::at(0);
    let mut idle = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match obey(&words, &mut idle) {
            Ok(figures) => format!("ok {}", figures.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")),
            Err(error) => format!("error {error:#}"),
        };
        println!("{answer}");
    }
    Ok(())
}

fn obey(words: &[&str], idle: &mut Vec<TcpStream>) -> Result<Vec<f64>> {
    match *words {
        ["wait", address] => wait(address.parse()?),
        ["upload", address, time] => upload(address.parse()?, milliseconds(time)?),
        ["download", address, time] => download(address.parse()?, milliseconds(time)?),
        ["connections", host, time] => connections(host, milliseconds(time)?),
        ["rtt", address, time] => rtt(address.parse()?, milliseconds(time)?),
        ["tunnel", ref words @ ..] => crate::wireguard::guest(words),
        ["idle", address, count] => keep(address.parse()?, count.parse()?, idle),
        ["dns", address, name, window, time] => {
            questions(address.parse()?, name, window.parse()?, milliseconds(time)?)
        }
        _ => bail!("unknown command {words:?}"),
    }
}

fn milliseconds(word: &str) -> Result<Duration> {
    Ok(Duration::from_millis(word.parse()?))
}

fn connect(address: IpAddr, port: u16) -> Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    // Before it connects: BBR, once begun, keeps pacing. The guest's own default cannot be set from outside.
    sockopt::set_tcp_congestion(&socket, super::CONGESTION_CONTROL)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &SocketAddr::new(address, port))
        .with_context(|| format!("connecting to {address}, port {port}"))?;
    Ok(socket.into())
}

/// Until the network stands: peers configure it while the guest is already running.
fn wait(address: IpAddr) -> Result<Vec<f64>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let tried = TcpStream::connect_timeout(&SocketAddr::new(address, BULK), Duration::from_millis(500));
        match tried {
            Ok(_) => return Ok(Vec::new()),
            Err(error) if Instant::now() > until => return Err(error).context("waiting for the network"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Bytes, seconds, packets on the guest's interface.
fn upload(address: IpAddr, time: Duration) -> Result<Vec<f64>> {
    let packets = packets();
    let mut stream = connect(address, BULK)?;
    let start = Instant::now();
    stream.write_all(&[UPLOAD])?;
    let sent = server::send(&mut stream, time)?;
    let received = read_number(&mut stream)?;
    intact(received)?;
    ensure!(received == sent, "of {sent} bytes {received} arrived");
    Ok(vec![sent as f64, start.elapsed().as_secs_f64(), since(packets)])
}

/// Bytes, seconds, packets on the guest's interface.
fn download(address: IpAddr, time: Duration) -> Result<Vec<f64>> {
    let packets = packets();
    let mut stream = connect(address, BULK)?;
    let start = Instant::now();
    let mut request = vec![DOWNLOAD];
    request.extend_from_slice(&u32::try_from(time.as_millis())?.to_be_bytes());
    stream.write_all(&request)?;
    let received = server::receive(&mut stream)?;
    let elapsed = start.elapsed();
    intact(received)?;
    Ok(vec![received as f64, elapsed.as_secs_f64(), since(packets)])
}

fn intact(received: u64) -> Result<()> {
    ensure!(received != DAMAGED, "other bytes arrived than were sent");
    ensure!(received != CUT_OFF, "the end did not arrive");
    Ok(())
}

fn read_number(stream: &mut TcpStream) -> Result<u64> {
    let mut number = [0; 8];
    stream.read_exact(&mut number).context("waiting for the server's count")?;
    Ok(u64::from_be_bytes(number))
}

/// Connections, seconds. `host` is an address, or a name that is resolved once.
fn connections(host: &str, time: Duration) -> Result<Vec<f64>> {
    let address = (host, HTTP)
        .to_socket_addrs()
        .with_context(|| format!("resolving {host}"))?
        .next()
        .context("no address")?;
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = format!("GET / HTTP/1.1\r\nHost: {bracketed}:{HTTP}\r\nAccept: */*\r\n\r\n");
    let mut answer = Vec::new();
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < time {
        let mut stream = connect(address.ip(), HTTP)?;
        stream.write_all(request.as_bytes())?;
        answer.clear();
        stream.read_to_end(&mut answer).context("waiting for the answer")?;
        ensure!(
            answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"hello there\n"),
            "a wrong answer: {}",
            String::from_utf8_lossy(&answer)
        );
        count += 1;
    }
    Ok(vec![f64::from(count), start.elapsed().as_secs_f64()])
}

/// Median and 99th percentile, microseconds.
fn rtt(address: IpAddr, time: Duration) -> Result<Vec<f64>> {
    let mut stream = connect(address, BULK)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[ECHO])?;
    let start = Instant::now();
    let mut samples = Vec::new();
    let mut byte = [0];
    while start.elapsed() < time {
        let sent = samples.len() as u8;
        let before = Instant::now();
        stream.write_all(&[sent])?;
        stream.read_exact(&mut byte)?;
        samples.push(before.elapsed().as_secs_f64() * 1e6);
        ensure!(byte[0] == sent, "a wrong byte came back");
    }
    samples.sort_by(f64::total_cmp);
    ensure!(samples.len() > 10, "only {} round trips", samples.len());
    Ok(vec![samples[samples.len() / 2], samples[samples.len() * 99 / 100]])
}

/// Opens or closes connections until `count` of them are held, and has each one carry a byte.
fn keep(address: IpAddr, count: usize, idle: &mut Vec<TcpStream>) -> Result<Vec<f64>> {
    idle.truncate(count);
    while idle.len() < count {
        let mut stream = connect(address, IDLE).with_context(|| format!("connection {}", idle.len() + 1))?;
        // No letter: one that could begin an HTTP request would be held until the line is complete.
        stream.write_all(&[0])?;
        stream.read_exact(&mut [0]).with_context(|| format!("greeting {}", idle.len() + 1))?;
        idle.push(stream);
    }
    Ok(vec![idle.len() as f64])
}

/// Answers, seconds, questions without an answer. A name that begins with `*` is a new one each time.
fn questions(address: IpAddr, name: &str, window: u16, time: Duration) -> Result<Vec<f64>> {
    let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(unspecified)?;
    socket.connect((address, server::DNS))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let denied = name.starts_with('*');
    let start = Instant::now();
    let (mut asked, mut answered, mut lost) = (0_u16, 0_u32, 0_u32);
    let mut awaited = 0_u16;
    let mut answer = [0; 1500];
    while start.elapsed() < time {
        while awaited < window {
            asked = asked.wrapping_add(1);
            socket.send(&question(asked, name)?)?;
            awaited += 1;
        }
        let Ok(length) = socket.recv(&mut answer) else {
            lost += u32::from(awaited);
            awaited = 0;
            continue;
        };
        ensure!(length >= 12 && answer[2] & 0x80 != 0, "not an answer");
        let (code, records) = (answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]]));
        ensure!(
            if denied { code == 3 } else { code == 0 && records > 0 },
            "{name} was answered with code {code} and {records} records"
        );
        answered += 1;
        awaited = awaited.saturating_sub(1);
    }
    ensure!(answered > 0, "no answer to {lost} questions");
    Ok(vec![f64::from(answered), start.elapsed().as_secs_f64(), f64::from(lost)])
}

fn question(id: u16, name: &str) -> Result<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let fresh = format!("n{id}");
    for label in name.split('.') {
        let label = if label == "*" { &fresh } else { label };
        message.push(u8::try_from(label.len())?);
        message.extend_from_slice(label.as_bytes());
    }
    // The root, A, IN.
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    Ok(message)
}

/// Packets that went over the guest's interfaces so far, loopback excepted.
fn packets() -> f64 {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    rows.flat_map(|(_, row)| {
        let columns: Vec<&str> = row.split_whitespace().collect();
        [1, 9].map(|column| columns.get(column).and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0))
    })
    .sum()
}

fn since(before: f64) -> f64 {
    packets() - before
}
