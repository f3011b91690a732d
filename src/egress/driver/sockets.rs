//! The host sockets of a datapath's flows: being connected, connected, listening; and what an epoll token stands for.
//!
//! Opens a socket towards a [`Dialable`] only, or towards the proxy with a [`Handshake`] to ask it for what was permitted. Tells the loop what happened; never talks to the router itself.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

use super::Published;
use crate::egress::asking::{self, Asking};
use crate::egress::dial::{Race, Standing, classify};
use crate::egress::upstream::{Datagrams, Stream};
use crate::net::flow::How;
use crate::net::proxy::{Fault, Handshake};
use crate::net::router::DialError;
use crate::net::table::FlowId;
use crate::policy::Dialable;

/// The first token that is a socket's; those before are the loop's own.
pub(super) const FIRST: usize = 2;

/// What an event on a socket means for the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The flow's upstream stands, at this address.
    Connected(FlowId, SocketAddr),
    /// It will not.
    Failed(FlowId, DialError),
    /// The flow's upstream can be read or written again.
    Ready(FlowId),
    /// Datagrams wait.
    Datagrams(FlowId),
    /// Somebody connects to a published port.
    Incoming(usize),
}

/// What a token stands for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Unused,
    Attempt(FlowId),
    Asking(FlowId),
    Flow(FlowId),
    Listener(usize),
}

#[derive(Debug)]
enum Socket {
    Stream(Stream),
    Datagrams(Datagrams),
}

#[derive(Debug)]
struct Upstream {
    owner: FlowId,
    token: Token,
    socket: Socket,
}

/// Attempts to connect, and what is asked of the proxy where it is one that is connected to.
#[derive(Debug)]
struct Dialling {
    race: Race,
    next: Option<Instant>,
    handshake: Option<Handshake>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sockets {
    registry: Registry,
    tokens: Tokens,
    /// By the flow's slot.
    upstreams: Vec<Option<Upstream>>,
    races: HashMap<FlowId, Dialling>,
    asking: HashMap<FlowId, (Token, Asking)>,
    listeners: Vec<(TcpListener, u16)>,
}

impl Sockets {
    pub(super) fn new(registry: Registry, published: Vec<Published>) -> io::Result<Self> {
        let mut tokens = Tokens::default();
        let mut listeners = Vec::new();
        for port in published {
            let mut listener = TcpListener::from_std(port.listener);
            let token = tokens.allocate(Source::Listener(listeners.len()));
            registry.register(&mut listener, token, Interest::READABLE)?;
            listeners.push((listener, port.guest_port));
        }
        Ok(Self {
            registry,
            tokens,
            upstreams: Vec::new(),
            races: HashMap::new(),
            asking: HashMap::new(),
            listeners,
        })
    }

    /// What epoll says about a socket.
    pub(super) fn event(&mut self, now: Instant, event: &Event) -> Option<News> {
        let token = event.token();
        match self.tokens.source(token) {
            Source::Unused => None,
            Source::Listener(at) => Some(News::Incoming(at)),
            Source::Attempt(id) => {
                let dialling = self.races.get_mut(&id)?;
                dialling.next = Some(now);
                let (address, socket) = dialling.race.ready(token)?;
                let handshake = dialling.handshake.take();
                self.give_up_dialling(id);
                if let Some(handshake) = handshake {
                    self.tokens.assign(token, Source::Asking(id));
                    let mut asking = Asking::new(now, address, socket, handshake);
                    let answer = asking.advance();
                    self.asking.insert(id, (token, asking));
                    return self.asked(id, answer);
                }
                self.attach(id, token, Socket::Stream(Stream::new(socket)));
                Some(News::Connected(id, address))
            }
            Source::Asking(id) => {
                let (_, asking) = self.asking.get_mut(&id)?;
                let answer = asking.ready(event);
                self.asked(id, answer)
            }
            Source::Flow(id) => match &mut self.upstream(id)?.socket {
                Socket::Stream(stream) => {
                    stream.ready(event);
                    Some(News::Ready(id))
                }
                Socket::Datagrams(_) => Some(News::Datagrams(id)),
            },
        }
    }

    /// When a race wants its next turn.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let races = self.races.values().filter_map(|dialling| dialling.next);
        races.chain(self.asking.values().map(|(_, asking)| asking.deadline())).min()
    }

    /// The flows whose turn it is to be connected.
    pub(super) fn due(&self, now: Instant) -> Vec<FlowId> {
        let races = self.races.iter().filter_map(|(id, dialling)| Some((id, dialling.next?)));
        let asking = self.asking.iter().map(|(id, (_, asking))| (id, asking.deadline()));
        races.chain(asking).filter(|(_, next)| *next <= now).map(|(id, _)| *id).collect()
    }

    /// Starts connecting. An error is the end of it.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        id: FlowId,
        candidates: &[Dialable],
    ) -> Result<(), DialError> {
        let race = Race::new(candidates.iter().map(Dialable::socket_addr));
        self.races.insert(id, Dialling { race, next: None, handshake: None });
        self.advance(now, id)
    }

    /// Starts connecting to the proxy, to ask it for the flow's connection.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        id: FlowId,
        proxy: &[SocketAddr],
        handshake: Handshake,
    ) -> Result<(), DialError> {
        let race = Race::new(proxy.iter().copied());
        self.races.insert(id, Dialling { race, next: None, handshake: Some(handshake) });
        self.advance(now, id)
    }

    /// Gives what connects a flow its turn. An error is the end of it.
    pub(super) fn advance(&mut self, now: Instant, id: FlowId) -> Result<(), DialError> {
        if self.asking.get(&id).is_some_and(|(_, asking)| asking.deadline() <= now) {
            self.give_up_dialling(id);
            return Err(DialError::Proxy(Fault::Silent));
        }
        let Some(Dialling { mut race, handshake, .. }) = self.races.remove(&id) else { return Ok(()) };
        let mut started = Vec::new();
        let tokens = &mut self.tokens;
        let standing = race.advance(now, &self.registry, || {
            let token = tokens.allocate(Source::Attempt(id));
            started.push(token);
            token
        });
        let running: Vec<Token> = race.tokens().collect();
        for token in started.into_iter().filter(|token| !running.contains(token)) {
            self.tokens.forget(token);
        }
        match standing {
            Standing::Running(next) => {
                self.races.insert(id, Dialling { race, next, handshake });
                Ok(())
            }
            Standing::Lost(error) => Err(match error {
                DialError::Exhausted => error,
                _ if handshake.is_some() => DialError::Proxy(Fault::Unreachable),
                _ => error,
            }),
        }
    }

    /// What a proxy's answer means for the flow.
    fn asked(&mut self, id: FlowId, answer: asking::Answer) -> Option<News> {
        match answer {
            asking::Answer::Waiting => None,
            asking::Answer::Ready => {
                let (token, asking) = self.asking.remove(&id)?;
                let (address, socket) = asking.into_parts();
                self.attach(id, token, Socket::Stream(Stream::new(socket)));
                Some(News::Connected(id, address))
            }
            asking::Answer::Failed(fault) => {
                self.give_up_dialling(id);
                Some(News::Failed(id, DialError::Proxy(fault)))
            }
        }
    }

    /// Opens a UDP socket towards that address.
    pub(super) fn associate(&mut self, id: FlowId, address: &Dialable) -> Result<SocketAddr, DialError> {
        let address = address.socket_addr();
        let any: SocketAddr =
            if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let token = self.tokens.allocate(Source::Flow(id));
        let opened = UdpSocket::bind(any).and_then(|mut socket| {
            socket.connect(address)?;
            self.registry.register(&mut socket, token, Interest::READABLE)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => {
                self.attach(id, token, Socket::Datagrams(Datagrams { socket }));
                Ok(address)
            }
            Err(error) => {
                self.tokens.forget(token);
                Err(classify(&error))
            }
        }
    }

    /// The next connection to a published port, with its guest port and where it came from.
    pub(super) fn accept(&mut self, at: usize) -> Option<(TcpStream, u16, SocketAddr)> {
        let (listener, port) = self.listeners.get(at)?;
        let (socket, peer) = listener.accept().ok()?;
        Some((socket, *port, peer))
    }

    /// Makes an accepted connection the upstream of a flow.
    pub(super) fn adopt(&mut self, id: FlowId, mut socket: TcpStream) -> Result<(), DialError> {
        let token = self.tokens.allocate(Source::Flow(id));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(&mut socket, token, interest).is_err() {
            self.tokens.forget(token);
            return Err(DialError::Exhausted);
        }
        self.attach(id, token, Socket::Stream(Stream::new(socket)));
        Ok(())
    }

    /// The flow's connection, if it has one.
    pub(super) fn stream(&mut self, id: FlowId) -> Option<&mut Stream> {
        match &mut self.upstream(id)?.socket {
            Socket::Stream(stream) => Some(stream),
            Socket::Datagrams(_) => None,
        }
    }

    /// The flow's UDP socket, if it has one.
    pub(super) fn datagrams(&mut self, id: FlowId) -> Option<&mut Datagrams> {
        match &mut self.upstream(id)?.socket {
            Socket::Datagrams(socket) => Some(socket),
            Socket::Stream(_) => None,
        }
    }

    /// More may wait in the flow's UDP socket, and epoll will not say so again: asks for the event anew.
    pub(super) fn ask_again(&mut self, id: FlowId) {
        let Some(Some(upstream)) = self.upstreams.get_mut(id.slot()) else { return };
        if let Socket::Datagrams(datagrams) = &mut upstream.socket {
            let _ = self.registry.reregister(&mut datagrams.socket, upstream.token, Interest::READABLE);
        }
    }

    /// Closes what belongs to a flow.
    pub(super) fn release(&mut self, id: FlowId, how: How) {
        self.give_up_dialling(id);
        if self.upstream(id).is_none() {
            return;
        }
        if let Some(Upstream { token, socket, .. }) = self.upstreams[id.slot()].take() {
            if let Socket::Stream(stream) = &socket
                && resets(how)
            {
                stream.reset_on_drop();
            }
            drop(socket);
            self.tokens.forget(token);
        }
    }

    fn upstream(&mut self, id: FlowId) -> Option<&mut Upstream> {
        self.upstreams.get_mut(id.slot())?.as_mut().filter(|upstream| upstream.owner == id)
    }

    fn attach(&mut self, owner: FlowId, token: Token, socket: Socket) {
        if self.upstreams.len() <= owner.slot() {
            self.upstreams.resize_with(owner.slot() + 1, || None);
        }
        self.upstreams[owner.slot()] = Some(Upstream { owner, token, socket });
        self.tokens.assign(token, Source::Flow(owner));
    }

    fn give_up_dialling(&mut self, id: FlowId) {
        if let Some((token, asking)) = self.asking.remove(&id) {
            drop(asking);
            self.tokens.forget(token);
        }
        if let Some(Dialling { race, .. }) = self.races.remove(&id) {
            let tokens: Vec<Token> = race.tokens().collect();
            drop(race);
            for token in tokens {
                self.tokens.forget(token);
            }
        }
    }
}

/// Whether the far side learns of such an end by a reset. Where the session has ended, what the guest had sent is
/// still delivered.
fn resets(how: How) -> bool {
    match how {
        How::ResetByGuest
        | How::ResetByPeer
        | How::Refused
        | How::Idle
        | How::Revoked
        | How::InternalError => true,
        How::Finished | How::SessionEnded => false,
    }
}

/// What each token stands for; those that are free are used again.
#[derive(Debug, Default)]
struct Tokens {
    sources: Vec<Source>,
    free: Vec<usize>,
}

impl Tokens {
    fn source(&self, token: Token) -> Source {
        let place = token.0.checked_sub(FIRST).and_then(|at| self.sources.get(at));
        place.copied().unwrap_or(Source::Unused)
    }

    fn allocate(&mut self, source: Source) -> Token {
        let at = self.free.pop().unwrap_or_else(|| {
            self.sources.push(Source::Unused);
            self.sources.len() - 1
        });
        self.sources[at] = source;
        Token(at + FIRST)
    }

    fn assign(&mut self, token: Token, source: Source) {
        self.sources[token.0 - FIRST] = source;
    }

    fn forget(&mut self, token: Token) {
        self.assign(token, Source::Unused);
        self.free.push(token.0 - FIRST);
    }
}
