//! What a container adds: another network under the link, an engine's own services and other containers beside it, and
//! keys (rows 30-35). The workload is an ordinary user or, in the container, root. A run without an engine has nothing
//! to do here.
//!
//! npxc's own program has no option for a workload that is root, so [`session`] stands in for it: this program, with
//! npxc's runtime, policy, router and datapath.

mod keys;
mod neighbourhood;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use npxc::audit::Event;
use npxc::net::dns;
use npxc::net::router::Journal;
use npxc::policy::{Mode, Policy, PolicySpec};
use npxc::runtime::LinkChoice;
use npxc::runtime::engine::{Engine, Kind, image};
use npxc::runtime::{Access, Launch, Limits, Mount, Status, Stdio3};
use npxc::session::{Parts, Session};
use npxc_link::wg::{Keys, Tunnel};
use serde_json::json;

use self::keys::{ask_kernel, assert_policy_holds, find_keys, initiation, memory, unlock};
use self::neighbourhood::{Neighbourhood, gateways};
use super::ground::{Ground, IMAGE, ground};
use super::harness::{Running, Seen, directory, everyone, place, sealed};
use super::inside::{self, PROGRAM, Target};
use super::machine::have_all;

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
        proxy: None,
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

#[track_caller]
fn assert_nothing_done(results: &BTreeMap<String, String>) {
    let done: Vec<_> =
        results.iter().filter(|(_, result)| *result == "done" || result.starts_with("answered")).collect();
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
        let targets = neighbours.targets(&session.name);
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
    let targets = neighbours.targets(&session.name);
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
