//! What plays npxc: the other end of the control socket, and of the tunnel.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;

use npxc_guest::spec::{
    Container, ContainerLink, Order, Place, Purpose, Ready, Report, Spec, Supervise, Wireguard,
};
use npxc_guest::step::Failure;
use npxc_guest::wire::Channel;
use npxc_link::wg::{Keys, Received, Tunnel};

use crate::patience::{PATIENCE, Patient, ended, readable};

/// A container whose first process has connected.
pub(crate) struct Entered {
    pub(crate) engine: Child,
    pub(crate) channel: Channel,
    pub(crate) stdout: Patient<std::io::PipeReader>,
    pub(crate) stderr: Patient<std::io::PipeReader>,
    directory: PathBuf,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both);
        if ended(&mut self.engine).is_err() {
            let _ = self.engine.kill();
            let _ = self.engine.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A shell command's specification.
pub(crate) fn sh(script: &str, user: u32, link: ContainerLink) -> Spec {
    Spec {
        purpose: Purpose::Run,
        command: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
        cwd: "/".into(),
        mounts: Vec::new(),
        files: Vec::new(),
        scratch: 0,
        place: Place::Container(Container { user, group: user, link, machine: false }),
    }
}

pub(crate) fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Entered {
    pub(crate) fn report(&mut self) -> Option<Report> {
        self.channel.receive().unwrap()
    }

    pub(crate) fn ready(&mut self) -> Ready {
        match self.report() {
            Some(Report::Ready(ready)) => ready,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn failure(&mut self) -> Failure {
        match self.report() {
            Some(Report::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn go(&mut self) {
        self.channel.send(&Order::Go(Supervise::default()), &[]).unwrap();
    }

    /// Runs to the end: what it wrote, and its exit status.
    pub(crate) fn finish(mut self) -> (String, Option<i32>) {
        let report = self.report();
        let Some(Report::Ended { code, .. }) = report else { panic!("{report:?}") };
        ended(&mut self.engine).unwrap();
        (self.output(), code)
    }

    /// What it writes up to and with this.
    pub(crate) fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with(end) {
            self.stdout.read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
        text
    }

    /// All output; ends when everything inside has.
    pub(crate) fn output(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

/// Starts a container by what `engine` makes of its directory, in which the control socket is named `control`.
pub(crate) fn start(spec: &Spec, stdin: BorrowedFd<'_>, engine: impl FnOnce(&Path) -> Command) -> Entered {
    let directory = std::env::temp_dir().join(format!("npxc-guest-{}", unique()));
    fs::create_dir(&directory).unwrap();
    let control = directory.join("control");
    let listener = UnixListener::bind(&control).unwrap();
    fs::set_permissions(&control, fs::Permissions::from_mode(0o666)).unwrap();
    let mut engine = engine(&directory).spawn().unwrap();
    if let Err(error) = readable(&listener) {
        let _ = engine.kill();
        let _ = engine.wait();
        panic!("it does not connect: {error}");
    }
    let (socket, _) = listener.accept().unwrap();
    let timeout = rustix::net::sockopt::Timeout::Recv;
    rustix::net::sockopt::set_socket_timeout(&socket, timeout, Some(PATIENCE)).unwrap();
    let channel = Channel::new(socket.into());
    let (stdout, output) = std::io::pipe().unwrap();
    let (stderr, errors) = std::io::pipe().unwrap();
    channel.send(spec, &[stdin, output.as_fd(), errors.as_fd()]).unwrap();
    Entered { engine, channel, stdout: Patient(stdout), stderr: Patient(stderr), directory }
}

pub(crate) fn null() -> fs::File {
    fs::File::open("/dev/null").unwrap()
}

/// npxc's end of a tunnel, in the network that an engine would have made. Every UDP datagram that comes through the
/// tunnel is sent back; what came is remembered.
pub(crate) struct Outside {
    pub(crate) endpoint: SocketAddr,
    pub(crate) guest: Keys,
    /// A service of the host, which nobody may reach.
    pub(crate) service: std::net::TcpListener,
    pub(crate) seen: mpsc::Receiver<Vec<u8>>,
}

impl Outside {
    /// On an address of this machine, or of this thread's network.
    pub(crate) fn at(address: &str) -> Self {
        let (ours, guest) = npxc_link::wg::key_pairs().unwrap();
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let endpoint = socket.local_addr().unwrap();
        let service = std::net::TcpListener::bind((address, 0)).unwrap();
        service.set_nonblocking(true).unwrap();
        let (sender, seen) = mpsc::channel();
        std::thread::spawn(move || echo(&socket, &ours, &sender));
        Self { endpoint, guest, service, seen }
    }

    pub(crate) fn link(&self) -> ContainerLink {
        let Keys { private, peer_public, preshared } = self.guest;
        let endpoint = self.endpoint;
        ContainerLink::Wireguard(Wireguard { private, peer_public, preshared, endpoint, mtu: 1420 })
    }
}

/// Ends with the process, like the namespace that its socket holds.
fn echo(socket: &UdpSocket, keys: &Keys, seen: &mpsc::Sender<Vec<u8>>) {
    let mut tunnel = Tunnel::new(keys, None);
    let (mut datagram, mut packet, mut out) = (vec![0; 65_536], vec![0; 66_000], vec![0; 66_000]);
    while let Ok((length, from)) = socket.recv_from(&mut datagram) {
        let mut reply = |bytes: &[u8]| drop(socket.send_to(bytes, from));
        let received = tunnel.decrypt(from, &datagram[..length], &mut packet, &mut reply);
        let Received::Packet(inner) = received else { continue };
        let _ = seen.send(inner.to_vec());
        // Source and destination change places, which no checksum notices.
        let mut back = inner.to_vec();
        let (source, ports) = match back[0] >> 4 {
            4 if back[9] == 17 => (12, 20),
            6 if back[6] == 17 => (8, 40),
            _ => continue,
        };
        let half = if source == 12 { 4 } else { 16 };
        back[source..source + 2 * half].rotate_left(half);
        back[ports..ports + 4].rotate_left(2);
        let length = tunnel.encrypt(&back, &mut out);
        let _ = socket.send_to(&out[..length], from);
    }
}
