//! What the names in rules resolve to now, as a session would resolve them, and which of the addresses it would dial.
//! Nothing is dialled.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::network::{pinned, policy};
use super::run::block_on;
use crate::config::Resolved;
use crate::egress::resolver;
use crate::exit::Failure;
use crate::net::dns::LookupOutcome;
use crate::policy::{HostName, HostPattern, Policy, Protocol, Request, Rule};

/// The port that a rule for several is judged by.
const USUAL_PORT: u16 = 443;

/// A name in a rule, with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The rule, as it was given: a preset stands for several names.
    pub rule: Rule,
    /// The name.
    pub name: HostName,
    /// Its addresses, with the code of the reason for which one is not dialled; or why there are none.
    pub addresses: Result<Vec<(IpAddr, Option<&'static str>)>, String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.addresses {
            Err(why) => f.write_str(why),
            Ok(addresses) => {
                let shown = addresses.iter().map(|(address, why)| match why {
                    None => address.to_string(),
                    Some(why) => format!("{address} (not dialled: {why})"),
                });
                f.write_str(&shown.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Asks the host's resolver for the names of every rule that allows something. `presets` are what presets stand for.
///
/// # Errors
/// The rules contradict themselves, or the event loop cannot be started.
pub fn look_up(resolved: &Resolved, presets: &BTreeMap<String, Vec<Rule>>) -> Result<Vec<Found>, Failure> {
    let network = &resolved.network;
    let policy = policy(network.policy(presets.clone()))?;
    let mut asked: Vec<(&Rule, &Rule, HostName)> = Vec::new();
    for rule in network.allow.iter().chain(&network.allow_private) {
        let meant = match rule.host() {
            HostPattern::Preset(preset) => presets.get(preset).map(Vec::as_slice).unwrap_or_default(),
            HostPattern::Name(_) | HostPattern::Below(_) | HostPattern::Net(_) => std::slice::from_ref(rule),
        };
        asked.extend(meant.iter().filter_map(|meant| match meant.host() {
            HostPattern::Name(name) => Some((rule, meant, name.clone())),
            HostPattern::Below(_) | HostPattern::Net(_) | HostPattern::Preset(_) => None,
        }));
    }
    let names = asked.iter().map(|(_, _, name)| name.clone()).collect();
    let outcomes = block_on(async { Ok(resolver::addresses(names, pinned(network)).await) })?;
    let found = asked.into_iter().zip(outcomes).map(|((rule, meant, name), outcome)| {
        let addresses = match outcome {
            LookupOutcome::Addresses(addresses) => {
                Ok(addresses.into_iter().map(|one| (one, refusal(&policy, meant, &name, one))).collect())
            }
            LookupOutcome::NotFound => Err("there is no such name".to_owned()),
            LookupOutcome::NoRecords | LookupOutcome::Records(_) => Err("it has no address".to_owned()),
            LookupOutcome::Failed(why) => Err(format!("the lookup failed: {why}")),
        };
        Found { rule: rule.clone(), name, addresses }
    });
    Ok(found.collect())
}

/// Why an address that a name of a rule has is not dialled.
fn refusal(policy: &Policy, rule: &Rule, name: &HostName, address: IpAddr) -> Option<&'static str> {
    let port = std::iter::once(USUAL_PORT).chain(1..=u16::MAX).find(|port| rule.ports().contains(*port))?;
    let request = Request::new(rule.protocol().unwrap_or(Protocol::Tcp), name.clone(), port);
    let judged = policy.decide(&request).permit().and_then(|permit| permit.admit(address));
    judged.err().map(|reason| reason.code())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::load::Asked;
    use crate::config::{self, Layer};
    use crate::package::HostEnv;

    #[test]
    fn addresses_are_judged_as_a_session_judges_them() {
        let home = tempfile::tempdir().unwrap();
        let host = HostEnv {
            vars: [("HOME".into(), home.path().into())].into(),
            cwd: home.path().to_owned(),
            home: home.path().to_owned(),
        };
        let layer = Layer {
            allow: Rule::parse_list("a.example.com:5432,@npm,*.example.org,192.0.2.1,host.npxc.internal:80")
                .unwrap(),
            allow_private: Rule::parse_list("b.example.com").unwrap(),
            deny: Rule::parse_list("192.0.2.9").unwrap(),
            add_host: [
                "a.example.com:192.0.2.7",
                "a.example.com:10.0.0.7",
                "b.example.com:10.0.0.7",
                "r.example.com:192.0.2.9",
            ]
            .map(|text| text.parse().unwrap())
            .into(),
            ..Layer::default()
        };
        let packages = vec!["server".parse().unwrap()];
        let run = config::load(Asked { packages, layer, ..Asked::default() }, &host).unwrap();
        let presets = [("npm".to_owned(), Rule::parse_list("r.example.com:443").unwrap())].into();
        let shown: Vec<_> =
            look_up(&run, &presets).unwrap().iter().map(|found| format!("{} {found}", found.rule)).collect();
        assert_eq!(
            shown,
            [
                "a.example.com:5432 a.example.com: 192.0.2.7, 10.0.0.7 (not dialled: private-address)",
                "@npm r.example.com: 192.0.2.9 (not dialled: denied-by-rule)",
                "host.npxc.internal:80 host.npxc.internal: 127.0.0.1, ::1",
                "b.example.com b.example.com: 10.0.0.7",
            ]
        );
    }
}
