//! The datapath's loop: each turn takes what is ready, and lets what follows from it happen.

use std::io;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::sockets::{News, Sockets};
use super::{Command, Resolve};
use crate::egress::link::Link;
use crate::net::flow::Upstream;
use crate::net::router::{Action, DialError, Router};
use crate::net::table::FlowId;

/// Packets read per turn: enough to share the cost of the other steps, few enough that no flow waits long.
const BATCH: usize = 64;
/// Batches read after the guest has ended: more than a device's queue holds (1000 packets).
const LAST_BATCHES: usize = 32;
/// Datagrams read from one socket per turn.
const DATAGRAM_BATCH: usize = 64;
/// What a UDP length field can say.
const LARGEST_DATAGRAM: usize = 65_535;
/// Readiness events taken per turn.
const EVENTS: usize = 256;

const LINK: Token = Token(0);
pub(super) const WAKE: Token = Token(1);

pub(super) struct Driver {
    poll: Poll,
    link: Box<dyn Link>,
    link_ready: bool,
    router: Router,
    sockets: Sockets,
    commands: Receiver<Command>,
    resolve: Resolve,
}

impl Driver {
    pub(super) fn new(
        poll: Poll,
        link: Box<dyn Link>,
        router: Router,
        sockets: Sockets,
        commands: Receiver<Command>,
        resolve: Resolve,
    ) -> io::Result<Self> {
        let interest =
            if link.awaits_room() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        poll.registry().register(&mut SourceFd(&link.descriptor()), LINK, interest)?;
        Ok(Self { poll, link, link_ready: true, router, sockets, commands, resolve })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let wait = if self.link_ready { Some(Duration::ZERO) } else { self.next_wake() };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the datapath cannot wait for events");
                    break;
                }
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LINK => self.link_ready = true,
                    WAKE => {}
                    _ => {
                        if let Some(news) = self.sockets.event(now, event) {
                            self.take_news(now, news);
                        }
                    }
                }
            }
            if self.take_commands(now) {
                self.drain_link(now);
                break;
            }
            if !self.read_link(now) {
                break;
            }
            for id in self.sockets.due(now) {
                let standing = self.sockets.advance(now, id);
                self.dialled(now, id, standing);
            }
            self.router.wake(now);
            self.link.wake(now);
            self.carry_out(now);
        }
        self.router.finish(Instant::now());
    }

    fn next_wake(&self) -> Option<Duration> {
        let timers = [self.router.next_timer(), self.sockets.next_timer(), self.link.next_timer()];
        let next = timers.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn take_news(&mut self, now: Instant, news: News) {
        match news {
            News::Connected(id, address) => self.router.connected(now, id, address, &mut *self.link),
            News::Failed(id, error) => self.router.dial_failed(now, id, error, &mut *self.link),
            News::Ready(id) => self.router.mark(id),
            News::Datagrams(id) => self.receive_datagrams(now, id),
            News::Incoming(at) => self.accept(now, at),
        }
    }

    /// Whether the datapath is to end.
    fn take_commands(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Resolved(token, outcome) => {
                    self.router.resolved(now, token, outcome, &mut *self.link);
                }
                Command::Revise(policy, said, answer) => {
                    let revised = self.router.revise(now, *policy, *said, &mut *self.link);
                    // Who asked may be gone.
                    let _ = answer.send(revised);
                }
                Command::Stop => return true,
            }
        }
        false
    }

    /// Takes one batch of packets; whether the link still stands.
    fn read_link(&mut self, now: Instant) -> bool {
        for _ in 0..BATCH {
            if !self.link_ready {
                break;
            }
            match self.link.receive(now) {
                Ok(received) => {
                    let buffer = self.link.lend();
                    let packet = &buffer[received.start..received.end];
                    self.router.receive(now, packet, received.checksummed, &mut *self.link);
                    self.link.give_back(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.link_ready = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "the link has ended");
                    return false;
                }
            }
        }
        true
    }

    /// Delivers what the guest sent before it ended (a last datagram, a request that awaits no answer).
    fn drain_link(&mut self, now: Instant) {
        for _ in 0..LAST_BATCHES {
            self.link_ready = true;
            if !self.read_link(now) {
                return;
            }
            self.carry_out(now);
            if !self.link_ready {
                return;
            }
        }
    }

    /// Does what the router asks for, and lets flows move, until neither has anything left to do.
    fn carry_out(&mut self, now: Instant) {
        loop {
            while let Some(action) = self.router.poll_action() {
                self.act(now, action);
            }
            let Some(id) = self.router.next_marked() else { break };
            let upstream = self.sockets.stream(id).map(|stream| stream as &mut dyn Upstream);
            self.router.service(now, id, upstream, &mut *self.link);
        }
        self.link.flush();
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Lookup(token, lookup) => (self.resolve)(token, lookup),
            Action::Dial(id, candidates) => {
                let standing = self.sockets.dial(now, id, &candidates);
                self.dialled(now, id, standing);
            }
            Action::Tunnel(id, proxy, handshake) => {
                let standing = self.sockets.ask(now, id, &proxy, *handshake);
                self.dialled(now, id, standing);
            }
            Action::Associate(id, address) => match self.sockets.associate(id, &address) {
                Ok(address) => self.router.connected(now, id, address, &mut *self.link),
                Err(error) => self.router.dial_failed(now, id, error, &mut *self.link),
            },
            Action::Send(id, datagram) => {
                let sent = self.sockets.datagrams(id).map(|socket| socket.send(&datagram));
                if sent.is_some_and(|sent| sent.is_err()) {
                    self.router.datagram_refused(now, id);
                }
            }
            Action::Release(id, how) => self.sockets.release(id, how),
        }
    }

    fn dialled(&mut self, now: Instant, id: FlowId, standing: Result<(), DialError>) {
        if let Err(error) = standing {
            self.router.dial_failed(now, id, error, &mut *self.link);
        }
    }

    fn receive_datagrams(&mut self, now: Instant, id: FlowId) {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        for _ in 0..DATAGRAM_BATCH {
            let Some(socket) = self.sockets.datagrams(id) else { return };
            match socket.receive(&mut buffer) {
                Ok(count) => self.router.datagram(now, id, &buffer[..count], &mut *self.link),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.router.datagram_refused(now, id),
            }
        }
        self.sockets.ask_again(id);
    }

    fn accept(&mut self, now: Instant, at: usize) {
        while let Some((socket, port, peer)) = self.sockets.accept(at) {
            let Some(id) = self.router.publish(now, port, peer) else { continue };
            if let Err(error) = self.sockets.adopt(id, socket) {
                self.router.dial_failed(now, id, error, &mut *self.link);
            }
        }
    }
}
