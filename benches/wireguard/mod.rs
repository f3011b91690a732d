//! Tunnels: npxc's WireGuard link with its guest's end as in a container, and pairs of other implementations.
//!
//! `tunnel` stands for npxc: the datapath on a UDP socket, with policy, sniffing and the audit log on. The guest's end is
//! `npxc_link::pump` on a TUN with offloads, a thread of the measured guest. Keys come over standard input.

pub mod ends;
#[allow(unsafe_code)] // requests for the TUN
mod tun;

use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use npxc::audit::Log;
use npxc::egress::driver::Datapath;
use npxc::net::dns::{self, LookupOutcome, Responder};
use npxc::net::pins::Pins;
use npxc::net::router::{MOST_FLOWS, Options};
use npxc::policy::{Mode, Policy, PolicySpec};
use npxc::runtime::{Link, WireGuardLink};
use npxc_link::pump;
use npxc_link::wg::{Keys, Tunnel};
use uuid::Uuid;

use crate::datapath::topology::ip;

/// What wg-quick chooses over an Ethernet.
pub const MTU: u16 = 1420;
/// The most that an underlay of 65535 carries, and some.
pub const LARGE_MTU: u16 = 65_400;

/// How long a first handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// npxc's end. Reads its keys, the address to bind and the MTU, says its port, and ends with standard input.
pub fn host() -> Result<()> {
    npxc::session::raise_descriptor_limit();
    npxc::session::give_back_buffers();
    let mut lines = std::io::stdin().lock().lines();
    let line = lines.next().context("nothing was said")??;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [private, public, preshared, address, mtu] = words[..] else {
        bail!("unexpected {} words", words.len())
    };
    let socket = UdpSocket::bind((address, 0))?;
    let port = socket.local_addr()?.port();
    let logs = tempfile::tempdir()?;
    let target = npxc::audit::Target::File(logs.path().join("audit.jsonl"));
    let (_log, recorder) = Log::create(&target, Uuid::now_v7())?;
    let policy = Policy::new(PolicySpec {
        mode: Mode::Allowlist,
        allow: crate::session::ALLOW.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?,
        ..PolicySpec::default()
    })?;
    let keys = keys([private, public, preshared])?;
    let link = Link::WireGuard(WireGuardLink::new(socket, &keys, mtu.parse()?)?);
    let options = |link| Options {
        policy,
        responder: Responder::new(dns::Options::default()),
        pins: Pins::new(),
        proxy: None,
        journal: Box::new(recorder),
        link,
        proxy: None,
        flows: MOST_FLOWS,
        epoch: Instant::now(),
        seed: 1,
    };
    let datapath = Datapath::start(
        link,
        Vec::new(),
        options,
        |handle| Box::new(move |token, _| handle.resolved(token, LookupOutcome::NotFound)),
        || {},
    )?;
    println!("{port}");
    lines.for_each(drop);
    datapath.stop();
    Ok(())
}

/// The guest's end: keys, endpoint, MTU. Returns when the first handshake is completed.
pub fn guest(words: &[&str]) -> Result<Vec<f64>> {
    let &[private, public, preshared, endpoint, mtu] = words else {
        bail!("unexpected {} words", words.len())
    };
    let endpoint: SocketAddr = endpoint.parse()?;
    let udp = UdpSocket::bind("0.0.0.0:0")?;
    udp.connect(endpoint)?;
    let tun = tun::create("wg0")?;
    ip(&["address", "add", "198.18.0.2/30", "dev", "wg0"])?;
    ip(&["link", "set", "wg0", "mtu", mtu, "txqueuelen", "2048", "up"])?;
    ip(&["route", "add", "default", "via", "198.18.0.1", "dev", "wg0"])?;
    let tunnel = Tunnel::new(&keys([private, public, preshared])?, None);
    let mtu = mtu.parse()?;
    let (established, seen) = channel();
    std::thread::spawn(move || {
        pump::run(tun, udp, tunnel, mtu, move || {
            let _ = established.send(());
        })
    });
    seen.recv_timeout(PATIENCE).context("no handshake")?;
    Ok(Vec::new())
}

fn keys(words: [&str; 3]) -> Result<Keys> {
    let [private, peer_public, preshared] = words.map(bytes);
    Ok(Keys { private: private?, peer_public: peer_public?, preshared: preshared? })
}

fn bytes(text: &str) -> Result<[u8; 32]> {
    let pairs = (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16));
    let bytes: Vec<u8> = pairs.collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_| anyhow!("not a key"))
}
