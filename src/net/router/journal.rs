//! What the log is told besides flows' beginnings and ends: denials, and what is only counted. Whatever one packet
//! after the other can cause is said once and then in sums.

use std::net::SocketAddr;

use super::Router;
use crate::audit::Event;
use crate::net::packet::{Malformed, Packet, Transport};
use crate::policy::{DenyReason, HostName};

/// Where verdicts go. Refuses when it cannot promise to keep a line; then nothing is allowed.
pub trait Journal: Send {
    /// Records an event; false if it cannot be kept.
    fn record(&mut self, event: Event) -> bool;
    /// The guest asked again for a name that it was denied before: counted in the log, and no event of its own.
    fn denied_again(&mut self, _name: &str) {}
    /// Whether the next event could be kept.
    fn healthy(&self) -> bool;
}

impl Router {
    /// Writes a denial.
    pub(super) fn deny(
        &mut self,
        packet: &Packet<'_>,
        name: Option<HostName>,
        why: &DenyReason,
        sniffed: Option<String>,
    ) {
        let protocol = match packet.transport {
            Transport::Tcp(_) => "tcp".to_owned(),
            Transport::Udp { .. } => "udp".to_owned(),
            Transport::Echo(_) | Transport::Icmp | Transport::Upkeep => "icmp".to_owned(),
            Transport::Other(number) => number.to_string(),
        };
        self.deny_flow(protocol, packet.source_end(), packet.destination_end(), name, why, sniffed);
    }

    pub(super) fn deny_flow(
        &mut self,
        protocol: String,
        source: SocketAddr,
        guest_destination: SocketAddr,
        name: Option<HostName>,
        why: &DenyReason,
        sniffed: Option<String>,
    ) {
        self.journal.record(Event::FlowDeny {
            protocol,
            name: name.map(|name| name.to_string()),
            source,
            guest_destination,
            sniffed,
            code: why.code().to_owned(),
            reason: why.to_string(),
            hint: why.hint(),
            calls: Vec::new(),
        });
    }

    pub(super) fn drop_malformed(&mut self, why: Malformed) {
        // The first is said at once, the rest in one line when the session ends.
        if let Some(count) = self.dropped.get_mut(&why) {
            *count += 1;
        } else {
            self.dropped.insert(why, 0);
            self.limit("malformed packets dropped", &why.to_string(), 1);
        }
    }

    pub(super) fn record_forged(&mut self, example: &str) {
        let count = self.forged - self.forged_recorded;
        if count > 0 {
            self.forged_recorded = self.forged;
            self.limit("forged source address", example, count);
        }
    }

    /// A bound that one packet after the other may reach: the first is said at once, the rest in a line per tick.
    pub(super) fn reached(&mut self, what: &'static str, detail: String) {
        if let Some((count, last)) = self.reached.get_mut(what) {
            *count += 1;
            *last = detail;
        } else {
            self.limit(what, &detail, 1);
            self.reached.insert(what, (0, detail));
        }
    }

    pub(super) fn record_reached(&mut self) {
        let mut lines = Vec::new();
        self.reached.retain(|what, (count, detail)| {
            lines.extend((*count > 0).then(|| (*what, std::mem::take(detail), *count)));
            // One that was quiet for a tick is said at once again.
            std::mem::take(count) > 0
        });
        for (what, detail, count) in lines {
            self.limit(what, &detail, count);
        }
    }

    pub(super) fn limit(&mut self, what: &str, detail: &str, count: u64) {
        self.journal.record(Event::Limit { what: what.to_owned(), detail: detail.to_owned(), count });
    }
}
