//! One layer of configuration: everything a source can say, typed, nothing filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::choices::{Addresses, LinkChoice, RuntimeChoice, Strategy};
use super::error::Place;
use super::mounts::MountSpec;
use super::proxy::ProxyChoice;
use super::values::{AddHost, EnvName, EnvValue, Publish};
use crate::audit::shelf::Keep;
use crate::policy::{Mode, Rule};
use crate::rpc::identify::Arguments;
use crate::runtime::Access;

/// `[audit]`: what becomes of logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logs {
    /// Whether they are signed.
    pub sign: bool,
    /// Which ones in npxc's own directory are kept; all where nobody said.
    pub keep: Option<Keep>,
    /// Most bytes of a file; one file for each where nobody said.
    pub max_size: Option<u64>,
    /// Whether their events are sent to an OpenTelemetry collector as well.
    pub otel: bool,
}

/// Where a value came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command line.
    #[default]
    Option,
    /// A variable of npxc's own ([`variables`](super::variables)).
    Variable,
    /// The package's file.
    Package(PathBuf),
    /// The file for all packages.
    Global(PathBuf),
    /// Nobody said anything about it.
    Default,
}

/// What the command line, the environment or one file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// Who says it.
    pub origin: Origin,
    /// `--network`.
    pub mode: Option<Mode>,
    /// Where the mode stood.
    pub mode_place: Option<Place>,
    /// `--allow`.
    pub allow: Vec<Rule>,
    /// `--allow-private`.
    pub allow_private: Vec<Rule>,
    /// `--deny`.
    pub deny: Vec<Rule>,
    /// `[network] ipv6`.
    pub ipv6: Option<bool>,
    /// `--addresses`.
    pub addresses: Option<Addresses>,
    /// `--add-host`.
    pub add_host: Vec<AddHost>,
    /// `--proxy`, and where it stood.
    pub proxy: Option<(ProxyChoice, Place)>,
    /// `--publish`.
    pub publish: Vec<Publish>,
    /// `[network] explain`: whether errors of calls tell what was denied meanwhile.
    pub explain: Option<bool>,
    /// `--allow-install`.
    pub install_allow: Vec<Rule>,
    /// `--ignore-scripts`.
    pub ignore_scripts: Option<bool>,
    /// `--persist`.
    pub persist: Option<bool>,
    /// `--env NAME=VALUE`.
    pub env: BTreeMap<EnvName, EnvValue>,
    /// `--env NAME`, which must be set on the host, and `env_passthrough`, which need not be.
    pub passthrough: BTreeMap<EnvName, bool>,
    /// `--mount`.
    pub mounts: Vec<MountSpec>,
    /// `--write`, `[paths] mount_mode`: whether files of the working directory that calls name may be written.
    pub mount_mode: Option<Access>,
    /// `[paths] strategies`: how paths are found.
    pub strategies: Option<Vec<Strategy>>,
    /// `[paths.heuristic] enabled`: `false` wins over `strategies`, `true` adds nothing to them.
    pub heuristic: Option<bool>,
    /// `[path_arguments]`: arguments that are paths, by tool.
    pub path_arguments: Arguments,
    /// `[non_path_arguments]`: arguments that are none, by tool.
    pub non_path_arguments: Arguments,
    /// `--runtime`.
    pub runtime: Option<RuntimeChoice>,
    /// `--link`, and where it stood.
    pub link: Option<(LinkChoice, Place)>,
    /// `--image`.
    pub image: Option<String>,
    /// `--require-limits`.
    pub require_limits: Option<bool>,
    /// `[runtime] program`: the engine's command line, where it is not found by its name.
    pub program: Option<PathBuf>,
    /// `[runtime] arguments`: what the engine's `run` gets besides.
    pub arguments: Option<Vec<String>>,
    /// `--memory`, bytes.
    pub memory: Option<u64>,
    /// `--cpus`, cores.
    pub cpus: Option<f64>,
    /// `--pids`.
    pub pids: Option<u64>,
    /// `[audit]`: what becomes of logs; only the file for all packages says so.
    pub logs: Logs,
    /// What a person should know about the file, and stops nothing; a second line is what to do about it.
    pub notes: Vec<String>,
}

impl Layer {
    /// Whether this layer says what the package may use up.
    pub fn chooses_limits(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.pids.is_some()
    }

    /// The mode this layer asks for, if it says anything about it.
    pub fn wanted_mode(&self) -> Option<Mode> {
        let rules = !self.allow.is_empty() || !self.allow_private.is_empty();
        self.mode.or(rules.then_some(Mode::Allowlist))
    }
}
