//! The keys of a session's tunnel, as whoever is root on the host can find them, and a tunnel that is made with them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use npxc_link::wg::{Keys, Received, Tunnel};

/// What a process can write, as root of the host sees it.
pub(super) fn memory(pid: u32) -> Vec<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(file) = fs::File::open(format!("/proc/{pid}/mem")) else { return Vec::new() };
    let read = |(start, length)| {
        let mut content = vec![0; length];
        let count = std::os::unix::fs::FileExt::read_at(&file, &mut content, start).unwrap_or(0);
        content.truncate(count);
        content
    };
    super::super::inside::writable(&maps).into_iter().map(read).collect()
}

fn key(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// The keys that a process has: a private one with its public one close by, and what stands beside its other copies.
pub(super) struct Found {
    pub(super) private: [u8; 32],
    /// What may be npxc's public key and the preshared one.
    candidates: Vec<([u8; 32], [u8; 32])>,
}

pub(super) fn find_keys(memory: &[Vec<u8>]) -> Option<Found> {
    use boringtun::x25519::{PublicKey, StaticSecret};
    let random = |key: &[u8; 32]| key.iter().collect::<BTreeSet<_>>().len() >= 20;
    let at = |region: &[u8], at: usize| key(region.get(at..at + 32)?).filter(random);
    let places = || memory.iter().flat_map(|region| (0..region.len()).step_by(8).map(move |at| (region, at)));
    let (private, _) = places()
        .filter_map(|(region, place)| Some((at(region, place)?, (region, place))))
        .find(|(candidate, (region, place))| {
            let around = &region[place.saturating_sub(256)..(place + 256).min(region.len())];
            let public = PublicKey::from(&StaticSecret::from(*candidate)).to_bytes();
            around.windows(32).any(|window| window == public)
        })?;
    let mut candidates = Vec::new();
    for (region, place) in places().filter(|(region, place)| at(region, *place) == Some(private)) {
        let beside = |distance: isize| at(region, place.checked_add_signed(distance)?);
        let beside: Vec<_> = [-64, -32, 32, 64].into_iter().filter_map(beside).collect();
        for one in &beside {
            candidates.extend(beside.iter().filter(|other| *other != one).map(|other| (*one, *other)));
        }
    }
    Some(Found { private, candidates })
}

/// The keys of the tunnel of a container's first process, if the kernel carries it: the host's root may ask.
pub(super) fn ask_kernel(first: u32) -> Option<Found> {
    let target = first.to_string();
    let ask = ["--target", &target, "--net", "wg", "show", "wg0", "dump"];
    let output = Command::new("nsenter").args(ask).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).unwrap();
    // Private and public key and more; then of each peer its public and the preshared key and more.
    let mut lines = text.lines().map(|line| line.split('\t').map_while(from_base64).collect::<Vec<_>>());
    let (own, peer) = (lines.next()?, lines.next()?);
    Some(Found { private: own[0], candidates: vec![(peer[0], peer[1])] })
}

fn from_base64(text: &str) -> Option<[u8; 32]> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').chars().map(|digit| DIGITS.find(digit));
    let digits: Vec<usize> = digits.collect::<Option<_>>()?;
    let bytes = digits.chunks(4).flat_map(|digits| {
        let bits = (0..4).fold(0, |bits, at| bits << 6 | digits.get(at).copied().unwrap_or(0));
        [bits >> 16, bits >> 8, bits].map(|byte| byte as u8)
    });
    key(&bytes.take(32).collect::<Vec<_>>())
}

#[test]
fn a_key_is_read_as_wg_writes_it() {
    let bytes: [u8; 32] = std::array::from_fn(|at| at as u8 * 8 + 3);
    assert_eq!(from_base64("AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s="), Some(bytes));
    assert_eq!(from_base64("(none)"), None);
}

pub(super) fn initiation(tunnel: &mut Tunnel) -> Vec<u8> {
    let mut datagram = Vec::new();
    tunnel.connect(&mut |bytes| datagram = bytes.to_vec());
    assert!(!datagram.is_empty());
    datagram
}

/// A tunnel that somebody else has taken over, from where an engine's network is.
pub(super) struct Taken {
    tunnel: Tunnel,
    socket: UdpSocket,
}

/// Tries what stands beside the private key until npxc answers.
pub(super) fn unlock(found: &Found, endpoint: SocketAddr) -> Option<(Keys, Taken)> {
    let socket = UdpSocket::bind((endpoint.ip(), 0)).unwrap();
    socket.connect(endpoint).unwrap();
    // More handshakes than a few a second are not answered.
    socket.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    for (peer_public, preshared) in &found.candidates {
        let keys = Keys { private: found.private, peer_public: *peer_public, preshared: *preshared };
        let mut tunnel = Tunnel::new(&keys, None);
        socket.send(&initiation(&mut tunnel)).unwrap();
        let mut buffer = [0; 2048];
        let Ok(count) = socket.recv(&mut buffer) else { continue };
        let mut plain = vec![0; 2048];
        let mut replies = Vec::new();
        let mut reply = |reply: &[u8]| replies.push(reply.to_vec());
        if tunnel.decrypt(endpoint, &buffer[..count], &mut plain, &mut reply) == Received::Control {
            replies.iter().for_each(|reply| drop(socket.send(reply)));
            return Some((keys, Taken { tunnel, socket }));
        }
    }
    None
}

/// A question for a name that nobody allowed, through the tunnel that was taken: it is answered as it always is.
pub(super) fn assert_policy_holds(mut taken: Taken) {
    let question = [
        b"NX\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".as_slice(),
        b"\x04evil\x07example\x00\x00\x01\x00\x01",
    ]
    .concat();
    let length = (28 + question.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 0, 2, 198, 18, 0, 1]);
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    // Without a checksum of its own, as IPv4 allows.
    packet.extend([0x30, 0x39, 0, 53]);
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(question);
    let mut out = vec![0; packet.len() + 256];
    let count = taken.tunnel.encrypt(&packet, &mut out);
    taken.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    taken.socket.send(&out[..count]).unwrap();
    let endpoint = taken.socket.peer_addr().unwrap();
    let mut buffer = [0; 2048];
    loop {
        let count = taken.socket.recv(&mut buffer).unwrap();
        let mut plain = vec![0; 2048];
        let received = taken.tunnel.decrypt(endpoint, &buffer[..count], &mut plain, &mut |_| {});
        if let Received::Packet(packet) = received {
            // NXDOMAIN.
            assert_eq!((&packet[28..30], packet[31] & 15), (b"NX".as_slice(), 3), "{packet:?}");
            return;
        }
    }
}
