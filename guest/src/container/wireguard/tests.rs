//! What is sent is compared with what `wg setconf` (wireguard-tools 1.0) and `ip link add` (iproute2 6.1) send for the
//! same configuration, without what is left to the kernel here (listen port, mark). Little-endian, like every machine
//! that npxc is built for.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::*;
use crate::netlink::tests::{error, message, played, sequence};

/// What stands for the kernel calls its WireGuard this.
const ID: u16 = 0x1d;

fn wireguard(endpoint: &str) -> Wireguard {
    Wireguard {
        private: [0x50; 32],
        peer_public: [0x22; 32],
        preshared: [0x33; 32],
        endpoint: endpoint.parse().unwrap(),
        mtu: 1420,
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// What a request is on its way, but for its number.
fn sent(request: Request) -> Vec<u8> {
    let (mut socket, kernel) = played(|request| vec![error(sequence(request), 0)]);
    socket.ask(request, |_, _| Ok(())).unwrap();
    drop(socket);
    let mut request = kernel.join().unwrap().remove(0);
    assert_eq!(sequence(&request), 1);
    request[8] = 0;
    request
}

fn key(byte: &str) -> String {
    [byte; 32].join(" ")
}

#[test]
fn the_family_is_asked_for_as_wg_does() {
    let expected = "24 00 00 00 10 00 05 00 00 00 00 00 00 00 00 00 03 01 00 00 \
        0e 00 02 00 77 69 72 65 67 75 61 72 64 00 00 00";
    assert_eq!(sent(get_family()), bytes(expected));
}

#[test]
fn the_interface_is_asked_for_as_ip_does() {
    let file = File::open("/dev/null").unwrap();
    let descriptor = u8::try_from(file.as_raw_fd()).unwrap();
    // `ip link add wg0 netns NAME type wireguard`; iproute2 leaves NLA_F_NESTED (80) out here.
    let expected = format!(
        "44 00 00 00 10 00 05 06 00 00 00 00 00 00 00 00 \
         00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
         08 00 1c 00 {descriptor:02x} 00 00 00 08 00 03 00 77 67 30 00 \
         14 00 12 80 0d 00 01 00 77 69 72 65 67 75 61 72 64 00 00 00"
    );
    assert_eq!(sent(new_link(file.as_fd())), bytes(&expected));
}

#[test]
fn the_interface_is_configured_as_wg_does() {
    let [private, public, preshared] = ["50", "22", "33"].map(key);
    let head = |length: &str| {
        format!(
            "{length} 01 00 00 1d 00 05 00 00 00 00 00 00 00 00 00 01 01 00 00 \
             08 00 02 00 77 67 30 00 24 00 03 00 {private} 08 00 05 00 01 00 00 00"
        )
    };
    let keys = format!("24 00 01 00 {public} 24 00 02 00 {preshared}");
    let rest = "06 00 05 00 ff ff 00 00 08 00 03 00 02 00 00 00 48 00 09 80 \
        1c 00 00 80 06 00 01 00 02 00 00 00 08 00 02 00 00 00 00 00 05 00 03 00 00 00 00 00 \
        28 00 00 80 06 00 01 00 0a 00 00 00 \
        14 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05 00 03 00 00 00 00 00";
    let four = "14 00 04 00 02 00 ca 6c c0 00 02 07 00 00 00 00 00 00 00 00";
    let six = "20 00 04 00 0a 00 ca 6c 00 00 00 00 \
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 07 00 00 00 00";

    let expected = format!("{} bc 00 08 80 b8 00 00 80 {keys} {four} {rest}", head("04"));
    assert_eq!(sent(set_device(Family(ID), &wireguard("192.0.2.7:51820"))), bytes(&expected));
    let expected = format!("{} c8 00 08 80 c4 00 00 80 {keys} {six} {rest}", head("10"));
    assert_eq!(sent(set_device(Family(ID), &wireguard("[2001:db8::7]:51820"))), bytes(&expected));
}

#[test]
fn the_interface_is_read_as_wg_does() {
    let expected = "1c 00 00 00 1d 00 05 03 00 00 00 00 00 00 00 00 00 01 00 00 08 00 02 00 77 67 30 00";
    assert_eq!(sent(get_device(Family(ID))), bytes(expected));
}

/// One attribute.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [&length.to_le_bytes()[..], &kind.to_le_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What a kernel says of wg0 (`WG_CMD_GET_DEVICE`), whose peer has last been greeted at `seconds`.
fn dump(request: &[u8], seconds: i64) -> Vec<u8> {
    let time = [seconds.to_le_bytes(), 0_i64.to_le_bytes()].concat();
    let peer = [attribute(1, &[0x22; 32]), attribute(2, &[0x33; 32]), attribute(6, &time)].concat();
    let body = [
        vec![0, 1, 0, 0],
        attribute(6, &51820_u16.to_le_bytes()),
        attribute(1, &7_u32.to_le_bytes()),
        attribute(2, b"wg0\0"),
        attribute(3, &[0x50; 32]),
        attribute(0x8008, &attribute(0x8000, &peer)),
    ];
    let done = message(3, 2, sequence(request), &[0; 4]);
    [message(ID, 2, sequence(request), &body.concat()), done].concat()
}

/// `CTRL_CMD_NEWFAMILY`, and its acknowledgement.
fn new_family(request: &[u8]) -> Vec<Vec<u8>> {
    let body = [vec![1, 2, 0, 0], attribute(2, b"wireguard\0"), attribute(1, &ID.to_le_bytes())].concat();
    vec![message(0x10, 0, sequence(request), &body), error(sequence(request), 0)]
}

fn acknowledged(request: &[u8]) -> Vec<Vec<u8>> {
    vec![error(sequence(request), 0)]
}

type Played = (Socket, JoinHandle<Vec<Vec<u8>>>);

/// Asks a kernel for the interface that these stand for, in the order in which they are opened.
fn create_with(sockets: Vec<Result<Played, i32>>) -> Result<Result<Family, String>, Failure> {
    let mut sockets = VecDeque::from(sockets);
    let mut protocols = vec![None, Some(rustix::net::netlink::GENERIC)];
    let namespace = File::open("/dev/null").unwrap();
    create(namespace.as_fd(), |protocol| {
        assert_eq!(Some(protocol), protocols.pop());
        let socket = sockets.pop_front().unwrap();
        socket.map(|(socket, _)| socket).map_err(|errno| std::io::Error::from_raw_os_error(errno).into())
    })
}

#[test]
fn from_the_family_to_the_handshake() {
    let made = create_with(vec![Ok(played(new_family)), Ok(played(acknowledged))]);
    let family = made.unwrap().unwrap();
    assert_eq!(family, Family(ID));

    // Greeted at the third glance after it has been configured for the second time.
    let mut glances = 0;
    let (socket, kernel) = played(move |request| {
        if request[16] == 1 {
            return acknowledged(request);
        }
        glances += 1;
        vec![dump(request, if glances == GLANCES + 3 { 1_790_000_000 } else { 0 })]
    });
    let mut device = Device::new(socket, family, wireguard("192.0.2.7:51820"));
    device.configure().unwrap();
    let mut pauses = 0;
    device.shake_hands(|| pauses += 1).unwrap();
    assert_eq!(pauses, GLANCES + 2);
    drop(device);
    let commands: Vec<u8> = kernel.join().unwrap().iter().map(|request| request[16]).collect();
    let expected = [&[1][..], &[0; GLANCES], &[1], &[0; 3]].concat();
    assert_eq!(commands, expected);
}

/// An interface whose peer has been greeted at the second glance.
pub(crate) fn greeted() -> Device {
    let mut glances = 0;
    let (socket, _) = played(move |request| {
        glances += i64::from(request[16] == 0);
        if request[16] == 0 { vec![dump(request, glances - 1)] } else { acknowledged(request) }
    });
    Device::new(socket, Family(ID), wireguard("192.0.2.7:51820"))
}

#[test]
fn a_kernel_without_wireguard_says_so() {
    let refusal = |errno| move |request: &[u8]| vec![error(sequence(request), errno)];
    for errno in [libc::EPERM, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::ENOSYS] {
        let why = create_with(vec![Err(errno)]).unwrap().unwrap_err();
        assert!(why.contains("family"), "{why}");
        let why = create_with(vec![Ok(played(new_family)), Err(errno)]).unwrap().unwrap_err();
        assert!(why.contains("interface"), "{why}");
    }
    for errno in [libc::ENOENT, libc::EPERM, libc::EOPNOTSUPP] {
        let why = create_with(vec![Ok(played(refusal(errno)))]).unwrap().unwrap_err();
        assert!(why.contains("family"), "{why}");
        let why = create_with(vec![Ok(played(new_family)), Ok(played(refusal(errno)))]).unwrap();
        assert!(why.unwrap_err().contains("interface"));
    }
}

#[test]
fn the_kernel_of_this_machine_makes_the_interface_or_has_no_such_kind() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let own = std::thread::spawn(|| {
        crate::sys::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
        let namespace = File::open("/proc/thread-self/ns/net").unwrap();
        create(namespace.as_fd(), |protocol| match protocol {
            // Whether it has the family is another question.
            Some(_) => Ok(played(new_family).0),
            None => Socket::open(None),
        })
    });
    let made = own.join().unwrap().unwrap();
    let unknown = "WireGuard's interface: Operation not supported (os error 95) (Unknown device type)";
    assert!(
        made.as_ref().is_ok_and(|family| *family == Family(ID)) || made == Err(unknown.into()),
        "{made:?}"
    );
}

#[test]
fn any_other_error_ends_the_start_with_its_step() {
    let refusal = |errno| move |request: &[u8]| vec![error(sequence(request), errno)];
    let failure = create_with(vec![Ok(played(refusal(libc::EINVAL)))]).unwrap_err();
    assert_eq!((failure.step, failure.errno), (Step::Tunnel, libc::EINVAL));
    let failure = create_with(vec![Ok(played(new_family)), Ok(played(refusal(libc::EEXIST)))]).unwrap_err();
    assert_eq!((failure.step, failure.errno), (Step::Tunnel, libc::EEXIST));
    // No id, and none that could be one.
    for body in [vec![], vec![1, 2, 0, 0], [vec![1, 2, 0, 0], attribute(1, &[1])].concat()] {
        let answer = move |request: &[u8]| {
            vec![message(0x10, 0, sequence(request), &body), error(sequence(request), 0)]
        };
        assert_eq!(create_with(vec![Ok(played(answer))]).unwrap_err().step, Step::Tunnel);
    }
    let (socket, _) = played(refusal(libc::EPERM));
    let mut device = Device::new(socket, Family(ID), wireguard("192.0.2.7:51820"));
    assert_eq!(device.configure().unwrap_err().step, Step::Tunnel);
    assert_eq!(device.shake_hands(|| ()).unwrap_err().step, Step::Handshake);
}

#[test]
fn a_description_that_makes_no_sense_is_no_handshake() {
    // Without 20 bytes exactly the end is missing, for which a kernel would be waited for.
    for cut in (1..60).filter(|cut| *cut != 20) {
        let (socket, _) = played(move |request| {
            let mut bytes = dump(request, 1);
            let end = bytes.len() - 20 - cut;
            bytes.drain(end..end + cut);
            vec![bytes]
        });
        let mut device = Device::new(socket, Family(ID), wireguard("192.0.2.7:51820"));
        assert_eq!(device.has_shaken_hands().unwrap_err().step, Step::Handshake, "{cut}");
    }
    // Another family's message, and a device without a peer.
    for (kind, body) in [(ID + 1, vec![0xff; 40]), (ID, vec![0, 1, 0, 0])] {
        let (socket, _) = played(move |request| {
            let done = message(3, 2, sequence(request), &[0; 4]);
            vec![message(kind, 2, sequence(request), &body), done]
        });
        let mut device = Device::new(socket, Family(ID), wireguard("192.0.2.7:51820"));
        assert!(!device.has_shaken_hands().unwrap());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_description_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = handshake_in(&bytes);
    }
}
