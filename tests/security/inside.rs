//! The hostile half that JavaScript cannot write: system calls. This test program mounts itself into the sandbox
//! and runs there, as [`inside`], whatever the variable `HOSTILE` names; each answers with the error it got.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::c_long;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use serde_json::{Value, json};

use super::harness::{Attack, Who, attack, place, publish};

/// Where this program is inside.
pub(super) const PROGRAM: &str = "/mnt/hostile/security";

/// A directory with this program in it, for everybody to mount or start.
pub(super) fn directory() -> std::path::PathBuf {
    static MADE: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    let make = || {
        let directory = place().base.join("inside");
        std::fs::create_dir(&directory).unwrap();
        publish(&std::env::current_exe().unwrap(), &directory.join("security"));
        directory
    };
    MADE.get_or_init(make).clone()
}

/// Runs parts of this file inside a sandbox.
pub(super) fn run(who: Who, parts: &[&str]) -> Attack {
    let directory = directory();
    let steps: Vec<Value> = parts
        .iter()
        .map(|part| {
            json!({"do": "spawn", "env": {"HOSTILE": part, "RUST_BACKTRACE": "0"},
                "argv": [PROGRAM, "--exact", "security::inside::inside", "--ignored", "--nocapture"]})
        })
        .collect();
    attack(who, &json!(steps)).option("--mount", format!("{}:/mnt/hostile", directory.display()))
}

/// What a part saw, by the attempt.
pub(super) fn results(answer: &Value) -> BTreeMap<String, String> {
    let out = answer["out"].as_str().unwrap_or_default();
    let line = out.lines().find_map(|line| line.split_once("%%")).map(|(_, line)| line);
    line.map_or_else(
        || panic!("the program inside failed: {answer}"),
        |line| serde_json::from_str(line).unwrap(),
    )
}

#[test]
#[ignore = "runs inside the sandbox, started by the other tests"]
fn inside() {
    let Ok(part) = std::env::var("HOSTILE") else { return };
    assert_eq!(std::fs::read_to_string("/etc/hostname").unwrap(), "npxc\n", "never on the host");
    let mut seen = Attempts::default();
    match part.as_str() {
        "sockets" => sockets(&mut seen),
        "datagrams" => datagrams(&mut seen),
        "network" => network(&mut seen),
        "kernel" => kernel(&mut seen),
        "processes" => processes(&mut seen),
        "terminal" => terminal(&mut seen),
        "namespaces" => namespaces(&mut seen),
        "reach" => reach(&mut seen),
        "take down" => take_down(&mut seen),
        "secrets" => secrets(&mut seen),
        other => panic!("{other}?"),
    }
    println!("%%{}", serde_json::to_string(&seen.0).unwrap());
}

#[derive(Default)]
struct Attempts(BTreeMap<String, String>);

impl Attempts {
    /// Notes the outcome of a system call.
    fn note(&mut self, what: &str, result: c_long) -> c_long {
        let seen = if result < 0 { error() } else { "done".to_owned() };
        self.0.insert(what.to_owned(), seen);
        result
    }
}

fn error() -> String {
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::EACCES) => "EACCES".to_owned(),
        Some(libc::EAFNOSUPPORT) => "EAFNOSUPPORT".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::ENOENT) => "ENOENT".to_owned(),
        Some(libc::EROFS) => "EROFS".to_owned(),
        Some(_) | None => error.to_string(),
    }
}

/// A system call with up to six arguments.
fn call(number: c_long, arguments: &[usize]) -> c_long {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers pass numbers, null pointers and pointers to live values only.
    unsafe { libc::syscall(number, a, b, c, d, e, f) }
}

fn number(value: i32) -> usize {
    value.unsigned_abs() as usize
}

/// Kinds of sockets that would carry more than TCP and UDP.
fn sockets(seen: &mut Attempts) {
    use libc::{AF_INET, AF_INET6, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
    let kinds = [
        ("raw icmp", AF_INET, SOCK_RAW, libc::IPPROTO_ICMP),
        ("raw ip", AF_INET, SOCK_RAW, libc::IPPROTO_RAW),
        ("raw gre", AF_INET, SOCK_RAW, libc::IPPROTO_GRE),
        ("raw icmp 6", AF_INET6, SOCK_RAW, libc::IPPROTO_ICMPV6),
        ("ping", AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP),
        ("ping 6", AF_INET6, SOCK_DGRAM, libc::IPPROTO_ICMPV6),
        ("sctp", AF_INET, SOCK_STREAM, libc::IPPROTO_SCTP),
        ("dccp", AF_INET, 6, libc::IPPROTO_DCCP),
        ("packet", libc::AF_PACKET, SOCK_RAW, 0x0300),
        ("packet datagram", libc::AF_PACKET, SOCK_DGRAM, 0x0300),
        ("vsock", libc::AF_VSOCK, SOCK_STREAM, 0),
        ("bluetooth", libc::AF_BLUETOOTH, SOCK_RAW, 1),
        ("can", libc::AF_CAN, SOCK_RAW, 1),
        ("kernel crypto", libc::AF_ALG, 5, 0),
        ("netfilter", libc::AF_NETLINK, SOCK_RAW, libc::NETLINK_NETFILTER),
        ("uevents", libc::AF_NETLINK, SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
        ("socket diagnosis", libc::AF_NETLINK, SOCK_RAW, libc::NETLINK_SOCK_DIAG),
        ("xdp", libc::AF_XDP, SOCK_RAW, 0),
        ("tipc", libc::AF_TIPC, SOCK_STREAM, 0),
        ("rds", 21, libc::SOCK_SEQPACKET, 0),
    ];
    for (what, family, kind, protocol) in kinds {
        seen.note(what, call(libc::SYS_socket, &[number(family), number(kind), number(protocol)]));
    }
}

/// Packets that an ordinary program can make the kernel send.
fn datagrams(seen: &mut Attempts) {
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut note = |what: &str, result: std::io::Result<usize>| {
        seen.0.insert(what.to_owned(), result.map_or_else(|error| error.to_string(), |_| "sent".to_owned()));
    };
    let v4 = UdpSocket::bind("0.0.0.0:0").unwrap();
    let v6 = UdpSocket::bind("[::]:0").unwrap();
    v4.set_broadcast(true).unwrap();
    // Larger than the link: the kernel fragments.
    note("fragments", v4.send_to(&[7; 4000], to("192.0.2.9:9")));
    note("fragments 6", v6.send_to(&[7; 4000], to("[2001:db8::9]:9")));
    note("largest", v4.send_to(&[7; 65_507], to("192.0.2.9:9")));
    for (what, address) in [
        ("broadcast", "255.255.255.255:9"),
        ("broadcast of the link", "198.18.0.3:9"),
        ("multicast dns", "224.0.0.251:5353"),
        ("ssdp", "239.255.255.250:1900"),
    ] {
        note(what, v4.send_to(b"anybody?", to(address)));
    }
    // The only interface that is not lo has number 2 or above; a wrong one fails, and that is noted.
    for scope in 2..6 {
        let group = std::net::SocketAddrV6::new("ff02::fb".parse().unwrap(), 5353, 0, scope);
        note(&format!("multicast dns 6, {scope}"), v6.send_to(b"anybody?", group));
    }
    // IPv4 options: record route, which needs no privilege.
    let option = [7_u8, 7, 4, 0, 0, 0, 0, 0];
    let length = option.len() as u32;
    // SAFETY: the option lives as long as the call.
    let set = unsafe {
        libc::setsockopt(v4.as_raw_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, option.as_ptr().cast(), length)
    };
    note(
        "record route",
        if set == 0 { v4.send_to(b"x", to("192.0.2.9:9")) } else { Err(std::io::Error::last_os_error()) },
    );
    // UDP-Lite is a protocol of its own.
    // SAFETY: plain numbers; the descriptor is used for this and leaked.
    let lite = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE) };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 9_u16.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([192, 0, 2, 9]) },
        sin_zero: [0; 8],
    };
    // SAFETY: buffer and address live as long as the call.
    let sent = unsafe {
        libc::sendto(
            lite,
            b"lite".as_ptr().cast(),
            4,
            0,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    note("udp-lite", if sent < 0 { Err(std::io::Error::last_os_error()) } else { Ok(4) });
    // Forged: addresses that are not the guest's, or its loopback.
    for (what, from, target) in [
        ("forged", "192.0.2.77:0", "192.0.2.9:9"),
        ("forged gateway", "198.18.0.1:0", "192.0.2.9:9"),
        ("forged 6", "[2001:db8::77]:0", "[2001:db8::9]:9"),
        ("from loopback", "127.0.0.1:0", "192.0.2.9:9"),
        ("from loopback 6", "[::1]:0", "[2001:db8::9]:9"),
    ] {
        note(what, freebind(to(from)).and_then(|socket| socket.send_to(b"forged", to(target))));
    }
}

/// A socket bound to an address that nobody here has: `IP_FREEBIND` needs no privilege.
fn freebind(from: SocketAddr) -> std::io::Result<UdpSocket> {
    let v6 = from.is_ipv6();
    let domain = if v6 { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    let one = 1_i32;
    let (level, option) = if v6 { (libc::IPPROTO_IPV6, 78) } else { (libc::IPPROTO_IP, libc::IP_FREEBIND) };
    // SAFETY: the value lives as long as the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const one).cast(), 4) };
    if set != 0 {
        return Err(std::io::Error::last_os_error());
    }
    socket.bind(&from.into())?;
    Ok(socket.into())
}

/// Changing the network that the sandbox stands on.
fn network(seen: &mut Attempts) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let fd = number(socket.as_raw_fd());
    // SAFETY: ifreq is plain data, all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let link = interfaces().into_iter().find(|name| name != "lo").unwrap();
    for (to, from) in request.ifr_name.iter_mut().zip(link.as_bytes()) {
        *to = from.cast_signed();
    }
    let pointer = (&raw const request) as usize;
    for (what, command) in [
        ("interface down", libc::SIOCSIFFLAGS as usize),
        ("address", libc::SIOCSIFADDR as usize),
        ("mtu", libc::SIOCSIFMTU as usize),
        ("rename", 0x8923),
        ("promiscuous", libc::SIOCSIFFLAGS as usize),
        ("delete route", libc::SIOCDELRT as usize),
        ("add route", libc::SIOCADDRT as usize),
    ] {
        seen.note(what, call(libc::SYS_ioctl, &[fd, command, pointer]));
    }
    // rtnetlink: RTM_DELLINK, RTM_NEWLINK, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWRULE.
    for (what, kind) in
        [("dellink", 17_u16), ("newlink", 16), ("delroute", 25), ("newaddr", 20), ("newrule", 32)]
    {
        let code = rtnetlink(kind);
        seen.0.insert(
            format!("netlink {what}"),
            if code == -libc::EPERM { "EPERM".to_owned() } else { code.to_string() },
        );
    }
    for (what, option) in [("transparent", libc::IP_TRANSPARENT), ("header included", libc::IP_HDRINCL)] {
        let one = 1_i32;
        let result = call(
            libc::SYS_setsockopt,
            &[fd, number(libc::IPPROTO_IP), number(option), (&raw const one) as usize, 4],
        );
        seen.note(what, result);
    }
    for path in ["/dev/net/tun", "/sys/class/net", "/proc/sys/net/ipv4/ip_forward", "/proc/1/ns/net"] {
        let opened = std::fs::OpenOptions::new().read(true).write(true).open(path).map(|_| 0);
        seen.0.insert(
            format!("open {path}"),
            opened.map_or_else(|error| format!("{:?}", error.kind()), |_| "done".to_owned()),
        );
    }
}

/// The interfaces of this network namespace.
fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

/// Somewhere that must not be reached.
#[derive(serde::Serialize, serde::Deserialize, Clone, Debug)]
pub(super) struct Target {
    pub(super) to: SocketAddr,
    /// Sent over UDP, in hexadecimal digits.
    pub(super) payload: String,
}

/// Numbers of interfaces that are tried, whether they exist or not.
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=40;

/// Every way to a destination that an interface's name or number opens: what is on the link of an interface is
/// reached without any route.
fn reach(seen: &mut Attempts) {
    let targets: Vec<Target> = serde_json::from_str(&std::env::var("HOSTILE_TARGETS").unwrap()).unwrap();
    let mut devices = interfaces();
    seen.0.insert("interfaces".to_owned(), devices.join(" "));
    devices.extend(["eth0", "tap0", "podman0"].map(str::to_owned));
    let mut asked = Vec::new();
    for address in targets.iter().map(|target| target.to.ip()).collect::<std::collections::BTreeSet<_>>() {
        if let Ok(socket) = ping(address) {
            asked.push((false, format!("ping {address}"), socket));
        }
    }
    for Target { to, payload } in &targets {
        // At port 53 npxc answers itself, whatever the address; its word for a name that it does not know is no.
        for device in [None].into_iter().chain(devices.iter().map(Some)).filter(|_| to.port() != 53) {
            let what = format!("tcp {to} by {}", device.map_or("the routes", String::as_str));
            let result = connect(*to, device.map(String::as_bytes));
            seen.0.insert(what, result.map_or_else(|error| error.to_string(), |()| "done".to_owned()));
        }
        let payload: Vec<u8> = (0..payload.len() / 2)
            .map(|at| u8::from_str_radix(&payload[2 * at..][..2], 16).unwrap())
            .collect();
        for number in [0].into_iter().chain(NUMBERS) {
            let Ok(socket) = datagram(*to, &payload, number) else { continue };
            asked.push((to.port() == 53, format!("udp {to} by interface {number}"), socket));
        }
    }
    // All of them at once, and a quarter of a second for the first answer that should not come.
    let until = std::time::Instant::now() + std::time::Duration::from_millis(250);
    while std::time::Instant::now() < until {
        for (question, what, socket) in &asked {
            let mut answer = [0; 2048];
            if socket.recv(&mut answer).is_ok()
                && !(*question && answer[2] & 0x80 != 0 && answer[3] & 15 == 3)
            {
                seen.0.insert(what.clone(), "done".to_owned());
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn connect(to: SocketAddr, device: Option<&[u8]>) -> std::io::Result<()> {
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if let Some(device) = device {
        // SAFETY: the name lives as long as the call.
        let set = unsafe {
            let length = device.len() as u32;
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_BINDTODEVICE,
                device.as_ptr().cast(),
                length,
            )
        };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    socket.connect_timeout(&to.into(), std::time::Duration::from_millis(500))
}

/// Sends a datagram by the interface of this number (`IP_PKTINFO`, or the scope of an address); 0 leaves it to the
/// routes.
fn datagram(to: SocketAddr, payload: &[u8], interface: u32) -> std::io::Result<UdpSocket> {
    match to {
        SocketAddr::V6(mut to) => {
            let socket = UdpSocket::bind("[::]:0")?;
            socket.set_nonblocking(true)?;
            to.set_scope_id(interface);
            socket.send_to(payload, to)?;
            Ok(socket)
        }
        SocketAddr::V4(to) => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_nonblocking(true)?;
            // SAFETY: plain data, all zero is valid.
            let mut info: libc::in_pktinfo = unsafe { std::mem::zeroed() };
            info.ipi_ifindex = interface.cast_signed();
            let mut control = [0_u64; 8];
            let address = socket2::SockAddr::from(SocketAddr::V4(to));
            let mut data =
                libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
            // SAFETY: plain data, all zero is valid.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_name = address.as_ptr().cast_mut().cast();
            message.msg_namelen = address.len();
            message.msg_iov = &raw mut data;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            // SAFETY: the control buffer is aligned, and larger than one header with its data.
            let sent = unsafe {
                message.msg_controllen = libc::CMSG_SPACE(size_of_val(&info) as u32) as usize;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::IPPROTO_IP;
                (*header).cmsg_type = libc::IP_PKTINFO;
                (*header).cmsg_len = libc::CMSG_LEN(size_of_val(&info) as u32) as usize;
                std::ptr::copy_nonoverlapping(&raw const info, libc::CMSG_DATA(header).cast(), 1);
                libc::sendmsg(socket.as_raw_fd(), &raw const message, 0)
            };
            if sent < 0 { Err(std::io::Error::last_os_error()) } else { Ok(socket) }
        }
    }
}

/// Sends an echo request, where the engine lets this group.
fn ping(to: std::net::IpAddr) -> std::io::Result<UdpSocket> {
    let to = SocketAddr::new(to, 0);
    let (protocol, kind) = if to.is_ipv4() { (libc::IPPROTO_ICMP, 8) } else { (libc::IPPROTO_ICMPV6, 128) };
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(protocol.into()))?;
    socket.set_nonblocking(true)?;
    socket.send_to(&[kind, 0, 0, 0, 0, 0, 0, 1, b'd', b'a', b't', b'a'], &to.into())?;
    Ok(socket.into())
}

/// Takes the link down, as whoever may do so can; and asks for another.
fn take_down(seen: &mut Attempts) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for name in interfaces() {
        // SAFETY: ifreq is plain data, all zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
            *to = from.cast_signed();
        }
        let arguments =
            [number(socket.as_raw_fd()), libc::SIOCSIFFLAGS as usize, (&raw const request) as usize];
        seen.note(&format!("{name} down"), call(libc::SYS_ioctl, &arguments));
    }
}

/// Looks for a secret (given with every bit turned over, so that it is nowhere by that) in all that can be read.
fn secrets(seen: &mut Attempts) {
    let given = std::env::var("HOSTILE_TARGETS").unwrap();
    let given = given.trim();
    let secret: Vec<u8> =
        (0..given.len() / 2).map(|at| !u8::from_str_radix(&given[2 * at..][..2], 16).unwrap()).collect();
    let own = std::process::id().to_string();
    let mut pending: Vec<std::path::PathBuf> =
        ["/npxc", "/etc", "/run", "/tmp", "/home", "/dev/shm", "/opt", "/root", "/var"]
            .map(Into::into)
            .into();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok() && name != own {
            pending.extend(
                ["environ", "cmdline", "auxv", "stack", "fd", "map_files"]
                    .map(|file| entry.path().join(file)),
            );
            seen.0.insert(format!("memory of {name}"), memory(&entry.path(), &secret));
        }
    }
    let (mut files, mut found) = (0, Vec::new());
    while let Some(path) = pending.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            pending
                .extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if metadata.is_file()
            && let Ok(content) = std::fs::read(&path)
        {
            files += 1;
            if holds(&content, &secret) {
                found.push(path.display().to_string());
            }
        }
    }
    seen.0.insert("files".to_owned(), files.to_string());
    seen.0.insert("found".to_owned(), found.join(" "));
}

/// Reads another process's memory, if it may; whether the secret is there.
fn memory(process: &std::path::Path, secret: &[u8]) -> String {
    let Ok(maps) = std::fs::read_to_string(process.join("maps")) else { return "unreadable".to_owned() };
    let Ok(file) = std::fs::File::open(process.join("mem")) else { return "unreadable".to_owned() };
    let found = writable(&maps).into_iter().any(|(start, length)| {
        let mut content = vec![0; length];
        let count = std::os::unix::fs::FileExt::read_at(&file, &mut content, start).unwrap_or(0);
        holds(&content[..count], secret)
    });
    if found { "done" } else { "without it" }.to_owned()
}

/// Start and length of what a process can write, out of `/proc/PID/maps`.
pub(super) fn writable(maps: &str) -> Vec<(u64, usize)> {
    let parse = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let length = usize::try_from(u64::from_str_radix(end, 16).ok()? - start).ok()?;
        (rest.starts_with("rw") && length <= 64 << 20).then_some((start, length))
    };
    maps.lines().filter_map(parse).collect()
}

/// Whether it is in there, as it is or in digits.
fn holds(content: &[u8], secret: &[u8]) -> bool {
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let has = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
    has(secret) || has(digits.as_bytes())
}

fn rtnetlink(kind: u16) -> i32 {
    // SAFETY: plain numbers; the descriptor is leaked.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE) };
    let mut message = [0_u8; 64];
    message[..4].copy_from_slice(&64_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&5_u16.to_ne_bytes());
    message[16] = libc::AF_INET as u8;
    message[20] = 2;
    let mut answer = [0_u8; 256];
    // SAFETY: both buffers live as long as the calls.
    let length = unsafe {
        libc::send(fd, message.as_ptr().cast(), message.len(), 0);
        libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    if length < 20 { 1 } else { i32::from_ne_bytes(answer[16..20].try_into().unwrap()) }
}

/// Kernel interfaces with a history.
fn kernel(seen: &mut Attempts) {
    let zero = [0_u64; 32];
    let pointer = zero.as_ptr() as usize;
    for (what, number, arguments) in [
        ("io_uring", libc::SYS_io_uring_setup, vec![8, pointer]),
        ("add key", libc::SYS_add_key, vec![pointer, pointer, pointer, 1, 0xffff_ffff]),
        ("request key", libc::SYS_request_key, vec![pointer, pointer, 0, 0]),
        ("keyctl", libc::SYS_keyctl, vec![0, 0xffff_fffd]),
        ("bpf", libc::SYS_bpf, vec![0, pointer, 64]),
        ("perf", libc::SYS_perf_event_open, vec![pointer, 0, 0xffff_ffff, 0xffff_ffff]),
        ("userfaultfd", libc::SYS_userfaultfd, vec![0]),
        ("syslog", libc::SYS_syslog, vec![3, pointer, 8]),
        ("open by handle", libc::SYS_open_by_handle_at, vec![3, pointer, 0]),
        ("name to handle", libc::SYS_name_to_handle_at, vec![3, pointer, pointer, pointer, 0]),
        ("fanotify", libc::SYS_fanotify_init, vec![0, 0]),
        ("kexec", libc::SYS_kexec_load, vec![0, 0, 0, 0]),
        ("module", libc::SYS_init_module, vec![pointer, 8, pointer]),
        ("reboot", libc::SYS_reboot, vec![0, 0, 0]),
        ("set time", libc::SYS_clock_settime, vec![0, pointer]),
        ("host name", libc::SYS_sethostname, vec![pointer, 1]),
        ("swap", libc::SYS_swapon, vec![pointer, 0]),
        ("quota", libc::SYS_quotactl, vec![0, pointer, 0, 0]),
        ("account", libc::SYS_acct, vec![0]),
        // Newer than what the filter was made for.
        ("unknown", 9999, vec![]),
    ] {
        seen.note(what, call(number, &arguments));
    }
    seen.note("set uid 0", call(libc::SYS_setuid, &[0]));
    seen.note("set gid 0", call(libc::SYS_setgid, &[0]));
    let device = c"/tmp/device";
    let made = call(
        libc::SYS_mknodat,
        &[number(libc::AT_FDCWD).wrapping_neg(), device.as_ptr() as usize, 0o020_666, 0x0103],
    );
    seen.note("device", made);
    seen.note("personality", call(libc::SYS_personality, &[0x0040_0000]));
}

/// Other processes: pid 1 is npxc's own code, inside.
fn processes(seen: &mut Attempts) {
    let zero = [0_u64; 32];
    let pointer = zero.as_ptr() as usize;
    // Its own parent (node) and pid 1.
    // SAFETY: no arguments.
    let parent = unsafe { libc::getppid() };
    for (whom, pid) in [("init", 1_usize), ("parent", number(parent))] {
        seen.note(&format!("attach to {whom}"), call(libc::SYS_ptrace, &[16, pid, 0, 0]));
        seen.note(&format!("seize {whom}"), call(libc::SYS_ptrace, &[0x4206, pid, 0, 0]));
        seen.note(
            &format!("read {whom}"),
            call(libc::SYS_process_vm_readv, &[pid, pointer, 1, pointer, 1, 0]),
        );
        seen.note(
            &format!("write {whom}"),
            call(libc::SYS_process_vm_writev, &[pid, pointer, 1, pointer, 1, 0]),
        );
        let handle = call(libc::SYS_pidfd_open, &[pid, 0]);
        seen.note(
            &format!("descriptor of {whom}"),
            call(libc::SYS_pidfd_getfd, &[handle.cast_unsigned() as usize, 0, 0]),
        );
    }
    for file in ["mem", "environ", "maps", "fd", "root", "cwd", "exe", "ns/net", "ns/user"] {
        let path = format!("/proc/1/{file}");
        let seen_there = if file == "fd" {
            // Their numbers may be seen, what is behind them not.
            (0..16)
                .map(|fd| std::fs::File::open(format!("{path}/{fd}")).map(|_| ()))
                .find(Result::is_ok)
                .unwrap_or_else(|| std::fs::File::open(format!("{path}/0")).map(|_| ()))
        } else if file.starts_with("ns/") || ["root", "cwd", "exe"].contains(&file) {
            std::fs::read_link(&path).map(|_| ())
        } else {
            std::fs::read(&path).map(|_| ())
        };
        seen.0.insert(
            format!("look at {file}"),
            seen_there.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned()),
        );
    }
    // A signal to pid 1 is the one that it has no handler for: nothing happens.
    // SAFETY: plain numbers.
    unsafe {
        libc::kill(1, libc::SIGKILL);
        libc::kill(1, libc::SIGSTOP);
    }
}

/// The terminal of whoever started npxc.
fn terminal(seen: &mut Attempts) {
    let letter = b'x';
    for fd in 0..3 {
        seen.note(
            &format!("type into {fd}"),
            call(libc::SYS_ioctl, &[fd, libc::TIOCSTI as usize, (&raw const letter) as usize]),
        );
        seen.note(
            &format!("paste into {fd}"),
            call(libc::SYS_ioctl, &[fd, libc::TIOCLINUX as usize, (&raw const letter) as usize]),
        );
        // The upper half of the argument does not count, neither for the kernel nor for the filter.
        let disguised = libc::TIOCSTI as usize | 1 << 40;
        seen.note(
            &format!("disguised {fd}"),
            call(libc::SYS_ioctl, &[fd, disguised, (&raw const letter) as usize]),
        );
    }
    let tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").map(|_| ());
    seen.0.insert(
        "/dev/tty".to_owned(),
        tty.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned()),
    );
}

/// More namespaces, more mounts, more privileges.
fn namespaces(seen: &mut Attempts) {
    for (what, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("network", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
        ("time", 0x80),
    ] {
        seen.note(&format!("unshare {what}"), call(libc::SYS_unshare, &[number(flag)]));
        // Which `clone` cannot make.
        if what == "time" {
            continue;
        }
        let child = call(libc::SYS_clone, &[number(flag | libc::SIGCHLD), 0, 0, 0, 0]);
        if child == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        seen.note(&format!("clone {what}"), child);
    }
    let arguments = [u64::from(libc::CLONE_NEWUSER.unsigned_abs()), 0, 0, 0, 17, 0, 0, 0];
    let child = call(libc::SYS_clone3, &[arguments.as_ptr() as usize, 64]);
    if child == 0 {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    seen.note("clone3", child);
    let root = c"/".as_ptr() as usize;
    let tmpfs = c"tmpfs".as_ptr() as usize;
    let tmp = c"/tmp".as_ptr() as usize;
    for (what, number, arguments) in [
        ("mount", libc::SYS_mount, vec![tmpfs, tmp, tmpfs, 0, 0]),
        ("remount", libc::SYS_mount, vec![0, root, 0, libc::MS_REMOUNT as usize, 0]),
        ("umount", libc::SYS_umount2, vec![c"/proc".as_ptr() as usize, 2]),
        ("pivot", libc::SYS_pivot_root, vec![tmp, tmp]),
        ("chroot", libc::SYS_chroot, vec![tmp]),
        ("fsopen", libc::SYS_fsopen, vec![tmpfs, 0]),
        ("open tree", libc::SYS_open_tree, vec![100, root, 1]),
        ("setns", libc::SYS_setns, vec![3, 0]),
    ] {
        seen.note(what, call(number, &arguments));
    }
    // CAP_* in any set, by the kernel's own word.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        seen.0.insert(name.to_owned(), value.unwrap_or("?").to_owned());
    }
}
