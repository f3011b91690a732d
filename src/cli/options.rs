//! The options that say what a package is granted; the same for `npxc SPEC` and every command that installs or starts a
//! package.
//!
//! Text goes in, [`Asked`] comes out. Values are parsed by `config`, not by clap, so that a mistake points at its
//! character and reads the same whether it stood on the command line or in a file.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args as _;

use super::level::Level;
use crate::config::error::Place;
use crate::config::layer::Logs;
use crate::config::load::Asked;
use crate::config::options::{all, one, rules};
use crate::config::schema::spec_fault;
use crate::config::values::{self, EnvName, EnvValue};
use crate::config::{Choice as _, ConfigError, Fault, Layer, MountSpec, Origin, ProxyChoice};
use crate::package::PackageSpec;
use crate::policy::Mode;
use crate::rpc::identify::Arguments;
use crate::runtime::Access;

/// What a package is granted. Everything is off until it is named.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Let it reach this destination (repeatable, comma-separated); turns the allowlist on
    #[arg(long, value_name = "RULE", help_heading = "Network")]
    pub allow: Vec<String>,
    /// The same, and the name may resolve to private addresses
    #[arg(long, value_name = "RULE", help_heading = "Network")]
    pub allow_private: Vec<String>,
    /// Never let it reach this destination; wins over every allow
    #[arg(long, value_name = "RULE", help_heading = "Network")]
    pub deny: Vec<String>,
    /// none, allowlist, observe or open [default: none, or allowlist with --allow]
    #[arg(long, value_name = "MODE", help_heading = "Network")]
    pub network: Option<String>,
    /// Give a name an address instead of asking DNS
    #[arg(long, value_name = "NAME:IP", help_heading = "Network")]
    pub add_host: Vec<String>,
    /// Hand out npxc's own addresses for names (virtual), or the real ones [default: virtual]
    #[arg(long, value_name = "virtual|real", help_heading = "Network")]
    pub addresses: Option<String>,
    /// Reach the network through this proxy (http, socks5 or socks5h), or through none [default: what the environment
    /// says]
    #[arg(long, value_name = "URL|none", help_heading = "Network")]
    pub proxy: Option<String>,
    /// Forward a port of this machine into the sandbox; listens on 127.0.0.1 unless IP says otherwise
    #[arg(long, value_name = "[IP:]PORT[:GUEST]", help_heading = "Network")]
    pub publish: Vec<String>,

    /// Let the installation reach this destination: npm's download and install scripts (repeatable,
    /// comma-separated)
    #[arg(long, value_name = "RULE", help_heading = "Installation")]
    pub allow_install: Vec<String>,
    /// Do not run install scripts
    #[arg(long, help_heading = "Installation")]
    pub ignore_scripts: bool,

    /// Show it a file or directory; read-only and at the same path unless said otherwise
    #[arg(long, value_name = "HOST[:GUEST][:ro|rw]", help_heading = "Files and environment")]
    pub mount: Vec<String>,
    /// Let it write the files of the working directory that a client names
    #[arg(long, help_heading = "Files and environment")]
    pub write: bool,
    /// Give it an environment variable: a value, or npxc's own
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Files and environment")]
    pub env: Vec<String>,
    /// Keep what it writes, for its next session: /data, and in its own folder
    #[arg(long, help_heading = "Files and environment")]
    pub persist: bool,
    /// Show it the working directory with everything in it, read-only
    #[arg(long, help_heading = "Files and environment")]
    pub no_isolate: bool,
    /// Directory that relative paths start from and whose files calls may share; it starts there if a mount has it
    #[arg(long, value_name = "DIR", help_heading = "Files and environment")]
    pub cwd: Option<String>,

    /// auto, native, podman, docker or apple [default: auto]
    #[arg(long, value_name = "RUNTIME", help_heading = "Sandbox")]
    pub runtime: Option<String>,
    /// auto, tun, wireguard or socket [default: auto]
    #[arg(long, value_name = "LINK", help_heading = "Sandbox")]
    pub link: Option<String>,
    /// The container image that a container engine starts, with node and npm in it
    #[arg(long, value_name = "IMAGE", help_heading = "Sandbox")]
    pub image: Option<String>,
    /// Do not run where the limits cannot be enforced
    #[arg(long, help_heading = "Sandbox")]
    pub require_limits: bool,
    /// Memory of all its processes together [default: 4G]
    #[arg(long, value_name = "SIZE", help_heading = "Sandbox")]
    pub memory: Option<String>,
    /// Processor time, in cores [default: no limit]
    #[arg(long, value_name = "CORES", help_heading = "Sandbox")]
    pub cpus: Option<String>,
    /// Processes and threads [default: 512]
    #[arg(long, value_name = "COUNT", help_heading = "Sandbox")]
    pub pids: Option<String>,

    /// A configuration directory, or a file for this package [default: ~/.config/npxc]
    #[arg(long, value_name = "PATH")]
    pub config: Option<String>,
    /// Write the audit log there; a directory gets one file per session
    #[arg(long, value_name = "PATH")]
    pub audit_log: Option<String>,
    /// off, error, warn, info, debug or trace; off and error: nothing but why npxc failed [default: warn]
    #[arg(long, value_name = "LEVEL", hide_possible_values = true)]
    pub log_level: Option<Level>,

    /// Another package to install; with it, the first word is the bin to run
    #[arg(short, long, value_name = "NAME", help_heading = "As npx has them")]
    pub package: Vec<String>,
    /// Taken as npx takes it: npxc asks only before update, wrap and unwrap change something
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "As npx has them")]
    pub yes: u8,
}

impl Options {
    /// How much npxc says: by the option, else by npxc's variable.
    pub fn level(&self) -> Result<Level, ConfigError> {
        Level::chosen(self.log_level)
    }

    /// Those of them that matter to an installation: which package, and how it gets here.
    pub fn of_install(&self) -> Self {
        Self {
            allow_install: self.allow_install.clone(),
            ignore_scripts: self.ignore_scripts,
            runtime: self.runtime.clone(),
            image: self.image.clone(),
            config: self.config.clone(),
            package: self.package.clone(),
            ..Self::default()
        }
    }

    /// What the command line asks for; `words` are the package spec (or, with `-p`, the bin) and its arguments.
    pub fn asked(&self, words: &[OsString]) -> Result<Asked, ConfigError> {
        let (first, args) =
            words.split_first().map_or((None, Vec::new()), |(first, rest)| (Some(first), rest.to_vec()));
        let first = first.map(|word| word.to_str().ok_or(word)).transpose().map_err(|word| {
            ConfigError::option("package spec", &word.to_string_lossy(), Fault::new("it is not UTF-8"))
        })?;
        let spec = |option: &str, text: &str| {
            text.parse::<PackageSpec>().map_err(|error| ConfigError::option(option, text, spec_fault(&error)))
        };
        let (packages, bin) = match first {
            None if self.package.is_empty() => {
                if let Some((option, taken)) = self.taken() {
                    let what = format!("no package is named: {option} took `{taken}`");
                    let hint = format!("npxc {option} RULE {taken}");
                    return Err(ConfigError::surroundings(what, hint));
                }
                let hint = "npxc [OPTIONS] <package-spec> [ARGS...]; npxc --help shows the options";
                return Err(ConfigError::surroundings("no package is named", hint));
            }
            None => {
                let hint = "npxc -p NAME BIN [ARGS...]; to run a package's only bin: npxc NAME";
                return Err(ConfigError::surroundings("--package: the bin to run is not named", hint));
            }
            Some(word) if self.package.is_empty() => (vec![spec("package spec", word)?], None),
            Some(word) => {
                let packages =
                    self.package.iter().map(|text| spec("--package", text)).collect::<Result<_, _>>()?;
                (packages, Some(word.to_owned()))
            }
        };
        Ok(Asked {
            packages,
            bin,
            args,
            layer: self.layer()?,
            config: self.config.clone(),
            cwd: self.cwd.clone(),
            no_isolate: self.no_isolate,
            audit_log: self.audit_log.clone(),
        })
    }

    /// The option for rules that took what looks like the package, and that.
    fn taken(&self) -> Option<(&'static str, &str)> {
        let lists =
            [("--allow", &self.allow), ("--allow-private", &self.allow_private), ("--deny", &self.deny)];
        lists.into_iter().find_map(|(option, rules)| {
            let last = rules.last()?;
            // Names with dots are hosts more often than packages.
            let looks_like = last.contains(['@', '/']) || !last.contains(['.', ':', ',', '*']);
            let is_package = matches!(last.parse(), Ok(PackageSpec::Registry { .. })) && *last != "@npm";
            (looks_like && is_package).then_some((option, last.as_str()))
        })
    }

    fn layer(&self) -> Result<Layer, ConfigError> {
        let (env, passthrough) = self.environment()?;
        let place = || Place::Option("--mount".to_owned());
        Ok(Layer {
            origin: Origin::Option,
            mount_mode: self.write.then_some(Access::ReadWrite),
            strategies: None,
            heuristic: None,
            path_arguments: Arguments::new(),
            non_path_arguments: Arguments::new(),
            mode: one("--network", self.network.as_ref(), Mode::from_word)?,
            mode_place: Some(Place::Option("--network".to_owned())),
            allow: rules("--allow", &self.allow)?,
            allow_private: rules("--allow-private", &self.allow_private)?,
            deny: rules("--deny", &self.deny)?,
            ipv6: None,
            addresses: one("--addresses", self.addresses.as_ref(), str::parse)?,
            add_host: all("--add-host", &self.add_host, str::parse)?,
            publish: all("--publish", &self.publish, str::parse)?,
            explain: None,
            proxy: self.proxy()?,
            install_allow: rules("--allow-install", &self.allow_install)?,
            ignore_scripts: self.ignore_scripts.then_some(true),
            env,
            passthrough,
            mounts: all("--mount", &self.mount, |text| MountSpec::parse(text, place()))?,
            persist: self.persist.then_some(true),
            runtime: one("--runtime", self.runtime.as_ref(), str::parse)?,
            link: one("--link", self.link.as_ref(), str::parse)?
                .map(|link| (link, Place::Option("--link".to_owned()))),
            image: one("--image", self.image.as_ref(), values::image)?,
            require_limits: self.require_limits.then_some(true),
            program: None,
            arguments: None,
            memory: one("--memory", self.memory.as_ref(), values::memory)?,
            cpus: one("--cpus", self.cpus.as_ref(), values::cpus)?,
            pids: one("--pids", self.pids.as_ref(), values::pids)?,
            logs: Logs::default(),
            notes: Vec::new(),
        })
    }

    /// A mistake does not show the text, which may hold a password.
    fn proxy(&self) -> Result<Option<(ProxyChoice, Place)>, ConfigError> {
        let place = Place::Option("--proxy".to_owned());
        let Some(text) = &self.proxy else { return Ok(None) };
        let choice = text.parse().map_err(|fault| ConfigError::at(&place, fault))?;
        Ok(Some((choice, place)))
    }

    #[allow(clippy::type_complexity, reason = "the two halves of --env, named where they go")]
    fn environment(&self) -> Result<(BTreeMap<EnvName, EnvValue>, BTreeMap<EnvName, bool>), ConfigError> {
        let mut env = BTreeMap::new();
        let mut passthrough = BTreeMap::new();
        for text in &self.env {
            let (name, value) =
                text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
            // A mistake shows the name only: what stands behind it may be a secret.
            let parsed =
                name.parse::<EnvName>().map_err(|fault| ConfigError::option("--env", name, fault))?;
            match value {
                Some(value) => {
                    env.insert(parsed, EnvValue(value.into()));
                }
                None => {
                    passthrough.insert(parsed, true);
                }
            }
        }
        Ok((env, passthrough))
    }
}

/// The options of `matches` that stood on the command line, spelled so that they parse to the same again.
pub fn again(matches: &clap::ArgMatches) -> Vec<OsString> {
    let mut words = Vec::new();
    for arg in Options::augment_args(clap::Command::new("options")).get_arguments() {
        let (id, long) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
        if matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
            continue;
        }
        if arg.get_action().takes_values() {
            for value in matches.get_raw(id).into_iter().flatten() {
                let mut word = OsString::from(format!("--{long}="));
                word.push(value);
                words.push(word);
            }
        } else {
            words.push(format!("--{long}").into());
        }
    }
    words
}
