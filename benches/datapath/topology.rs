//! Two network namespaces and the wire between them: the one this process lives in stands for the host, the
//! other holds the server. No packet leaves them.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::common::process::Talker;

/// The server, out of a documentation range (RFC 5737, RFC 3849).
pub const SERVER: &str = "203.0.113.2";
/// The same.
pub const SERVER_V6: &str = "2001:db8:1::2";
/// A name that is pinned to [`SERVER`].
pub const SERVER_NAME: &str = "server.example";

/// A running server and the way to it.
pub struct Topology {
    _server: Talker,
}

impl Topology {
    /// Builds it; this process has to be in a fresh network namespace in which it may do so.
    pub fn build() -> Result<Self> {
        ip(&["link", "set", "lo", "up"]).context("this needs root, or user namespaces")?;
        super::choose_congestion_control()?;
        let program = std::env::current_exe()?;
        let mut server = Talker::start(Command::new("unshare").arg("--net").arg(program).arg("server"))?;
        ensure!(server.hear(Duration::from_secs(10))? == "ready", "the server did not start");
        let there = server.id().to_string();
        ip(&["link", "add", "host0", "type", "veth", "peer", "name", "server0", "netns", &there])?;
        let near = [("203.0.113.1/24", "host0"), ("2001:db8:1::1/64", "host0")];
        for (address, interface) in near {
            add(&[], address, interface)?;
        }
        ip(&["link", "set", "host0", "up"])?;
        // The second address of each is the way to everywhere else: pasta and slirp4netns want a default route
        // to look at, and pasta takes a gateway's address for the host.
        let far = ["203.0.113.2/24", "203.0.113.254/24", "2001:db8:1::2/64", "2001:db8:1::fe/64"];
        let inside = ["nsenter", "--net", "--target", &there];
        for address in far {
            add(&inside, address, "server0")?;
        }
        command(&[&inside[..], &["ip", "link", "set", "lo", "up"]].concat())?;
        command(&[&inside[..], &["ip", "link", "set", "server0", "up"]].concat())?;
        // Where guests of peers that only forward are.
        command(&[&inside[..], &["ip", "route", "add", "198.18.0.0/30", "via", "203.0.113.1"]].concat())?;
        ip(&["route", "add", "default", "via", "203.0.113.254"])?;
        ip(&["-6", "route", "add", "default", "via", "2001:db8:1::fe"])?;
        Ok(Self { _server: server })
    }
}

fn add(prefix: &[&str], address: &str, interface: &str) -> Result<()> {
    // Without duplicate address detection: it takes a second, and nobody else is here.
    let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
    command(&[prefix, &["ip", "address", "add", address, "dev", interface], nodad].concat())
}

/// Runs `ip` in this process's namespace.
pub fn ip(arguments: &[&str]) -> Result<()> {
    command(&[&["ip"], arguments].concat())
}

/// Runs a command, and has its complaint when it fails.
pub fn command(words: &[&str]) -> Result<()> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {} (packages iproute2 and util-linux)", words[0]))?;
    ensure!(
        output.status.success(),
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
