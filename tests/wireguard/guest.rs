//! The guest's end: a program that is not npxc's, and its control socket
//! (<https://www.wireguard.com/xplatform/#configuration-protocol>).

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use npxc_link::wg::Keys;

use super::sys::ip;

/// How long a program may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with its value.
pub(super) struct Peer {
    process: Child,
    control: PathBuf,
}

impl Peer {
    /// Starts `program` in the calling thread's namespace and brings its interface up as npxc's guests have it.
    pub(super) fn start(program: &str, keys: &Keys, endpoint: SocketAddr) -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        // Control sockets are files, which namespaces of networks do not keep apart.
        let name =
            format!("npxc{}x{}", std::process::id() % 100_000, COUNTER.fetch_add(1, Ordering::Relaxed));
        ip("address add 192.0.2.2/24 dev far");
        ip("link set far up");
        let mut command = Command::new(program);
        command.arg("--foreground");
        if program == "boringtun-cli" {
            command.arg("--disable-drop-privileges");
        }
        let process = command
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // wireguard-go has a lot to say about kernels that could do without it.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} (tests/run installs it): {error}"));
        let control = Path::new("/var/run/wireguard").join(format!("{name}.sock"));
        let peer = Self { process, control };
        peer.configure(keys, endpoint);
        ip(&format!("address add 198.18.0.2/30 dev {name}"));
        ip(&format!("link set {name} mtu 1420 up"));
        ip(&format!("route add default via 198.18.0.1 dev {name}"));
        peer
    }

    fn configure(&self, keys: &Keys, endpoint: SocketAddr) {
        let lines = format!(
            "set=1\nprivate_key={}\npublic_key={}\npreshared_key={}\nendpoint={endpoint}\n\
             persistent_keepalive_interval=25\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n\n",
            hexadecimal(&keys.private),
            hexadecimal(&keys.peer_public),
            hexadecimal(&keys.preshared)
        );
        let answer = self.ask(&lines);
        assert!(answer.contains(&"errno=0".to_owned()), "it takes its configuration: {answer:?}");
    }

    /// When the last handshake was completed, in seconds since 1970.
    pub(super) fn handshake(&self) -> u64 {
        let answer = self.ask("get=1\n\n");
        let line = answer.iter().find_map(|line| line.strip_prefix("last_handshake_time_sec="));
        let said: u64 = line.expect("a peer with a handshake").parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        // boringtun-cli 0.7.1 says how long ago that was instead.
        if said < now / 2 { now - said } else { said }
    }

    fn ask(&self, lines: &str) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        let mut socket = loop {
            match UnixStream::connect(&self.control) {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > until => panic!("{}: {error}", self.control.display()),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(lines.as_bytes()).unwrap();
        BufReader::new(socket).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.control);
    }
}

fn hexadecimal(key: &[u8; 32]) -> String {
    key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
