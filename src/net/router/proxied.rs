//! Flows that go through the host's proxy. What the policy permits is the same; the address that is dialled is the proxy's,
//! which the host is configured for and no rule is about.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{Action, DialError, Entry, Router, State, Token};
use crate::net::dns::{Lookup, LookupKind, LookupOutcome};
use crate::net::proxy::{Fault, Handshake, Route};
use crate::net::stack::Transmit;
use crate::net::table::FlowId;
use crate::policy::{Destination, Dialable, Tunnel};

impl Router {
    /// How a destination is reached.
    pub(super) fn route(&self, destination: &Destination, port: u16) -> Route {
        self.proxy.as_ref().map_or(Route::Direct, |proxy| proxy.route(destination, port))
    }

    /// Whether the guest is given an address for a name that nobody has looked up here: its proxy will. On a machine in a
    /// company's network the answer would often be that there is no such name.
    pub(super) fn needs_no_lookup(&self, lookup: &Lookup) -> bool {
        // A bypass for single ports is not for the name as a whole, so no port is asked about.
        lookup.kind == LookupKind::Address
            && !self.responder.hands_out_real()
            && self.route(&Destination::Name(lookup.name.clone()), 0) == Route::ByName
    }

    /// Has the proxy connect a flow.
    pub(super) fn dial_through(&mut self, now: Instant, id: FlowId, wanted: Tunnel, out: &mut dyn Transmit) {
        let Some(proxying) = &self.proxy else { return };
        let addresses = proxying.proxy.addresses().map_err(Clone::clone);
        if let Some(Entry { state: State::Opening { tunnel, .. }, .. }) = self.table.get_mut(id) {
            *tunnel = Some(wanted);
        }
        match addresses {
            Ok(addresses) => self.proxy_is_at(now, id, addresses, out),
            Err(name) => {
                let lookup = Lookup { name, kind: LookupKind::Address };
                self.actions.push_back(Action::Lookup(Token::Proxy(id), lookup));
            }
        }
    }

    /// The proxy's own name was resolved for a flow.
    pub(super) fn proxy_resolved(
        &mut self,
        now: Instant,
        id: FlowId,
        outcome: LookupOutcome,
        out: &mut dyn Transmit,
    ) {
        let port = self.proxy.as_ref().map_or(0, |proxying| proxying.proxy.port());
        let addresses = known(outcome).into_iter().map(|address| SocketAddr::new(address, port)).collect();
        self.proxy_is_at(now, id, addresses, out);
    }

    fn proxy_is_at(&mut self, now: Instant, id: FlowId, addresses: Vec<SocketAddr>, out: &mut dyn Transmit) {
        let (Some(proxying), Some(Entry { state: State::Opening { tunnel: Some(tunnel), dialled, .. }, .. })) =
            (&self.proxy, self.table.get_mut(id))
        else {
            return;
        };
        *dialled = addresses.first().copied();
        if addresses.is_empty() {
            return self.dial_failed(now, id, DialError::Proxy(Fault::Unresolved), out);
        }
        let handshake = Handshake::new(&proxying.proxy, tunnel.clone());
        self.actions.push_back(Action::Tunnel(id, addresses, Box::new(handshake)));
    }

    /// What the log says about the way of a flow.
    pub(super) fn via(&self, tunnel: Option<&Tunnel>) -> Option<String> {
        let (proxying, tunnel) = (self.proxy.as_ref()?, tunnel?);
        let how = match (tunnel.destination(), tunnel.is_judged()) {
            (Destination::Address(_), _) => "by address",
            (Destination::Name(_), true) => "by name",
            (Destination::Name(_), false) => "by name, unknown here",
        };
        Some(format!("{} {how}", proxying.proxy))
    }
}

/// The addresses that a lookup came to.
pub(super) fn known(outcome: LookupOutcome) -> Vec<IpAddr> {
    match outcome {
        LookupOutcome::Addresses(addresses) => addresses,
        LookupOutcome::Records(_)
        | LookupOutcome::NotFound
        | LookupOutcome::NoRecords
        | LookupOutcome::Failed(_) => Vec::new(),
    }
}

/// Which of the addresses the proxy is sent: it takes one, and more proxies have a way to IPv4.
pub(super) fn one_of(candidates: &[Dialable]) -> Option<Tunnel> {
    let old = candidates.iter().find(|candidate| candidate.socket_addr().is_ipv4());
    old.or(candidates.first()).copied().map(Tunnel::from)
}
