//! The host's own name resolution, for names that the policy has already let through.
//!
//! Follows the host's configuration (resolv.conf with its search domains, the hosts file) and its changes while
//! a session runs: a laptop changes networks, a VPN comes up. Lookups run on the session's tokio runtime and
//! are answered to the datapath.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::{Hosts, TokioResolver};
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
/// What the host's resolution depends on.
const WATCHED: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// `--add-host`: what a name resolves to, whatever the host would say.
pub type Pinned = BTreeMap<HostName, Vec<IpAddr>>;

/// Starts answering lookups on the current tokio runtime. Returns what [`super::driver::Datapath::start`] wants.
pub fn start(pinned: Pinned) -> impl FnOnce(Handle) -> Resolve {
    let (lookups, mut received) = mpsc::channel::<(Token, Lookup)>(MOST_LOOKUPS);
    let resolver = Arc::new(Resolver { pinned, current: Mutex::new(Current::default()) });
    let runtime = tokio::runtime::Handle::current();
    move |handle: Handle| -> Resolve {
        let answers = handle.clone();
        runtime.spawn(async move {
            while let Some((token, lookup)) = received.recv().await {
                let (resolver, handle) = (Arc::clone(&resolver), answers.clone());
                tokio::spawn(async move {
                    let outcome = tokio::time::timeout(GIVE_UP, resolver.lookup(lookup)).await;
                    let late = || LookupOutcome::Failed("the host's resolver did not answer".to_owned());
                    handle.resolved(token, outcome.unwrap_or_else(|_| late()));
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
    let resolver = Arc::new(Resolver { pinned, current: Mutex::new(Current::default()) });
    let mut all = Vec::with_capacity(names.len());
    let lookups: Vec<_> = names
        .into_iter()
        .map(|name| {
            let resolver = Arc::clone(&resolver);
            let lookup = Lookup { name, kind: LookupKind::Address };
            tokio::spawn(async move { tokio::time::timeout(GIVE_UP, resolver.lookup(lookup)).await })
        })
        .collect();
    for lookup in lookups {
        let late = || LookupOutcome::Failed("the host's resolver did not answer".to_owned());
        all.push(lookup.await.ok().and_then(Result::ok).unwrap_or_else(late));
    }
    all
}

struct Resolver {
    pinned: Pinned,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    resolver: Option<Result<Arc<TokioResolver>, String>>,
    checked: Option<Instant>,
    stamps: [Option<SystemTime>; WATCHED.len()],
}

impl Resolver {
    async fn lookup(&self, lookup: Lookup) -> LookupOutcome {
        if lookup.name.is_host() {
            return match lookup.kind {
                LookupKind::Address => LookupOutcome::Addresses(vec![
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(Ipv6Addr::LOCALHOST),
                ]),
                LookupKind::Records(_) => LookupOutcome::NoRecords,
            };
        }
        if let Some(addresses) = self.pinned.get(&lookup.name) {
            return match lookup.kind {
                LookupKind::Address => LookupOutcome::Addresses(addresses.clone()),
                LookupKind::Records(_) => LookupOutcome::NoRecords,
            };
        }
        let resolver = match self.current() {
            Ok(resolver) => resolver,
            Err(why) => return LookupOutcome::Failed(why),
        };
        match lookup.kind {
            LookupKind::Address => match resolver.lookup_ip(lookup.name.as_str()).await {
                Ok(found) => LookupOutcome::Addresses(found.iter().collect()),
                Err(error) => failure(&error),
            },
            LookupKind::Records(kind) => match resolver.lookup(lookup.name.as_str(), kind.into()).await {
                Ok(found) => LookupOutcome::Records(found.answers().to_vec()),
                Err(error) => failure(&error),
            },
        }
    }

    /// A resolver for the host's configuration as it is now.
    fn current(&self) -> Result<Arc<TokioResolver>, String> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if current.checked.is_none_or(|checked| now.duration_since(checked) >= CHECK_EVERY) {
            current.checked = Some(now);
            let stamps = WATCHED.map(|path| modified(Path::new(path)));
            if current.resolver.as_ref().is_none_or(Result::is_err) || stamps != current.stamps {
                current.stamps = stamps;
                current.resolver = Some(build().map(Arc::new));
            }
        }
        current.resolver.clone().unwrap_or_else(|| build().map(Arc::new))
    }
}

fn build() -> Result<TokioResolver, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("the host's resolver configuration is unusable: {error}");
    let mut builder = TokioResolver::builder_tokio().map_err(|error| failed(&error))?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let mut resolver = builder.build().map_err(|error| failed(&error))?;
    // Read anew here: the library reads it once per process otherwise.
    if let Ok(hosts) = Hosts::from_system() {
        resolver.set_hosts(Arc::new(hosts));
    }
    Ok(resolver)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn failure(error: &hickory_resolver::net::NetError) -> LookupOutcome {
    if error.is_nx_domain() {
        LookupOutcome::NotFound
    } else if error.is_no_records_found() {
        LookupOutcome::NoRecords
    } else {
        LookupOutcome::Failed(error.to_string())
    }
}
