//! npxc's end: its datapath and router on a UDP socket, and a server that a rule allows.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use npxc::audit::Event;
use npxc::egress::driver::Datapath;
use npxc::net::dns::{self, LookupOutcome, Responder};
use npxc::net::pins::Pins;
use npxc::net::router::{Journal, Options};
use npxc::policy::{Mode, Policy, PolicySpec};
use npxc::runtime::{Link, WireGuardLink};
use npxc_link::wg::{self, Keys};

use super::relay::{self, Damage};
use super::sys::{ip, seal};
use super::transfer;

/// The server, out of a documentation range (RFC 5737).
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// Between the two namespaces.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Of the guest's interface: what wg-quick chooses over an MTU of 1500.
const MTU: u16 = 1420;

struct Silent;

impl Journal for Silent {
    fn record(&mut self, _: Event) -> bool {
        true
    }

    fn healthy(&self) -> bool {
        true
    }
}

/// A running datapath, and what the guest has to know of it.
pub(super) struct Host {
    datapath: Datapath,
    pub(super) keys: Keys,
    /// Where the guest sends its datagrams.
    pub(super) endpoint: SocketAddr,
    /// The server's.
    pub(super) port: u16,
    /// What happens on the way, where that is bad.
    pub(super) damage: Option<Arc<Damage>>,
}

impl Host {
    /// Moves the calling thread to a new namespace, connects that to the one of thread `guest`, and starts.
    pub(super) fn start(guest: i32, bad: bool) -> Self {
        seal();
        ip(&format!("link add near type veth peer name far netns {guest}"));
        ip(&format!("address add {NEAR}/24 dev near"));
        ip("link set near up");
        ip(&format!("address add {SERVER}/32 dev lo"));
        let listener = TcpListener::bind((SERVER, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        transfer::serve(listener);

        let (ours, keys) = wg::key_pairs().unwrap();
        let address = if bad { Ipv4Addr::LOCALHOST } else { NEAR };
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let mut endpoint = socket.local_addr().unwrap();
        let damage = bad.then(|| {
            let at = UdpSocket::bind((NEAR, 0)).unwrap();
            relay::start(at.try_clone().unwrap(), std::mem::replace(&mut endpoint, at.local_addr().unwrap()))
        });
        let datapath = Datapath::start(
            Link::WireGuard(WireGuardLink::new(socket, &ours, MTU).unwrap()),
            Vec::new(),
            |link| Options {
                policy: Policy::new(PolicySpec {
                    mode: Mode::Allowlist,
                    allow: vec![format!("{SERVER}:{port}").parse().unwrap()],
                    ..PolicySpec::default()
                })
                .unwrap(),
                responder: Responder::new(dns::Options::default()),
                pins: Pins::new(),
                proxy: None,
                journal: Box::new(Silent),
                link,
                flows: 64,
                epoch: Instant::now(),
                seed: 1,
            },
            |handle| Box::new(move |token, _| handle.resolved(token, LookupOutcome::NotFound)),
            || {},
        )
        .unwrap();
        Self { datapath, keys, endpoint, port, damage }
    }

    pub(super) fn stop(self) {
        self.datapath.stop();
    }
}
