//! Another policy for a router that is at work: what it does not allow ends, whatever let it begin.

use std::net::IpAddr;
use std::time::Instant;

use super::{Router, State, Way};
use crate::audit::Event;
use crate::net::flow::How;
use crate::net::stack::Transmit;
use crate::net::table::{FlowId, Key};
use crate::policy::{DenyReason, Destination, HostName, Permit, Policy, Request, Verdict};

impl Router {
    /// From now on `policy` holds, which `said` is the log's word of. False if the log does not take it: then nothing changes.
    pub fn revise(&mut self, now: Instant, policy: Policy, said: Event, out: &mut dyn Transmit) -> bool {
        if !self.journal.record(said) {
            return false;
        }
        let before = std::mem::replace(&mut self.policy, policy);
        for id in self.table.ids() {
            self.judge_again(now, id, &before, out);
        }
        true
    }

    fn judge_again(&mut self, now: Instant, id: FlowId, before: &Policy, out: &mut dyn Transmit) {
        let Some((key, mut entry)) = self.table.take(id) else { return };
        let Way::Out(dialled) = entry.way else { return self.table.put(id, entry) };
        let why = match (self.still(&key, entry.name.as_ref(), dialled), &mut entry.state) {
            // What is not dialled yet is dialled, or not, by the new rules.
            (Ok(new), State::Opening { permit, .. } | State::Datagrams { permit, .. }) => {
                *permit = new;
                return self.table.put(id, entry);
            }
            (Ok(_), State::Relay(flow)) => {
                // Which names it may claim on the way was decided when it began.
                let name = entry.name.as_ref();
                if self.expected(before, &key, name) != self.expected(&self.policy, &key, name) {
                    flow.abort(How::Revoked);
                    self.table.mark(id);
                }
                return self.table.put(id, entry);
            }
            (Err(_), State::Relay(flow)) => {
                flow.abort(How::Revoked);
                // Its reset is sent, and its end written, when it is served.
                self.table.mark(id);
                return self.table.put(id, entry);
            }
            (Ok(_), State::Silent(_) | State::Resolver(_)) => return self.table.put(id, entry),
            (Err(why), State::Opening { .. } | State::Datagrams { queue: Some(_), .. }) => Some(why),
            (Err(_), State::Datagrams { .. } | State::Silent(_) | State::Resolver(_)) => None,
        };
        self.table.put(id, entry);
        match why {
            Some(why) => self.refuse_opening(id, &why, out),
            None => self.end(now, id, How::Revoked),
        }
    }

    /// Whether a flow could begin now as it did, to that address if there is one already.
    fn still(
        &self,
        key: &Key,
        name: Option<&HostName>,
        dialled: Option<IpAddr>,
    ) -> Result<Permit, DenyReason> {
        let destination = match name {
            Some(name) => Destination::Name(name.clone()),
            None => Destination::Address(key.remote.ip()),
        };
        let request = Request { protocol: key.protocol, destination, port: key.remote.port() };
        match (self.policy.decide(&request), dialled) {
            (Verdict::Allow(permit), Some(address)) => permit.admit(address).map(|_| permit),
            (Verdict::Allow(permit), None) => Ok(permit),
            (Verdict::Deny(why), _) => Err(why),
        }
    }
}
