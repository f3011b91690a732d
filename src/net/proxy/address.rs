//! A proxy's URL: `http://USER:PASSWORD@HOST:PORT`, `socks5://`, `socks5h://`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::policy::{Destination, HostName};

/// What a SOCKS5 message has room for (RFC 1929, section 2), bytes; HTTP takes more, and nobody has it.
const MOST_CREDENTIALS: usize = 255;

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP CONNECT (RFC 9110, section 9.3.6); the proxy resolves names.
    Http,
    /// SOCKS version 5 (RFC 1928); npxc resolves names, as curl does for this scheme.
    Socks5,
    /// SOCKS version 5; the proxy resolves names.
    Socks5h,
}

/// A user name and password; never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub(super) scheme: Scheme,
    host: Destination,
    port: u16,
    pub(super) credentials: Option<Credentials>,
}

/// Why a text is no proxy that npxc can use. It holds nothing of the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// `https://`.
    #[error("npxc does not speak TLS to a proxy")]
    Tls,
    /// Another scheme.
    #[error("its scheme is none of http, socks5 and socks5h")]
    Scheme,
    /// No host, or none that can be.
    #[error("its host is no host")]
    Host,
    /// No port that can be.
    #[error("its port is no port")]
    Port,
    /// A longer user name or password than there can be.
    #[error("its user name or password is longer than 255 bytes, or empty before the password")]
    Credentials,
}

impl ProxyError {
    /// What to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Tls => {
                "if the proxy has a port without TLS, name that: --proxy http://HOST:PORT; --proxy none connects directly"
            }
            Self::Scheme | Self::Host | Self::Port | Self::Credentials => {
                "write http://HOST:PORT, http://USER:PASSWORD@HOST:PORT, socks5h://HOST:PORT or none; in a password, \
                 characters that have a meaning in URLs are written %XX"
            }
        }
    }
}

impl Proxy {
    /// Whether it is sent names, and resolves them.
    pub fn resolves(&self) -> bool {
        match self.scheme {
            Scheme::Http | Scheme::Socks5h => true,
            Scheme::Socks5 => false,
        }
    }

    /// Where it is, if that is known without asking anybody.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, &HostName> {
        match &self.host {
            Destination::Address(address) => Ok(vec![SocketAddr::new(*address, self.port)]),
            // RFC 6761, section 6.3.
            Destination::Name(name) if name.as_str() == "localhost" => {
                let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                Ok(both.map(|address| SocketAddr::new(address, self.port)).into())
            }
            Destination::Name(name) => Err(name),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is told who asks.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }
}

/// Without its user name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Socks5 => "socks5",
            Scheme::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// A host without a scheme is an HTTP proxy, as for curl and Go; without a port it is 80, or 1080 for SOCKS.
impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "socks5" => Scheme::Socks5,
            "socks5h" => Scheme::Socks5h,
            "https" => return Err(ProxyError::Tls),
            _ => return Err(ProxyError::Scheme),
        };
        // A password may have an `@` in it, a host may not.
        let (userinfo, rest) =
            rest.rsplit_once('@').map_or((None, rest), |(userinfo, rest)| (Some(userinfo), rest));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = split_port(authority)?;
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, Scheme::Http) => 80,
            (None, Scheme::Socks5 | Scheme::Socks5h) => 1080,
        };
        let host = match host.parse::<IpAddr>() {
            Ok(address) => Destination::Address(address.to_canonical()),
            Err(_) => Destination::Name(host.parse().map_err(|_| ProxyError::Host)?),
        };
        if matches!(&host, Destination::Name(name) if name.is_host()) {
            // That is what the guest calls this machine; nobody else does.
            return Err(ProxyError::Host);
        }
        let credentials = userinfo.filter(|userinfo| !userinfo.is_empty()).map(credentials).transpose()?;
        Ok(Self { scheme, host, port, credentials })
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`; the host without brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), ProxyError> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if host.contains(':') => {
            (host, rest.strip_prefix(':').or((!rest.is_empty()).then_some("x")))
        }
        Some(_) => return Err(ProxyError::Host),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0).ok_or(ProxyError::Port)?)
        }
        Some(_) => return Err(ProxyError::Port),
    };
    Ok((host, port))
}

fn credentials(userinfo: &str) -> Result<Credentials, ProxyError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (user, password) = (percent_decoded(user), percent_decoded(password));
    if user.is_empty() || user.len() > MOST_CREDENTIALS || password.len() > MOST_CREDENTIALS {
        return Err(ProxyError::Credentials);
    }
    Ok(Credentials { user, password })
}

/// `%` that no two hexadecimal digits follow stands for itself.
fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            out.push((high * 16 + low) as u8);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}
