//! The link, from npxc's side: where the guest's packets come from and where packets for it go.

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use super::stream::Stream;
use super::tun::Tun;
use super::wireguard::WireGuard;
use crate::net::stack::{LinkProperties, Transmit};
use crate::runtime;

/// A link of one kind. One thread uses it, and never waits in it.
pub(super) trait Link: Transmit + Send {
    /// What stacks have to know about it.
    fn properties(&self) -> LinkProperties;

    /// What becomes readable when packets wait. Has to stay the same.
    fn descriptor(&self) -> RawFd;

    /// Whether a turn is due when the descriptor becomes writable again, too.
    fn awaits_room(&self) -> bool {
        false
    }

    /// Takes one packet; then [`Link::lend`] has it. `WouldBlock` when there is none left; any other error but
    /// `Interrupted` is the end of the link.
    fn receive(&mut self, now: Instant) -> io::Result<Received>;

    /// The packet's buffer, moved out for the time it is looked at: meanwhile the link is written to.
    fn lend(&mut self) -> Vec<u8>;

    /// Gives back what [`Link::lend`] lent.
    fn give_back(&mut self, buffer: Vec<u8>);

    /// Sends what was only collected so far: the end of a turn.
    fn flush(&mut self) {}

    /// When [`Link::wake`] wants to be called, at the latest.
    fn next_timer(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn wake(&mut self, _now: Instant) {}
}

/// Where a packet lies in the buffer that is lent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Somebody trusted vouches for its transport checksum.
    pub(super) checksummed: bool,
}

/// npxc's end of what a runtime handed out.
pub(super) fn open(link: runtime::Link) -> io::Result<Box<dyn Link>> {
    Ok(match link {
        runtime::Link::Tun(link) => Box::new(Tun::new(link)),
        runtime::Link::Stream(link) => Box::new(Stream::new(link)?),
        runtime::Link::WireGuard(link) => Box::new(WireGuard::new(link)?),
    })
}
