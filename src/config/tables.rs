//! The keys of the two files, as types: what a reader ([`schema`](super::schema)) takes and what the JSON Schema
//! ([`json_schema`](super::json_schema)) is made of. Only what is written is held; what it means is the reader's business.
//!
//! The comment of a key is its description in the schema, so it is what an editor shows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::written::{
    AccessWord, AddressesWord, Amount, LinkWord, ModeWord, RuleText, RuntimeWord, StrategyWord, Text,
};

/// Which of a tool's arguments: lists of names, by tool; "*" stands for every tool.
pub(super) type ArgumentNames = BTreeMap<String, Vec<Text>>;

/// A file whose tables are those of every file, beside keys of its own.
macro_rules! file {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $key:ident: $type:ty,)* } network: $network:ty) => {
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        $(#[$about])*
        pub(super) struct $name {
            $($(#[$doc])* pub(super) $key: $type,)*
            /// Variables that the package gets, with their values.
            pub(super) env: BTreeMap<Text, Text>,
            /// Names of variables that the package gets as npxc has them; one that is not set is left out.
            pub(super) env_passthrough: Vec<Text>,
            /// What the package may reach.
            pub(super) network: $network,
            /// What lasts of what the package writes.
            pub(super) storage: StorageTable,
            /// Files and directories of this machine that the package sees.
            pub(super) mounts: Vec<MountTable>,
            /// How paths in messages are found, and what becomes of the files.
            pub(super) paths: PathsTable,
            /// Arguments that are paths where npxc does not see it, by tool ("*": every tool).
            pub(super) path_arguments: ArgumentNames,
            /// Arguments that are no paths, by tool ("*": every tool); names, or the keys that lead there with dots between.
            pub(super) non_path_arguments: ArgumentNames,
            /// What runs the package, and what it may use up.
            pub(super) runtime: RuntimeTable,
            /// What the installation is granted.
            pub(super) install: InstallTable,
        }

        impl $name {
            /// Its tables, without the keys of its own.
            pub(super) fn into_tables(self) -> Tables {
                Tables {
                    env: self.env,
                    env_passthrough: self.env_passthrough,
                    network: self.network.into(),
                    storage: self.storage,
                    mounts: self.mounts,
                    paths: self.paths,
                    path_arguments: self.path_arguments,
                    non_path_arguments: self.non_path_arguments,
                    runtime: self.runtime,
                    install: self.install,
                }
            }
        }
    };
}

/// What both files have.
pub(super) struct Tables {
    pub(super) env: BTreeMap<Text, Text>,
    pub(super) env_passthrough: Vec<Text>,
    pub(super) network: NetworkTable,
    pub(super) storage: StorageTable,
    pub(super) mounts: Vec<MountTable>,
    pub(super) paths: PathsTable,
    pub(super) path_arguments: ArgumentNames,
    pub(super) non_path_arguments: ArgumentNames,
    pub(super) runtime: RuntimeTable,
    pub(super) install: InstallTable,
}

/// npxc.toml: what holds for every package.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "npxc.toml")]
pub(super) struct GlobalFile {
    /// What every package is granted; the package's own file and the command line come before it.
    pub(super) defaults: Defaults,
    /// How paths in messages are found, and what becomes of the files.
    pub(super) paths: PathsTable,
    /// What becomes of audit logs.
    pub(super) audit: AuditTable,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuditTable {
    /// Whether the last line of a log is signed, with a key that is made for it.
    pub(super) sign: Option<bool>,
    /// Which logs in npxc's own directory are kept: those of so long, a number with h, d or w, or a number of sessions, the newest.
    /// Without it: all.
    pub(super) keep: Option<Amount>,
    /// Most that a file of a log has, such as 64M: a session that needs more goes on in another one. Without it: one file.
    pub(super) max_size: Option<Amount>,
    /// Whether the events go to an OpenTelemetry collector as well, which `OTEL_EXPORTER_OTLP_ENDPOINT` of npxc's environment names.
    /// Only npxc with the cargo feature `otel` can.
    pub(super) otel: Option<bool>,
}

file! {
    /// The same keys as in a package's file, without those that name the package.
    Defaults {
        /// The container image, where `[defaults.runtime]` names none.
        node_image: Option<Text>,
        /// Of npxc 0.3: Apple's `container`. `program` in `[runtime]` has its place.
        #[schemars(extend("deprecated" = true))]
        container_cli: Option<Text>,
        /// Of npxc 0.3: `memory` in `[defaults.runtime]` has its place.
        #[schemars(extend("deprecated" = true))]
        memory: Option<Amount>,
        /// Of npxc 0.3: `cpus` in `[defaults.runtime]` has its place.
        #[schemars(extend("deprecated" = true))]
        cpus: Option<Amount>,
        /// Of npxc 0.3: `mount_mode` in `[paths]` has its place.
        #[schemars(extend("deprecated" = true))]
        mount_mode: Option<AccessWord>,
        /// Of npxc 0.3: the option `--log-level` has its place.
        #[schemars(extend("deprecated" = true))]
        log_level: Option<Text>,
    }
    network: TableOrMode
}

file! {
    /// packages/NAME.toml: what one package is granted.
    #[schemars(title = "npxc: packages/NAME.toml")]
    PackageFile {
        /// What to install, if the file's name is only short for it.
        package: Option<Text>,
        /// A version, range or tag, where the command line names none.
        version: Option<Text>,
    }
    network: NetworkTable
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StorageTable {
    /// Whether the package has a /data that lasts, and keeps what it writes into its own folder.
    pub(super) persist: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkTable {
    /// What happens to a destination that no rule names. Without it: none, or allowlist where something is allowed.
    pub(super) mode: Option<ModeWord>,
    /// What the package may reach.
    pub(super) allow: Vec<RuleText>,
    /// What it may reach even at a private address.
    pub(super) allow_private: Vec<RuleText>,
    /// What it never reaches; wins over every other rule.
    pub(super) deny: Vec<RuleText>,
    /// Whether allowed names get IPv6 addresses, too.
    pub(super) ipv6: Option<bool>,
    /// Whether names get addresses of npxc's own (virtual), or those that they have (real).
    pub(super) addresses: Option<AddressesWord>,
    /// Addresses of names, instead of what DNS says: `NAME:IP`.
    pub(super) add_host: Vec<Text>,
    /// Ports of this machine that lead into the sandbox: `[IP:]PORT[:GUEST]`.
    pub(super) publish: Vec<Text>,
    /// Whether errors of calls say what was denied while they ran; so it is without it.
    pub(super) explain: Option<bool>,
    /// The proxy that connections go through (http, socks5 or socks5h), or none; else what the environment says.
    pub(super) proxy: Option<Text>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MountTable {
    /// The file or directory; a relative path starts from the working directory.
    pub(super) host: Text,
    /// Its path in the sandbox; the same, if it is left out.
    #[serde(default)]
    pub(super) guest: Option<Text>,
    /// Whether the package may write it; read-only, if it is left out.
    #[serde(default)]
    pub(super) access: Option<AccessWord>,
    /// Of npxc 0.3: `guest` has its place.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub(super) container: Option<Text>,
    /// Of npxc 0.3: `access` has its place.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub(super) mode: Option<AccessWord>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuntimeTable {
    /// What runs the package.
    pub(super) name: Option<RuntimeWord>,
    /// What carries its packets to npxc.
    pub(super) link: Option<LinkWord>,
    /// The image that a container engine starts.
    pub(super) image: Option<Text>,
    /// The engine's program, where it is not in PATH by its own name.
    pub(super) program: Option<Text>,
    /// What the engine's `run` gets besides.
    pub(super) arguments: Option<Vec<Text>>,
    /// Whether the package is not run where its limits cannot be enforced.
    pub(super) require_limits: Option<bool>,
    /// Memory of all its processes together: bytes, or a number with K, M or G.
    pub(super) memory: Option<Amount>,
    /// Processor time, in cores.
    pub(super) cpus: Option<Amount>,
    /// Processes and threads.
    pub(super) pids: Option<Amount>,
    /// Of npxc 0.3: `mode` in `[network]` has its place.
    #[schemars(extend("deprecated" = true))]
    pub(super) network: Option<ModeWord>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InstallTable {
    /// What npm's download and install scripts may reach besides the registries.
    pub(super) allow: Vec<RuleText>,
    /// Whether install scripts are left out.
    pub(super) ignore_scripts: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PathsTable {
    /// What the package may do with files of the working directory that calls name.
    pub(super) mount_mode: Option<AccessWord>,
    /// How paths in calls are found; all of these, if it is left out.
    pub(super) strategies: Option<Vec<StrategyWord>>,
    /// Paths by what values look like.
    pub(super) heuristic: HeuristicTable,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeuristicTable {
    /// `false` takes "heuristic" away from the strategies; `true` adds it to none.
    pub(super) enabled: Option<bool>,
    /// Of npxc 0.3: what begins with "/" is a path. `enabled` has its place.
    #[schemars(with = "Option<bool>", extend("deprecated" = true))]
    pub(super) absolute_prefix: Option<Spanned<bool>>,
    /// Of npxc 0.3: what begins with "~/" is a path. `enabled` has its place.
    #[schemars(with = "Option<bool>", extend("deprecated" = true))]
    pub(super) home_prefix: Option<Spanned<bool>>,
    /// Of npxc 0.3: what begins with one of these is a path. `enabled` has its place.
    #[schemars(with = "Option<Vec<Text>>", extend("deprecated" = true))]
    pub(super) uri_prefix: Option<Spanned<Vec<Text>>>,
}

impl PathsTable {
    /// `self`, and from `below` what it does not say.
    pub(super) fn over(self, below: Self) -> Self {
        let (own, other) = (self.heuristic, below.heuristic);
        Self {
            mount_mode: self.mount_mode.or(below.mount_mode),
            strategies: self.strategies.or(below.strategies),
            heuristic: HeuristicTable {
                enabled: own.enabled.or(other.enabled),
                absolute_prefix: own.absolute_prefix.or(other.absolute_prefix),
                home_prefix: own.home_prefix.or(other.home_prefix),
                uri_prefix: own.uri_prefix.or(other.uri_prefix),
            },
        }
    }
}

/// `network` below `[defaults]`: a table; of npxc 0.3 its mode alone.
#[derive(Debug)]
pub(super) enum TableOrMode {
    Table(Box<NetworkTable>),
    Mode(ModeWord),
}

impl From<TableOrMode> for NetworkTable {
    fn from(written: TableOrMode) -> Self {
        match written {
            TableOrMode::Table(table) => *table,
            TableOrMode::Mode(mode) => Self { mode: Some(mode), ..Self::default() },
        }
    }
}

impl Default for TableOrMode {
    fn default() -> Self {
        Self::Table(Box::default())
    }
}

impl JsonSchema for TableOrMode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TableOrMode".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // The mode alone loads, and is nothing that an editor should propose.
        let mut mode = ModeWord::json_schema(generator);
        mode.insert("deprecated".to_owned(), true.into());
        json_schema!({ "anyOf": [generator.subschema_for::<NetworkTable>(), mode] })
    }
}

impl<'de> Deserialize<'de> for TableOrMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let either = Spanned::<Either>::deserialize(deserializer)?;
        let span = either.span();
        Ok(match either.into_inner() {
            Either::Table(table) => Self::Table(table),
            Either::Text(text) => Self::Mode(ModeWord::new(Spanned::new(span, text))),
        })
    }
}

enum Either {
    Table(Box<NetworkTable>),
    Text(String),
}

impl<'de> Deserialize<'de> for Either {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Either;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<Either, E> {
                Ok(Either::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Either, A::Error> {
                NetworkTable::deserialize(MapAccessDeserializer::new(map))
                    .map(|table| Either::Table(Box::new(table)))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
