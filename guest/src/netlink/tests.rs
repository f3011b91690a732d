#![allow(clippy::unwrap_used)]

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use proptest::prelude::*;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::socket::{LARGEST, MOST};
use super::*;

/// One message, as `struct nlmsghdr` has it.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    bytes.extend([sequence.to_ne_bytes(), 4711_u32.to_ne_bytes()].concat());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `NLMSG_ERROR` without attributes, which is an acknowledgement if `errno` is 0.
pub(crate) fn error(sequence: u32, errno: i32) -> Vec<u8> {
    message(2, 0x100, sequence, &[&(-errno).to_ne_bytes()[..], &[0; 16]].concat())
}

/// A socket at whose other end `answer` plays the kernel: a request's bytes, as datagrams. Gives all requests.
pub(crate) fn played(
    mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (Socket, JoinHandle<Vec<Vec<u8>>>) {
    let (ours, kernels): (OwnedFd, OwnedFd) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    let kernel = std::thread::spawn(move || {
        let (mut buffer, mut requests) = ([0; 2048], Vec::new());
        while let Ok((_, length @ 1..)) = rustix::net::recv(&kernels, &mut buffer[..], RecvFlags::empty()) {
            let request = &buffer[..length];
            assert_eq!(usize::try_from(u32::from_ne_bytes(number(request, 0).unwrap())).unwrap(), length);
            requests.push(request.to_vec());
            for datagram in answer(request) {
                if rustix::net::send(&kernels, &datagram, SendFlags::NOSIGNAL).is_err() {
                    return requests;
                }
            }
        }
        requests
    });
    (Socket::over(ours).unwrap(), kernel)
}

pub(crate) fn sequence(request: &[u8]) -> u32 {
    u32::from_ne_bytes(number(request, 8).unwrap())
}

fn request() -> Request {
    Request::new(0x1d, ACK).head(&[9, 1, 0, 0])
}

type Gathered = Vec<(u16, Vec<u8>)>;

/// What is gathered when these datagrams answer request number 1.
fn answered_by(datagrams: Vec<Vec<u8>>) -> (Gathered, Result<(), Error>) {
    let (mut socket, kernel) = played(move |_| datagrams.clone());
    let mut gathered = Vec::new();
    let outcome = socket.ask(request(), |kind, body| {
        gathered.push((kind, body.to_vec()));
        Ok(())
    });
    drop(socket);
    kernel.join().unwrap();
    (gathered, outcome)
}

#[test]
fn attributes_are_filled_up_and_count_only_what_they_hold() {
    let mut request = request().attribute(1, b"abcde").nest(2, |inner| inner.attribute(3, &[7]));
    let expected = [
        &[44, 0, 0, 0, 0x1d, 0, 5, 0, 2, 0, 0, 0, 0, 0, 0, 0][..],
        &[9, 1, 0, 0],
        &[9, 0, 1, 0, b'a', b'b', b'c', b'd', b'e', 0, 0, 0],
        &[12, 0, 2, 0x80, 5, 0, 3, 0, 7, 0, 0, 0],
    ];
    assert_eq!(request.finish(2), expected.concat());
}

#[test]
fn an_answer_is_what_comes_before_its_end_under_its_number() {
    let stray = [message(0x1d, 0, 9, b"else"), error(0, libc::EPERM)].concat();
    let data = [message(0x1d, 2, 1, b"odd"), message(0x1d, 2, 1, b"more")].concat();
    let (gathered, outcome) = answered_by(vec![stray, data, message(3, 2, 1, &[0; 4])]);
    outcome.unwrap();
    assert_eq!(gathered, [(0x1d, b"odd".to_vec()), (0x1d, b"more".to_vec())]);
    assert!(answered_by(vec![error(1, 0)]).1.is_ok());
    assert!(answered_by(vec![message(3, 2, 1, &[])]).1.is_ok());
}

#[test]
fn a_refusal_has_the_kernels_number_and_words() {
    let words = [&[12_u8, 0, 1, 0][..], b"no such\0"].concat();
    let errno = (-libc::EOPNOTSUPP).to_ne_bytes();
    // The request repeated, its header only, and at the end of a dump.
    let whole = [&errno[..], request().finish(1), &words].concat();
    let capped = [&errno[..], &request().finish(1)[..16], &words].concat();
    let dump = [&errno[..], &words].concat();
    for answer in [message(2, 0x200, 1, &whole), message(2, 0x300, 1, &capped), message(3, 0x202, 1, &dump)] {
        let error = answered_by(vec![answer]).1.unwrap_err();
        assert_eq!(error.errno(), Some(libc::EOPNOTSUPP));
        let failure = error.at(crate::step::Step::Tunnel, "wg0");
        assert_eq!((failure.errno, &*failure.detail), (libc::EOPNOTSUPP, "wg0 (no such)"));
    }
    let plain = answered_by(vec![error(1, libc::EPERM)]).1.unwrap_err();
    assert_eq!(plain.at(crate::step::Step::Tunnel, "wg0").detail, "wg0");
    // Words that are not where they should be are no words.
    let cut = message(2, 0x200, 1, &[&errno[..], &u32::MAX.to_ne_bytes()].concat());
    assert_eq!(answered_by(vec![cut]).1.unwrap_err().errno(), Some(libc::EOPNOTSUPP));
}

#[test]
fn an_answer_that_makes_no_sense_is_refused() {
    let short = |length: u8| {
        let mut bytes = message(0x1d, 0, 1, b"body");
        bytes[0] = length;
        bytes
    };
    let positive = message(2, 0x100, 1, &1_i32.to_ne_bytes());
    let lowest = message(2, 0x100, 1, &i32::MIN.to_ne_bytes());
    let huge = message(0x1d, 0, 1, &vec![0; LARGEST]);
    let cut = message(0x1d, 0, 1, b"body")[..10].to_vec();
    let empty = message(2, 0, 1, &[]);
    for answer in [short(0), short(15), short(255), positive, lowest, huge, cut, empty] {
        let outcome = answered_by(vec![answer]).1;
        assert!(matches!(outcome, Err(Error::Malformed(_))), "{outcome:?}");
    }
    let endless = vec![message(0x1d, 2, 1, b"more"); MOST];
    assert!(matches!(answered_by(endless).1, Err(Error::Malformed(_))));
}

#[test]
fn the_kernel_of_this_machine_answers() {
    let Ok(mut socket) = Socket::open(Some(rustix::net::netlink::GENERIC)) else { return };
    // CTRL_CMD_GETFAMILY of the controller itself, which is family 0x10, and of what nobody has.
    let ask = |name: &[u8]| Request::new(0x10, ACK).head(&[3, 1, 0, 0]).attribute(2, name);
    let mut id = None;
    let outcome = socket.ask(ask(b"nlctrl\0"), |kind, body| {
        id = attribute(&body[4..], 1)?.map(|id| (kind, id.to_vec()));
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(id, Some((0x10, vec![0x10, 0])));
    let error = socket.ask(ask(b"npxc-has-none\0"), |_, _| Ok(())).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOENT));
}

proptest! {
    #[test]
    fn any_bytes_are_cut_into_pieces_that_lie_within(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let values: usize = attributes(&bytes).flatten().map(|(_, value)| value.len() + ATTRIBUTE).sum();
        prop_assert!(values <= bytes.len());
        prop_assert!(attributes(&bytes).filter(Result::is_err).count() <= 1);
        let bodies: usize = messages(&bytes).flatten().map(|message| message.body.len() + HEADER).sum();
        prop_assert!(bodies <= bytes.len());
        prop_assert!(messages(&bytes).filter(Result::is_err).count() <= 1);
    }

    #[test]
    fn any_end_of_an_answer_is_taken_or_refused(
        kind in 2_u16..=3,
        flags in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let _ = super::socket::verdict(&Message { kind, flags, sequence: 1, body: &body });
    }
}
