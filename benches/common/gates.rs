//! What the figures have to be, and what each of them is called.

use super::record::{Records, Summary};

/// Us.
pub const NPXC: &str = "npxc";
/// Network for namespaces out of ordinary sockets; the fastest peer.
pub const PASTA: &str = "pasta";
/// The older of the two.
pub const SLIRP: &str = "slirp4netns";
/// Nothing between guest and server but a pair of virtual Ethernet interfaces.
pub const KERNEL: &str = "veth";
/// npxc in a container of podman, its packets over a socket.
pub const PODMAN: &str = "npxc, podman, socket";
/// npxc in a container of podman, its packets over WireGuard.
pub const PODMAN_WIREGUARD: &str = "npxc, podman, wireguard";
/// npxc in a container of docker, its packets over a socket.
pub const DOCKER: &str = "npxc, docker, socket";
/// npxc in a container of docker, its packets over WireGuard.
pub const DOCKER_WIREGUARD: &str = "npxc, docker, wireguard";
/// npxc with nothing behind its datapath that takes its events.
pub const NPXC_UNLOGGED: &str = "npxc, no audit log";
/// npxc's WireGuard link with the largest MTU.
pub const NPXC_LARGE: &str = "npxc, MTU 65400";
/// A pair of these.
pub const BORINGTUN: &str = "boringtun-cli";
/// The same.
pub const WIREGUARD_GO: &str = "wireguard-go";
/// The package as npx starts it.
pub const NPX: &str = "npx";
/// The package's program, started with node.
pub const NODE: &str = "node";
/// Nothing between client and server but two pipes.
pub const PIPE: &str = "pipe";
/// A proxy that parses every message with `serde_json` and prints it again.
pub const PARSER: &str = "parse and print";

/// Numbers of idle flows beside the one that is measured.
pub const IDLE_FLOWS: [usize; 4] = [0, 10, 100, 1000];

/// A figure that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in records.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
}

const fn metric(name: &'static str, what: &'static str, unit: &'static str) -> Metric {
    Metric { name, what, unit }
}

/// Every metric, in the order of the table.
pub const METRICS: &[Metric] = &[
    metric("upload", "upload, one flow", "Gb/s"),
    metric("download", "download, one flow", "Gb/s"),
    metric("connections", "short HTTP connections", "1/s"),
    metric("named", "short HTTP connections, by name", "1/s"),
    metric("rtt", "1-byte round trip", "µs"),
    metric("log-upload", "upload, with and without an audit log in turn", "Gb/s"),
    metric("log-download", "download, likewise", "Gb/s"),
    metric("log-connections", "short HTTP connections, likewise", "1/s"),
    metric("upload6", "upload, IPv6", "Gb/s"),
    metric("download6", "download, IPv6", "Gb/s"),
    metric("connections6", "short HTTP connections, IPv6", "1/s"),
    metric("rss-1000", "memory with 1000 idle flows", "MB"),
    metric("rss-idle", "memory of an idle session", "MB"),
    metric("up-0", "upload, per 1448 bytes, 0 idle flows", "µs"),
    metric("up-10", "upload, per 1448 bytes, 10 idle flows", "µs"),
    metric("up-100", "upload, per 1448 bytes, 100 idle flows", "µs"),
    metric("up-1000", "upload, per 1448 bytes, 1000 idle flows", "µs"),
    metric("down-0", "download, per 1448 bytes, 0 idle flows", "µs"),
    metric("down-10", "download, per 1448 bytes, 10 idle flows", "µs"),
    metric("down-100", "download, per 1448 bytes, 100 idle flows", "µs"),
    metric("down-1000", "download, per 1448 bytes, 1000 idle flows", "µs"),
    metric("rtt-0", "1-byte round trip, 0 idle flows", "µs"),
    metric("rtt-10", "1-byte round trip, 10 idle flows", "µs"),
    metric("rtt-100", "1-byte round trip, 100 idle flows", "µs"),
    metric("rtt-1000", "1-byte round trip, 1000 idle flows", "µs"),
    metric("dns-allowed", "DNS answers, allowed name", "1/s"),
    metric("dns-denied", "DNS answers, denied names", "1/s"),
    metric("wg-upload", "WireGuard link: upload, one flow", "Gb/s"),
    metric("wg-download", "WireGuard link: download, one flow", "Gb/s"),
    metric("wg-connections", "WireGuard link: short HTTP connections", "1/s"),
    metric("wg-rtt", "WireGuard link: 1-byte round trip", "µs"),
    metric("start-everything", "spawn to `initialize` reply, server-everything", "ms"),
    metric("start-registry", "spawn to `initialize` reply, package-registry-mcp", "ms"),
    metric("cold-registry", "the same, not installed yet, package-registry-mcp", "ms"),
    metric("inspect", "`npxc inspect` of package-registry-mcp, which starts it", "ms"),
    metric("grants", "`npxc inspect --no-start`; beside it `--version` of npx and node", "ms"),
    metric("rpc-small", "small JSON-RPC message there and back", "µs"),
    metric("rpc-large", "8 MB tool call there and back", "MB/s"),
    metric("rpc-bytes", "8 MB message there and back, ends that only copy", "MB/s"),
    metric("rpc-list", "`tools/list` of 120 KB", "µs"),
    metric("rpc-files", "call that names a file of 32 KiB, 200 in a session", "µs"),
    metric("rpc-files-again", "the same files, named again", "µs"),
    metric("rpc-files-small", "small JSON-RPC message beside 200 shared files", "µs"),
    metric("rpc-files-bytes", "8 MB message beside 200 shared files, ends that only copy", "MB/s"),
];

/// Everyone who is measured, in the order of the table.
pub const CONTENDERS: &[&str] = &[
    NPXC,
    NPXC_UNLOGGED,
    NPXC_LARGE,
    PODMAN,
    PODMAN_WIREGUARD,
    DOCKER,
    DOCKER_WIREGUARD,
    BORINGTUN,
    WIREGUARD_GO,
    PASTA,
    SLIRP,
    KERNEL,
    NPX,
    NODE,
    PIPE,
    PARSER,
];

/// How a gate's figure comes about.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// npxc's by the peer's, round by round.
    Over(&'static str, &'static str),
    /// npxc's less the peer's, round by round.
    Minus(&'static str, &'static str, &'static str),
    /// npxc's by npxc's in another metric.
    Against(&'static str, &'static str),
    /// npxc's.
    Itself(&'static str, &'static str),
}

/// On which side of the bound a figure has to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The bound or more.
    Least,
    /// The bound or less.
    Most,
}

/// One bound that has to hold, and where we want to be.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    /// For people.
    pub what: &'static str,
    /// How it is computed.
    pub figure: Figure,
    /// Which side.
    pub side: Side,
    /// Must.
    pub bound: f64,
    /// Wanted.
    pub aim: f64,
}

const fn least(what: &'static str, figure: Figure, bound: f64, aim: f64) -> Gate {
    Gate { what, figure, side: Side::Least, bound, aim }
}

const fn most(what: &'static str, figure: Figure, bound: f64, aim: f64) -> Gate {
    Gate { what, figure, side: Side::Most, bound, aim }
}

/// The gates by section.
pub const GATES: &[(&str, &[Gate])] = &[
    (
        "datapath",
        &[
            least("upload, of pasta's", Figure::Over("upload", PASTA), 0.70, 1.1),
            least("download, of pasta's", Figure::Over("download", PASTA), 0.80, 1.2),
            least("short connections, of pasta's", Figure::Over("connections", PASTA), 0.9, 1.2),
            most("round trip, of pasta's", Figure::Over("rtt", PASTA), 1.1, 0.85),
            least("upload, of slirp4netns'", Figure::Over("upload", SLIRP), 2.0, 2.7),
            least("download, of slirp4netns'", Figure::Over("download", SLIRP), 1.4, 1.9),
            least("short connections, of slirp4netns'", Figure::Over("connections", SLIRP), 2.0, 3.0),
            least(
                "upload, of that without an audit log",
                Figure::Over("log-upload", NPXC_UNLOGGED),
                0.98,
                0.99,
            ),
            least(
                "download, of that without an audit log",
                Figure::Over("log-download", NPXC_UNLOGGED),
                0.98,
                0.99,
            ),
            // None for short connections: each is two lines of the log, whose thread has its share of the one core.
            most("upload cost at 1000 idle flows, of none's", Figure::Against("up-1000", "up-0"), 1.5, 1.1),
            most(
                "download cost at 1000 idle flows, of none's",
                Figure::Against("down-1000", "down-0"),
                1.5,
                1.1,
            ),
            most("round trip at 1000 idle flows, of none's", Figure::Against("rtt-1000", "rtt-0"), 1.5, 1.1),
            most("memory at 1000 idle flows, of pasta's", Figure::Over("rss-1000", PASTA), 1.0, 0.6),
            least("DNS answers per second, allowed (sanity)", Figure::Itself("dns-allowed", "1/s"), 5e3, 5e4),
            least("DNS answers per second, denied (sanity)", Figure::Itself("dns-denied", "1/s"), 5e3, 5e4),
        ],
    ),
    (
        "wireguard",
        &[
            least(
                "WireGuard, upload, of a boringtun-cli pair's",
                Figure::Over("wg-upload", BORINGTUN),
                4.0,
                7.0,
            ),
            least(
                "WireGuard, download, of a boringtun-cli pair's",
                Figure::Over("wg-download", BORINGTUN),
                4.0,
                7.0,
            ),
            most("WireGuard, round trip, of pasta's", Figure::Over("wg-rtt", PASTA), 2.3, 1.8),
        ],
    ),
    (
        "rpc",
        &[
            most("small message there and back, added", Figure::Minus("rpc-small", PIPE, "µs"), 60.0, 25.0),
            // None for `rpc-bytes`: between ends that only copy, even what reads and writes and looks at nothing is far
            // from the aim.
            least("8 MB tool call there and back, of a pipe's", Figure::Over("rpc-large", PIPE), 0.6, 0.9),
        ],
    ),
    (
        "startup",
        &[
            most("server-everything, of npx's", Figure::Over("start-everything", NPX), 0.6, 0.35),
            most("server-everything, over node", Figure::Minus("start-everything", NODE, "ms"), 60.0, 20.0),
            most("package-registry-mcp, of npx's", Figure::Over("start-registry", NPX), 0.6, 0.35),
            most("package-registry-mcp, over node", Figure::Minus("start-registry", NODE, "ms"), 60.0, 20.0),
            most("memory of an idle session", Figure::Itself("rss-idle", "MB"), 25.0, 12.0),
        ],
    ),
];

impl Gate {
    /// What was measured; `None` if either side is missing.
    pub fn measured(&self, records: &Records) -> Option<Summary> {
        match self.figure {
            Figure::Over(metric, peer) => {
                records.paired((metric, NPXC), (metric, peer), |npxc, peer| npxc / peer)
            }
            Figure::Minus(metric, peer, _) => {
                records.paired((metric, NPXC), (metric, peer), |npxc, peer| npxc - peer)
            }
            Figure::Against(metric, other) => {
                records.paired((metric, NPXC), (other, NPXC), |one, other| one / other)
            }
            Figure::Itself(metric, _) => records.summary(metric, NPXC),
        }
    }

    /// The figure's unit.
    pub fn unit(&self) -> &'static str {
        match self.figure {
            Figure::Over(..) | Figure::Against(..) => "×",
            Figure::Minus(_, _, unit) | Figure::Itself(_, unit) => unit,
        }
    }

    /// Whether `figure` satisfies `bound` ([`Gate::bound`] or [`Gate::aim`]).
    pub fn holds(&self, figure: f64, bound: f64) -> bool {
        match self.side {
            Side::Least => figure >= bound,
            Side::Most => figure <= bound,
        }
    }
}
