//! The guest's resolver. Every question the guest asks, at whatever address, ends here; nothing about a name that
//! the policy does not allow ever leaves the host.
//!
//! Input: DNS messages of the guest and the outcomes of lookups; output: answers, lookups to be made, audit events.
//! Sans-IO: no sockets, and the time is an argument. What each question gets:
//!
//! | question | answer |
//! |---|---|
//! | a name the policy does not allow, any type | NXDOMAIN, and a line in the log |
//! | A | a virtual address, if the name has addresses upstream (in real mode: those) |
//! | AAAA | the same with IPv6 switched on, else nothing |
//! | SRV, TXT, MX, CAA | the records, under the name asked for |
//! | HTTPS, SVCB | nothing: no ECH, no address hints |
//! | PTR | the name, for addresses handed out; else NXDOMAIN |
//! | `localhost` and below | the guest's own loopback (RFC 6761) |
//! | ANY, AXFR, IXFR | NOTIMP |
//! | every other type | nothing |
//!
//! A leading `_service._proto` of an SRV or TXT question is judged as the name behind it.

mod budget;
mod framing;
mod journal;
mod lookup;
mod message;
mod plan;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::audit::Event;
use crate::net::pins::{Full, MAX_NAMES, Pins};
use crate::policy::{DenyReason, HostName, Policy};
use budget::NameBudget;
use journal::{Entry, Journal};
use lookup::{Pending, Queued, Waiter};
use message::{Question, Unfit};
use plan::{ADDRESS_TTL, Outcome, Plan, decide, is_localhost, loopback, pointer, reverse};

pub use framing::TcpFraming;
pub use lookup::{Lookup, LookupId, LookupKind, LookupOutcome, RecordKind};

/// How long a name is taken to exist after it was looked up.
const EXISTS_FOR: Duration = Duration::from_secs(ADDRESS_TTL as u64);
/// Names that are remembered to exist: as many as a busy session uses in that time.
const MAX_EXISTING: usize = 4096;

/// Which addresses the guest is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addresses {
    /// npxc's own, one per name.
    #[default]
    Virtual,
    /// Those the name has upstream.
    Real,
}

/// How the resolver answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether AAAA questions are answered with addresses.
    pub ipv6: bool,
    /// Which addresses are handed out.
    pub addresses: Addresses,
}

/// Where a question came from; means something to the router only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(pub u64);

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In one datagram; the answer has to fit into one.
    Udp,
    /// In a stream; see [`TcpFraming`].
    Tcp,
}

/// What to do about a question.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Reaction {
    /// Send this message back to the origin.
    Answer(Vec<u8>),
    /// Resolve this and come back with [`Responder::answered`].
    Lookup(LookupId, Lookup),
    /// The question waits for a lookup that is under way: nothing to do.
    Wait,
    /// Not a question: nothing to do, nothing to say.
    Drop,
}

/// The resolver of one session.
///
/// Call [`query`](Self::query) for each message, [`answered`](Self::answered) when a lookup ends, and drain
/// [`poll_event`](Self::poll_event) after either; [`tick`](Self::tick) every few seconds, [`finish`](Self::finish)
/// once at the end of the session.
#[derive(Debug)]
pub struct Responder {
    options: Options,
    pending: Pending,
    budget: NameBudget,
    journal: Journal,
    /// When a name was last seen to have addresses.
    existing: HashMap<HostName, Instant>,
}

impl Responder {
    /// A resolver that has answered nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            pending: Pending::default(),
            budget: NameBudget::new(),
            journal: Journal::new(),
            existing: HashMap::new(),
        }
    }

    /// Takes one message of the guest, without the length prefix TCP has.
    pub fn query(
        &mut self,
        now: Instant,
        origin: Origin,
        transport: Transport,
        message: &[u8],
        policy: &Policy,
        pins: &mut Pins,
    ) -> Reaction {
        let question = match message::parse(message) {
            Ok(question) => question,
            Err(Unfit::Ignore) => return Reaction::Drop,
            Err(Unfit::Refuse(header, code, what)) => {
                let answer = if code == ResponseCode::FormErr { "formerr" } else { "refused" };
                let denial = Some(DenyReason::MalformedDns { what });
                self.journal.answer(now, Entry { answer, denial, ..Entry::default() });
                return message::refuse(header, code).map_or(Reaction::Drop, Reaction::Answer);
            }
        };
        match self.plan(now, &question, policy, pins) {
            Plan::Answer(outcome, denial) => self
                .reply(now, &question, transport, outcome, denial)
                .map_or(Reaction::Drop, Reaction::Answer),
            Plan::Lookup(lookup) => self.start(now, origin, transport, question, lookup),
        }
    }

    /// Whether names are answered with the addresses they really have.
    pub fn hands_out_real(&self) -> bool {
        self.options.addresses == Addresses::Real
    }

    /// The name that a lookup is about, while it is under way.
    pub fn name(&self, id: LookupId) -> Option<&HostName> {
        self.pending.name(id)
    }

    /// Takes the outcome of a lookup and gives every answer it makes possible; none if nobody waits any more. What the policy
    /// of now denies is denied, whatever was allowed when it was asked.
    #[allow(clippy::needless_pass_by_value)] // an outcome is used up by being told
    pub fn answered(
        &mut self,
        now: Instant,
        id: LookupId,
        outcome: LookupOutcome,
        policy: &Policy,
        pins: &mut Pins,
    ) -> Vec<(Origin, Vec<u8>)> {
        let Some((lookup, waiters)) = self.pending.take(id) else {
            return Vec::new();
        };
        if matches!(outcome, LookupOutcome::Addresses(_)) {
            self.remember(now, &lookup.name);
        }
        let mut answers = Vec::with_capacity(waiters.len());
        for Waiter { origin, transport, question } in waiters {
            let (outcome, denial) = match decide(policy, &lookup.name, question.kind) {
                Ok(()) => self.settle(now, &lookup.name, question.kind, &outcome, pins),
                Err(reason) => (Outcome::NotFound, Some(reason)),
            };
            if let Some(message) = self.reply(now, &question, transport, outcome, denial) {
                answers.push((origin, message));
            }
        }
        answers
    }

    /// The next event for the audit log.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.journal.poll()
    }

    /// The next name whose denial is in the log already and was repeated.
    pub fn poll_repeat(&mut self) -> Option<String> {
        self.journal.poll_repeat()
    }

    /// Whether [`tick`](Self::tick) has to come although nothing else happens: something was counted that no event says yet.
    pub fn owes(&self) -> bool {
        self.journal.owes()
    }

    /// Forgets lookups that never ended and writes summaries that are due.
    pub fn tick(&mut self, now: Instant) {
        self.pending.expire(now);
        self.journal.tick(now);
    }

    /// The session ends: what was only counted becomes events now.
    pub fn finish(&mut self) {
        self.journal.summarize();
    }

    fn plan(&mut self, now: Instant, question: &Question, policy: &Policy, pins: &mut Pins) -> Plan {
        if question.name.is_root() {
            let denial =
                DenyReason::MalformedName { what: "it is the root of all names".to_owned(), hint: None };
            return Plan::Answer(Outcome::Refused(ResponseCode::Refused), Some(denial));
        }
        if question.kind == RecordType::PTR
            && let Some(address) = reverse(&question.name)
        {
            return pointer(address, pins);
        }
        let name = match HostName::from_ascii(&question.text) {
            Ok(name) => name,
            Err(error) => {
                let (what, hint) = (error.what().to_owned(), error.hint().map(str::to_owned));
                let denial = DenyReason::MalformedName { what, hint };
                return Plan::Answer(Outcome::NotFound, Some(denial));
            }
        };
        if is_localhost(name.as_str()) {
            return Plan::Answer(loopback(question.kind), None);
        }
        if let Err(reason) = decide(policy, &name, question.kind) {
            return Plan::Answer(Outcome::NotFound, Some(reason));
        }
        let kind = match question.kind {
            RecordType::A => LookupKind::Address,
            RecordType::AAAA if self.options.ipv6 => LookupKind::Address,
            RecordType::SRV => LookupKind::Records(RecordKind::Srv),
            RecordType::TXT => LookupKind::Records(RecordKind::Txt),
            RecordType::MX => LookupKind::Records(RecordKind::Mx),
            RecordType::CAA => LookupKind::Records(RecordKind::Caa),
            RecordType::ANY | RecordType::AXFR | RecordType::IXFR => {
                return Plan::Answer(Outcome::Refused(ResponseCode::NotImp), None);
            }
            _ => return Plan::Answer(Outcome::Empty, None),
        };
        if kind == LookupKind::Address && (name.is_host() || self.exists(now, &name)) {
            let (outcome, denial) = self.hand_out(now, &name, question.kind, pins);
            return Plan::Answer(outcome, denial);
        }
        if name.is_host() {
            return Plan::Answer(Outcome::Empty, None);
        }
        Plan::Lookup(Lookup { name, kind })
    }

    fn start(
        &mut self,
        now: Instant,
        origin: Origin,
        transport: Transport,
        question: Question,
        lookup: Lookup,
    ) -> Reaction {
        if !self.pending.contains(&lookup) && !self.budget.admit(now, lookup.name.as_str()) {
            self.journal.limit(now, "dns-names", "different names looked up in a short time");
            let denial = DenyReason::RateLimited { what: "different names" };
            let outcome = Outcome::Refused(ResponseCode::Refused);
            return self
                .reply(now, &question, transport, outcome, Some(denial))
                .map_or(Reaction::Drop, Reaction::Answer);
        }
        let waiter = Waiter { origin, transport, question };
        match self.pending.queue(now, &lookup, waiter) {
            Queued::New(id) => Reaction::Lookup(id, lookup),
            Queued::Joined => Reaction::Wait,
            Queued::Full(Waiter { question, .. }) => {
                self.journal.limit(now, "dns-pending", "questions that wait for the host's resolver");
                let denial = DenyReason::RateLimited { what: "questions" };
                self.reply(now, &question, transport, Outcome::Failed, Some(denial))
                    .map_or(Reaction::Drop, Reaction::Answer)
            }
        }
    }

    /// What the outcome of a lookup means for one of the questions that waited for it.
    fn settle(
        &mut self,
        now: Instant,
        name: &HostName,
        kind: RecordType,
        outcome: &LookupOutcome,
        pins: &mut Pins,
    ) -> (Outcome, Option<DenyReason>) {
        match (outcome, self.options.addresses) {
            (LookupOutcome::Addresses(_), Addresses::Virtual) => self.hand_out(now, name, kind, pins),
            (LookupOutcome::Addresses(addresses), Addresses::Real) => {
                let addresses: Vec<IpAddr> = addresses
                    .iter()
                    .copied()
                    .filter(|address| address.is_ipv4() == (kind == RecordType::A))
                    .collect();
                match pins.pin_real(name, &addresses) {
                    Ok(pinned) => (Outcome::Addresses(pinned), None),
                    Err(Full) => self.full(now),
                }
            }
            (LookupOutcome::Records(records), _) => {
                let wanted = records.iter().filter(|record| record.record_type() == kind);
                (Outcome::Records(wanted.cloned().collect()), None)
            }
            (LookupOutcome::NotFound, _) => (Outcome::NotFound, None),
            (LookupOutcome::NoRecords, _) => (Outcome::Empty, None),
            (LookupOutcome::Failed(why), _) => {
                let reason = DenyReason::ResolutionFailed { name: name.clone(), why: why.clone() };
                (Outcome::Failed, Some(reason))
            }
        }
    }

    fn hand_out(
        &mut self,
        now: Instant,
        name: &HostName,
        kind: RecordType,
        pins: &mut Pins,
    ) -> (Outcome, Option<DenyReason>) {
        let address =
            if kind == RecordType::A { pins.v4(name).map(IpAddr::V4) } else { pins.v6(name).map(IpAddr::V6) };
        match address {
            Ok(address) => (Outcome::Addresses(vec![address]), None),
            Err(Full) => self.full(now),
        }
    }

    fn full(&mut self, now: Instant) -> (Outcome, Option<DenyReason>) {
        self.journal.limit(now, "pins", "names of one session that hold an address");
        (Outcome::Failed, Some(DenyReason::TooManyNames { limit: MAX_NAMES }))
    }

    /// Whether a name is known to have addresses, so that its virtual one can be given at once.
    fn exists(&self, now: Instant, name: &HostName) -> bool {
        self.options.addresses == Addresses::Virtual
            && self.existing.get(name).is_some_and(|seen| now.saturating_duration_since(*seen) < EXISTS_FOR)
    }

    fn remember(&mut self, now: Instant, name: &HostName) {
        if self.existing.len() >= MAX_EXISTING {
            self.existing.retain(|_, seen| now.saturating_duration_since(*seen) < EXISTS_FOR);
        }
        if self.existing.len() < MAX_EXISTING {
            self.existing.insert(name.clone(), now);
        }
    }

    /// Writes the answer and its line in the log.
    fn reply(
        &mut self,
        now: Instant,
        question: &Question,
        transport: Transport,
        outcome: Outcome,
        denial: Option<DenyReason>,
    ) -> Option<Vec<u8>> {
        let mut entry = Entry {
            name: question.text.clone(),
            kind: question.kind.to_string(),
            answer: outcome.label(),
            addresses: Vec::new(),
            denial,
        };
        if let Outcome::Addresses(addresses) = &outcome {
            entry.addresses.clone_from(addresses);
        }
        self.journal.answer(now, entry);
        let (code, records) = outcome.into_records(&question.name);
        message::answer(question, transport, code, records)
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
