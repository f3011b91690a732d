//! WireGuard without I/O: boringtun behind a type that cannot be called wrongly.
//!
//! Datagrams and packets come in as slices and leave through closures; whoever has the socket sends them. boringtun
//! reads the system's clock by itself, nothing else here does. It can panic, on its own mistakes and, in builds
//! with overflow checks, on counters that a hostile peer chooses: every call is caught, the tunnel is then built
//! anew from its keys and the peer has to shake hands again.
//!
//! The order of calls: [`Tunnel::wake`] whenever [`Tunnel::next_timer`] is due, everything else as things arrive.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Bytes a datagram is longer than the packet in it.
pub const OVERHEAD: usize = 32;
/// The smallest room that [`Tunnel::encrypt`] takes: a handshake may have to go first.
pub const LEAST_ROOM: usize = 148;
/// The largest packet that fits into a UDP datagram (65507 bytes over IPv4).
pub const LARGEST_PACKET: usize = 65_507 - OVERHEAD;

/// How often boringtun's timers are looked at. It counts in seconds; the shortest that matters is 5 s.
const TICK: Duration = Duration::from_secs(1);
/// Message types (the WireGuard paper, section 5.4).
const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;

/// One end's keys of one session.
pub struct Keys {
    /// This end's private key.
    pub private: [u8; 32],
    /// The other end's public key.
    pub peer_public: [u8; 32],
    /// Known to both ends, mixed into every handshake.
    pub preshared: [u8; 32],
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.private.zeroize();
        self.peer_public.zeroize();
        self.preshared.zeroize();
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    fn copy(&self) -> Self {
        Self { private: self.private, peer_public: self.peer_public, preshared: self.preshared }
    }
}

/// New keys for one link, from the system's random source: the first for npxc, the second for the guest.
pub fn key_pairs() -> io::Result<(Keys, Keys)> {
    let (ours, guests, preshared) = (random()?, random()?, random()?);
    let public = |private: &[u8; 32]| PublicKey::from(&StaticSecret::from(*private)).to_bytes();
    let host = Keys { private: *ours, peer_public: public(&guests), preshared: *preshared };
    let guest = Keys { private: *guests, peer_public: public(&ours), preshared: *preshared };
    Ok((host, guest))
}

fn random() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut bytes[..]).map_err(io::Error::from)?;
    Ok(bytes)
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// An IP packet, at the start of the buffer. Authenticated: its sender is the peer.
    Packet(&'a [u8]),
    /// A keepalive or the answer to our handshake. Authenticated: its sender is the peer.
    Control,
    /// A handshake message that was answered to its sender. Proves nothing about where the peer is.
    Answered,
    /// Nothing.
    Rejected(Rejection),
}

/// Why a datagram was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Not a WireGuard message, or not an IP packet in one, or larger than the buffer.
    Malformed,
    /// Made with other keys, or changed on its way.
    Unauthentic,
    /// Seen before, or too old.
    Replayed,
    /// For a session that is not, or no longer, there.
    NoSession,
    /// More handshakes than are answered.
    Overload,
    /// boringtun panicked; the tunnel is new.
    Internal,
}

/// One end of a tunnel to one peer.
pub struct Tunnel {
    tunn: Tunn,
    keys: Keys,
    keepalive: Option<u16>,
    next: Option<Instant>,
    /// Packets wait in boringtun for a handshake to end.
    waiting: bool,
    panics: u64,
    scratch: Box<[u8]>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("panics", &self.panics).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// A tunnel without a session. `keepalive`, seconds: the end that has it keeps the tunnel up by itself.
    pub fn new(keys: &Keys, keepalive: Option<u16>) -> Self {
        Self {
            tunn: build(keys, keepalive),
            keys: keys.copy(),
            keepalive,
            next: None,
            waiting: false,
            panics: 0,
            scratch: vec![0; LARGEST_PACKET + OVERHEAD].into_boxed_slice(),
        }
    }

    /// Starts a handshake, also when one is under way already.
    pub fn connect(&mut self, out: &mut dyn FnMut(&[u8])) {
        let scratch = &mut self.scratch;
        match caught(&mut self.tunn, |tunn| tunn.format_handshake_initiation(scratch, true)) {
            Some(TunnResult::WriteToNetwork(datagram)) => out(datagram),
            Some(_) => {}
            None => self.rebuild(),
        }
    }

    /// One IP packet out. Writes a datagram to the start of `out` and returns its length, or 0 when nothing goes
    /// now: up to 256 packets wait for a handshake, which is started when there is no session.
    ///
    /// `out` has to have room for the packet and [`OVERHEAD`], and for [`LEAST_ROOM`] at least; a packet that does
    /// not fit is dropped.
    pub fn encrypt(&mut self, packet: &[u8], out: &mut [u8]) -> usize {
        if out.len() < (packet.len() + OVERHEAD).max(LEAST_ROOM) || packet.len() > LARGEST_PACKET {
            return 0;
        }
        match caught(&mut self.tunn, |tunn| tunn.encapsulate(packet, out)) {
            Some(TunnResult::WriteToNetwork(datagram)) => {
                self.waiting |= datagram[0] != DATA;
                datagram.len()
            }
            Some(_) => {
                self.waiting = true;
                0
            }
            None => {
                self.rebuild();
                0
            }
        }
    }

    /// One datagram in. What it answers goes to its sender, `from`, through `reply`. `buffer` has to be as large
    /// as the datagram; its content is unspecified where no packet is returned.
    pub fn decrypt<'a>(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        buffer: &'a mut [u8],
        reply: &mut dyn FnMut(&[u8]),
    ) -> Received<'a> {
        match datagram.first() {
            Some(&DATA) if datagram.len() <= buffer.len() => self.data(from, datagram, buffer, reply),
            Some(&(INITIATION | RESPONSE | COOKIE)) => self.handshake(from, datagram, reply),
            // An empty datagram would be a command to boringtun.
            Some(_) | None => Received::Rejected(Rejection::Malformed),
        }
    }

    fn data<'a>(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        buffer: &'a mut [u8],
        reply: &mut dyn FnMut(&[u8]),
    ) -> Received<'a> {
        let Some(result) = caught(&mut self.tunn, |tunn| tunn.decapsulate(Some(from.ip()), datagram, buffer))
        else {
            self.rebuild();
            return Received::Rejected(Rejection::Internal);
        };
        let received = match result {
            // A length field of 0 leaves nothing of a packet.
            TunnResult::WriteToTunnelV4([], _) | TunnResult::Done => Received::Control,
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Received::Packet(packet)
            }
            TunnResult::WriteToNetwork(_) => Received::Rejected(Rejection::Malformed),
            TunnResult::Err(error) => return Received::Rejected(rejection(&error)),
        };
        if self.waiting {
            self.send_waiting(reply);
        }
        received
    }

    fn handshake(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        reply: &mut dyn FnMut(&[u8]),
    ) -> Received<'static> {
        let scratch = &mut self.scratch;
        let Some(result) =
            caught(&mut self.tunn, |tunn| tunn.decapsulate(Some(from.ip()), datagram, scratch))
        else {
            self.rebuild();
            return Received::Rejected(Rejection::Internal);
        };
        match result {
            TunnResult::WriteToNetwork(answer) => {
                reply(answer);
                // The keepalive that confirms our handshake: packets that waited may follow it.
                if answer[0] == DATA {
                    self.send_waiting(reply);
                    return Received::Control;
                }
                Received::Answered
            }
            // A cookie: it is used in the next attempt.
            TunnResult::Done | TunnResult::WriteToTunnelV4(..) | TunnResult::WriteToTunnelV6(..) => {
                Received::Answered
            }
            TunnResult::Err(error) => Received::Rejected(rejection(&error)),
        }
    }

    fn send_waiting(&mut self, out: &mut dyn FnMut(&[u8])) {
        self.waiting = false;
        loop {
            let scratch = &mut self.scratch;
            let result = caught(&mut self.tunn, |tunn| tunn.decapsulate(None, &[], scratch));
            match result {
                Some(TunnResult::WriteToNetwork(datagram)) => {
                    out(datagram);
                    if datagram[0] != DATA {
                        // No session after all: they wait again.
                        self.waiting = true;
                        return;
                    }
                }
                Some(_) => return,
                None => return self.rebuild(),
            }
        }
    }

    /// Runs the timers: sends again, renews and forgets keys. What it sends is for the peer.
    pub fn wake(&mut self, now: Instant, out: &mut dyn FnMut(&[u8])) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + TICK);
        let scratch = &mut self.scratch;
        match caught(&mut self.tunn, |tunn| tunn.update_timers(scratch)) {
            Some(TunnResult::WriteToNetwork(datagram)) => out(datagram),
            Some(TunnResult::Err(WireGuardError::ConnectionExpired)) => {
                // boringtun has dropped what waited. It starts again with the next packet; an end that is to keep
                // the tunnel up does not wait for one.
                self.waiting = false;
                if self.keepalive.is_some() {
                    self.connect(out);
                }
            }
            Some(_) => {}
            None => self.rebuild(),
        }
    }

    /// When [`Tunnel::wake`] has to be called.
    pub fn next_timer(&self, now: Instant) -> Instant {
        self.next.unwrap_or(now)
    }

    /// Whether packets can be sent without a handshake first.
    pub fn established(&self) -> bool {
        self.tunn.time_since_last_handshake().is_some()
    }

    /// How often boringtun has panicked.
    pub fn panics(&self) -> u64 {
        self.panics
    }

    fn rebuild(&mut self) {
        self.panics += 1;
        self.waiting = false;
        self.tunn = build(&self.keys, self.keepalive);
    }
}

fn build(keys: &Keys, keepalive: Option<u16>) -> Tunn {
    // Tells the sessions of one tunnel from those of the one before it; nothing depends on its secrecy, so that
    // 0 will do where there is no random number.
    let mut index = [0; 4];
    let _ = getrandom::fill(&mut index);
    Tunn::new(
        StaticSecret::from(keys.private),
        PublicKey::from(keys.peer_public),
        Some(keys.preshared),
        keepalive,
        u32::from_ne_bytes(index) >> 8,
        None,
    )
}

/// `None` when boringtun panicked: its state is then unknown and has to be thrown away.
fn caught<'a>(tunn: &mut Tunn, call: impl FnOnce(&mut Tunn) -> TunnResult<'a>) -> Option<TunnResult<'a>> {
    catch_unwind(AssertUnwindSafe(|| call(tunn))).ok()
}

fn rejection(error: &WireGuardError) -> Rejection {
    match error {
        WireGuardError::InvalidPacket
        | WireGuardError::IncorrectPacketLength
        | WireGuardError::WrongPacketType
        | WireGuardError::DestinationBufferTooSmall => Rejection::Malformed,
        WireGuardError::WrongKey
        | WireGuardError::InvalidMac
        | WireGuardError::InvalidAeadTag
        | WireGuardError::InvalidTai64nTimestamp => Rejection::Unauthentic,
        WireGuardError::InvalidCounter
        | WireGuardError::DuplicateCounter
        | WireGuardError::WrongTai64nTimestamp => Rejection::Replayed,
        WireGuardError::NoCurrentSession
        | WireGuardError::WrongIndex
        | WireGuardError::UnexpectedPacket
        | WireGuardError::ConnectionExpired => Rejection::NoSession,
        WireGuardError::UnderLoad => Rejection::Overload,
        WireGuardError::LockFailed => Rejection::Internal,
    }
}

#[cfg(test)]
mod tests;
