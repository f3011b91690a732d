//! The link: throughput, connections, round trips, DNS answers and memory, npxc and its peers in turn.
//!
//! Runs in fresh network namespaces: `unshare --net` as root, `unshare --user --map-root-user --net` otherwise.

pub mod contender;
pub mod guest;
mod pattern;
pub mod server;
pub mod topology;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit};

use self::contender::{Contender, Running};
use self::topology::{SERVER, SERVER_NAME, SERVER_V6, Topology};
use crate::common::gates::IDLE_FLOWS;
use crate::common::record::{note, sample};
use crate::common::scale::Scale;

/// What one packet of an Ethernet carries of a TCP stream with timestamps.
const SEGMENT: f64 = 1448.0;

/// Everywhere, whatever the machine prefers: BBR paces with timers, and their noise on a busy core is larger than
/// any difference that is to be seen here. Without loss it is the same as CUBIC, and any process may choose it.
const CONGESTION_CONTROL: &str = "reno";

/// Measures and prints records.
pub fn run(scale: Scale) -> Result<()> {
    scale.pin()?;
    // One for both: its interfaces stay in this process's namespace.
    let _topology = Topology::build()?;
    in_turn("datapath", &Contender::ALL, scale.rounds(), scale, Turn::measure);
    // A difference of a hundredth is less than what one round differs from the next.
    let pairs = [Contender::Npxc, Contender::Unlogged];
    in_turn("audit log", &pairs, scale.pairs(), scale, Turn::measure_log);
    Ok(())
}

/// The same for contenders with a tunnel.
pub fn run_tunnels(scale: Scale) -> Result<()> {
    scale.pin()?;
    let _topology = Topology::build()?;
    in_turn("wireguard", &Contender::TUNNELS, scale.rounds(), scale, Turn::measure_tunnel);
    Ok(())
}

fn in_turn(section: &str, contenders: &[Contender], rounds: usize, scale: Scale, measure: fn(&mut Turn)) {
    let (present, missing): (Vec<Contender>, Vec<Contender>) =
        contenders.iter().partition(|contender| contender.present());
    for missing in missing {
        note(format!("{} is missing (benches/run installs it)", missing.name()));
    }
    for round in 0..rounds {
        eprintln!("bench: {section}, round {} of {rounds}", round + 1);
        // Each round begins with somebody else, so that a drift of the machine favours nobody.
        for turn in 0..present.len() {
            let contender = present[(round + turn) % present.len()];
            match contender.start() {
                Ok(running) => {
                    let mut turn = Turn { scale, round, running };
                    measure(&mut turn);
                    turn.running.stop();
                }
                Err(error) => note(format!("{error:#}")),
            }
        }
    }
}

/// For this network namespace.
fn choose_congestion_control() -> Result<()> {
    std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", CONGESTION_CONTROL)
        .context("choosing the congestion control")
}

/// Lets this process hold as many connections as it may.
fn raise_descriptors() -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// One contender's turn.
struct Turn {
    scale: Scale,
    round: usize,
    running: Running,
}

impl Turn {
    fn measure(&mut self) {
        let contender = self.running.contender;
        let bulk = self.scale.bulk().as_millis();
        let short = self.scale.short().as_millis();
        self.take("upload", &format!("upload {SERVER} {bulk}"), gigabits);
        self.take("download", &format!("download {SERVER} {bulk}"), gigabits);
        self.take("connections", &format!("connections {SERVER} {bulk}"), rate);
        if contender == Contender::Npxc {
            self.take("named", &format!("connections {SERVER_NAME} {bulk}"), rate);
        }
        self.take("rtt", &format!("rtt {SERVER} {short}"), first);
        // slirp4netns calls its IPv6 experimental, and it is off by default.
        if contender != Contender::Slirp {
            self.take("upload6", &format!("upload {SERVER_V6} {short}"), gigabits);
            self.take("download6", &format!("download {SERVER_V6} {short}"), gigabits);
            self.take("connections6", &format!("connections {SERVER_V6} {short}"), rate);
        }
        let resolver = contender.resolver();
        self.take("dns-allowed", &format!("dns {resolver} {SERVER_NAME} 16 {short}"), rate);
        if contender == Contender::Npxc {
            self.take("dns-denied", &format!("dns {resolver} *.denied.example 16 {short}"), rate);
            for flows in IDLE_FLOWS {
                self.beside(flows);
            }
        } else if contender != Contender::Kernel && self.idle(1000) {
            self.memory();
        }
    }

    fn measure_tunnel(&mut self) {
        let (bulk, short) = (self.scale.bulk().as_millis(), self.scale.short().as_millis());
        self.take("wg-upload", &format!("upload {SERVER} {bulk}"), gigabits);
        self.take("wg-download", &format!("download {SERVER} {bulk}"), gigabits);
        self.take("wg-connections", &format!("connections {SERVER} {bulk}"), rate);
        self.take("wg-rtt", &format!("rtt {SERVER} {short}"), first);
    }

    fn measure_log(&mut self) {
        let short = self.scale.short().as_millis();
        self.take("log-upload", &format!("upload {SERVER} {short}"), gigabits);
        self.take("log-download", &format!("download {SERVER} {short}"), gigabits);
        self.take("log-connections", &format!("connections {SERVER} {short}"), rate);
    }

    fn memory(&self) {
        if let Some(megabytes) = self.running.resident() {
            sample(self.round, "rss-1000", self.running.contender.name(), megabytes);
        }
    }

    /// npxc with idle flows beside the busy one.
    fn beside(&mut self, flows: usize) {
        let short = self.scale.short().as_millis();
        let kept = self.idle(flows);
        if kept && flows == 1000 {
            self.memory();
        }
        if kept {
            self.take(&format!("up-{flows}"), &format!("upload {SERVER} {short}"), per_segment);
            self.take(&format!("down-{flows}"), &format!("download {SERVER} {short}"), per_segment);
            self.take(&format!("rtt-{flows}"), &format!("rtt {SERVER} {short}"), first);
        }
    }

    fn idle(&mut self, flows: usize) -> bool {
        match self.running.ask(&format!("idle {SERVER} {flows}")) {
            Ok(_) => true,
            Err(error) => {
                note(format!("{error:#}"));
                false
            }
        }
    }

    fn take(&mut self, metric: &str, command: &str, figure: fn(&[f64]) -> Option<f64>) {
        match self.running.ask(command) {
            Ok(figures) => {
                if let Some(figure) = figure(&figures) {
                    sample(self.round, metric, self.running.contender.name(), figure);
                }
            }
            Err(error) => note(format!("{error:#}")),
        }
    }
}

fn first(figures: &[f64]) -> Option<f64> {
    figures.first().copied()
}

fn rate(figures: &[f64]) -> Option<f64> {
    Some(figures.first()? / figures.get(1)?)
}

fn gigabits(figures: &[f64]) -> Option<f64> {
    Some(rate(figures)? * 8.0 / 1e9)
}

fn per_segment(figures: &[f64]) -> Option<f64> {
    Some(SEGMENT * 1e6 / rate(figures)?)
}
