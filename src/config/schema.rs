//! The two files as they are written: `npxc.toml` and `packages/<name>.toml`. Only keys that do something are
//! known; every other one is refused, with the nearest right one.
//!
//! Text comes from [`load`](mod@super::load); what leaves is a typed [`Layer`], or the place of the first mistake.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::error::{ConfigError, Fault, Place, nearest};
use super::layer::Layer;
use super::mounts::MountSpec;
use super::paths::PathsTable;
use super::proxy::ProxyChoice;
use super::values::{self, EnvName, EnvValue};
use crate::package::{PackageSpec, VersionSpec};
use crate::policy::Rule;
use crate::rpc::identify::Arguments;
use crate::runtime::Access;

/// Keys of the design that this version does not have yet; they get a word of their own.
const LATER: [&str; 1] = ["audit"];

type Text = Spanned<String>;

/// `npxc.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GlobalFile {
    defaults: Defaults,
    paths: PathsTable,
}

/// `[defaults]`: the same keys as a package's file, but those that name the package. `[paths]` may stand by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Defaults {
    node_image: Option<Text>,
    env: BTreeMap<Text, Text>,
    env_passthrough: Vec<Text>,
    network: NetworkTable,
    storage: StorageTable,
    mounts: Vec<MountTable>,
    paths: PathsTable,
    path_arguments: BTreeMap<String, Vec<Text>>,
    non_path_arguments: BTreeMap<String, Vec<Text>>,
    runtime: RuntimeTable,
    install: InstallTable,
}

/// `packages/<name>.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PackageFile {
    package: Option<Text>,
    version: Option<Text>,
    env: BTreeMap<Text, Text>,
    env_passthrough: Vec<Text>,
    network: NetworkTable,
    storage: StorageTable,
    mounts: Vec<MountTable>,
    paths: PathsTable,
    path_arguments: BTreeMap<String, Vec<Text>>,
    non_path_arguments: BTreeMap<String, Vec<Text>>,
    runtime: RuntimeTable,
    install: InstallTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StorageTable {
    persist: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetworkTable {
    mode: Option<Text>,
    allow: Vec<Text>,
    allow_private: Vec<Text>,
    deny: Vec<Text>,
    ipv6: Option<bool>,
    addresses: Option<Text>,
    add_host: Vec<Text>,
    publish: Vec<Text>,
    explain: Option<bool>,
    proxy: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MountTable {
    host: Text,
    guest: Option<Text>,
    access: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RuntimeTable {
    name: Option<Text>,
    link: Option<Text>,
    image: Option<Text>,
    program: Option<Text>,
    arguments: Option<Vec<Text>>,
    require_limits: Option<bool>,
    memory: Option<Spanned<Scalar>>,
    cpus: Option<Spanned<Scalar>>,
    pids: Option<Spanned<Scalar>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InstallTable {
    allow: Vec<Text>,
    ignore_scripts: Option<bool>,
}

/// A number, or a number with a unit in quotes.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a size such as \"2G\"")]
enum Scalar {
    Integer(i64),
    Float(f64),
    Text(String),
}

/// Parses `npxc.toml`.
pub fn global(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let mut file: GlobalFile = parse(path, text, below_defaults)?;
    file.defaults.paths = file.paths.over(file.defaults.paths);
    Source { path, text }.layer(&file.defaults)
}

/// Parses `packages/<name>.toml`: what it grants, and what it says to install.
pub fn package(
    path: &Path,
    text: &str,
) -> Result<(Layer, Option<PackageSpec>, Option<VersionSpec>), ConfigError> {
    let file: PackageFile = parse(path, text, |_| None)?;
    let source = Source { path, text };
    let package = source
        .one(file.package.as_ref(), |text| text.parse::<PackageSpec>().map_err(|error| spec_fault(&error)))?;
    let version = source
        .one(file.version.as_ref(), |text| text.parse::<VersionSpec>().map_err(|error| spec_fault(&error)))?;
    let layer = source.layer(&Defaults {
        node_image: None,
        env: file.env,
        env_passthrough: file.env_passthrough,
        network: file.network,
        storage: file.storage,
        mounts: file.mounts,
        paths: file.paths,
        path_arguments: file.path_arguments,
        non_path_arguments: file.non_path_arguments,
        runtime: file.runtime,
        install: file.install,
    })?;
    Ok((layer, package, version))
}

fn access(text: &str) -> Result<Access, Fault> {
    match text {
        "ro" => Ok(Access::ReadOnly),
        "rw" => Ok(Access::ReadWrite),
        _ => Err(Fault::new("expected \"ro\" or \"rw\"")),
    }
}

/// A spec's error as a complaint about a value.
pub fn spec_fault(error: &crate::package::spec::SpecError) -> Fault {
    let fault = Fault::new(error.problem.to_string());
    match error.hint() {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// Where a key that a package's file has stands in `npxc.toml`.
fn below_defaults(key: &str) -> Option<String> {
    match key {
        "network" | "storage" | "runtime" | "install" | "env" | "path_arguments" | "non_path_arguments" => {
            Some(format!("in npxc.toml it is [defaults.{key}]"))
        }
        "mounts" => Some("in npxc.toml it is [[defaults.mounts]]".to_owned()),
        "env_passthrough" => Some("in npxc.toml it stands below [defaults]".to_owned()),
        _ => None,
    }
}

/// `elsewhere` is the hint for a key that is right in another place.
fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    elsewhere: impl Fn(&str) -> Option<String>,
) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end();
        ConfigError::file(
            path,
            text,
            offset,
            unknown_key(message, elsewhere)
                .or_else(|| one_of_a_list(message))
                .unwrap_or_else(|| Fault::new(message)),
        )
    })
}

/// A better word for serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_key(message: &str, elsewhere: impl Fn(&str) -> Option<String>) -> Option<Fault> {
    let mut words = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let key = words.next()?;
    let known: Vec<&str> = words.collect();
    if LATER.contains(&key) {
        return Some(
            Fault::new(format!("`{key}` is not available in this version of npxc")).hint("take it out"),
        );
    }
    if key == "writable" && known == ["persist"] {
        let hint =
            "take it out: a package can write anywhere in its own folder, and `persist = true` keeps it";
        return Some(Fault::new("`writable` says nothing here").hint(hint));
    }
    let hint = elsewhere(key).unwrap_or_else(|| match nearest(key, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("the keys here are {}", known.join(", ")),
    });
    Some(Fault::new(format!("unknown key `{key}`")).hint(hint))
}

/// A better word for serde's `invalid type: string "x", expected a sequence`.
fn one_of_a_list(message: &str) -> Option<Fault> {
    let value = message.strip_prefix("invalid type: string ")?.strip_suffix(", expected a sequence")?;
    Some(Fault::new("a list is wanted here").hint(format!("write [{value}]")))
}

/// The file that values are taken from, to say where a wrong one stands.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn layer(&self, table: &Defaults) -> Result<Layer, ConfigError> {
        let network = &table.network;
        let runtime = &table.runtime;
        let mut env = BTreeMap::new();
        for (name, value) in &table.env {
            let parsed: EnvName = self.value(name, str::parse)?;
            if value.get_ref().contains('\0') {
                return Err(self.wrong(value, Fault::new("a variable's value cannot hold a NUL character")));
            }
            env.insert(parsed, EnvValue(value.get_ref().into()));
        }
        let passthrough = self.all(&table.env_passthrough, str::parse::<EnvName>)?;
        let proxy = match &network.proxy {
            // The line is not shown: it may hold a password.
            Some(text) => {
                let place = self.place(text.span().start);
                let choice: ProxyChoice =
                    text.get_ref().parse().map_err(|fault| ConfigError::at(&place, fault))?;
                Some((choice, place))
            }
            None => None,
        };
        let mode_place = network.mode.as_ref().map(|mode| self.place(mode.span().start));
        Ok(Layer {
            mode: self.one(network.mode.as_ref(), values::mode)?,
            mode_place,
            allow: self.rules(&network.allow)?,
            allow_private: self.rules(&network.allow_private)?,
            deny: self.rules(&network.deny)?,
            ipv6: network.ipv6,
            addresses: self.one(network.addresses.as_ref(), str::parse)?,
            add_host: self.all(&network.add_host, str::parse)?,
            publish: self.all(&network.publish, str::parse)?,
            explain: network.explain,
            proxy,
            install_allow: self.rules(&table.install.allow)?,
            ignore_scripts: table.install.ignore_scripts,
            env,
            passthrough: passthrough.into_iter().map(|name| (name, false)).collect(),
            persist: table.storage.persist,
            mounts: table.mounts.iter().map(|mount| self.mount(mount)).collect::<Result<_, _>>()?,
            mount_mode: self.one(table.paths.mount_mode.as_ref(), access)?,
            strategies: table.paths.strategies.as_ref().map(|all| self.all(all, str::parse)).transpose()?,
            heuristic: table.paths.heuristic.enabled,
            path_arguments: self.arguments(&table.path_arguments)?,
            non_path_arguments: self.arguments(&table.non_path_arguments)?,
            runtime: self.one(runtime.name.as_ref(), str::parse)?,
            link: self.one(runtime.link.as_ref(), str::parse)?,
            image: self.one(runtime.image.as_ref().or(table.node_image.as_ref()), values::image)?,
            require_limits: runtime.require_limits,
            program: self.one(runtime.program.as_ref(), values::program)?,
            arguments: runtime
                .arguments
                .as_ref()
                .map(|words| words.iter().map(|word| word.get_ref().clone()).collect()),
            memory: self.scalar(runtime.memory.as_ref(), values::memory)?,
            cpus: self.scalar(runtime.cpus.as_ref(), values::cpus)?,
            pids: self.scalar(runtime.pids.as_ref(), values::pids)?,
        })
    }

    fn mount(&self, mount: &MountTable) -> Result<MountSpec, ConfigError> {
        if mount.host.get_ref().is_empty() {
            return Err(self.wrong(&mount.host, Fault::new("the host's path is empty")));
        }
        Ok(MountSpec {
            place: self.place(mount.host.span().start),
            host: mount.host.get_ref().clone(),
            guest: self.one(mount.guest.as_ref(), str::parse)?,
            access: self.one(mount.access.as_ref(), access)?.unwrap_or(Access::ReadOnly),
        })
    }

    fn arguments(&self, table: &BTreeMap<String, Vec<Text>>) -> Result<Arguments, ConfigError> {
        let name = |text: &str| {
            if text.split('.').any(str::is_empty) {
                let what = "expected an argument's name, or names with dots between: \"sources.path\"";
                return Err(Fault::new(what));
            }
            Ok(text.to_owned())
        };
        table.iter().map(|(tool, names)| Ok((tool.clone(), self.all(names, name)?))).collect()
    }

    fn rules(&self, texts: &[Text]) -> Result<Vec<Rule>, ConfigError> {
        self.all(texts, values::rule)
    }

    fn all<T>(
        &self,
        texts: &[Text],
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Vec<T>, ConfigError> {
        texts.iter().map(|text| self.value(text, &parse)).collect()
    }

    fn one<T>(
        &self,
        text: Option<&Text>,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        text.map(|text| self.value(text, parse)).transpose()
    }

    fn scalar<T>(
        &self,
        scalar: Option<&Spanned<Scalar>>,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(scalar) = scalar else { return Ok(None) };
        let text = match scalar.get_ref() {
            Scalar::Integer(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        };
        parse(&text).map(Some).map_err(|fault| {
            ConfigError::file(self.path, self.text, scalar.span().start, Fault { at: None, ..fault })
        })
    }

    fn value<T>(&self, text: &Text, parse: impl Fn(&str) -> Result<T, Fault>) -> Result<T, ConfigError> {
        parse(text.get_ref()).map_err(|fault| self.wrong(text, fault))
    }

    fn wrong(&self, text: &Text, fault: Fault) -> ConfigError {
        // The span of a string includes its quotes; a character of it can be pointed at when it is written
        // without escapes, in a plain one-line string or as a bare key.
        let span = text.span();
        let written = self.text.get(span.clone()).unwrap_or("");
        let quote = match written.chars().next() {
            Some('"' | '\'') => 1,
            Some(_) | None => 0,
        };
        let bare = written.get(quote..written.len().saturating_sub(quote)) == Some(text.get_ref());
        let at = fault.at.filter(|_| bare).map(|at| at + quote);
        ConfigError::file(self.path, self.text, span.start, Fault { at, ..fault })
    }

    fn place(&self, offset: usize) -> Place {
        ConfigError::file(self.path, self.text, offset, Fault::new("")).place
    }
}
