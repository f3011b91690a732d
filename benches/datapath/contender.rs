//! Who connects the guest with the server: npxc, its peers, and the bare kernel as the limit.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::topology::SERVER;
use crate::common::gates::{BORINGTUN, KERNEL, NPXC, NPXC_LARGE, NPXC_UNLOGGED, PASTA, SLIRP, WIREGUARD_GO};
use crate::common::process::{Process, Talker, installed, resident};
use crate::wireguard::{self, ends::Ends};

/// What the peers' guests get; npxc's has 1500, with segmentation offload.
const PEER_MTU: &str = "65520";

/// One way to connect a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The whole of npxc but its command line: sandbox, link, router, policy, sniffing, audit log.
    Npxc,
    /// The same without a log: what that costs.
    Unlogged,
    /// pasta, as it is faster than with the defaults.
    Pasta,
    /// slirp4netns.
    Slirp,
    /// The guest in the host's namespace: a pair of virtual Ethernet interfaces and nothing else.
    Kernel,
    /// npxc's WireGuard link, with this MTU of the guest's interface.
    Link(u16),
    /// boringtun-cli at both ends, and the kernel forwards.
    Boringtun,
    /// wireguard-go at both ends, and the kernel forwards.
    WireguardGo,
}

impl Contender {
    /// Those without a tunnel.
    pub const ALL: [Self; 4] = [Self::Npxc, Self::Pasta, Self::Slirp, Self::Kernel];
    /// Those with one, and what they are compared with.
    pub const TUNNELS: [Self; 6] = [
        Self::Link(wireguard::MTU),
        Self::Link(wireguard::LARGE_MTU),
        Self::Boringtun,
        Self::WireguardGo,
        Self::Pasta,
        Self::Kernel,
    ];

    /// As in the records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npxc | Self::Link(wireguard::MTU) => NPXC,
            Self::Unlogged => NPXC_UNLOGGED,
            Self::Link(_) => NPXC_LARGE,
            Self::Pasta => PASTA,
            Self::Slirp => SLIRP,
            Self::Kernel => KERNEL,
            Self::Boringtun => BORINGTUN,
            Self::WireguardGo => WIREGUARD_GO,
        }
    }

    /// Whether it can be measured here.
    pub fn present(self) -> bool {
        match self {
            Self::Npxc | Self::Unlogged | Self::Kernel | Self::Link(_) => true,
            Self::Boringtun => installed(BORINGTUN),
            Self::WireguardGo => installed(WIREGUARD_GO),
            Self::Pasta => installed("pasta"),
            Self::Slirp => installed("slirp4netns"),
        }
    }

    /// Whom a guest asks for names.
    pub fn resolver(self) -> &'static str {
        match self {
            Self::Npxc | Self::Unlogged | Self::Link(_) => "198.18.0.1",
            Self::Pasta | Self::Slirp | Self::Kernel | Self::Boringtun | Self::WireguardGo => SERVER,
        }
    }

    /// Starts it, with a guest that can reach the server.
    pub fn start(self) -> Result<Running> {
        let program = std::env::current_exe()?;
        let (mut helper, mut ends) = (None, None);
        let talker = match self {
            Self::Npxc => Talker::start(Command::new(&program).args(["session", "guest"]))?,
            Self::Unlogged => Talker::start(Command::new(&program).args(["unlogged", "guest"]))?,
            Self::Kernel => Talker::start(Command::new(&program).arg("guest"))?,
            Self::Pasta => Talker::start(
                Command::new("pasta")
                    .args(["--config-net", "--foreground", "--quiet", "--mtu", PEER_MTU, "--runas", "0"])
                    .args(["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw", "--"])
                    .arg(&program)
                    .arg("guest")
                    .stderr(Stdio::null()),
            )?,
            Self::Slirp => {
                let mut talker =
                    Talker::start(Command::new("unshare").arg("--net").arg(&program).arg("guest"))?;
                // An answer, whichever, says that it is in its namespace.
                talker.say("hello")?;
                talker.hear(Duration::from_secs(5))?;
                let namespace = format!("/proc/{}/ns/net", talker.id());
                let slirp = Command::new("slirp4netns")
                    .args(["--configure", "--mtu", PEER_MTU, "--disable-host-loopback", "--netns-type=path"])
                    .args([namespace.as_str(), "tap0"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .context("starting slirp4netns")?;
                helper = Some(Process(slirp));
                talker
            }
            Self::Link(_) | Self::Boringtun | Self::WireguardGo => {
                let mut talker =
                    Talker::start(Command::new("unshare").arg("--net").arg(&program).arg("guest"))?;
                ends = Some(match self {
                    Self::Link(mtu) => Ends::of_npxc(&mut talker, mtu)?,
                    _ => Ends::of_peers(&mut talker, self.name())?,
                });
                talker
            }
        };
        let mut running = Running { contender: self, talker, helper, _ends: ends, lost: false };
        running
            .ask(&format!("wait {SERVER}"))
            .with_context(|| format!("{}: no way to the server", self.name()))?;
        Ok(running)
    }
}

/// A guest and what connects it.
pub struct Running {
    /// Who it is.
    pub contender: Contender,
    talker: Talker,
    helper: Option<Process>,
    _ends: Option<Ends>,
    /// An answer did not come: what comes now would be taken for another's.
    lost: bool,
}

impl Running {
    /// Has the guest measure something; its figures.
    pub fn ask(&mut self, line: &str) -> Result<Vec<f64>> {
        let name = self.contender.name();
        if self.lost {
            bail!("{name}: not measured further in this round");
        }
        self.lost = true;
        self.talker.say(line).with_context(|| format!("{name}: {line}"))?;
        let answer = self.talker.hear(Duration::from_secs(40)).with_context(|| format!("{name}: {line}"))?;
        self.lost = false;
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("ok", figures) => {
                figures.split_whitespace().map(|figure| figure.parse().context("not a figure")).collect()
            }
            ("error", why) => bail!("{name}: {line}: {why}"),
            _ => Err(anyhow!("{name}: {line}: unexpected answer {answer:?}")),
        }
    }

    /// Memory of the process that connects, megabytes; none for the kernel.
    pub fn resident(&self) -> Option<f64> {
        match (&self.helper, self.contender) {
            (Some(helper), _) => resident(helper.id()),
            (None, Contender::Npxc | Contender::Unlogged | Contender::Pasta) => resident(self.talker.id()),
            (None, _) => None,
        }
    }

    /// Ends both.
    pub fn stop(self) {
        self.talker.finish(Duration::from_secs(3));
    }
}
