//! One flow as the router keeps it: how far it has come, and what the policy has to say about it.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::net::flow::{Flow, Resolving};
use crate::net::table::FlowId;
use crate::policy::{HostName, Permit, Tunnel};

/// One flow and what the log says about it.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) name: Option<HostName>,
    pub(super) opened: Instant,
    pub(super) way: Way,
    pub(super) state: State,
}

/// Which way a flow goes, and what the policy has to say about it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// To the guest, from a published port or to its resolver: no rule is about it.
    In,
    /// From the guest; the address that was dialled, once it is known: npxc dialled it, or asked the proxy for it.
    Out(Option<IpAddr>),
}

/// How far a flow has come.
pub(super) enum State {
    /// Its name is being resolved, or its upstream dialled; the guest's SYN is kept.
    Opening { permit: Permit, syn: Vec<u8>, dialled: Option<SocketAddr>, tunnel: Option<Tunnel> },
    /// It could not be opened, and silence is the honest answer until then.
    Silent(Instant),
    /// Bytes move.
    Relay(Box<Flow>),
    /// The guest's resolver over TCP.
    Resolver(Box<Resolving>),
    /// Datagrams, kept while the name is resolved.
    Datagrams { permit: Permit, queue: Option<Vec<Vec<u8>>>, last: Instant, up: u64, down: u64 },
}

/// Where an answer of the resolver has to go.
pub(super) enum Question {
    Udp { guest: SocketAddr, resolver: SocketAddr },
    Tcp(FlowId),
}
