//! Layers on top of each other: what one run is granted. Pure; the host's environment is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::choices::{Addresses, LinkChoice, RuntimeChoice, Strategy};
use super::directories::Directories;
use super::error::{ConfigError, Fault, Place};
use super::layer::{Layer, Logs, Origin};
use super::mounts::{GuestPath, HostPath, MountSpec};
use super::values::{AddHost, EnvName, EnvValue, Publish};
use super::{proxy, variables};
use crate::audit;
use crate::net::proxy::Proxying;
use crate::package::{HostEnv, Request};
use crate::policy::{Mode, PolicySpec, Rule};
use crate::rpc::identify::{Arguments, Configured, Strategies};
use crate::runtime::{Access, Limits, Mount};

/// Everything a session needs to know; nothing is left to be looked up but the package itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What to install and which bin to run.
    pub request: Request,
    /// The package's own arguments, as they were given.
    pub args: Vec<OsString>,
    /// What it may reach.
    pub network: Network,
    /// What its installation is granted.
    pub install: InstallGrants,
    /// The variables it gets. Values are not printed.
    pub env: BTreeMap<EnvName, EnvValue>,
    /// The host's files it gets, as the runtime takes them.
    pub mounts: Vec<Mount>,
    /// What it may do with files of the working directory that calls name.
    pub mount_mode: Access,
    /// Whether the working directory is mounted as a whole because `--no-isolate` said so.
    pub no_isolate: bool,
    /// Whether it has a `/data` that lasts, and keeps what it writes into its own folder.
    pub persist: bool,
    /// Which arguments of its tools are paths, and which are not, as far as it was said.
    pub arguments: Configured,
    /// Ports of the host that lead into the guest.
    pub publish: Vec<Publish>,
    /// Whether errors of calls tell what was denied meanwhile.
    pub explain: bool,
    /// What it may use up.
    pub limits: Limits,
    /// What runs it.
    pub runtime: RuntimeOptions,
    /// The host's directory that relative paths are relative to, absolute.
    pub cwd: PathBuf,
    /// Where the package starts inside the guest: `cwd`, when a mount has it; its home otherwise (`None`).
    pub guest_cwd: Option<PathBuf>,
    /// Where its log goes.
    pub audit: audit::Target,
    /// What becomes of logs.
    pub logs: Logs,
    /// npxc's own directories.
    pub directories: Directories,
    /// The files the configuration came from. The package must not be able to change them either.
    pub files: Vec<PathBuf>,
    /// What a person may want to know although it stops nothing; for stderr.
    pub warnings: Vec<String>,
    /// What all of this was put together from, highest first.
    pub layers: Vec<Layer>,
}

impl Resolved {
    /// Who says something: the highest layer of which `says` is true.
    pub fn origin(&self, says: impl Fn(&Layer) -> bool) -> &Origin {
        self.layers.iter().find(|layer| says(layer)).map_or(&Origin::Default, |layer| &layer.origin)
    }
}

/// What a run may reach.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Network {
    /// What happens to a destination that no rule names.
    pub mode: Mode,
    /// What is reached.
    pub allow: Vec<Rule>,
    /// What is reached even at a private address.
    pub allow_private: Vec<Rule>,
    /// What is never reached.
    pub deny: Vec<Rule>,
    /// Whether AAAA questions for allowed names are answered.
    pub ipv6: bool,
    /// What the resolver hands out.
    pub addresses: Addresses,
    /// Names whose addresses are given.
    pub add_host: Vec<AddHost>,
    /// The proxy that connections go through.
    pub proxy: Option<Proxying>,
    /// Whether it, or that there is none, was chosen for npxc: then npm's own says nothing.
    pub proxy_chosen: bool,
}

impl Network {
    /// The policy, with what the presets stand for.
    pub fn policy(&self, presets: BTreeMap<String, Vec<Rule>>) -> PolicySpec {
        PolicySpec {
            mode: self.mode,
            allow: self.allow.clone(),
            allow_private: self.allow_private.clone(),
            deny: self.deny.clone(),
            presets,
        }
    }
}

/// What runs a package, as it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeOptions {
    /// Which runtime.
    pub name: RuntimeChoice,
    /// Which link carries its packets.
    pub link: LinkChoice,
    /// The container image, where the runtime is an engine.
    pub image: Option<String>,
    /// The engine's program, where it is not found by its name.
    pub program: Option<PathBuf>,
    /// What the engine's `run` gets besides.
    pub arguments: Vec<String>,
    /// Whether limits that cannot be enforced stop a run.
    pub require_limits: bool,
}

/// What an installation is granted beyond the registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallGrants {
    /// What install scripts may reach.
    pub allow: Vec<Rule>,
    /// Whether install scripts are left out.
    pub ignore_scripts: bool,
}

/// What layers come to before the disk is looked at.
pub(super) struct Combined {
    pub(super) network: Network,
    pub(super) install: InstallGrants,
    pub(super) env: BTreeMap<EnvName, EnvValue>,
    pub(super) mounts: Vec<(MountSpec, HostPath, GuestPath)>,
    pub(super) mount_mode: Access,
    pub(super) persist: bool,
    pub(super) arguments: Configured,
    pub(super) publish: Vec<Publish>,
    pub(super) explain: bool,
    pub(super) limits: Limits,
    pub(super) runtime: RuntimeOptions,
    pub(super) warnings: Vec<String>,
}

/// Puts `layers`, highest first, on top of each other.
pub(super) fn combine(layers: &[Layer], host: &HostEnv, cwd: &HostPath) -> Result<Combined, ConfigError> {
    let mut warnings: Vec<String> = layers.iter().flat_map(|layer| layer.notes.clone()).collect();
    let defaults = Limits::default();
    let allowed = layers.iter().flat_map(|layer| layer.allow.iter().chain(&layer.allow_private));
    warnings.extend(allowed.filter_map(about_loopback));
    let add_host = add_host(layers);
    let given = add_host.iter().map(|entry| entry.name.clone()).collect();
    let mode = mode(layers)?;
    let (proxy, proxy_chosen) = match proxy::of(layers, host, given) {
        // Nothing goes through it; an install that would says so itself.
        Err(_) if mode == Mode::None => (None, false),
        found => found?,
    };
    Ok(Combined {
        network: Network {
            mode,
            allow: union(layers, |layer| &layer.allow),
            allow_private: union(layers, |layer| &layer.allow_private),
            deny: union(layers, |layer| &layer.deny),
            ipv6: first(layers, |layer| layer.ipv6).unwrap_or(false),
            addresses: first(layers, |layer| layer.addresses).unwrap_or_default(),
            add_host,
            proxy,
            proxy_chosen,
        },
        install: InstallGrants {
            allow: union(layers, |layer| &layer.install_allow),
            ignore_scripts: first(layers, |layer| layer.ignore_scripts).unwrap_or(false),
        },
        env: environment(layers, host, &mut warnings)?,
        mounts: mounts(layers, host, cwd)?,
        mount_mode: first(layers, |layer| layer.mount_mode).unwrap_or(Access::ReadOnly),
        persist: first(layers, |layer| layer.persist).unwrap_or(false),
        arguments: Configured {
            paths: arguments(layers, |layer| &layer.path_arguments),
            others: arguments(layers, |layer| &layer.non_path_arguments),
            strategies: strategies(layers),
        },
        publish: union(layers, |layer| &layer.publish),
        explain: first(layers, |layer| layer.explain).unwrap_or(true),
        limits: Limits {
            memory: first(layers, |layer| layer.memory).unwrap_or(defaults.memory),
            cpus: first(layers, |layer| layer.cpus).or(defaults.cpus),
            pids: first(layers, |layer| layer.pids).unwrap_or(defaults.pids),
            chosen: layers.iter().any(Layer::chooses_limits),
            ..defaults
        },
        runtime: runtime(layers)?,
        warnings,
    })
}

/// An allow rule for loopback addresses is no mistake where a name resolves to one, and is no way to this machine.
fn about_loopback(rule: &Rule) -> Option<String> {
    rule.instead_of_loopback().map(|instead| {
        format!(
            "{} inside the sandbox is the sandbox itself, so the rule `{rule}` opens nothing of this machine; \
             --allow {instead} does",
            rule.host()
        )
    })
}

fn first<T>(layers: &[Layer], value: impl Fn(&Layer) -> Option<T>) -> Option<T> {
    layers.iter().find_map(value)
}

fn union<T: Clone + PartialEq>(layers: &[Layer], list: impl Fn(&Layer) -> &Vec<T>) -> Vec<T> {
    let mut out: Vec<T> = Vec::new();
    for item in layers.iter().flat_map(list) {
        if !out.contains(item) {
            out.push(item.clone());
        }
    }
    out
}

/// How paths are found: what was said, or every way. Looks count only if neither `strategies` nor `[paths.heuristic]`
/// is against it.
pub(super) fn strategies(layers: &[Layer]) -> Strategies {
    let named = first(layers, |layer| layer.strategies.clone());
    let has = |one| named.as_ref().is_none_or(|named| named.contains(&one));
    Strategies {
        config: has(Strategy::Config),
        schema: has(Strategy::Schema),
        heuristic: has(Strategy::Heuristic) && first(layers, |layer| layer.heuristic).unwrap_or(true),
    }
}

/// United by tool; a tool's lists are united as well.
fn arguments(layers: &[Layer], table: impl Fn(&Layer) -> &Arguments) -> Arguments {
    let mut out = Arguments::new();
    for (tool, names) in layers.iter().flat_map(table) {
        let list = out.entry(tool.clone()).or_default();
        list.extend(names.iter().cloned());
    }
    out
}

/// What runs packages, by `layers`, highest first.
pub(super) fn runtime(layers: &[Layer]) -> Result<RuntimeOptions, ConfigError> {
    let link = first(layers, |layer| layer.link.clone());
    let ground = RuntimeOptions {
        name: first(layers, |layer| layer.runtime).unwrap_or_default(),
        link: link.as_ref().map_or_else(LinkChoice::default, |(link, _)| *link),
        image: first(layers, |layer| layer.image.clone()),
        program: first(layers, |layer| layer.program.clone()),
        arguments: first(layers, |layer| layer.arguments.clone()).unwrap_or_default(),
        require_limits: first(layers, |layer| layer.require_limits).unwrap_or_default(),
    };
    if let (RuntimeChoice::Native, Some((option, image))) = (ground.name, image_in_vain(layers)) {
        let fault = Fault::new("the native runtime has this machine's files and takes no image").hint(
            "choose a container engine with --runtime podman or --runtime docker, or leave the image out",
        );
        return Err(ConfigError::option(option, image, fault));
    }
    if let Some((link, place)) = link {
        link.suits(ground.name).map_err(|fault| match &place {
            Place::Option(option) => ConfigError::option(option, link.as_str(), fault),
            Place::File { .. } | Place::Surroundings => ConfigError::at(&place, fault),
        })?;
    }
    Ok(ground)
}

/// The image that an option or a variable names for this start, unless the runtime was chosen above it. One in a file is for
/// whenever an engine is chosen.
fn image_in_vain(layers: &[Layer]) -> Option<(&'static str, &String)> {
    let above = layers.iter().take_while(|layer| layer.image.is_none());
    if above.clone().any(|layer| layer.runtime.is_some()) {
        return None;
    }
    let layer = layers.get(above.count())?;
    let option = match layer.origin {
        Origin::Option => "--image",
        Origin::Variable => "NPXC_IMAGE",
        Origin::Package(_) | Origin::Global(_) | Origin::Default => return None,
    };
    Some((option, layer.image.as_ref()?))
}

fn mode(layers: &[Layer]) -> Result<Mode, ConfigError> {
    for layer in layers {
        let first = layer.allow.first().or(layer.allow_private.first());
        if let (Some(Mode::None), Some(rule), Some(place)) = (layer.mode, first, &layer.mode_place) {
            let fault =
                Fault::new(format!("no network at all, and `{rule}` is allowed: one contradicts the other"));
            let hint = match place {
                Place::Option(option) => {
                    format!("leave {option} out: --allow turns the allowlist on by itself")
                }
                Place::File { .. } | Place::Surroundings => {
                    "write mode = \"allowlist\", or take `mode` out".to_owned()
                }
            };
            return Err(ConfigError::at(place, fault.hint(hint)));
        }
    }
    Ok(first(layers, Layer::wanted_mode).unwrap_or_default())
}

pub(super) fn add_host(layers: &[Layer]) -> Vec<AddHost> {
    let mut out = Vec::new();
    let mut taken = BTreeSet::new();
    for layer in layers {
        // One layer may give a name several addresses; a lower layer adds none to them.
        let fresh: Vec<&AddHost> =
            layer.add_host.iter().filter(|entry| !taken.contains(&entry.name)).collect();
        taken.extend(fresh.iter().map(|entry| entry.name.clone()));
        out.extend(fresh.into_iter().cloned());
    }
    out
}

fn environment(
    layers: &[Layer],
    host: &HostEnv,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<EnvName, EnvValue>, ConfigError> {
    let given = variables::given(host);
    let mut env = BTreeMap::new();
    for layer in layers {
        for (name, value) in &layer.env {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, required) in &layer.passthrough {
            if env.contains_key(name) {
                continue;
            }
            let own = || host.vars.get(std::ffi::OsStr::new(name.as_str())).cloned();
            match given.get(name.as_str()).map(Into::into).or_else(own) {
                Some(value) => {
                    env.insert(name.clone(), EnvValue(value));
                }
                None if *required => {
                    let fault = Fault::new("this variable is not set in npxc's own environment")
                        .hint(format!("set it where npxc is started, or give a value: --env {name}=VALUE"));
                    return Err(ConfigError::option("--env", name.as_str(), fault));
                }
                None => warnings
                    .push(format!("the variable {name} (env_passthrough) is not set, so it is left out")),
            }
        }
    }
    Ok(env)
}

fn mounts(
    layers: &[Layer],
    host: &HostEnv,
    cwd: &HostPath,
) -> Result<Vec<(MountSpec, HostPath, GuestPath)>, ConfigError> {
    let mut out: Vec<(MountSpec, HostPath, GuestPath)> = Vec::new();
    for layer in layers {
        let higher = out.len();
        for spec in &layer.mounts {
            let wrong = |fault| match &spec.place {
                Place::Option(option) => ConfigError::option(option, &spec.host, fault),
                Place::File { .. } | Place::Surroundings => ConfigError::at(&spec.place, fault),
            };
            let source = HostPath::new(&spec.host, cwd.as_path(), &host.home).map_err(wrong)?;
            let guest = spec.guest(&source).map_err(wrong)?;
            let same = |(_, _, other): &(MountSpec, HostPath, GuestPath)| *other == guest;
            let (above, level) = out.split_at(higher);
            if above.iter().any(same) {
                continue;
            }
            if level.iter().any(same) {
                return Err(wrong(Fault::new(format!("two mounts go to {guest} inside the sandbox"))));
            }
            out.push((spec.clone(), source, guest));
        }
    }
    // Parents first: a mount inside another one must come after it.
    out.sort_by(|(_, _, a), (_, _, b)| a.cmp(b));
    Ok(out)
}
