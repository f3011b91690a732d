//! The datapath thread: one loop that feeds the router and does what it asks for.
//!
//! Each round waits for readiness, reads up to [`BATCH`] packets, lets every touched flow move its bytes once,
//! and sends. Names are resolved elsewhere ([`super::resolver`]); answers come in as [`Command`]s. If the thread
//! ends, the link ends with it, and the guest reaches nothing any more.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::dial::{Race, Standing};
use super::tun::Tun;
use super::upstream::{Datagrams, Stream};
use crate::net::dns::{Lookup, LookupOutcome};
use crate::net::flow::{How, Upstream};
use crate::net::router::{self, Action, DialError, Options, Router};
use crate::net::stack::LinkProperties;
use crate::net::table::FlowId;
use crate::policy::Dialable;
use crate::runtime::TunLink;

/// Packets read per round: enough to share the cost of the other steps, few enough that no flow waits long.
const BATCH: usize = 64;
/// Batches read after the guest has ended: more than a device's queue holds (1000 packets).
const LAST_BATCHES: usize = 32;
/// Datagrams read from one socket per round.
const DATAGRAM_BATCH: usize = 64;
/// What a UDP length field can say.
const LARGEST_DATAGRAM: usize = 65_535;
/// Readiness events taken per round.
const EVENTS: usize = 256;

/// Sends lookups to whoever resolves names. Must not block.
pub type Resolve = Box<dyn Fn(router::Token, Lookup) + Send>;

/// A host port that is forwarded to the guest.
#[derive(Debug)]
pub struct Published {
    /// The host's listener, non-blocking.
    pub listener: std::net::TcpListener,
    /// The guest's port.
    pub guest_port: u16,
}

/// What the outside tells the datapath.
#[derive(Debug)]
enum Command {
    Resolved(router::Token, LookupOutcome),
    Stop,
}

/// Tells a running datapath things, from any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

impl Handle {
    /// The answer to a lookup.
    pub fn resolved(&self, token: router::Token, outcome: LookupOutcome) {
        self.send(Command::Resolved(token, outcome));
    }

    fn send(&self, command: Command) {
        // Both fail only when the thread has ended; then nobody waits for the answer.
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }
}

/// A running datapath.
#[derive(Debug)]
pub struct Datapath {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Datapath {
    /// Starts the thread. `options` gets the link's properties and builds the router's options; `resolve` is
    /// told where to answer.
    pub fn start(
        link: TunLink,
        published: Vec<Published>,
        options: impl FnOnce(LinkProperties) -> Options,
        resolve: impl FnOnce(Handle) -> Resolve,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, received) = channel();
        let handle = Handle { commands, waker };
        let tun = Tun::new(link);
        let router = Router::new(options(tun.properties()));
        let mut driver = Driver {
            poll,
            tun,
            router,
            commands: received,
            resolve: resolve(handle.clone()),
            sources: Vec::new(),
            free: Vec::new(),
            upstreams: Vec::new(),
            races: HashMap::new(),
            listeners: Vec::new(),
            link_ready: true,
        };
        driver.register(published)?;
        let thread = std::thread::Builder::new().name("datapath".to_owned()).spawn(move || {
            // Runs on a panic too: whoever waits has to learn that the guest is cut off.
            let _ended = OnDrop(Some(on_end));
            driver.run();
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }

    /// Ends every flow and the thread.
    pub fn stop(mut self) {
        self.handle.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A thread that had failed was noticed when it did (`on_end`).
            let _ = thread.join();
        }
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        self.handle.send(Command::Stop);
    }
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

const LINK: Token = Token(0);
const WAKE: Token = Token(1);
const FIRST_SOURCE: usize = 2;

/// What a token of epoll stands for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Unused,
    Attempt(FlowId),
    Flow(FlowId),
    Listener(usize),
}

#[derive(Debug)]
enum Socket {
    Stream(Stream),
    Datagrams(Datagrams),
}

struct Driver {
    poll: Poll,
    tun: Tun,
    router: Router,
    commands: Receiver<Command>,
    resolve: Resolve,
    sources: Vec<Source>,
    free: Vec<usize>,
    /// By the flow's slot.
    upstreams: Vec<Option<(FlowId, Token, Socket)>>,
    races: HashMap<FlowId, (Race, Option<Instant>)>,
    listeners: Vec<(TcpListener, u16)>,
    link_ready: bool,
}

impl Driver {
    fn register(&mut self, published: Vec<Published>) -> io::Result<()> {
        let fd = self.tun.raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), LINK, Interest::READABLE)?;
        for port in published {
            let mut listener = TcpListener::from_std(port.listener);
            let token = self.token(Source::Listener(self.listeners.len()));
            self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
            self.listeners.push((listener, port.guest_port));
        }
        Ok(())
    }

    fn run(mut self) {
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
                self.take_event(now, event);
            }
            if self.take_commands(now) {
                self.drain_link(now);
                break;
            }
            if !self.read_link(now) {
                break;
            }
            self.advance_races(now);
            self.router.wake(now);
            self.carry_out(now);
        }
        self.router.finish(Instant::now());
    }

    fn next_wake(&self) -> Option<Duration> {
        let races = self.races.values().filter_map(|(_, next)| *next).min();
        let next = match (self.router.next_timer(), races) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn take_event(&mut self, now: Instant, event: &mio::event::Event) {
        let token = event.token();
        if token == LINK {
            self.link_ready = true;
            return;
        }
        let Some(source) = token.0.checked_sub(FIRST_SOURCE).and_then(|at| self.sources.get(at)) else {
            return;
        };
        match *source {
            Source::Unused => {}
            Source::Listener(at) => self.accept(now, at),
            Source::Attempt(id) => {
                let won = self.races.get_mut(&id).and_then(|(race, next)| {
                    *next = Some(now);
                    race.ready(token)
                });
                if let Some((address, socket)) = won {
                    self.connected(now, id, token, address, socket);
                }
            }
            Source::Flow(id) => match self.upstreams.get_mut(id.slot()) {
                Some(Some((owner, _, Socket::Stream(stream)))) if *owner == id => {
                    stream.ready(event);
                    self.router.mark(id);
                }
                Some(Some((owner, _, Socket::Datagrams(_)))) if *owner == id => {
                    self.receive_datagrams(now, id);
                }
                Some(_) | None => {}
            },
        }
    }

    fn take_commands(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Resolved(token, outcome) => self.router.resolved(now, token, outcome, &mut self.tun),
                Command::Stop => return true,
            }
        }
        false
    }

    /// False when the guest's end of the link is gone.
    fn read_link(&mut self, now: Instant) -> bool {
        for _ in 0..BATCH {
            if !self.link_ready {
                break;
            }
            match self.tun.receive() {
                Ok(received) => {
                    let buffer = self.tun.lend();
                    let packet = &buffer[received.start..received.end];
                    self.router.receive(now, packet, received.checksummed, &mut self.tun);
                    self.tun.give_back(buffer);
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
            let Some(id) = self.router.next_marked() else { return };
            let upstream = match self.upstreams.get_mut(id.slot()) {
                Some(Some((owner, _, Socket::Stream(stream)))) if *owner == id => {
                    Some(stream as &mut dyn Upstream)
                }
                Some(_) | None => None,
            };
            self.router.service(now, id, upstream, &mut self.tun);
        }
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Lookup(token, lookup) => (self.resolve)(token, lookup),
            Action::Dial(id, candidates) => {
                self.races.insert(id, (Race::new(&candidates), None));
                self.advance_race(now, id);
            }
            Action::Associate(id, address) => self.associate(now, id, &address),
            Action::Send(id, datagram) => {
                if let Some(Some((owner, _, Socket::Datagrams(socket)))) = self.upstreams.get(id.slot())
                    && *owner == id
                    && socket.send(&datagram).is_err()
                {
                    self.router.datagram_refused(now, id);
                }
            }
            Action::Release(id, how) => self.release(id, how),
        }
    }

    fn advance_races(&mut self, now: Instant) {
        let due: Vec<FlowId> = self
            .races
            .iter()
            .filter(|(_, (_, next))| next.is_some_and(|next| next <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.advance_race(now, id);
        }
    }

    fn advance_race(&mut self, now: Instant, id: FlowId) {
        let Some((mut race, _)) = self.races.remove(&id) else { return };
        let mut started = Vec::new();
        let (sources, free) = (&mut self.sources, &mut self.free);
        let standing = race.advance(now, self.poll.registry(), || {
            let token = allocate(sources, free, Source::Attempt(id));
            started.push(token);
            token
        });
        let running: Vec<Token> = race.tokens().collect();
        for token in started.into_iter().filter(|token| !running.contains(token)) {
            self.forget(token);
        }
        match standing {
            Standing::Running(next) => {
                self.races.insert(id, (race, next));
            }
            Standing::Lost(error) => self.router.dial_failed(now, id, error, &mut self.tun),
        }
    }

    fn connected(&mut self, now: Instant, id: FlowId, token: Token, address: SocketAddr, socket: TcpStream) {
        if let Some((race, _)) = self.races.remove(&id) {
            let others: Vec<Token> = race.tokens().collect();
            drop(race);
            for other in others {
                self.forget(other);
            }
        }
        self.attach(id, token, Socket::Stream(Stream::new(socket)));
        self.router.connected(now, id, address, &mut self.tun);
    }

    fn associate(&mut self, now: Instant, id: FlowId, address: &Dialable) {
        let address = address.socket_addr();
        let any: SocketAddr =
            if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let token = self.token(Source::Flow(id));
        let opened = UdpSocket::bind(any).and_then(|mut socket| {
            socket.connect(address)?;
            self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => {
                self.attach(id, token, Socket::Datagrams(Datagrams { socket }));
                self.router.connected(now, id, address, &mut self.tun);
            }
            Err(error) => {
                self.forget(token);
                self.router.dial_failed(now, id, super::dial::classify(&error), &mut self.tun);
            }
        }
    }

    fn receive_datagrams(&mut self, now: Instant, id: FlowId) {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        for _ in 0..DATAGRAM_BATCH {
            let Some(Some((_, _, Socket::Datagrams(socket)))) = self.upstreams.get(id.slot()) else { return };
            match socket.receive(&mut buffer) {
                Ok(count) => self.router.datagram(now, id, &buffer[..count], &mut self.tun),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.router.datagram_refused(now, id),
            }
        }
        // More may wait, and epoll will not say so again: ask for the event anew.
        if let Some(Some((_, token, Socket::Datagrams(datagrams)))) = self.upstreams.get_mut(id.slot()) {
            let _ = self.poll.registry().reregister(&mut datagrams.socket, *token, Interest::READABLE);
        }
    }

    fn accept(&mut self, now: Instant, at: usize) {
        while let Some((listener, port)) = self.listeners.get(at) {
            let port = *port;
            let Ok((mut socket, peer)) = listener.accept() else { return };
            let Some(id) = self.router.publish(now, port, peer) else { continue };
            let token = self.token(Source::Flow(id));
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut socket, token, interest).is_ok() {
                self.attach(id, token, Socket::Stream(Stream::new(socket)));
            } else {
                self.forget(token);
                self.router.dial_failed(now, id, DialError::Exhausted, &mut self.tun);
            }
        }
    }

    fn attach(&mut self, id: FlowId, token: Token, socket: Socket) {
        if self.upstreams.len() <= id.slot() {
            self.upstreams.resize_with(id.slot() + 1, || None);
        }
        self.upstreams[id.slot()] = Some((id, token, socket));
        self.sources[token.0 - FIRST_SOURCE] = Source::Flow(id);
    }

    fn release(&mut self, id: FlowId, how: How) {
        if let Some((race, _)) = self.races.remove(&id) {
            let tokens: Vec<Token> = race.tokens().collect();
            drop(race);
            for token in tokens {
                self.forget(token);
            }
        }
        let Some(place) = self.upstreams.get_mut(id.slot()) else { return };
        if place.as_ref().is_none_or(|(owner, ..)| *owner != id) {
            return;
        }
        if let Some((_, token, socket)) = place.take() {
            if let Socket::Stream(stream) = &socket
                && resets(how)
            {
                stream.reset_on_drop();
            }
            drop(socket);
            self.forget(token);
        }
    }

    fn token(&mut self, source: Source) -> Token {
        allocate(&mut self.sources, &mut self.free, source)
    }

    fn forget(&mut self, token: Token) {
        let at = token.0 - FIRST_SOURCE;
        self.sources[at] = Source::Unused;
        self.free.push(at);
    }
}

/// Whether the far side learns of such an end by a reset. Where the session has ended, what the guest had sent is
/// still delivered.
fn resets(how: How) -> bool {
    match how {
        How::ResetByGuest | How::ResetByPeer | How::Refused | How::Idle | How::InternalError => true,
        How::Finished | How::SessionEnded => false,
    }
}

fn allocate(sources: &mut Vec<Source>, free: &mut Vec<usize>, source: Source) -> Token {
    let at = free.pop().unwrap_or_else(|| {
        sources.push(Source::Unused);
        sources.len() - 1
    });
    sources[at] = source;
    Token(at + FIRST_SOURCE)
}
