//! All of it: a guest's TCP stack, the guest's pump, a tunnel over loopback, the datapath, a server on the host.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use npxc_link::virtio::HEADER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};

use super::*;
use crate::audit::event::Event;
use crate::egress::driver::Datapath;
use crate::net::dns::{self, LookupOutcome, Responder};
use crate::net::pins::Pins;
use crate::net::router::{self, Journal};
use crate::policy::{HOST_NAME, HostName, Mode, Policy, PolicySpec};
use crate::runtime;

/// More than any window, so that each end has to wait for the other.
const TRANSFER: usize = 3 << 20;

struct Silent;

impl Journal for Silent {
    fn record(&mut self, _: Event) -> bool {
        true
    }

    fn healthy(&self) -> bool {
        true
    }
}

/// The kernel's end of the guest's TUN: packets behind virtio headers, and a stack that takes large segments with
/// unfinished checksums.
struct Kernel(OwnedFd);

impl Kernel {
    fn wait(&self, most: std::time::Duration) {
        let most = Timespec::try_from(most).unwrap();
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&most)).unwrap();
    }
}

struct Arrived(Vec<u8>);
struct Leaving<'a>(&'a OwnedFd);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0[HEADER..])
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; HEADER + length];
        let result = f(&mut frame[HEADER..]);
        rustix::io::write(self.0, &frame).unwrap();
        result
    }
}

impl Device for Kernel {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived, Leaving<'_>)> {
        let mut frame = vec![0; HEADER + LARGEST];
        let length = rustix::net::recv(&self.0, &mut frame[..], rustix::net::RecvFlags::DONTWAIT).ok()?.0;
        frame.truncate(length);
        Some((Arrived(frame), Leaving(&self.0)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(MTU);
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// The guest's side of a connection to `to`: sends, closes and reads to the end.
fn converse(mut kernel: Kernel, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let start = Instant::now();
    let clock = || smoltcp::time::Instant::from_micros(i64::try_from(start.elapsed().as_micros()).unwrap());
    let mut guest = Interface::new(Config::new(HardwareAddress::Ip), &mut kernel, clock());
    guest.update_ip_addrs(|addresses| {
        addresses.push(IpCidr::new(IpAddr::V4(GUEST_V4).into(), 30)).unwrap();
    });
    guest.routes_mut().add_default_ipv4_route(GATEWAY_V4).unwrap();
    // Without a window scale: smoltcp takes back the bytes that a scaled window cannot express (Linux rounds up), and
    // what was sent meanwhile is lost.
    let buffer = || tcp::SocketBuffer::new(vec![0; usize::from(u16::MAX)]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.connect(guest.context(), IpEndpoint::new(to.into(), port), 50_000).unwrap();
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(socket);
    let (mut sent, mut answer) = (0, Vec::new());
    loop {
        guest.poll(clock(), &mut kernel, &mut sockets);
        let before = (sent, answer.len());
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        while socket.can_send() && sent < TRANSFER {
            let part: Vec<u8> = (sent..TRANSFER.min(sent + 16_384)).map(byte).collect();
            sent += socket.send_slice(&part).unwrap();
        }
        if sent == TRANSFER {
            socket.close();
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), answer.extend_from_slice(bytes))).unwrap();
        }
        if !socket.may_recv() && answer.len() >= TRANSFER || !socket.is_active() {
            return answer;
        }
        if before != (sent, answer.len()) {
            // There is data or a wider window to tell of.
            continue;
        }
        let delay = guest.poll_delay(clock(), &sockets).map_or(1000, |delay| delay.total_millis().min(1000));
        kernel.wait(std::time::Duration::from_millis(delay));
    }
}

#[test]
fn bytes_pass_through_all_of_it_both_ways() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        bytes.len()
    });

    let (ours, guests) = wg::key_pairs().unwrap();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let host = socket.local_addr().unwrap();
    let link = runtime::Link::WireGuard(WireGuardLink::new(socket, &ours, MTU).unwrap());
    let mut pins = Pins::new();
    let name: HostName = HOST_NAME.parse().unwrap();
    let address = pins.v4(&name).unwrap();
    let allow = vec![format!("{HOST_NAME}:{port}").parse().unwrap()];
    let ended = Arc::new(AtomicBool::new(false));
    let on_end = Arc::clone(&ended);
    let datapath = Datapath::start(
        link,
        Vec::new(),
        |link| router::Options {
            policy: Policy::new(PolicySpec { mode: Mode::Allowlist, allow, ..PolicySpec::default() })
                .unwrap(),
            responder: Responder::new(dns::Options::default()),
            pins,
            journal: Box::new(Silent),
            proxy: None,
            link,
            flows: 16,
            epoch: Instant::now(),
            seed: 1,
        },
        |handle| {
            Box::new(move |token, _| {
                handle.resolved(token, LookupOutcome::Addresses(vec![Ipv4Addr::LOCALHOST.into()]));
            })
        },
        move || on_end.store(true, Ordering::SeqCst),
    )
    .unwrap();

    let (tun, kernel) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    udp.connect(host).unwrap();
    // Ends with the test's process.
    thread::spawn(move || npxc_link::pump::run(tun, udp, Tunnel::new(&guests, Some(25)), MTU, || {}));

    let answer = converse(Kernel(kernel), address, port);
    assert_eq!(answer.len(), TRANSFER);
    assert!(answer.iter().enumerate().all(|(at, sent)| *sent == byte(at)));
    assert_eq!(server.join().unwrap(), TRANSFER);
    assert!(!ended.load(Ordering::SeqCst));
    datapath.stop();
    assert!(ended.load(Ordering::SeqCst));
}
