//! `unshare` plays the engine. Needs root, since an engine's work does.

mod first;

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use npxc_guest::spec::{ContainerLink, Order, Place, Ready, Spec, Wireguard};
use npxc_guest::step::Step;
use npxc_link::wg::Keys;

use crate::machine::{have_all, root_for};
use crate::patience::{PATIENCE, Patient, readable};
use crate::play::{Entered, Outside, null, sh, start};

fn able() -> bool {
    root_for("containers as `unshare` makes them") && have_all(&["unshare", "setpriv", "ip", "python3"])
}

/// What an engine grants, as `setpriv` names it.
const GRANTED: &str = "-all,+net_admin,+setuid,+setgid,+setpcap";

/// Starts a container as an engine would: its own namespaces, few capabilities. `network`: an own network namespace.
fn enter(spec: &Spec, granted: &str, network: bool) -> Entered {
    enter_with(spec, granted, network, null().as_fd())
}

fn enter_with(spec: &Spec, granted: &str, network: bool, stdin: BorrowedFd<'_>) -> Entered {
    start(spec, stdin, |directory| {
        let mut engine = Command::new("unshare");
        engine
            .args(["--mount", "--pid", "--fork", "--mount-proc", "--ipc", "--uts", "--kill-child"])
            .args(network.then_some("--net"))
            .args(["setpriv", "--bounding-set", granted, "--inh-caps", "-all"])
            .arg(env!("CARGO_BIN_EXE_npxc-guest"))
            .arg("enter")
            .arg(directory.join("control"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        engine
    })
}

/// Starts with a TUN link and lets it run.
fn run(script: &str, user: u32) -> (String, Option<i32>) {
    let mut entered = enter(&sh(script, user, ContainerLink::Tun), GRANTED, true);
    entered.ready();
    let _tun = entered.channel.take_descriptor().unwrap();
    entered.go();
    entered.finish()
}

/// Name, address of the outer interface.
const OUTER: (&str, &str) = ("eth0", "10.99.0.1");

/// Moves this thread, and with it the containers it starts, into a network namespace of its own.
fn outside() -> Outside {
    // SAFETY: the thread runs one test and no other code depends on its network namespace.
    #[allow(unsafe_code)]
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
    let (name, address) = OUTER;
    for line in [
        "link set lo up".to_owned(),
        format!("link add {name} type veth peer name host0"),
        format!("address add {address}/24 dev {name}"),
        format!("link set {name} up"),
        "link set host0 up".to_owned(),
        format!("route add default via {address} dev {name}"),
    ] {
        assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
    }
    Outside::at(address)
}

/// And whether it is the kernel's.
fn enter_tunnel(outside: &Outside, script: &str, user: u32) -> (Entered, bool) {
    let granted = format!("{GRANTED},+sys_admin");
    let mut entered = enter(&sh(script, user, outside.link()), &granted, false);
    let ready = entered.ready();
    assert!(ready.ipv6 && ready.warnings.is_empty(), "{ready:?}");
    assert_eq!(ready.notes.len(), 1, "{ready:?}");
    assert!(
        is_the_kernels(&ready) || ready.notes[0].contains("the kernel has none: WireGuard's "),
        "{ready:?}"
    );
    assert!(entered.channel.take_descriptor().is_none());
    (entered, is_the_kernels(&ready))
}

/// Whether the tunnel ends in the kernel: then nothing of npxc is left in the container but its first process.
fn is_the_kernels(ready: &Ready) -> bool {
    ready.notes == ["the tunnel is the kernel's"]
}

/// Sends to an address and prints what comes back.
const ASK: &str = "
import socket, sys
def ask(family, address, text):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(10)
    s.sendto(text, (address, 9))
    print(s.recv(65536).decode())
ask(socket.AF_INET, '198.51.100.1', b'four')
ask(socket.AF_INET6, '2001:db8::1', b'six')
";

#[test]
fn the_tunnel_carries_packets_both_ways_and_is_the_only_interface() {
    if !able() {
        return;
    }
    let outside = outside();
    let script = format!("python3 -c \"{ASK}\" && ls /proc/sys/net/ipv4/conf | sort | tr '\\n' ' '");
    let (mut entered, _) = enter_tunnel(&outside, &script, 1000);
    entered.go();
    let (text, code) = entered.finish();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text, "four\nsix\nall default lo wg0 ");
}

#[test]
fn the_outer_network_is_out_of_reach() {
    if !able() {
        return;
    }
    for user in [1000, 0] {
        let outside = outside();
        let port = outside.service.local_addr().unwrap().port();
        // Each way to name an interface; then plainly, which goes into the tunnel like anything else.
        let script = format!(
            "python3 -c \"
import socket, struct, os
for index in range(2, 40):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        pktinfo = struct.pack('@i4s4s', index, bytes(4), bytes(4))
        s.sendmsg([b'probe'], [(socket.IPPROTO_IP, 8, pktinfo)], 0, ('{address}', {port}))
        print('interface', socket.if_indextoname(index))
    except OSError: pass
    try: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'probe', ('ff02::1', 9, 0, index))
    except OSError: pass
for name in ('{name}', 'host0'):
    s = socket.socket()
    try:
        s.setsockopt(socket.SOL_SOCKET, 25, name.encode())
        print('bound to', name)
    except OSError as error: print(os.strerror(error.errno))
try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 17); print('raw')
except OSError: pass
s = socket.socket()
s.settimeout(0.3)
try: s.connect(('{address}', {port})); print('connected')
except OSError: pass
print('done')
\"",
            name = OUTER.0,
            address = OUTER.1
        );
        let (mut entered, _) = enter_tunnel(&outside, &script, user);
        entered.go();
        let (text, code) = entered.finish();
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text, "interface wg0\nNo such device\nNo such device\ndone\n");
        assert!(outside.service.accept().is_err());
        let port = port.to_be_bytes();
        let syn = |packet: &Vec<u8>| packet[9] == 6 && packet[22..24] == port;
        assert!(outside.seen.try_iter().any(|packet| syn(&packet)));
    }
}

/// The processes of a container as the host sees them: its first one, and that one's children.
fn processes(engine: &Child) -> Vec<u32> {
    let children = |pid: u32| -> Vec<u32> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        text.split_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    let first = children(engine.id());
    assert_eq!(first.len(), 1);
    first.iter().copied().chain(children(first[0])).collect()
}

/// Whether a process has any of these in its writable memory.
fn holds(pid: u32, needles: &[Vec<u8>]) -> bool {
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(maps.lines().count() > 5, "{maps}");
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, start).is_err() {
            return false;
        }
        needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

#[test]
fn nobody_but_the_keeper_has_held_the_keys_and_nobody_can_harm_it() {
    if !able() {
        return;
    }
    for user in [1000, 0] {
        let outside = outside();
        let script = format!(
            "for pid in 1 2; do kill -9 $pid; kill -STOP $pid; \
             for name in environ maps fd ns/net root cwd exe; do \
                 (ls -l /proc/$pid/$name/ || cat /proc/$pid/$name) >/dev/null 2>&1 && echo read $pid $name; \
             done; done; echo waiting; read line; python3 -c \"{ASK}\""
        );
        let (input, mut write) = std::io::pipe().unwrap();
        let granted = format!("{GRANTED},+sys_admin");
        let mut entered = enter_with(&sh(&script, user, outside.link()), &granted, false, input.as_fd());
        let kernels = is_the_kernels(&entered.ready());
        entered.go();
        assert_eq!(entered.until("waiting\n"), "waiting\n");

        let processes = processes(&entered.engine);
        let (first, keeper, workload) = match processes[..] {
            [first, keeper, workload] if !kernels => (first, Some(keeper), workload),
            [first, workload] if kernels => (first, None, workload),
            _ => panic!("{processes:?}"),
        };
        let json = |key: &[u8; 32]| serde_json::to_vec(key).unwrap();
        let Keys { private, preshared, .. } = &outside.guest;
        let needles = vec![private.to_vec(), preshared.to_vec(), json(private), json(preshared)];
        for pid in [first, workload] {
            assert!(!holds(pid, &needles));
        }
        // Nobody is left in the network that the engine made.
        let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        if let Some(keeper) = keeper {
            assert!(holds(keeper, &needles), "the search finds nothing");
            let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
            assert!(status.contains("Uid:\t64198\t64198\t64198\t64198\n"), "{status}");
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
            }
            assert!(status.contains("Seccomp:\t2\n"), "{status}");
            assert_eq!(network(keeper), network(first));
        }
        assert_eq!(network(workload), network(first));
        assert_ne!(network(first), network(entered.engine.id()));

        write.write_all(b"\n").unwrap();
        let (text, code) = entered.finish();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("four\nsix\n"), "{text}");
    }
}

#[test]
fn a_lost_keeper_ends_the_session_and_says_so() {
    if !able() {
        return;
    }
    let outside = outside();
    let (mut entered, kernels) = enter_tunnel(&outside, "echo started; sleep 1000", 1000);
    entered.go();
    entered.stdout.read_exact(&mut [0; 8]).unwrap();
    let processes = processes(&entered.engine);
    assert_eq!(processes.len(), if kernels { 2 } else { 3 });
    if kernels {
        return;
    }
    let keeper = i32::try_from(processes[1]).unwrap();
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    assert_eq!(entered.failure().step, Step::Tunnel);
    assert_eq!(entered.output(), "");
}

#[test]
fn a_handshake_that_nobody_answers_is_named() {
    if !able() {
        return;
    }
    let outside = outside();
    let silent = UdpSocket::bind((OUTER.1, 0)).unwrap();
    let ContainerLink::Wireguard(mut wireguard) = outside.link() else { panic!() };
    wireguard.endpoint = silent.local_addr().unwrap();
    let spec = sh("echo ran", 1000, ContainerLink::Wireguard(wireguard));
    let failure = enter(&spec, &format!("{GRANTED},+sys_admin"), false).failure();
    assert_eq!(failure.step, Step::Handshake);
    assert!(failure.detail.contains(&silent.local_addr().unwrap().to_string()), "{failure}");

    let mut without = enter(&sh("", 1000, outside.link()), GRANTED, false);
    let failure = without.failure();
    assert_eq!((failure.step, failure.errno), (Step::Namespaces, libc::EPERM));
}

/// A TUN as the guest's own, with the address of npxc's end, in this thread's network.
fn gateway_tun() -> OwnedFd {
    let tun = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0_u8; 40];
    request[..4].copy_from_slice(b"tun9");
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request[16..18].copy_from_slice(&u16::try_from(flags).unwrap().to_ne_bytes());
    let offload = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
    let header: libc::c_int = 10;
    // SAFETY: the requests take a struct ifreq, a pointer to an int and a number; all outlive the calls.
    #[allow(unsafe_code)]
    unsafe {
        assert_eq!(libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()), 0);
        assert_eq!(libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header), 0);
        assert_eq!(libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, offload), 0);
    }
    for line in ["link set tun9 mtu 1420 up", "address add 198.18.0.1/30 dev tun9"] {
        assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
    }
    tun.into()
}

/// Bytes sent each way.
const BULK: usize = 100 << 20;

/// The keeper does nothing under load that its list of system calls does not have.
#[test]
fn bulk_data_passes_both_ways_unchanged() {
    if !able() {
        return;
    }
    let _outside = outside();
    let (ours, guest) = npxc_link::wg::key_pairs().unwrap();
    let socket = UdpSocket::bind((OUTER.1, 0)).unwrap();
    let endpoint = socket.local_addr().unwrap();
    let tun = gateway_tun();
    let listener = std::net::TcpListener::bind("198.18.0.1:9").unwrap();
    // Ends with the process, like the namespace that its socket holds.
    std::thread::spawn(move || {
        let (_, from) = socket.peek_from(&mut [0; 2048]).unwrap();
        socket.connect(from).unwrap();
        npxc_link::pump::run(tun, socket, npxc_link::wg::Tunnel::new(&ours, None), 1420, || ()).unwrap();
    });
    let Keys { private, peer_public, preshared } = guest;
    let wireguard = Wireguard { private, peer_public, preshared, endpoint, mtu: 1420 };
    let script = format!(
        "python3 -c \"
import hashlib, socket
s = socket.create_connection(('198.18.0.1', 9))
data = b''.join(i.to_bytes(4, 'big') for i in range({BULK} // 4))
s.sendall(data)
s.shutdown(socket.SHUT_WR)
back = hashlib.sha256()
while block := s.recv(1 << 20): back.update(block)
print(back.hexdigest() == hashlib.sha256(data).hexdigest())
\""
    );
    let spec = sh(&script, 1000, ContainerLink::Wireguard(wireguard));
    let mut entered = enter(&spec, &format!("{GRANTED},+sys_admin"), false);
    entered.ready();
    entered.go();
    readable(&listener).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    Patient(&stream).read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), BULK);
    stream.write_all(&all).unwrap();
    drop(stream);
    assert_eq!(entered.finish(), ("True\n".to_owned(), Some(0)));
}
