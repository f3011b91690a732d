use std::net::TcpListener;
use std::os::fd::AsFd;
use std::thread::JoinHandle;

use super::*;
use crate::policy::{Mode, Policy, PolicySpec, Protocol, Request, Tunnel};

/// A proxy that reads what it is asked, says this in pieces, each once the one before was looked at, and hangs up.
fn proxy(pieces: Vec<&'static [u8]>) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = vec![0; 4096];
        let count = socket.read(&mut asked).unwrap();
        asked.truncate(count);
        for piece in pieces {
            socket.write_all(piece).unwrap();
        }
        asked
    });
    (address, answering)
}

fn tunnel() -> Tunnel {
    let spec = PolicySpec {
        mode: Mode::Allowlist,
        allow: vec!["api.example.com:443".parse().unwrap()],
        ..PolicySpec::default()
    };
    let name: crate::policy::HostName = "api.example.com".parse().unwrap();
    let permit = Policy::new(spec).unwrap().decide(&Request::new(Protocol::Tcp, name, 443)).permit();
    permit.unwrap().by_name(&[]).unwrap()
}

/// Asks to the end, and reads what follows.
fn ask(url: &str, pieces: Vec<&'static [u8]>) -> (Answer, Vec<u8>, Vec<u8>) {
    let (address, answering) = proxy(pieces);
    let socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let handshake = Handshake::new(&format!("{url}@{address}").parse().unwrap(), tunnel());
    let mut asking = Asking::new(Instant::now(), address, TcpStream::from_std(socket), handshake);
    let answer = loop {
        match asking.advance() {
            Answer::Waiting => {
                let events = rustix::event::PollFlags::IN | rustix::event::PollFlags::RDHUP;
                let mut poll = [rustix::event::PollFd::from_borrowed_fd(asking.socket.as_fd(), events)];
                rustix::event::poll(&mut poll, None).unwrap();
                asking.ended |= poll[0].revents().contains(rustix::event::PollFlags::RDHUP);
            }
            answer => break answer,
        }
    };
    let asked = answering.join().unwrap();
    let (_, socket) = asking.into_parts();
    let mut rest = Vec::new();
    let fd: std::os::fd::OwnedFd = socket.into();
    let mut socket = std::net::TcpStream::from(fd);
    socket.set_nonblocking(false).unwrap();
    // A proxy that was not heard out resets.
    let _ = socket.read_to_end(&mut rest);
    (answer, asked, rest)
}

#[test]
fn what_follows_the_answer_is_the_flows() {
    let (answer, asked, rest) =
        ask("http://user:pw", vec![b"HTTP/1.1 2", b"00 OK\r\n", b"A: b\r\n\r", b"\n220 ready\r\n", b"more"]);
    assert_eq!(answer, Answer::Ready);
    assert!(asked.starts_with(b"CONNECT api.example.com:443 HTTP/1.1\r\n"));
    assert_eq!(rest, b"220 ready\r\nmore");
    let reply = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let said: Vec<u8> = [&[5, 0][..], &reply, b"hello"].concat();
    let (answer, _, rest) = ask("socks5h://user:pw", vec![Box::leak(said.into_boxed_slice())]);
    assert_eq!((answer, &rest[..]), (Answer::Ready, &b"hello"[..]));
}

#[test]
fn a_proxy_that_refuses_hangs_up_or_is_none() {
    for (said, fault) in [
        (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], Fault::Status(403)),
        (b"HTTP/1.1 407 x\r\n\r\n", Fault::Credentials),
        (b"220 mail.example ESMTP\r\n", Fault::NotAProxy),
        (b"", Fault::Closed),
        (b"HTTP/1.1 200 O", Fault::Closed),
    ] {
        assert_eq!(ask("http://user:pw", vec![said]).0, Answer::Failed(fault), "{said:?}");
    }
}
