//! One TCP connection's own small stack: a smoltcp interface with a single socket.
//!
//! One interface for all flows costs time in proportion to their number, because smoltcp polls every socket;
//! packets are therefore demultiplexed before they come here, and each flow pays only for itself. Stacks are
//! pooled: their buffers are the expensive part.
//!
//! Sans-IO: packets come in through [`Stack::ingest`], leave through a [`Transmit`], time is an argument.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, TcpOption, TcpPacket};

/// Where packets for the guest go.
pub trait Transmit {
    /// A buffer of `length` bytes for the next packet; its content is unspecified.
    fn buffer(&mut self, length: usize) -> &mut [u8];
    /// Sends the first `length` bytes of the buffer that was filled last.
    fn send(&mut self, length: usize, offload: Offload);
}

/// What the link has to finish in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// Nothing: every checksum is in place.
    None,
    /// A TCP checksum, and segmentation into parts of that many payload bytes where one is given.
    Tcp(Option<NonZeroU16>),
}

/// What a link can do, which decides how stacks write packets for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkProperties {
    /// The guest's MTU, bytes of an IP packet.
    pub mtu: u16,
    /// The link finishes TCP checksums and cuts large segments.
    pub offload: bool,
    /// Packets can get lost on it, so that what is sent in one go has to follow what arrives.
    pub lossy: bool,
}

/// Largest packet handed to an offloading link: what IPv4's length field can say.
const LARGEST: usize = 65_535;
/// How long an acknowledgement waits for data to ride on. Shorter than smoltcp's 10 ms: a request that fills no
/// second segment must not wait. Longer than the 4 ms of the kernel's tick: most waits end with the answer, and a timer
/// that is due before that tick makes a virtual machine program its clock for each of them (3 us).
const ACK_DELAY: Duration = Duration::from_millis(5);

/// A TCP endpoint that answers one guest connection.
pub struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    properties: LinkProperties,
    epoch: Instant,
    buffer: usize,
    window: Window,
}

/// How much the guest takes, as it said last.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    bytes: usize,
    scale: u8,
}

impl Window {
    /// Reads a packet that [`crate::net::packet`] has checked.
    fn learn(&mut self, packet: &[u8]) {
        let headers = match packet.first() {
            Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
            Some(_) | None => 40,
        };
        let Ok(tcp) = TcpPacket::new_checked(packet.get(headers..).unwrap_or(&[])) else { return };
        if tcp.syn() {
            *self = Self { bytes: usize::from(tcp.window_len()), scale: scale(tcp.options()) };
        } else {
            self.bytes = usize::from(tcp.window_len()) << self.scale;
        }
    }
}

/// RFC 7323, section 2.3: 14 at most.
fn scale(mut options: &[u8]) -> u8 {
    while let Ok((rest, option)) = TcpOption::parse(options) {
        match option {
            TcpOption::WindowScale(scale) => return scale.min(14),
            TcpOption::EndOfList => break,
            _ if rest.is_empty() => break,
            _ => options = rest,
        }
    }
    0
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("state", &self.tcp().state()).finish_non_exhaustive()
    }
}

impl Stack {
    /// A stack with `buffer` bytes each way. `epoch` is the zero of its clock, `seed` makes its sequence numbers
    /// unpredictable.
    pub fn new(properties: LinkProperties, buffer: usize, epoch: Instant, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut port = Port::new(properties);
        let interface = Interface::new(config, &mut port, smoltcp::time::Instant::ZERO);
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(ACK_DELAY.into()));
        control_congestion(&mut socket, properties);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, properties, epoch, buffer, window: Window::default() }
    }

    /// Bytes of buffer in each direction.
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// Makes this stack answer a connection to `local`, a unicast address, that begins with the packet `syn`.
    pub fn answer(&mut self, now: Instant, local: SocketAddr, syn: &[u8], out: &mut dyn Transmit) {
        self.assume(local);
        let endpoint = IpEndpoint::from(local);
        // The socket is closed (new or aborted) and the port is not 0, so listening cannot fail; if it did, the
        // connection would be answered with a reset.
        let _ = self.sockets.get_mut::<Socket<'_>>(self.handle).listen(endpoint);
        self.ingest(now, syn, out);
    }

    /// Makes this stack open a connection from `local` to the guest's `remote`.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.assume(local);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        socket.connect(self.interface.context(), IpEndpoint::from(remote), IpEndpoint::from(local)).is_ok()
    }

    /// Forgets the connection, so that the stack can be used for another one.
    pub fn recycle(&mut self) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        socket.abort();
        // What was learned belongs to the old connection.
        control_congestion(socket, self.properties);
        socket.set_timeout(None);
        socket.set_keep_alive(None);
    }

    /// Gives the stack a packet of its connection.
    pub fn ingest(&mut self, now: Instant, packet: &[u8], out: &mut dyn Transmit) {
        self.window.learn(packet);
        let mut port = Port { properties: self.properties, packet: Some(packet), out: Some(out) };
        let at = self.time(now);
        match self.interface.poll_ingress_single(at, &mut port, &mut self.sockets) {
            PollIngressSingleResult::None
            | PollIngressSingleResult::PacketProcessed
            | PollIngressSingleResult::SocketStateChanged => {}
        }
    }

    /// Sends everything that can be sent now.
    pub fn egress(&mut self, now: Instant, out: &mut dyn Transmit) {
        let at = self.time(now);
        let mut port = Port { properties: self.properties, packet: None, out: Some(out) };
        // Bounded: a window's worth of the smallest segments, so that no state of one flow can hold the loop.
        for _ in 0..MOST_PACKETS {
            match self.interface.poll_egress(at, &mut port, &mut self.sockets) {
                PollResult::None => break,
                PollResult::SocketStateChanged => {}
            }
        }
    }

    /// Sends FIN after what is still queued. False when it is too early for that: try again with the next packet.
    ///
    /// Where the guest has closed before, FIN leads to LAST-ACK, and there smoltcp 0.14 takes every acknowledgement
    /// without progress for a duplicate: a guest whose window was full would say in vain that it has room again, and
    /// be probed once a second instead. So that state has to wait until all that is queued fits into the window.
    pub fn close(&mut self) -> bool {
        let window = self.window.bytes;
        let socket = self.tcp_mut();
        if socket.state() == State::CloseWait && socket.send_queue() > window {
            return false;
        }
        socket.close();
        true
    }

    /// When the stack wants [`Stack::egress`] to be called again without any other cause.
    pub fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let at = self.time(now);
        let due = self.interface.poll_at(at, &self.sockets)?;
        let micros = u64::try_from(due.total_micros()).unwrap_or(0);
        Some((self.epoch + Duration::from_micros(micros)).max(now))
    }

    /// The socket.
    pub fn tcp(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    /// The socket, to send and receive with.
    pub fn tcp_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn assume(&mut self, local: SocketAddr) {
        // Prefix 0: every address is on-link, so that no route is needed.
        let address = IpCidr::new(IpAddress::from(local.ip()), 0);
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            // The list was just cleared and holds at least one.
            let _ = addresses.push(address);
        });
    }

    fn time(&self, now: Instant) -> smoltcp::time::Instant {
        let elapsed = now.saturating_duration_since(self.epoch);
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A whole window at once overflows the receive buffers of implementations that do not enlarge them, and what is lost
/// there costs a second. On a link without loss it would only cost time.
fn control_congestion(socket: &mut Socket<'_>, properties: LinkProperties) {
    if properties.lossy {
        socket.set_congestion_control(CongestionControl::Reno);
    }
}

/// Packets one flow may send per call.
const MOST_PACKETS: usize = 512;

/// The device a stack sees: at most one packet to receive, and the link to send on.
struct Port<'a> {
    properties: LinkProperties,
    packet: Option<&'a [u8]>,
    out: Option<&'a mut dyn Transmit>,
}

impl Port<'_> {
    fn new(properties: LinkProperties) -> Self {
        Self { properties, packet: None, out: None }
    }
}

impl Device for Port<'_> {
    type RxToken<'b>
        = Received<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Sending<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let packet = self.packet.take()?;
        let offload = self.properties.offload;
        let out = self.out.as_deref_mut()?;
        Some((Received(packet), Sending { out, offload, segment: None }))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Self::TxToken<'_>> {
        let offload = self.properties.offload;
        Some(Sending { out: self.out.as_deref_mut()?, offload, segment: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        // smoltcp 0.14 drops an IPv6 packet larger than this, also one that the link is to cut; an offloading link
        // is therefore described by what it takes. The guest's own MTU bounds what it offers and gets.
        let largest = if self.properties.offload { LARGEST } else { usize::from(self.properties.mtu) };
        capabilities.max_transmission_unit = largest;
        // `Packet::parse` has verified what arrives.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = if self.properties.offload { Checksum::None } else { Checksum::Tx };
        if self.properties.offload {
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(LARGEST);
            capabilities.segmentation.tcpv6 = NonZeroUsize::new(LARGEST);
        }
        capabilities
    }
}

struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct Sending<'a> {
    out: &'a mut dyn Transmit,
    offload: bool,
    segment: Option<NonZeroU16>,
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let result = f(self.out.buffer(length));
        self.out.send(length, if self.offload { Offload::Tcp(self.segment) } else { Offload::None });
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}
