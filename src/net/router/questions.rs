//! The guest's resolver: questions over UDP and TCP to port 53 of any address are answered by the same code.

use std::time::Instant;

use smoltcp::socket::tcp::State as TcpState;

use super::serve::isolate;
use super::{Action, Entry, MOST_QUESTIONS, Question, Router, State, Token, Way};
use crate::net::dns::{LookupId, LookupOutcome, Origin, Reaction, TcpFraming, Transport as DnsTransport};
use crate::net::flow::{How, Resolving};
use crate::net::packet::Packet;
use crate::net::reply;
use crate::net::stack::{Stack, Transmit};
use crate::net::table::{FlowId, Key};
use crate::policy::DenyReason;

/// Connections to the resolver at most: a resolver library uses one or two.
const MOST_RESOLVER_FLOWS: usize = 64;
/// Buffer of such a connection each way; a DNS message has at most 64 KiB and is read as it comes.
const RESOLVER_BUFFER: usize = 16 * 1024;
/// Answers kept for a guest that does not read them; beyond that its connection is reset.
const MOST_UNSENT: usize = 128 * 1024;

impl Router {
    /// A question in a UDP datagram.
    pub(super) fn question_by_udp(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        message: &[u8],
        out: &mut dyn Transmit,
    ) {
        let question = Question::Udp { guest: packet.source_end(), resolver: packet.destination_end() };
        if let Some(origin) = self.ask(now, question, DnsTransport::Udp, message) {
            self.flush_answer(&origin.0, &origin.1, out);
        }
    }

    /// A question on a TCP connection.
    pub(super) fn question_by_tcp(&mut self, now: Instant, id: FlowId, message: &[u8]) {
        if let Some((question, answer)) = self.ask(now, Question::Tcp(id), DnsTransport::Tcp, message) {
            self.answer_by_tcp(&question, &answer);
        }
    }

    /// A name that the guest asked for was looked up.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        id: LookupId,
        outcome: LookupOutcome,
        out: &mut dyn Transmit,
    ) {
        let outcome = self.revealed(id, outcome);
        let answers = self.responder.answered(now, id, outcome, &self.policy, &mut self.pins);
        self.record_questions();
        for (origin, answer) in answers {
            let Some(question) = self.questions.remove(&origin.0) else { continue };
            self.flush_answer(&question, &answer, out);
        }
    }

    /// The addresses that the guest may learn of. Virtual ones are handed out for a name whatever it resolves to:
    /// the denial is then made, and explained, when the guest connects.
    fn revealed(&self, id: LookupId, outcome: LookupOutcome) -> LookupOutcome {
        match (outcome, self.responder.name(id)) {
            (LookupOutcome::Addresses(mut addresses), Some(name)) if self.responder.hands_out_real() => {
                addresses.retain(|address| self.policy.may_reveal(name, *address));
                LookupOutcome::Addresses(addresses)
            }
            (outcome, _) => outcome,
        }
    }

    /// A connection to port 53.
    pub(super) fn open_resolver(
        &mut self,
        now: Instant,
        key: Key,
        packet: &Packet<'_>,
        out: &mut dyn Transmit,
    ) {
        if self.table.len() >= self.most_flows || self.resolver_flows() >= MOST_RESOLVER_FLOWS {
            return self.reached("connections to the resolver", key.remote.to_string());
        }
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut stack = Box::new(Stack::new(self.link, RESOLVER_BUFFER, self.epoch, self.seed));
        if !isolate(|| stack.answer(now, key.remote, packet.bytes, out)) {
            return self.limit("flows ended by an internal error", &key.remote.to_string(), 1);
        }
        let resolving = Resolving { stack, framing: TcpFraming::new(), unsent: Vec::new(), pending: 0 };
        let number = self.next_flow;
        self.next_flow += 1;
        let state = State::Resolver(Box::new(resolving));
        let id = self.table.insert(key, Entry { number, name: None, opened: now, way: Way::In, state });
        self.table.mark(id);
    }

    fn resolver_flows(&mut self) -> usize {
        let ids = self.table.ids();
        let is_resolver = |entry: &mut Entry| matches!(entry.state, State::Resolver(_));
        ids.into_iter().filter(|&id| self.table.get_mut(id).is_some_and(is_resolver)).count()
    }

    /// Asks the responder; an answer that is ready comes back with the question it is for.
    fn ask(
        &mut self,
        now: Instant,
        question: Question,
        transport: DnsTransport,
        message: &[u8],
    ) -> Option<(Question, Vec<u8>)> {
        self.next_question += 1;
        let origin = Origin(self.next_question);
        let reaction = self.responder.query(now, origin, transport, message, &self.policy, &mut self.pins);
        self.record_questions();
        match reaction {
            Reaction::Answer(answer) => Some((question, answer)),
            // A name that is asked for leaves the host, and that would not be recorded.
            Reaction::Lookup(id, _) if !self.journal.healthy() => {
                let failed = LookupOutcome::Failed(DenyReason::AuditUnavailable.to_string());
                let answers = self.responder.answered(now, id, failed, &self.policy, &mut self.pins);
                answers.into_iter().next().map(|(_, answer)| (question, answer))
            }
            Reaction::Lookup(id, lookup) if self.needs_no_lookup(&lookup) => {
                let taken = LookupOutcome::Addresses(Vec::new());
                let answers = self.responder.answered(now, id, taken, &self.policy, &mut self.pins);
                self.record_questions();
                answers.into_iter().next().map(|(_, answer)| (question, answer))
            }
            Reaction::Lookup(id, lookup) => {
                self.wait(origin, question);
                self.actions.push_back(Action::Lookup(Token::Question(id), lookup));
                None
            }
            Reaction::Wait => {
                self.wait(origin, question);
                None
            }
            Reaction::Drop => None,
        }
    }

    fn wait(&mut self, origin: Origin, question: Question) {
        if self.questions.len() >= MOST_QUESTIONS {
            let detail = match question {
                Question::Udp { resolver, .. } => resolver.to_string(),
                Question::Tcp(_) => "over TCP".to_owned(),
            };
            return self.reached("questions that wait for an answer", detail);
        }
        if let Question::Tcp(id) = question
            && let Some(Entry { state: State::Resolver(resolving), .. }) = self.table.get_mut(id)
        {
            resolving.pending += 1;
        }
        self.questions.insert(origin.0, question);
    }

    fn flush_answer(&mut self, question: &Question, answer: &[u8], out: &mut dyn Transmit) {
        match *question {
            Question::Udp { guest, resolver } => reply::datagram(resolver, guest, answer, out),
            Question::Tcp(id) => {
                if let Some(Entry { state: State::Resolver(resolving), .. }) = self.table.get_mut(id) {
                    resolving.pending = resolving.pending.saturating_sub(1);
                }
                self.answer_by_tcp(&Question::Tcp(id), answer);
            }
        }
    }

    fn answer_by_tcp(&mut self, question: &Question, answer: &[u8]) {
        let Question::Tcp(id) = question else { return };
        if let Some(Entry { state: State::Resolver(resolving), .. }) = self.table.get_mut(*id) {
            resolving.answer(answer);
            self.table.mark(*id);
        }
    }

    /// Writes what the responder decided.
    pub(super) fn record_questions(&mut self) {
        while let Some(event) = self.responder.poll_event() {
            self.journal.record(event);
        }
        while let Some(name) = self.responder.poll_repeat() {
            self.journal.denied_again(&name);
        }
    }
}

impl Resolving {
    /// Reads questions and writes answers.
    pub(super) fn pump(&mut self) -> Vec<Vec<u8>> {
        let socket = self.stack.tcp_mut();
        let mut messages = Vec::new();
        let mut broken = false;
        while socket.can_recv() && self.unsent.len() < MOST_UNSENT && !broken {
            let framing = &mut self.framing;
            let read = socket.recv(|bytes| {
                let mut rest = &*bytes;
                while let Some(message) = framing.next(&mut rest) {
                    messages.push(message);
                }
                (bytes.len(), ())
            });
            broken = read.is_err();
        }
        if !self.unsent.is_empty()
            && let Ok(sent) = socket.send_slice(&self.unsent)
        {
            self.unsent.drain(..sent);
        }
        if broken || self.unsent.len() > MOST_UNSENT {
            socket.abort();
        } else if socket.state() == TcpState::CloseWait
            && self.unsent.is_empty()
            && self.pending == 0
            && messages.is_empty()
        {
            socket.close();
        }
        messages
    }

    fn answer(&mut self, message: &[u8]) {
        self.unsent.extend(TcpFraming::frame(message).unwrap_or_default());
    }

    pub(super) fn ended(&self) -> Option<How> {
        matches!(self.stack.tcp().state(), TcpState::Closed | TcpState::TimeWait).then_some(How::Finished)
    }
}
