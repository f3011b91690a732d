//! What a container adds: another network under the link, an engine's own services and other containers beside it, and
//! keys (rows 30-35). The workload is an ordinary user or, in the container, root. A run without an engine has nothing
//! to do here.
//!
//! npxc's own program has no option for a workload that is root, so [`session`] stands in for it: this program, with
//! npxc's runtime, policy, router and datapath.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use npxc::audit::Event;
use npxc::net::dns;
use npxc::net::router::Journal;
use npxc::policy::{Mode, Policy, PolicySpec};
use npxc::runtime::LinkChoice;
use npxc::runtime::engine::{Engine, Kind, image};
use npxc::runtime::{Access, Launch, Limits, Mount, Status, Stdio3};
use npxc::session::{Parts, Session};
use npxc_link::wg::{Keys, Received, Tunnel};
use serde_json::{Value, json};

use super::ground::{Ground, IMAGE, ground};
use super::harness::{Datagrams, Running, Seen, Server, directory, everyone, page, place, sealed};
use super::inside::{self, PROGRAM, Target};
use super::machine::have_all;

/// What an engine has to be asked on hosts that allow little, for containers that are not npxc's.
const MODEST: [&str; 6] = ["--pull", "never", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
/// What a neighbour runs: it answers on every address, over TCP and UDP.
const NEIGHBOUR: &str = "require('http').createServer((q, r) => r.end('neighbour')).listen(8080, '::');
    const s = require('dgram').createSocket('udp6'); s.on('message', (m, f) => s.send(m, f.port, f.address)); s.bind(8080);";

/// The order of [`session`].
#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    wireguard: bool,
    root: bool,
    program: PathBuf,
    sessions: PathBuf,
    helper: PathBuf,
    mounts: Vec<(PathBuf, PathBuf)>,
    steps: String,
    log: PathBuf,
}

struct Lines(fs::File);

impl Journal for Lines {
    fn record(&mut self, event: Event) -> bool {
        writeln!(self.0, "{}", serde_json::to_string(&event).unwrap()).is_ok()
    }

    fn healthy(&self) -> bool {
        true
    }
}

#[test]
#[ignore = "stands in for npxc: `contained::row_*` start it"]
fn session() {
    let Ok(order) = std::env::var("HOSTILE_SESSION") else { return };
    let order: Order = serde_json::from_str(&order).unwrap();
    let engine = Engine::new(Kind::Podman, order.sessions)
        .program(order.program, [])
        .helper(order.helper)
        .link(if order.wireguard { LinkChoice::Wireguard } else { LinkChoice::Socket });
    let image = image::ensure(&engine, IMAGE, &mut |_| {}).unwrap();
    let engine = engine.image(image);
    let engine = if order.root { engine.identity(0, 0) } else { engine };
    let mount = |(host, guest)| Mount { host, guest, access: Access::ReadOnly };
    let launch = Launch {
        command: vec!["node".into(), "/mnt/package/main.js".into(), order.steps.into()],
        env: Vec::new(),
        cwd: "/".into(),
        mounts: order.mounts.into_iter().map(mount).collect(),
        layer: None,
        limits: Limits::default(),
        files: Vec::new(),
    };
    let allow = vec!["api.example.com".parse().unwrap()];
    let policy = Policy::new(PolicySpec { mode: Mode::Allowlist, allow, ..PolicySpec::default() }).unwrap();
    let parts = Parts {
        launch,
        policy,
        dns: dns::Options { ipv6: true, ..dns::Options::default() },
        pinned: BTreeMap::new(),
        published: Vec::new(),
        journal: Box::new(Lines(fs::File::create(order.log).unwrap())),
    };
    let copy = |fd: &dyn std::os::fd::AsFd| fd.as_fd().try_clone_to_owned().unwrap();
    let stdio = Stdio3 {
        stdin: copy(&std::io::stdin()),
        stdout: copy(&std::io::stdout()),
        stderr: copy(&std::io::stderr()),
    };
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let mut session = Session::start(&engine, parts, stdio).unwrap();
        session.release().unwrap();
        eprintln!("it is released");
        let ended = session.wait().await.unwrap();
        session.finish();
        ended
    });
    assert_eq!(ended.status, Status::Exited(0));
}

/// A session whose workload waits to be told, and then runs these parts of [`inside`] one after the other.
fn start(ground: &Ground, root: bool, parts: &[&str]) -> Contained {
    let home = directory(everyone()[0], "contained");
    let log = home.join("log");
    let code = format!(
        "const given = JSON.parse((await one({{do: 'told', patience: 90000}})).all), results = [];
         for (const part of {parts:?}) results.push(await one({{do: 'spawn', patience: 90000,
             argv: ['{PROGRAM}', '--exact', 'security::inside::inside', '--ignored', '--nocapture'],
             env: {{HOSTILE: part, RUST_BACKTRACE: '0',
                    HOSTILE_TARGETS: part === 'secrets' ? given.secret : JSON.stringify(given.targets)}}}}));
         return {{results}};"
    );
    let mounts = vec![
        (place().hostile.clone(), PathBuf::from("/mnt/package")),
        (inside::directory(), PathBuf::from("/mnt/hostile")),
    ];
    let order = Order {
        wireguard: ground.wireguard(),
        root,
        program: ground.program(),
        sessions: ground.runtime().join("npxc"),
        helper: place().program.clone(),
        mounts,
        steps: json!([{"do": "run", "code": code, "patience": 100_000}]).to_string(),
        log: log.clone(),
    };
    let mut command = Command::new(inside::directory().join("security"));
    command
        .args(["--exact", "security::contained::session", "--ignored", "--nocapture"])
        .env("HOSTILE_SESSION", serde_json::to_string(&order).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = ground.surround(&mut command).spawn().unwrap();
    let running = Running::new(child, log, true);
    running.says("it is released");
    let filter = format!("label=npxc.pid={}", running.child.id());
    let (done, name) = ground.engine(&["ps", "--format", "{{.Names}}", "--filter", &filter]);
    assert!(done && name.starts_with("npxc-") && !name.contains('\n'), "{name}");
    Contained { running, name }
}

/// A session in a container that is waiting to be told.
struct Contained {
    running: Running,
    /// Of its container, and of its network.
    name: String,
}

impl Contained {
    /// Tells it what to attack, and waits for its end: what each part saw.
    fn attack(mut self, targets: &[Target], secret: &str) -> (Vec<BTreeMap<String, String>>, Seen) {
        self.running.tell(&json!({"targets": targets, "secret": secret}).to_string());
        let seen = self.running.finish();
        assert_eq!(seen.code, Some(0), "{seen:?}");
        let results = seen.at(0)["results"].as_array().unwrap_or_else(|| panic!("{seen:?}"));
        (results.iter().map(inside::results).collect(), seen)
    }

    fn pid(&self, ground: &Ground) -> u32 {
        let (done, pid) = ground.engine(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        assert!(done, "{pid}");
        pid.parse().unwrap()
    }

    /// Runs a part in the container, as whoever may use the engine can.
    fn execute(
        &self,
        ground: &Ground,
        how: &[&str],
        part: &str,
        targets: &[Target],
    ) -> BTreeMap<String, String> {
        let (part, targets) = (
            format!("HOSTILE={part}"),
            format!("HOSTILE_TARGETS={}", serde_json::to_string(targets).unwrap()),
        );
        let mut words = vec!["exec", "--user", "0", "--env", &part, "--env", &targets];
        words.extend(how);
        words.extend([
            &self.name,
            PROGRAM,
            "--exact",
            "security::inside::inside",
            "--ignored",
            "--nocapture",
        ]);
        let (done, said) = ground.engine(&words);
        assert!(done, "{said}");
        inside::results(&json!({"out": said}))
    }
}

fn gateways(ground: &Ground, network: &str) -> Vec<IpAddr> {
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
struct Neighbourhood<'a> {
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
    fn start(ground: &'a Ground) -> Self {
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

    /// Whatever a session's workload could want to reach, by address.
    fn targets(&self, session: &Contained) -> Vec<Target> {
        let mut gateways = self.gateways.clone();
        if self.ground.wireguard() {
            gateways.extend(super::contained::gateways(self.ground, &session.name));
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
    fn assert_there(&self) {
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
    fn assert_unvisited(&self) {
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

#[track_caller]
fn assert_nothing_done(results: &BTreeMap<String, String>) {
    let done: Vec<_> = results.iter().filter(|(_, result)| *result == "done").collect();
    assert!(done.is_empty(), "{done:?} of {results:?}");
}

fn link_name(ground: &Ground) -> &'static str {
    if ground.wireguard() { "lo wg0" } else { "lo npxc0" }
}

/// Interfaces in any order.
#[track_caller]
fn assert_only_the_link(ground: &Ground, results: &BTreeMap<String, String>) {
    let mut names: Vec<&str> = results["interfaces"].split(' ').collect();
    names.sort_unstable();
    assert_eq!(names.join(" "), link_name(ground));
}

#[test]
fn row_30_to_33_a_workload_changes_nothing_and_reaches_nothing_beside_the_link() {
    let Some(ground) = ground() else { return };
    if !sealed() {
        return;
    }
    let neighbours = Neighbourhood::start(ground);
    neighbours.assert_there();
    for root in [false, true] {
        let session = start(ground, root, &["network", "sockets", "take down", "reach"]);
        let targets = neighbours.targets(&session);
        let (mut results, seen) = session.attack(&targets, "");
        // Engines let group 0 ask for echoes; `reach` does, and only npxc's own address answers (row 28).
        results[1].retain(|what, _| !root || !what.starts_with("ping"));
        results.iter().for_each(assert_nothing_done);
        for (what, result) in &results[0] {
            assert!(!what.starts_with("netlink") || result == "EPERM", "{what}: {result}");
        }
        assert_only_the_link(ground, &results[3]);
        // What has a route is seen and denied; the rest did not get as far.
        let denied = seen.denied();
        for target in targets.iter().filter(|target| target.to.is_ipv4() && target.to.port() != 53) {
            assert!(denied.iter().any(|(to, ..)| *to == target.to.to_string()), "{target:?}: {seen:?}");
        }
        assert!(seen.opened().is_empty(), "{seen:?}");
    }
    neighbours.assert_unvisited();
}

#[test]
fn row_35_whoever_executes_in_the_container_reaches_nothing_either() {
    let Some(ground) = ground() else { return };
    if !sealed() {
        return;
    }
    let neighbours = Neighbourhood::start(ground);
    neighbours.assert_there();
    let session = start(ground, false, &[]);
    let targets = neighbours.targets(&session);
    // With the container's own capabilities, NET_ADMIN among them, and with all there are.
    for how in [[].as_slice(), &["--privileged"]] {
        let results = session.execute(ground, how, "reach", &targets);
        assert_only_the_link(ground, &results);
        assert_nothing_done(&results);
    }
    let results = session.execute(ground, &["--privileged"], "take down", &targets);
    assert!(results.values().any(|result| result == "done"), "{results:?}");
    let results = session.execute(ground, &["--privileged"], "reach", &targets);
    assert_nothing_done(&results);
    neighbours.assert_unvisited();
    session.attack(&[], "");
}

/// What a process can write, as root of the host sees it.
fn memory(pid: u32) -> Vec<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(file) = fs::File::open(format!("/proc/{pid}/mem")) else { return Vec::new() };
    let read = |(start, length)| {
        let mut content = vec![0; length];
        let count = std::os::unix::fs::FileExt::read_at(&file, &mut content, start).unwrap_or(0);
        content.truncate(count);
        content
    };
    inside::writable(&maps).into_iter().map(read).collect()
}

fn key(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// The keys that a process has: a private one with its public one close by, and what stands beside its other copies.
struct Found {
    private: [u8; 32],
    /// What may be npxc's public key and the preshared one.
    candidates: Vec<([u8; 32], [u8; 32])>,
}

fn find_keys(memory: &[Vec<u8>]) -> Option<Found> {
    use boringtun::x25519::{PublicKey, StaticSecret};
    let random = |key: &[u8; 32]| key.iter().collect::<BTreeSet<_>>().len() >= 20;
    let at = |region: &[u8], at: usize| key(region.get(at..at + 32)?).filter(random);
    let places = || memory.iter().flat_map(|region| (0..region.len()).step_by(8).map(move |at| (region, at)));
    let (private, _) = places()
        .filter_map(|(region, place)| Some((at(region, place)?, (region, place))))
        .find(|(candidate, (region, place))| {
            let around = &region[place.saturating_sub(256)..(place + 256).min(region.len())];
            let public = PublicKey::from(&StaticSecret::from(*candidate)).to_bytes();
            around.windows(32).any(|window| window == public)
        })?;
    let mut candidates = Vec::new();
    for (region, place) in places().filter(|(region, place)| at(region, *place) == Some(private)) {
        let beside = |distance: isize| at(region, place.checked_add_signed(distance)?);
        let beside: Vec<_> = [-64, -32, 32, 64].into_iter().filter_map(beside).collect();
        for one in &beside {
            candidates.extend(beside.iter().filter(|other| *other != one).map(|other| (*one, *other)));
        }
    }
    Some(Found { private, candidates })
}

/// The keys of the tunnel of a container's first process, if the kernel carries it: the host's root may ask.
fn ask_kernel(first: u32) -> Option<Found> {
    let target = first.to_string();
    let ask = ["--target", &target, "--net", "wg", "show", "wg0", "dump"];
    let output = Command::new("nsenter").args(ask).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).unwrap();
    // Private and public key and more; then of each peer its public and the preshared key and more.
    let mut lines = text.lines().map(|line| line.split('\t').map_while(from_base64).collect::<Vec<_>>());
    let (own, peer) = (lines.next()?, lines.next()?);
    Some(Found { private: own[0], candidates: vec![(peer[0], peer[1])] })
}

fn from_base64(text: &str) -> Option<[u8; 32]> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').chars().map(|digit| DIGITS.find(digit));
    let digits: Vec<usize> = digits.collect::<Option<_>>()?;
    let bytes = digits.chunks(4).flat_map(|digits| {
        let bits = (0..4).fold(0, |bits, at| bits << 6 | digits.get(at).copied().unwrap_or(0));
        [bits >> 16, bits >> 8, bits].map(|byte| byte as u8)
    });
    key(&bytes.take(32).collect::<Vec<_>>())
}

#[test]
fn a_key_is_read_as_wg_writes_it() {
    let bytes: [u8; 32] = std::array::from_fn(|at| at as u8 * 8 + 3);
    assert_eq!(from_base64("AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2+Pr8/s="), Some(bytes));
    assert_eq!(from_base64("(none)"), None);
}

/// Where npxc's UDP socket is: the one that is bound to the session's gateway.
fn endpoint(ground: &Ground, session: &Contained) -> SocketAddr {
    let table = if ground.owner.is_some() {
        ground.engine(&["unshare", "--rootless-netns", "cat", "/proc/net/udp"]).1
    } else {
        fs::read_to_string("/proc/thread-self/net/udp").unwrap()
    };
    let gateways = gateways(ground, &session.name);
    let parse = |line: &str| {
        let (address, port) = line.split_whitespace().nth(1)?.split_once(':')?;
        let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        Some(SocketAddr::from((address, u16::from_str_radix(port, 16).ok()?)))
    };
    // The engine's resolver is there, too.
    let is_ours = |bound: &SocketAddr| gateways.contains(&bound.ip()) && bound.port() != 53;
    let mut bound = table.lines().filter_map(parse).filter(is_ours);
    bound.next().unwrap_or_else(|| panic!("{gateways:?} {table}"))
}

fn initiation(tunnel: &mut Tunnel) -> Vec<u8> {
    let mut datagram = Vec::new();
    tunnel.connect(&mut |bytes| datagram = bytes.to_vec());
    assert!(!datagram.is_empty());
    datagram
}

#[test]
fn row_34_the_key_is_not_to_be_found_inside_and_opens_nothing() {
    let Some(ground) = ground() else { return };
    if !ground.wireguard() || !sealed() {
        return;
    }
    for root in [false, true] {
        let session = start(ground, root, &["secrets", "processes", "reach"]);
        let first = session.pid(ground);
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let kernels = ask_kernel(first);
        // Process 1 never had it, and no argument or variable; nobody has it where the kernel carries the tunnel.
        let without = if kernels.is_some() { children.as_slice() } else { &[] };
        let found = kernels.or_else(|| children.iter().find_map(|pid| find_keys(&memory(*pid))));
        let Some(found) = found else {
            // Only these show the kernel's.
            assert!(!have_all(&["nsenter", "wg"]), "no child of {first} has a key: {children:?}");
            session.attack(&[], "");
            return;
        };
        let private = found.private;
        for region in without.iter().chain([&first]).flat_map(|pid| memory(*pid)) {
            assert!(!region.windows(32).any(|window| window == private));
        }
        for pid in children.iter().chain([&first]) {
            for file in ["cmdline", "environ"] {
                let content = fs::read(format!("/proc/{pid}/{file}")).unwrap();
                assert!(!content.windows(32).any(|window| window == private), "{pid}/{file}");
            }
        }

        let endpoint = endpoint(ground, &session);
        let mut tunnel = if ground.owner.is_none() {
            let (keys, taken) = unlock(&found, endpoint).expect("npxc answers whoever has the keys");
            assert_policy_holds(taken);
            Tunnel::new(&keys, None)
        } else {
            // The host cannot send from where podman's networks are.
            Tunnel::new(&Keys { private, peer_public: private, preshared: private }, None)
        };
        let payload = initiation(&mut tunnel).iter().map(|byte| format!("{byte:02x}")).collect();
        let secret: String = private.iter().map(|byte| format!("{:02x}", !byte)).collect();
        // The tunnel's own end is back by its first packet.
        let (results, seen) = session.attack(&[Target { to: endpoint, payload }], &secret);
        assert_eq!(results[0]["found"], "", "{results:?}");
        assert!(results[0]["files"].parse::<u32>().unwrap() > 3, "{results:?}");
        results.iter().for_each(assert_nothing_done);
        assert_only_the_link(ground, &results[2]);
        assert!(seen.denied().iter().any(|(to, ..)| *to == endpoint.to_string()), "{seen:?}");
        assert!(seen.opened().is_empty(), "{seen:?}");
    }
}

/// A tunnel that somebody else has taken over, from where an engine's network is.
struct Taken {
    tunnel: Tunnel,
    socket: UdpSocket,
}

/// Tries what stands beside the private key until npxc answers.
fn unlock(found: &Found, endpoint: SocketAddr) -> Option<(Keys, Taken)> {
    let socket = UdpSocket::bind((endpoint.ip(), 0)).unwrap();
    socket.connect(endpoint).unwrap();
    // More handshakes than a few a second are not answered.
    socket.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    for (peer_public, preshared) in &found.candidates {
        let keys = Keys { private: found.private, peer_public: *peer_public, preshared: *preshared };
        let mut tunnel = Tunnel::new(&keys, None);
        socket.send(&initiation(&mut tunnel)).unwrap();
        let mut buffer = [0; 2048];
        let Ok(count) = socket.recv(&mut buffer) else { continue };
        let mut plain = vec![0; 2048];
        let mut replies = Vec::new();
        let mut reply = |reply: &[u8]| replies.push(reply.to_vec());
        if tunnel.decrypt(endpoint, &buffer[..count], &mut plain, &mut reply) == Received::Control {
            replies.iter().for_each(|reply| drop(socket.send(reply)));
            return Some((keys, Taken { tunnel, socket }));
        }
    }
    None
}

/// A question for a name that nobody allowed, through the tunnel that was taken: it is answered as it always is.
fn assert_policy_holds(mut taken: Taken) {
    let question = [
        b"NX\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".as_slice(),
        b"\x04evil\x07example\x00\x00\x01\x00\x01",
    ]
    .concat();
    let length = (28 + question.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 0, 2, 198, 18, 0, 1]);
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    // Without a checksum of its own, as IPv4 allows.
    packet.extend([0x30, 0x39, 0, 53]);
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(question);
    let mut out = vec![0; packet.len() + 256];
    let count = taken.tunnel.encrypt(&packet, &mut out);
    taken.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    taken.socket.send(&out[..count]).unwrap();
    let endpoint = taken.socket.peer_addr().unwrap();
    let mut buffer = [0; 2048];
    loop {
        let count = taken.socket.recv(&mut buffer).unwrap();
        let mut plain = vec![0; 2048];
        let received = taken.tunnel.decrypt(endpoint, &buffer[..count], &mut plain, &mut |_| {});
        if let Received::Packet(packet) = received {
            // NXDOMAIN.
            assert_eq!((&packet[28..30], packet[31] & 15), (b"NX".as_slice(), 3), "{packet:?}");
            return;
        }
    }
}
