//! The helper that binds a socket in somebody else's network namespace, started as podman starts it. It takes no engine.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus, Stdio};

use npxc_guest::wire::Channel;

use super::patience::{PATIENCE, ended};
use super::world::program;

/// What the helper says, as it is written on the wire; the descriptor travels beside it.
#[derive(Debug, serde::Deserialize)]
enum Answer {
    Bound(u32),
    Failed(String),
}

/// Starts the helper with a socket as its standard input: what it answered, its socket, how it ended.
fn helper(arguments: &[&str]) -> (Option<Answer>, Option<OwnedFd>, ExitStatus) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(program());
    command.arg("__bind").args(arguments);
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    // The command holds the helper's end of the socket.
    drop(command);
    let mut channel = Channel::new(ours.into());
    let answer = channel.receive().unwrap();
    (answer, channel.take_descriptor(), ended(&mut child).unwrap())
}

#[test]
fn the_helper_passes_a_bound_socket_over_its_standard_input() {
    // The second is any neighbour, to which it looks the way up: over loopback, all that a packet of IPv4 may have.
    for (arguments, mtu) in [(["127.0.0.1"].as_slice(), 1500), (&["127.0.0.1", "127.0.0.2"], 65_535)] {
        let (answer, socket, status) = helper(arguments);
        assert!(matches!(answer, Some(Answer::Bound(said)) if said == mtu), "{arguments:?}: {answer:?}");
        assert!(status.success(), "{status}");
        // The helper is gone, and what it bound receives.
        let socket = UdpSocket::from(socket.unwrap());
        let address = socket.local_addr().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"word", address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 16];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"word");
    }
}

#[test]
fn the_helper_says_why_it_cannot_bind() {
    // An address for documentation: no machine's.
    let (answer, socket, _) = helper(&["192.0.2.77"]);
    assert!(matches!(&answer, Some(Answer::Failed(why)) if !why.is_empty()), "{answer:?}");
    assert!(socket.is_none());
    for arguments in [["gateway"].as_slice(), &["127.0.0.1", "neighbour"], &[]] {
        let (answer, socket, status) = helper(arguments);
        assert!(answer.is_none() && socket.is_none() && !status.success(), "{arguments:?}: {answer:?}");
    }
}
