//! A link over a stream: connects to npxc's second socket, and moves the TUN's packets over it as they are.

use std::os::unix::net::UnixStream;
use std::path::Path;

use npxc_link::relay;

use super::{Order, Word, handed_over, move_into, own};
use crate::confine::Identity;
use crate::step::{At, Failure, Step};
use crate::wire::Channel;

pub(super) fn connect(path: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(path).at(Step::Tunnel, path.display().to_string())
}

/// From process 1's orders to the container's end. The stream stands as soon as it is connected.
pub(super) fn keep(stream: UnixStream, identity: Identity, parent: &mut Channel) -> Result<(), Failure> {
    let Some(namespace) = handed_over(parent, &Order::Enter)? else { return Ok(()) };
    move_into(&namespace)?;
    drop(namespace);
    let Some(tun) = handed_over(parent, &Order::Carry)? else { return Ok(()) };
    own::confine(identity)?;
    parent.send(&Word::Established, &[]).at(Step::Tunnel, "first process")?;
    relay::run(tun, stream.into()).at(Step::Tunnel, "moving packets")
}
