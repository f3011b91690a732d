//! Which registries npm is configured for, with which credentials and certificates, and what of that each step
//! of an install is given.
//!
//! The project's `.npmrc` does not count unless it is asked for, although npx reads it: a client may start npxc
//! in a directory that somebody else wrote, and a file there would choose where packages come from, what
//! `--allow @npm` reaches, and which of the user's variables and files go there (`${TOKEN}`, `cafile`).
//!
//! Data comes from [`super::npmrc`]; it goes to `policy` as the preset `@npm` ([`NpmConfig::rules`]) and to the
//! fetch step as a generated `.npmrc`. Secrets are never in a `Debug` output and never reach the build step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::GUEST_HOME;
use super::error::PackageError;
use super::host::HostEnv;
use super::ini;
use super::node::Node;
use super::npmrc::{Settings, absolute};
use super::request::hex;
use crate::net::proxy::{Bypass, ProxyError, Proxying};
use crate::policy::{HOST_NAME, Rule, RuleError};

/// Settings that change what npm downloads and hold no secret: handed on to the fetch step.
const FETCH_SETTINGS: &[&str] = &[
    "allow-git",
    "allow-remote",
    "before",
    "engine-strict",
    "fetch-retries",
    "fetch-retry-factor",
    "fetch-retry-maxtimeout",
    "fetch-retry-mintimeout",
    "fetch-timeout",
    "legacy-peer-deps",
    "maxsockets",
    "min-release-age",
    "min-release-age-exclude",
    "strict-peer-deps",
    "strict-ssl",
    "tag",
];
/// Settings that name the proxy to registries, the first that is set counts (registries are https).
const PROXY_SETTINGS: &[&str] = &["https-proxy", "proxy", "http-proxy"];

/// Address of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegistryUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// What npm is configured for.
pub struct NpmConfig {
    /// Where packages without a scope come from.
    pub registry: RegistryUrl,
    /// Registries of scopes, by scope with its `@`.
    pub scopes: BTreeMap<String, RegistryUrl>,
    /// Things the user should know: what was found and does not take effect.
    pub notes: Vec<String>,
    /// Every configuration file that was read. One that lies below `/usr` should be hidden from the guest.
    pub files: Vec<PathBuf>,
    /// npm's `cafile`.
    pub cafile: Option<PathBuf>,
    /// Headers of node for node-gyp, where the user named some.
    pub nodedir: Option<PathBuf>,
    /// Python for node-gyp, where the user named one.
    pub python: Option<PathBuf>,
    /// npm's own proxy: the setting with where it stands, and its URL, which may hold a password.
    proxy: Option<(String, String)>,
    noproxy: Option<String>,
    default_registry: RegistryUrl,
    /// npm's keys for credentials, `//host/path/:_authToken`, and their values.
    credentials: BTreeMap<String, String>,
    ca: Option<String>,
    fetch: BTreeMap<&'static str, String>,
}

impl NpmConfig {
    /// Reads npm's configuration. `project`: whether the project's `.npmrc` counts.
    pub fn read(host: &HostEnv, node: &Node, project: bool) -> Result<Self, PackageError> {
        let settings = Settings::read(host, node, project)?;
        let parse = |key: &str, text: &str| {
            text.parse::<RegistryUrl>().map_err(|problem| PackageError::Config {
                origin: format!("{key}, from {}", settings.origin(key)),
                problem: problem.to_owned(),
            })
        };
        let default_registry = parse("registry", &node.default_registry)?;
        let registry = match settings.text("registry") {
            Some(text) => parse("registry", text)?,
            None => default_registry.clone(),
        };
        let mut scopes = BTreeMap::new();
        for (key, text) in settings.iter() {
            if let Some(scope) = key.strip_suffix(":registry").filter(|scope| scope.starts_with('@')) {
                if format!("{scope}/x").parse::<super::name::PackageName>().is_err() {
                    continue;
                }
                scopes.insert(scope.to_owned(), parse(key, text)?);
            }
        }

        let mut config = Self {
            default_registry,
            notes: Vec::new(),
            cafile: settings.text("cafile").map(|text| absolute(text, host)),
            nodedir: settings.text("nodedir").map(|text| absolute(text, host)),
            python: settings.text("python").map(|text| absolute(text, host)).filter(|path| path.is_file()),
            credentials: BTreeMap::new(),
            ca: settings.text("ca").map(str::to_owned),
            proxy: PROXY_SETTINGS.iter().find_map(|key| {
                let text = settings.text(key)?.to_owned();
                Some((format!("{key}, from {}", settings.origin(key)), text))
            }),
            noproxy: settings.text("noproxy").map(str::to_owned),
            fetch: FETCH_SETTINGS
                .iter()
                .filter_map(|key| Some((*key, settings.text(key)?.to_owned())))
                .collect(),
            files: settings.files.clone(),
            registry,
            scopes,
        };
        config.add_credentials(&settings, host);
        config.add_notes(&settings);
        Ok(config)
    }

    /// What `@npm` stands for, sorted, each once. A registry that no rule can name is not among them, see
    /// [`Self::notes`].
    pub fn rules(&self) -> Vec<Rule> {
        distinct(self.registries())
    }

    /// Those of [`Self::rules`] that the user configured, and that may therefore be at private addresses.
    pub fn private_rules(&self) -> Vec<Rule> {
        distinct(self.registries().filter(|registry| **registry != self.default_registry))
    }

    /// The proxy that npm reaches registries through: its own setting, or the environment's. npm in the sandbox is not
    /// told of it: npxc connects through it.
    ///
    /// # Errors
    /// One that npxc cannot use; the setting is named, its value is not.
    pub fn proxy(&self, host: &HostEnv) -> Result<Option<Proxying>, (String, ProxyError)> {
        let bypass = match &self.noproxy {
            Some(text) => Bypass::parse(text),
            None => Bypass::of_environment(|name| host.text(name)),
        };
        let of_environment = || Proxying::of_environment(|name| host.text(name));
        let found = match &self.proxy {
            Some((_, text)) if text == "false" => None,
            Some((origin, text)) => {
                let proxy = text.parse().map_err(|error| (origin.clone(), error))?;
                Some(Proxying {
                    proxy,
                    bypass: Bypass::default(),
                    origin: origin.clone(),
                    given: BTreeSet::new(),
                })
            }
            None => of_environment().map_err(|(name, error)| (name.to_owned(), error))?,
        };
        Ok(found.map(|proxying| Proxying { bypass, ..proxying }))
    }

    /// The files of the fetch step's private home: `.npmrc` with registries, credentials and certificates, and
    /// the files that it names. `directory` of the guest holds the latter.
    pub fn fetch_files(&self) -> Result<Vec<(PathBuf, Vec<u8>)>, PackageError> {
        let mut text = ini::line("registry", &self.registry.in_guest());
        for (scope, registry) in &self.scopes {
            text += &ini::line(&format!("{scope}:registry"), &registry.in_guest());
        }
        let mut files = Vec::new();
        let mut copy = |path: &PathBuf, name: String| -> Result<String, PackageError> {
            let content = fs::read(path).map_err(|e| PackageError::io("read the certificate", path, e))?;
            let guest = PathBuf::from(GUEST_HOME).join(name);
            let text = guest.display().to_string();
            files.push((guest, content));
            Ok(text)
        };
        for (number, (key, value)) in self.credentials.iter().enumerate() {
            let (place, field) = key.rsplit_once(':').unwrap_or((key, ""));
            let place = guest_place(place);
            let value = match field {
                "certfile" | "keyfile" => copy(&PathBuf::from(value), format!(".npmrc-{number}.pem"))?,
                _ => value.clone(),
            };
            text += &ini::line(&format!("{place}:{field}"), &value);
        }
        if let Some(ca) = &self.ca {
            for part in ca.split("\n\n") {
                text += &ini::line("ca[]", &part.replace("\\n", "\n"));
            }
        }
        if let Some(cafile) = &self.cafile {
            text += &ini::line("cafile", &copy(cafile, ".npmrc-ca.pem".to_owned())?);
        }
        for (key, value) in &self.fetch {
            text += &ini::line(key, value);
        }
        // A registry on the host's loopback has another name inside, and its links to tarballs may have the old one.
        // Never `always`: npm then rewrites file: URLs as well.
        if let Some(registry) = self.registries().find(|registry| registry.is_loopback()) {
            text += &ini::line("replace-registry-host", &registry.host);
        }
        files.push((PathBuf::from(GUEST_HOME).join(".npmrc"), text.into_bytes()));
        Ok(files)
    }

    /// What can be downloaded, as one word of hexadecimal digits: another one for other registries or credentials. It tells
    /// none of them.
    pub(super) fn realm(&self) -> String {
        let mut hash = Sha256::new();
        let registries = self.registries().map(|registry| ("", registry.in_guest()));
        let credentials = self.credentials.iter().map(|(key, value)| (key.as_str(), value.clone()));
        for (key, value) in registries.chain(credentials) {
            for part in [key, &value] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hex(&hash.finalize())[..16].to_owned()
    }

    fn registries(&self) -> impl Iterator<Item = &RegistryUrl> {
        std::iter::once(&self.registry).chain(self.scopes.values())
    }

    /// Credentials of the configured registries only: no other host is reached.
    fn add_credentials(&mut self, settings: &Settings, host: &HostEnv) {
        const FIELDS: &[&str] = &["_authToken", "_auth", "username", "_password", "certfile", "keyfile"];
        let places: BTreeSet<String> = self.registries().map(RegistryUrl::host_and_port).collect();
        for (key, value) in settings.iter() {
            let Some((place, field)) = key.strip_prefix("//").and_then(|rest| rest.rsplit_once(':')) else {
                continue;
            };
            let authority = place.split('/').next().unwrap_or_default().to_ascii_lowercase();
            if FIELDS.contains(&field) && places.contains(&authority) && !value.is_empty() {
                let value = match field {
                    "certfile" | "keyfile" => absolute(value, host).display().to_string(),
                    _ => value.to_owned(),
                };
                self.credentials.insert(key.to_owned(), value);
            }
        }
    }

    fn add_notes(&mut self, settings: &Settings) {
        if let Some(project) = &settings.ignored_project {
            self.notes.push(format!(
                "{} does not count: npxc reads the user's npm configuration only",
                project.display()
            ));
        }
        let unnamed: Vec<_> = self.registries().filter_map(|registry| registry.rule().err()).collect();
        self.notes.extend(unnamed.iter().map(|error| format!("a registry cannot be reached: {error}")));
        for key in ["_auth", "_authToken", "_authtoken", "_password"] {
            if settings.text(key).is_some() {
                self.notes.push(format!(
                    "{key} ({}) names no registry and is not used; write //HOST/:{key}",
                    settings.origin(key)
                ));
            }
        }
    }
}

impl fmt::Debug for NpmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NpmConfig")
            .field("registry", &self.registry)
            .field("scopes", &self.scopes)
            .field("credentials", &self.credentials.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl RegistryUrl {
    /// The rule that lets the guest reach it.
    ///
    /// # Errors
    /// A host in a notation that no rule has, such as `010.0.0.1`.
    pub fn rule(&self) -> Result<Rule, RuleError> {
        let host = if self.is_loopback() { HOST_NAME } else { &self.host };
        format!("{host}:{}", self.port).parse()
    }

    /// The address that npm uses inside the guest: the host's loopback has a name of its own there.
    fn in_guest(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let host = if self.is_loopback() { HOST_NAME } else { &self.host };
        let port = if self.has_default_port() { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}://{host}{port}{}", self.path)
    }

    /// As in npm's keys for credentials.
    fn host_and_port(&self) -> String {
        if self.has_default_port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    fn has_default_port(&self) -> bool {
        self.port == if self.tls { 443 } else { 80 }
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// The rules of those registries that a rule can name.
fn distinct<'a>(registries: impl Iterator<Item = &'a RegistryUrl>) -> Vec<Rule> {
    let all: BTreeSet<Rule> = registries.filter_map(|registry| registry.rule().ok()).collect();
    all.into_iter().collect()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// `//localhost:4873/path/` as the guest names it.
fn guest_place(place: &str) -> String {
    let rest = place.strip_prefix("//").unwrap_or(place);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once(':') {
        Some((host, port)) if is_loopback(host) => format!("//{HOST_NAME}:{port}{path}"),
        _ if is_loopback(authority) => format!("//{HOST_NAME}{path}"),
        _ => place.to_owned(),
    }
}

impl std::str::FromStr for RegistryUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or("it is no http or https URL")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it is no http or https URL"),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(
                "it holds a user name or password; write //HOST/:_authToken or //HOST/:_auth instead",
            );
        }
        if path.contains(['?', '#', '\\']) || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("its path cannot be used");
        }
        let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_bracket..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_bracket + colon);
                (host, port[1..].parse().ok().filter(|port| *port != 0).ok_or("its port is no port")?)
            }
            None => (authority, if tls { 443 } else { 80 }),
        };
        let plain = |c: char| c.is_alphanumeric() || ".-_".contains(c);
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        if host.is_empty() || !(bracketed || host.chars().all(plain)) {
            return Err("its host is no host");
        }
        let mut path = path.to_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, path })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
