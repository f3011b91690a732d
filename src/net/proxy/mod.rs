//! The proxy that this machine reaches other networks through: which there is ([`address`]), what goes past it
//! ([`bypass`]) and how it is asked for a connection ([`handshake`]: HTTP CONNECT and SOCKS5). Sans-IO.
//!
//! Text comes from options, files and the environment by way of `config` and `package`; a proxy's replies from the shell.
//! What leaves are bytes for the proxy, and a [`Fault`] where it did not do what it was asked. The guest knows nothing of it.
//! User name and password are in the bytes for the proxy and nowhere else: neither `Display` nor `Debug` shows them.

pub mod address;
pub mod bypass;
mod fault;
pub mod handshake;

use std::collections::BTreeSet;
use std::fmt;

pub use self::address::{Proxy, ProxyError};
pub use self::bypass::Bypass;
pub use self::fault::Fault;
pub use self::handshake::{Handshake, Progress};
use crate::policy::{Destination, HostName};

/// A proxy, and what is reached without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxying {
    /// The proxy.
    pub proxy: Proxy,
    /// What is reached without it.
    pub bypass: Bypass,
    /// Where it was configured, for people: `HTTPS_PROXY`, `--proxy`.
    pub origin: String,
    /// Names whose addresses were given (`--add-host`): the proxy is sent those.
    pub given: BTreeSet<HostName>,
}

/// How a destination is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// npxc dials it.
    Direct,
    /// The proxy is sent an address that npxc has resolved and checked.
    ByAddress,
    /// The proxy is sent the name, and resolves it.
    ByName,
}

impl Proxying {
    /// How a destination is reached.
    pub fn route(&self, destination: &Destination, port: u16) -> Route {
        if self.bypass.covers(destination, port) {
            return Route::Direct;
        }
        match destination {
            Destination::Name(name) if self.proxy.resolves() && !self.given.contains(name) => Route::ByName,
            Destination::Name(_) | Destination::Address(_) => Route::ByAddress,
        }
    }

    /// The first proxy that an environment names, as curl and Go read it: `HTTPS_PROXY`, then `ALL_PROXY`, each in lower case
    /// as well; what goes past it from `NO_PROXY`.
    ///
    /// # Errors
    /// The variable that names none npxc can use, and why.
    pub fn of_environment<'a>(
        var: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, (&'static str, ProxyError)> {
        const NAMES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let found =
            NAMES.into_iter().find_map(|name| Some((name, var(name).filter(|text| !text.is_empty())?)));
        let Some((name, text)) = found else { return Ok(None) };
        let proxy = text.parse().map_err(|error| (name, error))?;
        Ok(Some(Self {
            proxy,
            bypass: Bypass::of_environment(var),
            origin: name.to_owned(),
            given: BTreeSet::new(),
        }))
    }
}

/// `http://proxy.example:3128 (HTTPS_PROXY)`.
impl fmt::Display for Proxying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.proxy, self.origin)
    }
}

#[cfg(test)]
mod tests;
