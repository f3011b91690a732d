//! Whether the proxy connects to a registry: asks it, as a flow would, and hangs up. For `npxc doctor --online`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::net::proxy::handshake::MOST_REPLY;
use crate::net::proxy::{Fault, Handshake, Progress, Proxying, Route};
use crate::policy::{Destination, Mode, Policy, PolicySpec, Protocol, Request, Tunnel};

/// How a registry is reached, by its rule, `HOST:PORT`.
pub fn route(proxying: &Proxying, rule: &str) -> Route {
    split(rule).map_or(Route::Direct, |(destination, port)| proxying.route(&destination, port))
}

/// Has the proxy connect to a registry. The error is why not, and what to do about it.
pub fn through(proxying: &Proxying, rule: &str, patience: Duration) -> Result<(), (String, String)> {
    let failed = |fault: Fault| (fault.to_string(), fault.hint().to_owned());
    let resolution = |what: String| (what, "check DNS: npxc resolves names as this machine does".to_owned());
    let tunnel = tunnel(proxying, rule).map_err(resolution)?;
    let addresses = match proxying.proxy.addresses() {
        Ok(addresses) => addresses,
        Err(name) => (name.as_str(), proxying.proxy.port())
            .to_socket_addrs()
            .map_err(|_| failed(Fault::Unresolved))?
            .collect(),
    };
    let connect = |address: &SocketAddr| TcpStream::connect_timeout(address, patience).ok();
    let mut socket = addresses.iter().find_map(connect).ok_or_else(|| failed(Fault::Unreachable))?;
    let shaken = socket
        .set_read_timeout(Some(patience))
        .and_then(|()| shake(&mut socket, Handshake::new(&proxying.proxy, tunnel)));
    shaken.unwrap_or(Err(Fault::Silent)).map_err(failed)
}

fn shake(socket: &mut TcpStream, mut handshake: Handshake) -> std::io::Result<Result<(), Fault>> {
    socket.write_all(&handshake.start())?;
    let mut seen = Vec::new();
    loop {
        match handshake.receive(&seen) {
            Progress::NeedMore => {
                let mut more = [0; 1024];
                let count = socket.read(&mut more)?;
                if count == 0 || seen.len() > MOST_REPLY {
                    return Ok(Err(Fault::Closed));
                }
                seen.extend_from_slice(&more[..count]);
            }
            Progress::Next(used, message) => {
                seen.drain(..used);
                socket.write_all(&message)?;
            }
            Progress::Ready(_) => return Ok(Ok(())),
            Progress::Failed(fault) => return Ok(Err(fault)),
        }
    }
}

/// What the proxy is asked for, as the policy has it where the registry is allowed.
fn tunnel(proxying: &Proxying, rule: &str) -> Result<Tunnel, String> {
    let plain = |error: &dyn std::fmt::Display| error.to_string();
    let (destination, port) = split(rule).ok_or_else(|| format!("{rule} names no registry"))?;
    let allow = vec![rule.parse().map_err(|error| plain(&error))?];
    let policy = Policy::new(PolicySpec {
        mode: Mode::Allowlist,
        allow: Vec::clone(&allow),
        allow_private: allow,
        ..PolicySpec::default()
    })
    .map_err(|error| plain(&error))?;
    let request = Request::new(Protocol::Tcp, destination, port);
    let permit = policy.decide(&request).permit().map_err(|error| plain(&error))?;
    match route(proxying, rule) {
        Route::ByName => permit.by_name(&[]).map_err(|error| plain(&error)),
        Route::Direct | Route::ByAddress => {
            let mut addresses = rule.to_socket_addrs().map_err(|error| plain(&error))?;
            let admitted = addresses.find_map(|address| permit.admit(address.ip()).ok());
            admitted.map(Tunnel::from).ok_or_else(|| format!("{rule} has no address"))
        }
    }
}

fn split(rule: &str) -> Option<(Destination, u16)> {
    let (host, port) = rule.rsplit_once(':')?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let destination = match bare.parse() {
        Ok(address) => Destination::Address(address),
        Err(_) => Destination::Name(host.parse().ok()?),
    };
    Some((destination, port.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A proxy that says this to whatever it is asked.
    fn proxying(scheme: &str, says: &'static [&'static [u8]]) -> Proxying {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            for said in says {
                assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
                socket.write_all(said).unwrap();
            }
        });
        Proxying {
            proxy: url.parse().unwrap(),
            bypass: crate::net::proxy::Bypass::parse("direct.example"),
            origin: String::new(),
            given: [].into(),
        }
    }

    #[test]
    fn the_proxy_is_asked_for_the_registry() {
        let patience = Duration::from_mins(1);
        let good = proxying("http", &[b"HTTP/1.1 200 OK\r\n\r\n"]);
        assert_eq!(through(&good, "registry.example:443", patience), Ok(()));
        let socks = proxying("socks5h", &[&[5, 0], &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]]);
        assert_eq!(through(&socks, "registry.example:443", patience), Ok(()));
        let strict = proxying("http", &[b"HTTP/1.1 403 Forbidden\r\n\r\n"]);
        let (what, hint) = through(&strict, "registry.example:443", patience).unwrap_err();
        assert_eq!(what, "refused by the proxy: 403 Forbidden");
        assert!(hint.contains("NO_PROXY"), "{hint}");
        let mute = proxying("http", &[b""]);
        assert_eq!(through(&mute, "10.0.0.1:443", patience).unwrap_err().0, Fault::Closed.to_string());
        assert_eq!(route(&mute, "direct.example:443"), Route::Direct);
        assert_eq!(route(&mute, "[2001:db8::1]:443"), Route::ByAddress);
    }
}
