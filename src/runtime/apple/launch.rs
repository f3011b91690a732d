//! From a launch to a running virtual machine.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use npxc_guest::spec::{ContainerLink, INNER_ID, MTU, Spec, Stream, Supervise};
use npxc_guest::wire::Channel;

use super::Apple;
use super::arguments::{self, LINK};
use super::network::Network;
use super::place::{self, PREFIX, Place, Socket};
use super::process::{Container, Errors, Process};
use crate::runtime::control::Control;
use crate::runtime::{
    Access, Guest, Launch, Link, LinkChoice, Mount, Runtime, RuntimeError, Stdio3, StreamLink, container, etc,
};

/// From `run` to the guest's connection: a virtual machine starts in about a second; its file system may have to be
/// unpacked first.
const START: Duration = Duration::from_mins(2);
/// From the specification to the link.
const BUILD: Duration = Duration::from_secs(20);
/// How long the host may take to have its address on the network.
const BIND: Duration = Duration::from_secs(5);
/// Between two looks at what has no event.
const LOOK: Duration = Duration::from_millis(5);
/// The largest single file that is handed in, bytes: a certificate bundle has 0.3 MB.
const LARGEST_FILE: u64 = 16 << 20;
/// Packets in a WireGuard tunnel over a network whose own are 1500 bytes: less IPv6, UDP and WireGuard headers.
const TUNNEL_MTU: u16 = 1420;

impl Runtime for Apple {
    fn name(&self) -> &'static str {
        "apple"
    }

    fn link(&self) -> &'static str {
        match self.link {
            LinkChoice::Auto | LinkChoice::Socket => "socket",
            LinkChoice::Wireguard => "wireguard",
        }
    }

    fn owner(&self) -> Result<Option<(u32, u32)>, RuntimeError> {
        Ok(rustix::process::geteuid().is_root().then(workload))
    }

    fn launch(&self, launch: &Launch, stdio: Stdio3) -> Result<Guest, RuntimeError> {
        self.remove_leftovers();
        let (image, path) = match &self.image {
            Some(image) => (image.reference.as_str(), image.path.as_deref()),
            None => return Err(container::no_image()),
        };
        let checked = self.directories.check(&launch.mounts)?;
        let (directories, files) = divided(launch, checked.binds)?;

        let name = format!("{PREFIX}{}", uuid::Uuid::now_v7().simple());
        let place = Place::create(&self.directory, &name)?;
        let program = place.program(&container::guest_program(self.guest.as_deref())?)?;
        let (listener, control) = place.listen(Socket::Control)?;
        let relayed = match self.link {
            LinkChoice::Auto | LinkChoice::Socket => Some(place.listen(Socket::Link)?),
            LinkChoice::Wireguard => None,
        };
        let network = match self.link {
            LinkChoice::Auto | LinkChoice::Socket => None,
            LinkChoice::Wireguard => Some(Network::create(self, &name)?),
        };
        let line = arguments::arguments(&arguments::Container {
            name: &name,
            image,
            directory: &program,
            control: &control,
            link: relayed.as_ref().map(|(_, path)| path.as_path()),
            network: network.as_ref().map(|_| name.as_str()),
            mounts: &directories,
            limits: &launch.limits,
            extra: &self.extra,
        })
        .map_err(|path| RuntimeError::Mount {
            path,
            why: "`container` cannot be told a path with a colon in it".into(),
            hint: None,
        })?;
        let mut command = self.client.command(line);
        command.stdin(stdio.stdin).stdout(stdio.stdout).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| self.client.not_started(source));
        // It holds copies of the workload's streams.
        drop(command);
        let mut child = child?;
        let errors = Errors::new(child.stderr.take(), stdio.stderr);
        let gateway = network.as_ref().map(|network| network.gateway);
        let mut container = Container {
            apple: self.clone(),
            name,
            child,
            errors,
            over: Arc::default(),
            network,
            place: Some(place),
        };
        let stream = accept(Socket::Control, &listener, &mut container, START)?;
        let control = Control::new(Channel::new(OwnedFd::from(stream)));
        // A virtual machine has its memory and its processors; processes are counted inside.
        let supervise = Supervise { memory: None, pids: Some(launch.limits.pids), nproc: None };
        let mut process = Process { control, container, supervise, outcome: None };
        let (user, group) = workload();
        let spec = |link| {
            let place = npxc_guest::spec::Container { user, group, link, machine: true };
            // Another kernel has other numbers for the same files.
            container::spec(launch, Vec::new(), files, path, place)
        };
        let link = match (&relayed, gateway) {
            (Some((listener, _)), _) => stream_link(&mut process, listener, spec)?,
            (None, Some(gateway)) => wireguard_link(&mut process, gateway, spec)?,
            (None, None) => return Err(RuntimeError::Lost(": it has no link")),
        };
        let guest = Guest {
            link: Some(link),
            kind: self.link(),
            warnings: checked.warnings,
            written: None,
            process: crate::runtime::Process::Apple(process),
        };
        Ok(guest)
    }
}

impl Apple {
    /// Removes what dead sessions left: the names of their containers.
    pub fn remove_leftovers(&self) -> Vec<String> {
        let mut removed = Vec::new();
        for (name, path) in place::dead(&self.directory) {
            // Both may be gone already, and then say so.
            self.remove(&name);
            self.remove_network(&name);
            if fs::remove_dir_all(path).is_ok() {
                removed.push(name);
            }
        }
        removed
    }
}

/// User and group of the workload: shared directories show the host's, so this user; but never root.
fn workload() -> (u32, u32) {
    match (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()) {
        (0, _) => (INNER_ID, INNER_ID),
        own => own,
    }
}

type Files = Vec<(PathBuf, Vec<u8>)>;

/// Directories to mount, and single files, which can only be handed in.
fn divided(launch: &Launch, binds: Vec<npxc_guest::spec::Bind>) -> Result<(Vec<Mount>, Files), RuntimeError> {
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    for bind in binds {
        let refuse = |why: &str| RuntimeError::Mount {
            path: bind.host.clone(),
            why: why.into(),
            hint: Some("mount the directory that it is in".into()),
        };
        container::spares_own(&bind)?;
        let metadata = fs::metadata(&bind.host).map_err(RuntimeError::io("looking at what is mounted"))?;
        if metadata.is_dir() {
            let access = if bind.writable { Access::ReadWrite } else { Access::ReadOnly };
            directories.push(Mount { host: bind.host, guest: bind.guest, access });
        } else if bind.writable {
            return Err(refuse(
                "`container` mounts directories only, so a single file cannot be writable inside",
            ));
        } else if metadata.len() > LARGEST_FILE {
            return Err(refuse(
                "`container` mounts directories only, and the file is too large to be handed in",
            ));
        } else {
            let content = fs::read(&bind.host).map_err(RuntimeError::io("reading what is mounted"))?;
            files.push((bind.guest, content));
        }
    }
    files.extend(etc::complete(workload(), &launch.files));
    Ok((directories, files))
}

/// The one connection, or why there is none. Only this user can reach the socket.
fn accept(
    socket: Socket,
    listener: &UnixListener,
    container: &mut Container,
    patience: Duration,
) -> Result<UnixStream, RuntimeError> {
    let fail = || RuntimeError::io(socket.title());
    let deadline = Instant::now() + patience;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(fail())?;
                return Ok(stream);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(fail()(error)),
        }
        if container.has_ended() {
            return Err(container.refused());
        }
        if Instant::now() >= deadline {
            let said = match socket {
                Socket::Control => "the container did not start in time",
                Socket::Link => "nobody connected to the link's socket in time",
            };
            return Err(container.apple.client.failed(&["run"], said.into()));
        }
        std::thread::sleep(LOOK);
    }
}

fn stream_link(
    process: &mut Process,
    listener: &UnixListener,
    spec: impl FnOnce(ContainerLink) -> Spec,
) -> Result<Link, RuntimeError> {
    let link = ContainerLink::Stream(Stream { socket: LINK.into(), mtu: MTU });
    // A guest that could not read it has said why.
    let _ = process.control.channel.send(&spec(link), &[]);
    let ready = process.ready(BUILD)?;
    // The guest has connected, so it waits here, unless a relay takes its time.
    let socket = accept(Socket::Link, listener, &mut process.container, BUILD)?;
    Ok(Link::Stream(StreamLink { socket, tso: ready.offload, mtu: MTU }))
}

fn wireguard_link(
    process: &mut Process,
    gateway: IpAddr,
    spec: impl FnOnce(ContainerLink) -> Spec,
) -> Result<Link, RuntimeError> {
    let bind = || {
        let socket = UdpSocket::bind((gateway, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    let deadline = Instant::now() + BIND;
    let (socket, endpoint) = loop {
        match bind() {
            Ok(bound) => break bound,
            Err(error) if Instant::now() >= deadline => {
                return Err(RuntimeError::io("binding to the container network's gateway")(error));
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    };
    let (mut link, wireguard) = container::tunnel(socket, endpoint, TUNNEL_MTU)?;
    let _ = process.control.channel.send(&spec(ContainerLink::Wireguard(wireguard)), &[]);
    link.answer(&process.control.channel, container::HANDSHAKE)
        .map_err(RuntimeError::io("the tunnel's socket"))?;
    process.ready(container::HANDSHAKE)?;
    Ok(Link::WireGuard(link))
}
