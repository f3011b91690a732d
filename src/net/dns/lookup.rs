//! What has to be asked of the world, and who is waiting for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Record, RecordType};

use super::message::Question;
use super::{Origin, Transport};
use crate::policy::HostName;

/// Lookups at once. A page of a browser makes dozens; each holds a resolver task in the shell.
pub(super) const MAX_PENDING: usize = 256;
/// Questions that wait for one lookup: retries and programs that ask in parallel.
pub(super) const MAX_WAITERS: usize = 64;
/// After this long nobody waits for a lookup any more (resolvers give up after 5 to 15 seconds).
const LIFETIME: Duration = Duration::from_secs(30);

/// Names one lookup within a session; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(u64);

/// What is to be resolved, with the host's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The name.
    pub name: HostName,
    /// What is wanted of it.
    pub kind: LookupKind,
}

/// What is wanted of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LookupKind {
    /// Its addresses, of both families, or whether it has any.
    Address,
    /// Likewise, if that is known soon: to judge a name that a proxy resolves.
    Known,
    /// Its records of one type.
    Records(RecordKind),
}

/// Record types that are passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Services (RFC 2782).
    Srv,
    /// Text.
    Txt,
    /// Mail exchangers.
    Mx,
    /// Who may issue certificates (RFC 8659).
    Caa,
}

impl From<RecordKind> for RecordType {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Srv => Self::SRV,
            RecordKind::Txt => Self::TXT,
            RecordKind::Mx => Self::MX,
            RecordKind::Caa => Self::CAA,
        }
    }
}

/// How a lookup ended.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupOutcome {
    /// The name exists. The addresses are those that may be handed out in real mode: the private floor has been
    /// applied; an empty list means that none passed it.
    Addresses(Vec<IpAddr>),
    /// Records of the wanted type; others are left out of the answer.
    Records(Vec<Record>),
    /// There is no such name.
    NotFound,
    /// The name exists and has nothing of that kind.
    NoRecords,
    /// It could not be found out, and why.
    Failed(String),
}

/// A question that waits.
#[derive(Debug, PartialEq)]
pub(super) struct Waiter {
    pub(super) origin: Origin,
    pub(super) transport: Transport,
    pub(super) question: Question,
}

/// What became of a question that needs a lookup.
pub(super) enum Queued {
    /// A lookup has to be made.
    New(LookupId),
    /// It waits for one that is under way.
    Joined,
    /// It cannot wait.
    Full(Waiter),
}

/// Lookups under way.
#[derive(Debug, Default)]
pub(super) struct Pending {
    next: u64,
    lookups: HashMap<LookupId, Waiting>,
    by_lookup: HashMap<Lookup, LookupId>,
}

#[derive(Debug)]
struct Waiting {
    lookup: Lookup,
    since: Instant,
    waiters: Vec<Waiter>,
}

impl Pending {
    /// Whether such a lookup is under way.
    pub(super) fn contains(&self, lookup: &Lookup) -> bool {
        self.by_lookup.contains_key(lookup)
    }

    /// Lets a question wait for `lookup`.
    pub(super) fn queue(&mut self, now: Instant, lookup: &Lookup, waiter: Waiter) -> Queued {
        if let Some(waiting) = self.by_lookup.get(lookup).and_then(|id| self.lookups.get_mut(id)) {
            if waiting.waiters.contains(&waiter) {
                return Queued::Joined;
            }
            if waiting.waiters.len() >= MAX_WAITERS {
                return Queued::Full(waiter);
            }
            waiting.waiters.push(waiter);
            return Queued::Joined;
        }
        if self.lookups.len() >= MAX_PENDING {
            self.expire(now);
        }
        if self.lookups.len() >= MAX_PENDING {
            return Queued::Full(waiter);
        }
        let id = LookupId(self.next);
        self.next += 1;
        self.by_lookup.insert(lookup.clone(), id);
        self.lookups.insert(id, Waiting { lookup: lookup.clone(), since: now, waiters: vec![waiter] });
        Queued::New(id)
    }

    /// The name that a lookup is about, while it is under way.
    pub(super) fn name(&self, id: LookupId) -> Option<&HostName> {
        Some(&self.lookups.get(&id)?.lookup.name)
    }

    /// Ends a lookup; `None` if it is not under way (any more).
    pub(super) fn take(&mut self, id: LookupId) -> Option<(Lookup, Vec<Waiter>)> {
        let Waiting { lookup, waiters, .. } = self.lookups.remove(&id)?;
        self.by_lookup.remove(&lookup);
        Some((lookup, waiters))
    }

    /// Forgets lookups that nobody waits for any more.
    pub(super) fn expire(&mut self, now: Instant) {
        let Self { lookups, by_lookup, .. } = self;
        lookups.retain(|_, waiting| {
            let keep = now.saturating_duration_since(waiting.since) < LIFETIME;
            if !keep {
                by_lookup.remove(&waiting.lookup);
            }
            keep
        });
    }
}
