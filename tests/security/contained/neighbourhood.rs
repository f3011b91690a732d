//! What stands beside a session's container: somebody else's container, services of the host and the engine's resolver.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::ground::{Ground, IMAGE};
use super::super::harness::{Datagrams, Server, directory, everyone, page};
use super::super::inside::Target;

/// What an engine has to be asked on hosts that allow little, for containers that are not npxc's.
const MODEST: [&str; 6] = ["--pull", "never", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
/// What a neighbour runs: it answers on every address, over TCP and UDP.
const NEIGHBOUR: &str = "require('http').createServer((q, r) => r.end('neighbour')).listen(8080, '::');
    const s = require('dgram').createSocket('udp6'); s.on('message', (m, f) => s.send(m, f.port, f.address)); s.bind(8080);";

/// Of one of the engine's networks.
pub(super) fn gateways(ground: &Ground, network: &str) -> Vec<IpAddr> {
    let (done, answer) = ground.engine(&["network", "inspect", network]);
    assert!(done, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let subnets = answer[0]["subnets"].as_array().unwrap().clone();
    subnets.iter().map(|subnet| subnet["gateway"].as_str().unwrap().parse().unwrap()).collect()
}

/// Whether anybody answers questions there.
fn resolves(to: SocketAddr) -> bool {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let question = b"NX\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04evil\x07example\x00\x00\x01\x00\x01";
    socket.connect(to).is_ok() && socket.send(question).is_ok() && socket.recv(&mut [0; 512]).is_ok()
}

/// The engine's own resolver on one of these, or else one in its place: the engine's only one may serve another network
/// namespace.
fn resolver(gateways: &[IpAddr]) -> Option<Datagrams> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if gateways.iter().any(|gateway| resolves((*gateway, 53).into())) {
            return None;
        }
        // The engine's may be about to start, and have the port already.
        if let Some(socket) = gateways.iter().find_map(|gateway| UdpSocket::bind((*gateway, 53)).ok()) {
            return Some(Datagrams::on(socket, |said| Some(said.to_vec())));
        }
        assert!(
            Instant::now() < deadline,
            "no resolver answers on {gateways:?}, and there is no room for one"
        );
    }
}

/// Somebody else's container on the engine's default network and on one with a resolver, and services of the host.
pub(super) struct Neighbourhood<'a> {
    ground: &'a Ground,
    name: String,
    addresses: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    server: Server,
    datagrams: Datagrams,
    /// Where the engine has no resolver in this network namespace: it has one, for all of its networks.
    _resolver: Option<Datagrams>,
}

impl<'a> Neighbourhood<'a> {
    pub(super) fn start(ground: &'a Ground) -> Self {
        let name = directory(everyone()[0], "neighbour").file_name().unwrap().to_str().unwrap().to_owned();
        let (done, said) = ground.engine(&["network", "create", "--internal", &name]);
        assert!(done, "{said}");
        let networks = format!("podman,{name}");
        let words = [
            &["--runtime", "runc", "run", "--detach", "--rm", "--log-driver", "none", "--name", &name],
            ["--network", &networks].as_slice(),
            &MODEST,
            &[IMAGE, "node", "-e", NEIGHBOUR],
        ]
        .concat();
        let (done, said) = ground.engine(&words);
        assert!(done, "{said}");
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let (done, addresses) = ground.engine(&["inspect", "--format", format, &name]);
        assert!(done, "{addresses}");
        let addresses = addresses.split_whitespace().map(|text| text.parse().unwrap()).collect();
        let gateways: Vec<IpAddr> =
            ["podman", &name].into_iter().flat_map(|network| gateways(ground, network)).collect();
        let resolver = if ground.owner.is_none() { resolver(&gateways) } else { None };
        Self {
            _resolver: resolver,
            ground,
            name,
            addresses,
            gateways,
            server: Server::start(page("secret")),
            datagrams: Datagrams::at(0, |said| Some(said.to_vec())),
        }
    }

    /// Whatever the workload of a session with that network could want to reach, by address.
    pub(super) fn targets(&self, network: &str) -> Vec<Target> {
        let mut gateways = self.gateways.clone();
        if self.ground.wireguard() {
            gateways.extend(self::gateways(self.ground, network));
        }
        // The host by other addresses (in the test's network it has them all): its loopback as rootless podman's
        // network shows it, one of its own, link-local.
        gateways.extend(["10.0.2.2", "203.0.113.7", "fe80::1"].map(|text| text.parse::<IpAddr>().unwrap()));
        let mut targets = Vec::new();
        let mut add = |to: IpAddr, port: u16| {
            // A question for a name that the engine's resolver knows and npxc's does not: the neighbour's, A.
            let mut payload = "4e58010000010000000000".to_owned();
            payload.extend(format!("00{:02x}", self.name.len()).chars());
            payload.extend(self.name.bytes().map(|byte| format!("{byte:02x}")));
            payload += "0000010001";
            targets.push(Target { to: SocketAddr::new(to, port), payload });
        };
        for gateway in gateways {
            add(gateway, self.server.port);
            add(gateway, self.datagrams.port);
            if gateway.is_ipv4() {
                add(gateway, 53);
            }
        }
        for address in &self.addresses {
            add(*address, 8080);
        }
        targets
    }

    /// From the host it is all there: otherwise nothing was shown.
    pub(super) fn assert_there(&self) {
        if self.ground.owner.is_some() {
            // Their networks are in another network namespace: the container itself can tell.
            let code = format!(
                "Promise.all({:?}.map(a => fetch(`http://${{a}}:8080/`))).then(() => console.log('there'))",
                self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
            );
            let deadline = Instant::now() + Duration::from_secs(20);
            while !self.ground.engine(&["exec", &self.name, "node", "-e", &code]).1.contains("there") {
                assert!(Instant::now() < deadline, "the neighbour does not answer itself");
            }
            return;
        }
        let there = |to: IpAddr, port: u16| {
            let deadline = Instant::now() + Duration::from_secs(20);
            let to = SocketAddr::new(to, port);
            while TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_err() {
                assert!(Instant::now() < deadline, "{to} is not there");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        self.addresses.iter().for_each(|address| there(*address, 8080));
        assert!(self.gateways.iter().any(|gateway| resolves((*gateway, 53).into())), "no resolver");
    }

    #[track_caller]
    pub(super) fn assert_unvisited(&self) {
        let visits = self.server.visits();
        assert!(visits.is_empty(), "{visits:?}");
        assert!(self.datagrams.received.lock().unwrap().is_empty());
    }
}

impl Drop for Neighbourhood<'_> {
    fn drop(&mut self) {
        self.ground.engine(&["rm", "--force", "--time", "0", &self.name]);
        self.ground.engine(&["network", "rm", "--force", &self.name]);
    }
}
