//! From a launch to a running container: attempt after attempt, in other manners and over another link where the
//! engine refuses, until one stands or nothing is left to try.
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use npxc_guest::spec::{Bind, ContainerLink, MTU, Spec, Supervise};
use npxc_guest::step::Step;
use npxc_guest::wire::Channel;

use super::arguments::{self, Bound, Container as Words};
use super::known::Known;
use super::mountinfo;
use super::network::Network;
use super::owner::Owner;
use super::peer::{self, Allowed, First, ProgramFile};
use super::place::Place;
use super::process::{Container, Process, is_refusal};
use super::{Engine, Facts, Image, Kind, bind, detect, image, leftovers, patience, workload};
use crate::runtime::cgroup::Watch;
use crate::runtime::command::essence;
use crate::runtime::control::Control;
use crate::runtime::{
    Guest, Launch, Limits, Link, LinkChoice, Runtime, RuntimeError, Stdio3, TunLink, container,
};

impl Runtime for Engine {
    fn name(&self) -> &'static str {
        self.kind.as_str()
    }

    fn link(&self) -> &'static str {
        match self.link {
            LinkChoice::Socket => "socket",
            LinkChoice::Wireguard | LinkChoice::Auto => "wireguard",
        }
    }

    fn owner(&self) -> Result<Option<(u32, u32)>, RuntimeError> {
        // Every other engine maps this user to the workload's.
        let root = rustix::process::geteuid().is_root() && !self.facts()?.rootless;
        Ok(if root { Some(self.workload()?) } else { None })
    }

    fn launch(&self, launch: &Launch, stdio: Stdio3) -> Result<Guest, RuntimeError> {
        leftovers::look(self);
        let mut known = self.known()?;
        let prepared = self.prepare(launch, &known.facts)?;
        let mut warnings = prepared.warnings.clone();
        // What was found out once is not tried again by the next session.
        let mut wireguard = match self.link {
            LinkChoice::Auto if self.no_wireguard.load(Ordering::Relaxed) => false,
            choice => wants_wireguard(choice, self.kind, &known.facts, &mut warnings),
        };
        loop {
            match self.attempt(launch, &prepared, &known, wireguard, &stdio) {
                Ok((process, link)) => {
                    self.learn(&known);
                    self.no_wireguard.store(!wireguard, Ordering::Relaxed);
                    warnings.extend(self.without_limits(&known, &launch.limits)?);
                    return Ok(Guest {
                        link: Some(link),
                        kind: if wireguard { "wireguard" } else { "socket" },
                        warnings,
                        written: None,
                        process: crate::runtime::Process::Engine(process),
                    });
                }
                Err(Unable::Refused { said, error }) => {
                    known.manner = known.manner.after(&known.facts, &said).ok_or(error)?;
                    // Before a container runs that would not be allowed to.
                    self.without_limits(&known, &launch.limits)?;
                }
                Err(Unable::NoNetwork(error)) if self.link == LinkChoice::Auto && wireguard => {
                    warnings
                        .push(format!("using the link `socket`, since `wireguard` cannot be had: {error}"));
                    wireguard = false;
                }
                Err(Unable::NoNetwork(error) | Unable::Failed(error)) => return Err(error),
            }
        }
    }
}

/// Why an attempt came to nothing.
enum Unable {
    /// The engine refused; in another manner it may not.
    Refused { said: String, error: RuntimeError },
    /// There is no network for WireGuard, or none that carries it.
    NoNetwork(RuntimeError),
    /// Nothing helps.
    Failed(RuntimeError),
}

impl From<RuntimeError> for Unable {
    fn from(error: RuntimeError) -> Self {
        Self::Failed(error)
    }
}

/// Whether the first attempt is made over WireGuard, or over the socket.
fn wants_wireguard(choice: LinkChoice, kind: Kind, facts: &Facts, warnings: &mut Vec<String>) -> bool {
    match choice {
        LinkChoice::Socket => false,
        LinkChoice::Wireguard => true,
        LinkChoice::Auto => match detect::no_wireguard(kind, facts) {
            None => true,
            Some(why) => {
                warnings.push(format!("using the link `socket`, since {why}"));
                false
            }
        },
    }
}

/// What is the same for every attempt.
struct Prepared {
    image: Image,
    /// What was looked at, for the guest to compare.
    mounts: Vec<Bind>,
    bounds: Vec<Bound>,
    warnings: Vec<String>,
    identity: (u32, u32),
    allowed: Allowed,
}

impl Engine {
    fn prepare(&self, launch: &Launch, facts: &Facts) -> Result<Prepared, RuntimeError> {
        if facts.remote {
            return Err(RuntimeError::Unfit {
                what: format!("{} runs its containers on another machine", self.kind.as_str()),
                hint: Some(
                    "npxc shares files and sockets with its containers: they have to run where npxc runs"
                        .into(),
                ),
            });
        }
        let image = self.image.clone().ok_or_else(container::no_image)?;
        image::check(self.kind, &image)?;
        let checked = self.directories.check(&launch.mounts)?;
        let points = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut warnings = checked.warnings;
        let mut bounds = Vec::new();
        for bind in &checked.binds {
            container::spares_own(bind)?;
            let nested = mountinfo::has_mounts_below(&bind.host, &points);
            if nested && !bind.writable {
                warnings.push(format!(
                    "what is mounted below {} is not visible inside: the engine cannot make it read-only",
                    bind.host.display()
                ));
            }
            let (host, guest) = (bind.host.clone(), bind.guest.clone());
            bounds.push(Bound { host, guest, writable: bind.writable, nested });
        }
        let identity = self.identity.unwrap_or_else(|| workload(self.kind, facts));
        Ok(Prepared {
            image,
            mounts: checked.binds,
            bounds,
            warnings,
            identity,
            allowed: Allowed::read(facts),
        })
    }

    /// Warnings about limits that the engine does not hold.
    ///
    /// # Errors
    /// There are some, and [`Engine::require_limits`] was asked for.
    fn without_limits(&self, known: &Known, limits: &Limits) -> Result<Vec<String>, RuntimeError> {
        let can = known.limits();
        let missing: Vec<&str> = [
            (can.memory, "memory"),
            (can.pids, "processes"),
            (can.cpus || limits.cpus.is_none(), "CPU time"),
        ]
        .into_iter()
        .filter_map(|(has, name)| (!has).then_some(name))
        .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let missing = missing.join(", ");
        if self.require_limits {
            return Err(RuntimeError::Unfit {
                what: format!("{} cannot limit {missing} on this host, and `require_limits` is set", self.kind.as_str()),
                hint: Some("delegate control groups (version 2) to your user, or let npxc watch over memory and processes itself: leave `--require-limits` out (`require_limits = false`)".into()),
            });
        }
        // Given up after a refusal, maybe in another session: that is said each time. What the engine itself says
        // that it lacks is only of interest to who chose a limit.
        if !limits.chosen && !known.manner.gives_limits_up() {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "{} cannot limit {missing} on this host: npxc watches memory and processes itself, twice a second",
            self.kind.as_str()
        )])
    }

    /// One try, from the session's directory to the link.
    fn attempt(
        &self,
        launch: &Launch,
        prepared: &Prepared,
        known: &Known,
        wireguard: bool,
        stdio: &Stdio3,
    ) -> Result<(Process, Link), Unable> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let owner = Owner::this();
        let place = Place::create(&self.directory, self.kind, &id, owner)?;
        let program = place.program(&container::guest_program(self.guest.as_deref())?)?;
        let own = ProgramFile::of(&program).map_err(RuntimeError::io("the guest's program"))?;
        let listener = place.listen()?;
        let mut bounds = prepared.bounds.clone();
        bounds.extend(place.files(prepared.identity, &launch.files)?);
        let network = wireguard
            .then(|| Network::create(self.kind, &self.client, &id, owner, self.mtu))
            .transpose()
            .map_err(Unable::NoNetwork)?;
        let words = Words {
            id: &id,
            owner,
            image: &prepared.image.id,
            program: &program,
            run: &place.run(),
            network: network.as_ref().map(|network| network.name.as_str()),
            identity: prepared.identity,
            bounds: &bounds,
            limits: &launch.limits,
            extra: &self.extra,
        };
        let words =
            arguments::arguments(self.kind, &known.facts, &known.manner, &words).map_err(|untold| {
                RuntimeError::Mount {
                    why: format!("engines cannot be told a path with {} in it", untold.character),
                    path: untold.path,
                    hint: None,
                }
            })?;
        let mut command = self.client.command(&words);
        // podman's monitor leaves a file where it was started when memory runs out.
        command.current_dir(place.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| self.client.not_started(source))?;
        let mut container = Container::new(self.client.clone(), arguments::name(&id), child, network, place)?;

        let (stream, pid) =
            match peer::accept(&listener, &container.pidfd, &prepared.allowed, own, patience::START)? {
                First::Guest(stream, pid) => (stream, pid),
                First::Ended => {
                    let status = container.ended();
                    let said = container.said();
                    if is_refusal(status) {
                        let error = self.client.failed(&["run"], essence(&said));
                        return Err(Unable::Refused { said, error });
                    }
                    // The container ran: whatever it ended with teaches nothing about the engine.
                    let status = status.map_or_else(|| "no status".into(), |status| status.to_string());
                    let why =
                        format!("the container ended before npxc heard of it ({status}) {}", essence(&said));
                    return Err(self.client.failed(&["run"], why.trim().to_owned()).into());
                }
                First::Nothing => {
                    let said = "the container did not start in time".to_owned();
                    return Err(self.client.failed(&["run"], said).into());
                }
            };
        drop(listener);
        if let Some(place) = &container.place {
            place.close();
        }
        let watch = pid.map(Watch::of).unwrap_or_default();
        let control = Control::new(Channel::new(OwnedFd::from(stream)));
        let can = known.limits();
        let supervise = Supervise {
            memory: (!can.memory).then_some(launch.limits.memory),
            pids: (!can.pids).then_some(launch.limits.pids),
            nproc: None,
        };
        let mut process = Process { control, container, supervise, watch, outcome: None };
        let link = if wireguard {
            self.wireguard_link(&mut process, launch, prepared, known, stdio)?
        } else {
            Self::socket_link(&mut process, launch, prepared, stdio)?
        };
        process.control.set_nonblocking()?;
        Ok((process, link))
    }

    fn socket_link(
        process: &mut Process,
        launch: &Launch,
        prepared: &Prepared,
        stdio: &Stdio3,
    ) -> Result<Link, RuntimeError> {
        send(process, &spec(launch, prepared, ContainerLink::Tun), stdio);
        let ready = process.ready(patience::LINK)?;
        let fd = process.control.channel.take_descriptor().ok_or(RuntimeError::Lost(": it sent no link"))?;
        Ok(Link::Tun(TunLink { fd, vnet_hdr: ready.vnet_hdr, tso: ready.offload, mtu: MTU }))
    }

    fn wireguard_link(
        &self,
        process: &mut Process,
        launch: &Launch,
        prepared: &Prepared,
        known: &Known,
        stdio: &Stdio3,
    ) -> Result<Link, Unable> {
        let subnet = process.container.network.as_ref().and_then(|network| network.addresses.link());
        let subnet = subnet.ok_or(RuntimeError::Lost(": its network has no address"))?;
        // Only now: some engines give the host its address with the first container.
        let bound = if known.facts.rootless {
            let program = self.helper_program()?;
            bind::rootless(&self.client, &program, subnet)
        } else {
            bind::here(subnet)
        };
        let bound = bound.map_err(Unable::NoNetwork)?;
        let (mut link, wireguard) = container::tunnel(bound.socket, bound.address, bound.mtu)?;
        send(process, &spec(launch, prepared, ContainerLink::Wireguard(wireguard)), stdio);
        link.answer(&process.control.channel, container::HANDSHAKE)
            .map_err(RuntimeError::io("the tunnel's socket"))?;
        match process.ready(container::HANDSHAKE) {
            Ok(_) => Ok(Link::WireGuard(link)),
            Err(RuntimeError::Step(failure)) if failure.step == Step::Handshake => {
                Err(Unable::NoNetwork(RuntimeError::Step(failure)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn helper_program(&self) -> Result<PathBuf, RuntimeError> {
        // By name: /proc/self/exe would be podman there.
        self.helper
            .clone()
            .map_or_else(std::env::current_exe, Ok)
            .map_err(RuntimeError::io("npxc's own program"))
    }
}

fn spec(launch: &Launch, prepared: &Prepared, link: ContainerLink) -> Spec {
    let (user, group) = prepared.identity;
    let place = npxc_guest::spec::Container { user, group, link, machine: false };
    container::spec(launch, prepared.mounts.clone(), Vec::new(), prepared.image.path.as_deref(), place)
}

/// A guest that could not read it has said why, or its silence is the error.
fn send(process: &Process, spec: &Spec, stdio: &Stdio3) {
    let descriptors = [stdio.stdin.as_fd(), stdio.stdout.as_fd(), stdio.stderr.as_fd()];
    let _ = process.control.channel.send(spec, &descriptors);
}

#[cfg(test)]
mod tests;
