//! A network of the test's own, and servers in it that record whatever reaches them.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::machine::leave_out;
use super::super::sys;

/// Puts this test into a network of its own, if it may; see [`sys::seal`].
pub(crate) fn sealed() -> bool {
    let result = sys::seal();
    SEALED.set(result.is_ok());
    match result {
        Ok(()) => true,
        Err(error) => {
            // An ordinary user, or a root that may little.
            assert!(error.raw_os_error() == Some(libc::EPERM), "a network of the test's own: {error}");
            leave_out("counting packets, which takes a network of the test's own and so root's rights");
            false
        }
    }
}

thread_local! {
    /// Whether this thread, and so what it started, is in a network of its own.
    static SEALED: Cell<bool> = const { Cell::new(false) };
}

/// Packets sent so far in the test's own network, by anybody. Without one nobody can tell.
pub(crate) fn packets() -> u64 {
    if !SEALED.get() {
        return 0;
    }
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let lo = table.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    lo.split_whitespace().nth(9).unwrap().parse().unwrap()
}

/// How a server of the test's behaves.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Reads, says nothing.
    Listen,
    /// Speaks first, then reads.
    Greet(&'static str),
    /// Answers every request head.
    Answer(String),
    /// Accepts and never reads.
    Deaf,
    /// Accepts and closes when something was said.
    HangUp,
    /// Writes without end.
    Pour,
}

/// A connection that reached a server. Ask for all of a server's once, at the end.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// The address that was dialled.
    pub(crate) at: SocketAddr,
    from: SocketAddr,
    /// What was said.
    pub(crate) said: Vec<u8>,
    over: bool,
}

impl Visit {
    pub(crate) fn text(&self) -> String {
        self.said.iter().map(|byte| char::from(*byte)).collect()
    }
}

/// A TCP server of the test's own, on every address of the test's network.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// It listens on every address there is, and not on the machine's IPv4 loopback only.
    pub(crate) everywhere: bool,
    visits: Arc<Mutex<Vec<Arc<Mutex<Visit>>>>>,
}

impl Server {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::at(0, manner)
    }

    pub(crate) fn at(port: u16, manner: Manner) -> Self {
        // In the test's own network every address is its own; elsewhere only loopback may be listened on.
        let listener = if SEALED.get() {
            TcpListener::bind(("::", port))
        } else {
            TcpListener::bind(("127.0.0.1", port))
        };
        let listener = listener.unwrap();
        let port = listener.local_addr().unwrap().port();
        let visits = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&visits);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let visit = Visit {
                    at: plain(socket.local_addr().unwrap()),
                    from: socket.peer_addr().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), plain),
                    said: Vec::new(),
                    over: matches!(manner, Manner::Deaf),
                };
                let visit = Arc::new(Mutex::new(visit));
                all.lock().unwrap().push(Arc::clone(&visit));
                let manner = manner.clone();
                std::thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || {
                        serve(socket, &manner, &visit);
                        visit.lock().unwrap().over = true;
                    })
                    .unwrap();
            }
        });
        Self { port, everywhere: SEALED.get(), visits }
    }

    /// Who came until now. npxc has ended, so nobody is on the way; a visit of the test's own is the mark behind
    /// which nobody can be.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        let mark = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let own = mark.local_addr().unwrap();
        loop {
            let visits = self.visits.lock().unwrap().clone();
            let visits: Vec<Visit> = visits.iter().map(|visit| visit.lock().unwrap().clone()).collect();
            if let Some(mark) = visits.iter().position(|visit| visit.from == own)
                && visits[..mark].iter().all(|visit| visit.over)
            {
                return visits[..mark].to_vec();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many came until now.
    pub(crate) fn count(&self) -> usize {
        self.visits.lock().unwrap().len()
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn serve(mut socket: TcpStream, manner: &Manner, visit: &Mutex<Visit>) {
    match manner {
        Manner::Deaf => loop {
            std::thread::park();
        },
        Manner::Pour => while socket.write_all(&[7; 64 << 10]).is_ok() {},
        Manner::Greet(words) => drop(socket.write_all(words.as_bytes())),
        Manner::Listen | Manner::Answer(_) | Manner::HangUp => {}
    }
    let mut buffer = [0; 16 << 10];
    let mut unanswered = Vec::new();
    while let Ok(count) = socket.read(&mut buffer)
        && count > 0
    {
        visit.lock().unwrap().said.extend_from_slice(&buffer[..count]);
        if matches!(manner, Manner::HangUp) {
            return;
        }
        if let Manner::Answer(answer) = manner {
            unanswered.extend_from_slice(&buffer[..count]);
            while let Some(end) = unanswered.windows(4).position(|window| window == b"\r\n\r\n") {
                unanswered.drain(..end + 4);
                if socket.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

/// An HTTP answer with a short body.
pub(crate) fn page(body: &str) -> Manner {
    Manner::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A UDP server: keeps what came, answers with `answer`.
pub(crate) struct Datagrams {
    pub(crate) port: u16,
    pub(crate) received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Datagrams {
    pub(crate) fn at(port: u16, answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket =
            if SEALED.get() { UdpSocket::bind(("::", port)) } else { UdpSocket::bind(("127.0.0.1", port)) };
        Self::on(socket.unwrap(), answer)
    }

    pub(crate) fn on(
        socket: UdpSocket,
        mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let port = socket.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                all.lock().unwrap().push(buffer[..count].to_vec());
                if let Some(answer) = answer(&buffer[..count]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { port, received }
    }
}
