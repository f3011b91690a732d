//! Which name an address stands for, and what the policy says about it. Every permit that the router has comes
//! from here, and every address that is dialled by name passes the permit's floor here.

use super::{Router, is_unicast};
use crate::net::dns::LookupOutcome;
use crate::net::pins::Pinned;
use crate::net::proxy::Route;
use crate::net::sniff::Expected;
use crate::net::table::Key;
use crate::policy::{
    DenyReason, Destination, Dialable, HostName, Permit, Policy, Protocol, Request, Verdict,
};

/// What a verdict allows, and the name it is about.
pub(super) struct Granted {
    pub(super) permit: Permit,
    pub(super) name: Option<HostName>,
}

impl Router {
    /// The verdict about a flow that does not exist yet.
    pub(super) fn judge(&mut self, key: &Key) -> Result<Granted, (Option<HostName>, DenyReason)> {
        let address = key.remote.ip();
        let (names, by_address) = match self.pins.lookup(address) {
            Some(Pinned::Virtual(name)) => (vec![name.clone()], false),
            Some(Pinned::Real(names)) => (names.to_vec(), true),
            None => (Vec::new(), true),
        };
        let first = names.first().cloned();
        if !self.journal.healthy() {
            return Err((first, DenyReason::AuditUnavailable));
        }
        if !is_unicast(address) {
            // Whatever a rule covers: it would be everybody on the host's network at once.
            return Err((first, DenyReason::MulticastNotAllowed { address }));
        }
        let destinations = names
            .into_iter()
            .map(Destination::Name)
            .chain(by_address.then_some(Destination::Address(address)));
        let mut refusal = None;
        for destination in destinations {
            let name = match &destination {
                Destination::Name(name) => Some(name.clone()),
                Destination::Address(_) => None,
            };
            let request = Request { protocol: key.protocol, destination, port: key.remote.port() };
            match self.policy.decide(&request) {
                Verdict::Allow(_) if self.table.len() >= self.most_flows => {
                    return Err((name, DenyReason::TooManyFlows { limit: self.most_flows }));
                }
                Verdict::Allow(permit)
                    if key.protocol == Protocol::Udp
                        && self.route(permit.destination(), permit.port()) != Route::Direct =>
                {
                    let destination = permit.destination().clone();
                    return Err((name, DenyReason::NotProxied { destination }));
                }
                Verdict::Allow(permit) => return Ok(Granted { permit, name }),
                Verdict::Deny(why) => refusal.get_or_insert((name, why)),
            };
        }
        Err(refusal.unwrap_or((first, DenyReason::TooManyFlows { limit: self.most_flows })))
    }

    /// The names the guest may claim on this flow under a policy.
    pub(super) fn expected(&self, policy: &Policy, key: &Key, name: Option<&HostName>) -> Expected {
        match (self.pins.lookup(key.remote.ip()), name) {
            (Some(Pinned::Real(names)), Some(_)) => Expected::AnyOf(
                names
                    .iter()
                    .filter(|name| {
                        let destination = Destination::Name((*name).clone());
                        let request =
                            Request { protocol: key.protocol, destination, port: key.remote.port() };
                        matches!(policy.decide(&request), Verdict::Allow(_))
                    })
                    .cloned()
                    .collect(),
            ),
            (_, Some(name)) => Expected::Name(name.clone()),
            // Reached by a rule about the address itself: what it is called does not matter.
            (_, None) => Expected::Unnamed,
        }
    }
}

/// The addresses that may be dialled, in the resolver's order; why none, if none.
pub(super) fn admit(
    permit: &Permit,
    name: &HostName,
    outcome: LookupOutcome,
) -> Result<Vec<Dialable>, DenyReason> {
    let failed = |why: &str| DenyReason::ResolutionFailed { name: name.clone(), why: why.to_owned() };
    let addresses = match outcome {
        LookupOutcome::Addresses(addresses) => addresses,
        LookupOutcome::NotFound => return Err(failed("the name does not exist")),
        LookupOutcome::NoRecords | LookupOutcome::Records(_) => {
            return Err(failed("the name has no address"));
        }
        LookupOutcome::Failed(why) => return Err(failed(&why)),
    };
    let mut refusal = None;
    let mut candidates = Vec::with_capacity(addresses.len());
    for address in addresses {
        match permit.admit(address) {
            Ok(dialable) => candidates.push(dialable),
            Err(why) => {
                refusal.get_or_insert(why);
            }
        }
    }
    if candidates.is_empty() {
        Err(refusal.unwrap_or_else(|| failed("the name has no address")))
    } else {
        Ok(candidates)
    }
}
