//! The host's own name resolution, for names that the policy has already let through.
//!
//! Follows the host's configuration (resolv.conf with its search domains, the hosts file) and its changes while
//! a session runs: a laptop changes networks, a VPN comes up. Name servers are asked one after the other, in the order in
//! which they stand, as the C library does: the first may know names of a company's network that the next one denies.
//! Lookups run on the session's tokio runtime and are answered to the datapath.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};
#[cfg(not(target_os = "macos"))]
use hickory_resolver::{
    config::{NameServerConfig, ResolverConfig},
    system_conf,
};
use tokio::sync::mpsc;

use super::driver::{Handle, Resolve};
use crate::net::dns::{Lookup, LookupKind, LookupOutcome};
use crate::net::router::Token;
use crate::policy::HostName;

/// Lookups under way at most; the router bounds them too, this is the backstop.
const MOST_LOOKUPS: usize = 2048;
/// How often the host's configuration may be looked at.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// A lookup that takes longer has failed: resolver libraries give up after 5 to 10 s.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long one may take that only says whether a name is known here: the proxy resolves it anyway.
const GIVE_UP_KNOWN: Duration = Duration::from_secs(3);
/// How long each name server has to answer, the first time that it is asked and the second: then the next one is. The first
/// round of three, which is the most that the C library takes, ends within [`GIVE_UP_KNOWN`].
const ROUNDS: [Duration; 2] = [Duration::from_millis(900), Duration::from_secs(3)];
/// Longest hosts file that is read; block lists have some megabytes.
const MOST_HOSTS: u64 = 32 << 20;

/// `--add-host`: what a name resolves to, whatever the host would say.
pub type Pinned = BTreeMap<HostName, Vec<IpAddr>>;

/// Starts answering lookups on the current tokio runtime. Returns what [`super::driver::Datapath::start`] wants.
pub fn start(pinned: Pinned) -> impl FnOnce(Handle) -> Resolve {
    let (lookups, mut received) = mpsc::channel::<(Token, Lookup)>(MOST_LOOKUPS);
    let resolver = Resolver::of(pinned);
    let runtime = tokio::runtime::Handle::current();
    move |handle: Handle| -> Resolve {
        let answers = handle.clone();
        runtime.spawn(async move {
            while let Some((token, lookup)) = received.recv().await {
                let (resolver, handle) = (Arc::clone(&resolver), answers.clone());
                tokio::spawn(async move {
                    let patience = match lookup.kind {
                        LookupKind::Known => GIVE_UP_KNOWN,
                        LookupKind::Address | LookupKind::Records(_) => GIVE_UP,
                    };
                    handle.resolved(token, within(patience, resolver.lookup(lookup)).await);
                });
            }
        });
        Box::new(move |token, lookup| {
            if lookups.try_send((token, lookup)).is_err() {
                handle.resolved(token, LookupOutcome::Failed("too many lookups at once".to_owned()));
            }
        })
    }
}

/// The addresses of names, as a session would find them, in their order.
pub async fn addresses(names: Vec<HostName>, pinned: Pinned) -> Vec<LookupOutcome> {
    let resolver = Resolver::of(pinned);
    let mut all = Vec::with_capacity(names.len());
    let lookups: Vec<_> = names
        .into_iter()
        .map(|name| {
            let resolver = Arc::clone(&resolver);
            let lookup = Lookup { name, kind: LookupKind::Address };
            tokio::spawn(async move { within(GIVE_UP, resolver.lookup(lookup)).await })
        })
        .collect();
    for lookup in lookups {
        all.push(lookup.await.unwrap_or_else(|_| unanswered()));
    }
    all
}

struct Resolver {
    pinned: Pinned,
    files: Files,
    rounds: [Duration; 2],
    current: Mutex<Current>,
}

/// What the host's resolution depends on.
struct Files {
    resolv: PathBuf,
    hosts: PathBuf,
    /// Where name servers listen, if not where they all do.
    #[cfg_attr(target_os = "macos", allow(dead_code, reason = "the system asks them there"))]
    port: Option<u16>,
}

impl Default for Files {
    fn default() -> Self {
        Self { resolv: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into(), port: None }
    }
}

/// A resolver for each name server, in their order.
type Servers = Vec<TokioResolver>;

#[derive(Default)]
struct Current {
    servers: Option<Result<Arc<Servers>, String>>,
    checked: Option<Instant>,
    stamps: [Option<Stamp>; 2],
}

/// What a lookup comes to in this time.
async fn within(patience: Duration, lookup: impl Future<Output = LookupOutcome>) -> LookupOutcome {
    tokio::time::timeout(patience, lookup).await.unwrap_or_else(|_| unanswered())
}

fn unanswered() -> LookupOutcome {
    LookupOutcome::Failed("the host's resolver did not answer".to_owned())
}

impl Resolver {
    fn of(pinned: Pinned) -> Arc<Self> {
        Arc::new(Self { pinned, files: Files::default(), rounds: ROUNDS, current: Mutex::default() })
    }

    async fn lookup(&self, lookup: Lookup) -> LookupOutcome {
        if lookup.name.is_host() {
            return match lookup.kind {
                LookupKind::Address | LookupKind::Known => LookupOutcome::Addresses(vec![
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(Ipv6Addr::LOCALHOST),
                ]),
                LookupKind::Records(_) => LookupOutcome::NoRecords,
            };
        }
        if let Some(addresses) = self.pinned.get(&lookup.name) {
            return match lookup.kind {
                LookupKind::Address | LookupKind::Known => LookupOutcome::Addresses(addresses.clone()),
                LookupKind::Records(_) => LookupOutcome::NoRecords,
            };
        }
        let servers = match self.current() {
            Ok(servers) => servers,
            Err(why) => return LookupOutcome::Failed(why),
        };
        let mut last = LookupOutcome::Failed("the host has no name server".to_owned());
        for patience in self.rounds {
            for server in servers.iter() {
                last = match within(patience, ask(server, &lookup)).await {
                    // It could not say: the next one may.
                    outcome @ LookupOutcome::Failed(_) => outcome,
                    outcome => return outcome,
                };
            }
        }
        last
    }

    /// Those of the host's configuration as it is now.
    fn current(&self) -> Result<Arc<Servers>, String> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if current.checked.is_none_or(|checked| now.duration_since(checked) >= CHECK_EVERY) {
            current.checked = Some(now);
            let stamps = [&self.files.resolv, &self.files.hosts].map(|path| stamp(path));
            if current.servers.as_ref().is_none_or(Result::is_err) || stamps != current.stamps {
                current.stamps = stamps;
                current.servers = Some(self.files.build().map(Arc::new));
            }
        }
        current.servers.clone().unwrap_or_else(|| self.files.build().map(Arc::new))
    }
}

async fn ask(server: &TokioResolver, lookup: &Lookup) -> LookupOutcome {
    match lookup.kind {
        LookupKind::Address | LookupKind::Known => match server.lookup_ip(lookup.name.as_str()).await {
            Ok(found) => LookupOutcome::Addresses(found.iter().collect()),
            Err(error) => failure(&error),
        },
        LookupKind::Records(kind) => match server.lookup(lookup.name.as_str(), kind.into()).await {
            Ok(found) => LookupOutcome::Records(found.answers().to_vec()),
            Err(error) => failure(&error),
        },
    }
}

impl Files {
    fn build(&self) -> Result<Servers, String> {
        let failed =
            |error: &dyn std::fmt::Display| format!("the host's resolver configuration is unusable: {error}");
        // Read anew here: the library reads it once per process otherwise.
        let mut hosts = Hosts::default();
        let read =
            File::open(&self.hosts).is_ok_and(|file| hosts.read_hosts_conf(file.take(MOST_HOSTS)).is_ok());
        let hosts = Arc::new(hosts);
        let mut servers = Vec::new();
        for mut builder in self.configured().map_err(|error| failed(&error))? {
            let options = builder.options_mut();
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            let mut server = builder.build().map_err(|error| failed(&error))?;
            if read {
                server.set_hosts(Arc::clone(&hosts));
            }
            servers.push(server);
        }
        Ok(servers)
    }

    /// By resolv.conf.
    #[cfg(not(target_os = "macos"))]
    fn configured(&self) -> Result<Vec<ResolverBuilder<TokioRuntimeProvider>>, NetError> {
        let (config, options) = system_conf::parse_resolv_conf(std::fs::read(&self.resolv)?)?;
        let (domain, search, servers) = config.into_parts();
        let builder = |mut server: NameServerConfig| {
            for connection in &mut server.connections {
                connection.port = self.port.unwrap_or(connection.port);
            }
            let config = ResolverConfig::from_parts(domain.clone(), search.clone(), vec![server]);
            let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            *builder.options_mut() = options.clone();
            builder
        };
        Ok(servers.into_iter().map(builder).collect())
    }

    /// By the system's own configuration, which resolv.conf only mirrors; it has its own order.
    #[cfg(target_os = "macos")]
    fn configured(&self) -> Result<Vec<ResolverBuilder<TokioRuntimeProvider>>, NetError> {
        Ok(vec![TokioResolver::builder_tokio()?])
    }
}

/// What shows that a file is another one than it was: one that took its place may be as old.
type Stamp = (SystemTime, u64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino(), metadata.len()))
}

fn failure(error: &NetError) -> LookupOutcome {
    if error.is_nx_domain() {
        LookupOutcome::NotFound
    } else if error.is_no_records_found() {
        LookupOutcome::NoRecords
    } else {
        LookupOutcome::Failed(error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
