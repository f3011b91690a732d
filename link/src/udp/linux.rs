//! `sendmsg` with `UDP_SEGMENT`, `recvmmsg` with `UDP_GRO` (udp(7), `include/uapi/linux/udp.h`).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// Whether batches can be sent.
pub(super) const BATCHES: bool = true;

const UDP_SEGMENT: libc::c_int = 103;
const UDP_GRO: libc::c_int = 104;
/// Messages read by one call; each may hold a whole batch.
const MESSAGES: usize = 32;
/// Bytes of one message: the largest batch.
const MESSAGE: usize = 65_536;
/// Control messages received with one message: the size of the datagrams in it.
const CONTROL: usize = 8;

pub(super) fn prepare(socket: &UdpSocket, size: usize) {
    use rustix::net::sockopt;
    // A smaller buffer loses more, and that is all; beyond the system's limit only for those who administer it.
    if sockopt::set_socket_recv_buffer_size_force(socket, size).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, size);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, size).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, size);
    }
    let on: libc::c_int = 1;
    // SAFETY: the value is an int that outlives the call. Without the option datagrams come one by one.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            UDP_GRO,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

#[derive(Clone, Copy)]
struct Message {
    from: SocketAddr,
    length: usize,
    stride: usize,
}

pub(super) struct Batch {
    buffer: Box<[u8]>,
    messages: Vec<Message>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; MESSAGES * MESSAGE].into_boxed_slice(),
            messages: Vec::with_capacity(MESSAGES),
        }
    }

    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.messages.clear();
        // SAFETY: all of these are plain data, for which zero is a value.
        let (mut names, mut vectors, mut headers): (
            [libc::sockaddr_storage; MESSAGES],
            [libc::iovec; MESSAGES],
            [libc::mmsghdr; MESSAGES],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut controls = [[0_u64; CONTROL]; MESSAGES];
        for (at, buffer) in self.buffer.chunks_exact_mut(MESSAGE).enumerate() {
            vectors[at] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: MESSAGE };
            let header = &mut headers[at].msg_hdr;
            header.msg_name = ptr::from_mut(&mut names[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = ptr::from_mut(&mut vectors[at]);
            header.msg_iovlen = 1;
            header.msg_control = controls[at].as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; CONTROL]>() as _;
        }
        // SAFETY: every header points to a name, one buffer and a control buffer of the lengths given, which
        // outlive the call and are not otherwise borrowed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in headers.iter().zip(&names).take(count) {
            // A sender without an address is nobody to us: the message counts, its content does not.
            let length = header.msg_len as usize;
            let (from, length) = address(name).map_or((NOBODY, 0), |from| (from, length));
            self.messages.push(Message { from, length, stride: stride(&header.msg_hdr) });
        }
        Ok(())
    }

    /// Sender, length and the size of the datagrams in it (0: it is one).
    pub(super) fn message(&self, at: usize) -> Option<(SocketAddr, usize, usize)> {
        self.messages.get(at).map(|message| (message.from, message.length, message.stride))
    }

    pub(super) fn bytes(&self, at: usize) -> &[u8] {
        &self.buffer[at * MESSAGE..(at + 1) * MESSAGE]
    }
}

const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// The `UDP_GRO` control message: the size of the datagrams that were joined.
fn stride(header: &libc::msghdr) -> usize {
    // SAFETY: the kernel has filled in the control buffer and its length; the macros walk within it, and each
    // value is read without assuming its alignment.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_UDP && (*control).cmsg_type == UDP_GRO {
                let value: libc::c_int = ptr::read_unaligned(libc::CMSG_DATA(control).cast());
                return usize::try_from(value).unwrap_or(0);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    0
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, and a sockaddr_storage has room for it.
            let name: libc::sockaddr_in = unsafe { ptr::read(ptr::from_ref(name).cast()) };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let name: libc::sockaddr_in6 = unsafe { ptr::read(ptr::from_ref(name).cast()) };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// The address as the kernel takes it, and its length.
fn name(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: plain data, for which zero is a value.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: as above.
            let mut name: libc::sockaddr_in = unsafe { zeroed() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            // SAFETY: a sockaddr_storage has room and alignment for every address.
            unsafe { ptr::write(ptr::from_mut(&mut storage).cast(), name) };
            (storage, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let mut name: libc::sockaddr_in6 = unsafe { zeroed() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_flowinfo = address.flowinfo();
            name.sin6_scope_id = address.scope_id();
            // SAFETY: a sockaddr_storage has room and alignment for every address.
            unsafe { ptr::write(ptr::from_mut(&mut storage).cast(), name) };
            (storage, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

/// Sends one datagram, or a batch of datagrams of `stride` bytes of which the last may be shorter.
pub(super) fn send(
    socket: &UdpSocket,
    to: Option<SocketAddr>,
    bytes: &[u8],
    stride: Option<usize>,
) -> io::Result<()> {
    // SAFETY: plain data, for which zero is a value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    let mut storage;
    if let Some(to) = to {
        storage = name(to);
        header.msg_name = ptr::from_mut(&mut storage.0).cast();
        header.msg_namelen = storage.1;
    }
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    header.msg_iov = ptr::from_mut(&mut vector);
    header.msg_iovlen = 1;
    let mut control = [0_u64; CONTROL];
    if let Some(stride) = stride {
        let stride = u16::try_from(stride).map_err(|_| io::ErrorKind::InvalidInput)?;
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: the buffer is aligned for a cmsghdr and has room for one with two bytes of data; the length is
        // set before the macros look at it.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            ptr::write_unaligned(libc::CMSG_DATA(message).cast(), stride);
        }
    }
    // SAFETY: the header points to a name, a buffer and control data that outlive the call; none is written to.
    let sent = unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
