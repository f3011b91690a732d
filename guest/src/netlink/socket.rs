//! The exchange: one request, and the messages that answer it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use zeroize::Zeroizing;

use super::{HEADER, Malformed, Message, Request, attribute, messages, number};
use crate::step::{Failure, Step};
use crate::sys;

/// `NLMSG_ERROR`, which says that all went well, too.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLM_F_CAPPED`: an error does not repeat the request.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an error has attributes.
const EXTENDED: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`.
const WORDS: u16 = 1;
/// Room of a datagram: the kernel's own limit for one of a dump.
pub(super) const LARGEST: usize = 32 << 10;
/// Datagrams of one answer. No answer to what is asked here has more than three.
pub(super) const MOST: usize = 64;
/// How long one may take. The kernel makes it while it is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refuses, in its own words where it has any.
    #[error("{}{words}", io::Error::from_raw_os_error(*errno))]
    Refused {
        /// Why.
        errno: i32,
        /// Empty, or in parentheses after a space.
        words: String,
    },
    /// The socket cannot be had or used.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The answer makes no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Error {
    /// The kernel's reason, where it gave one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Socket(error) => error.raw_os_error(),
            Self::Malformed(_) => None,
        }
    }

    /// What this means for a step.
    pub(crate) fn at(&self, step: Step, what: &str) -> Failure {
        match self {
            Self::Refused { errno, words } => {
                Failure::new(step, format!("{what}{words}"), &io::Error::from_raw_os_error(*errno))
            }
            Self::Socket(error) => Failure::new(step, what, error),
            Self::Malformed(malformed) => Failure::new(step, what, &io::Error::other(*malformed)),
        }
    }
}

/// A socket to the kernel, for the network namespace in which it was made.
pub(crate) struct Socket {
    kernel: OwnedFd,
    sequence: u32,
    /// Answers may hold keys.
    buffer: Zeroizing<Vec<u8>>,
}

impl Socket {
    /// `None` is the routing family.
    pub(crate) fn open(protocol: Option<Protocol>) -> Result<Self, Error> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)
            .map_err(io::Error::from)?;
        // Only for more words when something fails.
        let _ = sys::link::explain_errors(socket.as_fd());
        Self::over(socket).map_err(Error::Socket)
    }

    /// Over any socket of datagrams, at whose other end something else may play the kernel.
    pub(crate) fn over(socket: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { kernel: socket, sequence: 0, buffer: Zeroizing::new(vec![0; LARGEST]) })
    }

    /// Asks, and waits until everything has been answered. `each` gets every message that is no mere acknowledgement:
    /// its type and its body.
    pub(crate) fn ask(
        &mut self,
        mut request: Request,
        mut each: impl FnMut(u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        self.sequence += 1;
        rustix::net::send(&self.kernel, request.finish(self.sequence), SendFlags::empty())
            .map_err(io::Error::from)?;
        for _ in 0..MOST {
            let length = self.receive()?;
            let datagram = self.buffer.get(..length).ok_or(Malformed)?;
            for message in messages(datagram) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    ERROR | DONE => return verdict(&message),
                    kind => each(kind, message.body)?,
                }
            }
        }
        Err(Malformed.into())
    }

    /// A datagram's length, which is more than the buffer's if it did not fit.
    fn receive(&mut self) -> io::Result<usize> {
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.kernel, &mut self.buffer[..], RecvFlags::TRUNC)
        })?;
        Ok(length)
    }
}

/// What the message that ends an answer says. A dump may end without a number.
pub(super) fn verdict(message: &Message<'_>) -> Result<(), Error> {
    let code = match number(message.body, 0).map(i32::from_ne_bytes) {
        Some(code) => code,
        None if message.kind == DONE && message.body.is_empty() => 0,
        None => return Err(Malformed.into()),
    };
    if code == 0 {
        return Ok(());
    }
    let errno = code.checked_neg().filter(|errno| *errno > 0).ok_or(Malformed)?;
    Err(Error::Refused { errno, words: words(message).unwrap_or_default() })
}

/// The kernel's own words, after its number and as much of the request as it repeats.
fn words(message: &Message<'_>) -> Option<String> {
    if message.flags & EXTENDED == 0 {
        return None;
    }
    let repeated = match (message.kind, message.flags & CAPPED) {
        (DONE, _) => 0,
        (_, 0) => usize::try_from(u32::from_ne_bytes(number(message.body, 4)?)).ok()?,
        _ => HEADER,
    };
    let attributes = message.body.get(4_usize.checked_add(repeated.checked_next_multiple_of(4)?)?..)?;
    let words = attribute(attributes, WORDS).ok()??;
    let words = String::from_utf8_lossy(words.strip_suffix(&[0]).unwrap_or(words));
    Some(format!(" ({})", words.trim_end_matches('.')))
}
