//! What the host's files say is what counts, at each moment: with name servers of the tests' own.

use std::collections::BTreeMap as Map;
use std::fs;
use std::net::UdpSocket;

use super::*;
use crate::net::dns::RecordKind;

/// A name server that knows these names, and denies all others; it keeps what it was asked.
struct Server {
    address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(socket: UdpSocket, names: &[(&str, [u8; 4])]) -> Self {
        let names: Map<String, [u8; 4]> =
            names.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let IpAddr::V4(address) = socket.local_addr().unwrap().ip() else { unreachable!() };
        let noted = Arc::clone(&asked);
        // It ends with the program.
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                let (name, answer) = answer(&buffer[..count], &names);
                noted.lock().unwrap().push(name);
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked.dedup();
        asked
    }
}

/// The name of a question, and what is said to it (RFC 1035, section 4).
fn answer(question: &[u8], names: &Map<String, [u8; 4]>) -> (String, Vec<u8>) {
    let mut at = 12;
    let mut labels = Vec::new();
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let is_a = question[at + 1..at + 3] == [0, 1];
    let found = names.get(&name);
    let code = if found.is_some() { 0 } else { 3 };
    let count = u8::from(is_a && found.is_some());
    let mut out = question[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    out.extend_from_slice(&question[12..at + 5]);
    if let (Some(address), true) = (found, is_a) {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
        out.extend(address);
    }
    (name, out)
}

/// Two addresses of loopback with one free port.
fn sockets() -> (UdpSocket, UdpSocket, u16) {
    (0..100)
        .find_map(|_| {
            let one = UdpSocket::bind("127.0.0.2:0").ok()?;
            let port = one.local_addr().ok()?.port();
            Some((one, UdpSocket::bind(("127.0.0.3", port)).ok()?, port))
        })
        .unwrap()
}

/// The host's files in a directory of the test's own.
struct Host {
    directory: tempfile::TempDir,
    resolver: Resolver,
}

impl Host {
    fn new(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files {
            resolv: directory.path().join("resolv.conf"),
            hosts: directory.path().join("hosts"),
            port: Some(port),
        };
        // However slow the machine is, a server that answers is not passed over.
        let rounds = [Duration::from_mins(1); 2];
        let resolver = Resolver { pinned: Pinned::new(), files, rounds, current: Mutex::default() };
        Self { directory, resolver }
    }

    /// Puts another file in a file's place, as old as that one was; npxc's next look is due.
    fn replace(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        let before = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let fresh = self.directory.path().join("fresh");
        fs::write(&fresh, text).unwrap();
        if let Some(before) = before {
            File::options().write(true).open(&fresh).unwrap().set_modified(before).unwrap();
        }
        fs::rename(fresh, path).unwrap();
        self.resolver.current.lock().unwrap().checked = None;
    }

    async fn lookup(&self, name: &str) -> LookupOutcome {
        self.resolver.lookup(Lookup { name: name.parse().unwrap(), kind: LookupKind::Address }).await
    }
}

fn found(address: [u8; 4]) -> LookupOutcome {
    LookupOutcome::Addresses(vec![address.into()])
}

#[tokio::test]
async fn the_first_name_server_is_asked_first_however_fast_the_next_one_is() {
    let (one, two, port) = sockets();
    let names: Vec<String> = (0..20).map(|number| format!("n{number}.corp.example")).collect();
    let known: Vec<(&str, [u8; 4])> = names.iter().map(|name| (name.as_str(), [10, 0, 0, 1])).collect();
    let (vpn, public) = (Server::start(one, &known), Server::start(two, &[("example.com", [192, 0, 2, 1])]));
    let host = Host::new(port);
    host.replace("resolv.conf", &format!("nameserver {}\nnameserver {}\n", vpn.address, public.address));
    for name in &names {
        assert_eq!(host.lookup(name).await, found([10, 0, 0, 1]));
    }
    // What the first one denies does not exist, as for the C library.
    assert_eq!(host.lookup("example.com").await, LookupOutcome::NotFound);
    assert_eq!(public.asked(), Vec::<String>::new());
    assert_eq!(vpn.asked().len(), 21);
}

/// By saying nothing, or that it is not able to.
#[tokio::test]
async fn a_name_server_that_does_not_know_is_followed_by_the_next() {
    for fails in [false, true] {
        let (one, two, port) = sockets();
        let silent = one.local_addr().unwrap().ip();
        let public = Server::start(two, &[("example.com", [192, 0, 2, 1])]);
        let mut host = Host::new(port);
        if fails {
            std::thread::spawn(move || {
                let mut buffer = [0; 1500];
                while let Ok((count, from)) = one.recv_from(&mut buffer) {
                    let mut answer = buffer[..count].to_vec();
                    (answer[2], answer[3]) = (0x81, 0x82);
                    one.send_to(&answer, from).unwrap();
                }
            });
        } else {
            host.resolver.rounds = ROUNDS;
        }
        host.replace("resolv.conf", &format!("nameserver {silent}\nnameserver {}\n", public.address));
        for kind in [LookupKind::Known, LookupKind::Address] {
            let lookup = Lookup { name: "example.com".parse().unwrap(), kind };
            assert_eq!(host.resolver.lookup(lookup).await, found([192, 0, 2, 1]), "{fails}");
        }
        assert!(ROUNDS[0] * 3 < GIVE_UP_KNOWN);
    }
}

#[tokio::test]
async fn search_domains_complete_names_as_on_the_host() {
    let (one, _two, port) = sockets();
    let server = Server::start(one, &[("wiki.corp.example", [10, 0, 0, 2])]);
    let host = Host::new(port);
    let servers = format!("nameserver {}\n", server.address);
    host.replace("resolv.conf", &format!("search lab.example corp.example\n{servers}"));
    assert_eq!(host.lookup("wiki").await, found([10, 0, 0, 2]));
    assert!(server.asked().contains(&"wiki.lab.example".to_owned()));
    host.replace("resolv.conf", &servers);
    assert_eq!(host.lookup("wiki").await, LookupOutcome::NotFound);
}

#[tokio::test]
async fn a_network_that_changes_is_followed_while_running() {
    let (one, two, port) = sockets();
    let name = "intranet.corp.example";
    let home = Server::start(one, &[("example.com", [192, 0, 2, 1])]);
    let vpn = Server::start(two, &[("example.com", [192, 0, 2, 1]), (name, [10, 0, 0, 3])]);
    let host = Host::new(port);
    // No configuration yet: a laptop that wakes up.
    assert!(matches!(host.lookup(name).await, LookupOutcome::Failed(_)));
    let servers = |server: &Server| format!("nameserver {}\n", server.address);
    host.replace("resolv.conf", &servers(&home));
    assert_eq!(host.lookup(name).await, LookupOutcome::NotFound);
    // The VPN comes up, and its file is as long and as old as the one before.
    host.replace("resolv.conf", &servers(&vpn));
    assert_eq!(host.lookup(name).await, found([10, 0, 0, 3]));
    // What was denied before is not remembered, and what was found is not either when it goes down.
    host.replace("resolv.conf", &servers(&home));
    assert_eq!(host.lookup(name).await, LookupOutcome::NotFound);
    host.replace("hosts", &format!("10.0.0.4 {name} # by hand\n"));
    assert_eq!(host.lookup(name).await, found([10, 0, 0, 4]));
    host.replace("hosts", "");
    assert_eq!(host.lookup(name).await, LookupOutcome::NotFound);
}

#[tokio::test]
async fn a_name_that_was_given_an_address_is_not_asked_for() {
    let (one, _two, port) = sockets();
    let server = Server::start(one, &[]);
    let mut host = Host::new(port);
    host.replace("resolv.conf", &format!("nameserver {}\n", server.address));
    host.resolver.pinned.insert("given.example".parse().unwrap(), vec![[10, 0, 0, 5].into()]);
    for kind in [LookupKind::Address, LookupKind::Known] {
        let lookup = Lookup { name: "given.example".parse().unwrap(), kind };
        assert_eq!(host.resolver.lookup(lookup).await, found([10, 0, 0, 5]));
    }
    let records =
        Lookup { name: "given.example".parse().unwrap(), kind: LookupKind::Records(RecordKind::Txt) };
    assert_eq!(host.resolver.lookup(records).await, LookupOutcome::NoRecords);
    assert_eq!(server.asked(), Vec::<String>::new());
}
