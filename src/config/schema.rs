//! The two files as they are written: `npxc.toml` and `packages/<name>.toml`. Only keys that do something are
//! known; every other one is refused, with the nearest right one.
//!
//! Text comes from [`load`](mod@super::load); what leaves is a typed [`Layer`], or the place of the first mistake.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::choices::Choice as _;
use super::error::{ConfigError, Fault, Place, nearest};
use super::former;
use super::layer::{Layer, Logs, Origin};
use super::masked;
use super::mounts::MountSpec;
use super::proxy::ProxyChoice;
use super::tables::{ArgumentNames, GlobalFile, MountTable, PackageFile, Tables};
use super::values::{self, EnvName, EnvValue};
use super::written::{Amount, RuleText, Word};
use crate::package::{PackageSpec, VersionSpec};
use crate::policy::Rule;
use crate::rpc::identify::Arguments;
use crate::runtime::Access;

/// Parses `npxc.toml`.
pub fn global(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let GlobalFile { mut defaults, paths, audit }: GlobalFile = parse(path, text, below_defaults)?;
    let source = Source { path, text };
    let mut notes = Vec::new();
    former::defaults(&mut defaults, &source, &mut notes);
    let image = defaults.node_image.take();
    let mut tables = defaults.into_tables();
    tables.paths = paths.over(tables.paths);
    tables.runtime.image = tables.runtime.image.or(image);
    let mut layer = source.layer(tables, Origin::Global(path.to_owned()), notes)?;
    layer.logs = Logs {
        sign: audit.sign.unwrap_or(false),
        keep: source.scalar(audit.keep.as_ref(), values::keep)?,
        max_size: source.scalar(audit.max_size.as_ref(), values::log_size)?,
        otel: audit.otel.unwrap_or(false),
    };
    Ok(layer)
}

/// Parses `packages/<name>.toml`: what it grants, and what it says to install.
pub fn package(
    path: &Path,
    text: &str,
) -> Result<(Layer, Option<PackageSpec>, Option<VersionSpec>), ConfigError> {
    let file: PackageFile = parse(path, text, for_every_package)?;
    let source = Source { path, text };
    let package = source
        .one(file.package.as_ref(), |text| text.parse::<PackageSpec>().map_err(|error| spec_fault(&error)))?;
    let version = source
        .one(file.version.as_ref(), |text| text.parse::<VersionSpec>().map_err(|error| spec_fault(&error)))?;
    let layer = source.layer(file.into_tables(), Origin::Package(path.to_owned()), Vec::new())?;
    Ok((layer, package, version))
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

/// What to say to keys of `npxc.toml` in a package's file.
fn for_every_package(key: &str) -> Option<String> {
    let hint = "this is read as one package's file; what is for all of them stands in npxc.toml, in the directory that \
                --config names";
    matches!(key, "defaults" | "audit").then(|| hint.to_owned())
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
                .or_else(|| former::below_env(message, text, offset))
                .or_else(|| of_a_variable(message, text, offset))
                .unwrap_or_else(|| Fault::new(message).hint(correction(message, text))),
        )
    })
}

/// What to do about a value that a key does not take, or a text that is no TOML.
fn correction(message: &str, text: &str) -> String {
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(key) = missing {
        return format!("add {key} = ... to this table");
    }
    let hint = if text.parse::<toml::Table>().is_err() {
        "TOML has [network] for a table, allow = [\"a\", \"b\"] for a list, \"...\" around a text, and each key once"
    } else if message.starts_with("expected a number, or a size") {
        "for example memory = \"2G\", cpus = 0.5 or pids = 512"
    } else {
        "`npxc config schema` prints what each key takes"
    };
    hint.to_owned()
}

/// A better word for serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_key(message: &str, elsewhere: impl Fn(&str) -> Option<String>) -> Option<Fault> {
    let mut words = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let key = words.next()?;
    let all: Vec<&str> = words.collect();
    let known: Vec<&str> = all.iter().copied().filter(|word| !former::is_former(word, &all)).collect();
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

/// A better word for serde's `invalid type: integer `1`, expected a string` where that may be a secret.
fn of_a_variable(message: &str, text: &str, offset: usize) -> Option<Fault> {
    let line = text.get(..offset)?.matches('\n').count();
    if !message.starts_with("invalid ") || !masked::in_env(text, line) {
        return None;
    }
    let table = "a table of variables is wanted here, each with a text";
    Some(if message.ends_with("a map") {
        Fault::new(table).hint("write a line [env], and below it NAME = \"VALUE\"")
    } else {
        Fault::new("a text is wanted here").hint("write the value in quotes")
    })
}

/// A better word for serde's `invalid type: string "x", expected a sequence`.
fn one_of_a_list(message: &str) -> Option<Fault> {
    let value = message.strip_prefix("invalid type: string ")?.strip_suffix(", expected a sequence")?;
    Some(Fault::new("a list is wanted here").hint(format!("write [{value}]")))
}

/// The file that values are taken from, to say where a wrong one stands.
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn layer(&self, mut table: Tables, origin: Origin, mut notes: Vec<String>) -> Result<Layer, ConfigError> {
        former::tables(&mut table, self, &mut notes)?;
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
            origin,
            mode: self.one(network.mode.as_ref(), former::mode)?,
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
            mount_mode: self.one(table.paths.mount_mode.as_ref(), Access::from_word)?,
            strategies: table.paths.strategies.as_ref().map(|all| self.all(all, str::parse)).transpose()?,
            heuristic: table.paths.heuristic.enabled,
            path_arguments: self.arguments(&table.path_arguments)?,
            non_path_arguments: self.arguments(&table.non_path_arguments)?,
            runtime: self.one(runtime.name.as_ref(), str::parse)?,
            link: match &runtime.link {
                Some(text) => Some((self.value(text, str::parse)?, self.place(text.span().start))),
                None => None,
            },
            image: self.one(runtime.image.as_ref(), values::image)?,
            require_limits: runtime.require_limits,
            program: self.one(runtime.program.as_ref(), values::program)?,
            arguments: runtime
                .arguments
                .as_ref()
                .map(|words| words.iter().map(|word| word.get_ref().clone()).collect()),
            memory: self.scalar(runtime.memory.as_ref(), values::memory)?,
            cpus: self.scalar(runtime.cpus.as_ref(), values::cpus)?,
            pids: self.scalar(runtime.pids.as_ref(), values::pids)?,
            // Of the file for all packages only.
            logs: Logs::default(),
            notes,
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
            access: self.one(mount.access.as_ref(), Access::from_word)?.unwrap_or(Access::ReadOnly),
        })
    }

    fn arguments(&self, table: &ArgumentNames) -> Result<Arguments, ConfigError> {
        let name = |text: &str| {
            if text.split('.').any(str::is_empty) {
                let what = "expected an argument's name, or names with dots between: \"sources.path\"";
                return Err(Fault::new(what));
            }
            Ok(text.to_owned())
        };
        table.iter().map(|(tool, names)| Ok((tool.clone(), self.all(names, name)?))).collect()
    }

    fn rules(&self, texts: &[RuleText]) -> Result<Vec<Rule>, ConfigError> {
        self.all(texts, values::rule)
    }

    fn all<K, T>(
        &self,
        texts: &[Word<K>],
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Vec<T>, ConfigError> {
        texts.iter().map(|text| self.value(text, &parse)).collect()
    }

    fn one<K, T>(
        &self,
        text: Option<&Word<K>>,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        text.map(|text| self.value(text, parse)).transpose()
    }

    fn scalar<T>(
        &self,
        scalar: Option<&Amount>,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(scalar) = scalar else { return Ok(None) };
        let text = scalar.text();
        parse(&text).map(Some).map_err(|fault| {
            ConfigError::file(self.path, self.text, scalar.start(), Fault { at: None, ..fault })
        })
    }

    fn value<K, T>(
        &self,
        text: &Word<K>,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<T, ConfigError> {
        parse(text.get_ref()).map_err(|fault| self.wrong(text, fault))
    }

    pub(super) fn wrong<K>(&self, text: &Word<K>, fault: Fault) -> ConfigError {
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

    pub(super) fn place(&self, offset: usize) -> Place {
        ConfigError::file(self.path, self.text, offset, Fault::new("")).place
    }
}
