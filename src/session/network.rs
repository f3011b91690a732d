//! What was configured about the network, as the datapath wants it.

use std::collections::BTreeMap;
use std::net::TcpListener;

use crate::config::{Addresses, Network, Resolved};
use crate::egress::driver::Published;
use crate::egress::resolver::Pinned;
use crate::exit::{ExitStatus, Failure};
use crate::net::dns;
use crate::net::proxy::Proxying;
use crate::package::{HostEnv, NpmConfig};
use crate::policy::{Policy, PolicySpec, Rule};

/// What the presets stand for on this host.
pub(super) fn presets(npm: &NpmConfig) -> BTreeMap<String, Vec<Rule>> {
    BTreeMap::from([("npm".to_owned(), npm.rules())])
}

/// Presets that stand for nothing, where npm cannot be asked.
pub fn no_presets() -> BTreeMap<String, Vec<Rule>> {
    BTreeMap::from([("npm".to_owned(), Vec::new())])
}

/// The rules, ready to judge.
pub(super) fn policy(spec: PolicySpec) -> Result<Policy, Failure> {
    Policy::new(spec).map_err(|error| Failure::new(ExitStatus::Config, error.to_string()).hints(error.hint()))
}

/// What an installation's connections go through: what was chosen for npxc, else what npm uses.
///
/// # Errors
/// A proxy of npm's that npxc cannot use.
pub(super) fn install_proxy(
    resolved: &Resolved,
    npm: &NpmConfig,
    host: &HostEnv,
) -> Result<Option<Proxying>, Failure> {
    if resolved.network.proxy_chosen {
        return Ok(resolved.network.proxy.clone());
    }
    let given = || resolved.network.add_host.iter().map(|entry| entry.name.clone()).collect();
    let found = npm.proxy(host).map_err(|(origin, error)| {
        Failure::new(ExitStatus::Config, format!("{origin}: {error}")).hint(error.hint())
    })?;
    Ok(found.map(|proxying| Proxying { given: given(), ..proxying }))
}

/// What to tell about the proxy before anything goes through it.
pub(super) fn about_proxy(proxying: &Proxying) -> String {
    let names = if proxying.proxy.resolves() {
        "; it resolves names, so their addresses are judged only as far as this machine knows them"
    } else {
        ""
    };
    format!("connections go through the proxy {proxying}{names}")
}

/// Takes the host's ports that `--publish` names.
pub(super) fn listen(resolved: &Resolved) -> Result<Vec<Published>, Failure> {
    resolved
        .publish
        .iter()
        .map(|publish| {
            let listener = TcpListener::bind(publish.listen).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            let failed = |error: std::io::Error| {
                Failure::new(ExitStatus::Config, format!("--publish {publish}: cannot listen: {error}"))
                    .hint("choose another port of the host: --publish PORT:GUEST_PORT")
            };
            Ok(Published { listener: listener.map_err(failed)?, guest_port: publish.guest })
        })
        .collect()
}

/// How the guest's names are answered.
pub(super) fn dns_options(network: &Network) -> dns::Options {
    dns::Options {
        ipv6: network.ipv6,
        addresses: match network.addresses {
            Addresses::Virtual => dns::Addresses::Virtual,
            Addresses::Real => dns::Addresses::Real,
        },
    }
}

/// The addresses that `--add-host` names.
pub(super) fn pinned(network: &Network) -> Pinned {
    let mut pinned = Pinned::new();
    for host in &network.add_host {
        pinned.entry(host.name.clone()).or_default().push(host.address);
    }
    pinned
}
