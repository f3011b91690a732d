//! What a proxy can do instead of what it was asked.

use std::fmt;

/// Why a proxy did not connect. Nothing that it said is repeated, but for its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Its name has no address here.
    Unresolved,
    /// Nothing answers where it should be.
    Unreachable,
    /// It wants a user name and password, or other ones.
    Credentials,
    /// HTTP: another status than success.
    Status(u16),
    /// SOCKS: another reply than success (RFC 1928, section 6).
    Reply(u8),
    /// It does not speak that protocol.
    NotAProxy,
    /// It hung up instead of answering.
    Closed,
    /// It took the question and did not answer in time.
    Silent,
}

impl Fault {
    /// What the user can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Unresolved | Self::Unreachable => {
                "check the proxy's host and port; --proxy URL takes another one, --proxy none connects directly"
            }
            Self::Credentials => {
                "give a user name and password in the proxy's URL: http://USER:PASSWORD@HOST:PORT (others than Basic are not \
                 supported)"
            }
            Self::Status(403 | 405) | Self::Reply(2) => {
                "the proxy does not let this destination through: ask who runs it, or name the destination in NO_PROXY if it \
                 is reached without"
            }
            Self::Status(502..=504) | Self::Reply(1 | 3..=6) => {
                "the proxy is there and could not get on: it may not know the name; what is inside your network belongs into \
                 NO_PROXY"
            }
            Self::Status(_) | Self::Reply(_) => "the proxy's own log says more",
            Self::NotAProxy | Self::Closed => {
                "check the proxy's scheme and port: http:// is HTTP CONNECT, socks5:// and socks5h:// are SOCKS"
            }
            Self::Silent => "the proxy is slow or lost; its own log says more",
        }
    }
}

/// As the end of "its connection was ...".
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved => f.write_str("not made: the proxy's name has no address"),
            Self::Unreachable => f.write_str("not made: the proxy cannot be reached"),
            Self::Credentials => f.write_str("refused by the proxy: it wants other credentials"),
            Self::Status(status) => {
                write!(f, "refused by the proxy: {status}{}", reason(*status))
            }
            Self::Reply(reply) => write!(f, "refused by the proxy: {}", socks(*reply)),
            Self::NotAProxy => f.write_str("not made: what answers is no such proxy"),
            Self::Closed => f.write_str("not made: the proxy hung up"),
            Self::Silent => f.write_str("not made: the proxy did not answer"),
        }
    }
}

/// The usual words for a status; a proxy's own are its own.
fn reason(status: u16) -> &'static str {
    match status {
        400 => " Bad Request",
        403 => " Forbidden",
        404 => " Not Found",
        405 => " Method Not Allowed",
        429 => " Too Many Requests",
        500 => " Internal Server Error",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        504 => " Gateway Timeout",
        _ => "",
    }
}

/// RFC 1928, section 6.
fn socks(reply: u8) -> &'static str {
    match reply {
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "timed out on the way",
        7 => "it makes no connections",
        8 => "it does not take this kind of address",
        _ => "a general failure",
    }
}
