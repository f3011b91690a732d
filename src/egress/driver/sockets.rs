//! The host sockets of a datapath's flows: being connected, connected, listening; and what an epoll token stands for.
//!
//! Opens a socket towards a [`Dialable`] only. Tells the loop what happened; never talks to the router itself.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

use super::Published;
use crate::egress::dial::{Race, Standing, classify};
use crate::egress::upstream::{Datagrams, Stream};
use crate::net::flow::How;
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

/// All of them.
#[derive(Debug)]
pub(super) struct Sockets {
    registry: Registry,
    tokens: Tokens,
    /// By the flow's slot.
    upstreams: Vec<Option<Upstream>>,
    races: HashMap<FlowId, (Race, Option<Instant>)>,
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
        Ok(Self { registry, tokens, upstreams: Vec::new(), races: HashMap::new(), listeners })
    }

    /// What epoll says about a socket.
    pub(super) fn event(&mut self, now: Instant, event: &Event) -> Option<News> {
        let token = event.token();
        match self.tokens.source(token) {
            Source::Unused => None,
            Source::Listener(at) => Some(News::Incoming(at)),
            Source::Attempt(id) => {
                let (race, next) = self.races.get_mut(&id)?;
                *next = Some(now);
                let (address, socket) = race.ready(token)?;
                self.give_up_dialling(id);
                self.attach(id, token, Socket::Stream(Stream::new(socket)));
                Some(News::Connected(id, address))
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
        self.races.values().filter_map(|(_, next)| *next).min()
    }

    /// The races whose turn it is.
    pub(super) fn due(&self, now: Instant) -> Vec<FlowId> {
        let due = |(_, (_, next)): &(&FlowId, &(Race, Option<Instant>))| next.is_some_and(|next| next <= now);
        self.races.iter().filter(due).map(|(id, _)| *id).collect()
    }

    /// Starts connecting. An error is the end of it.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        id: FlowId,
        candidates: &[Dialable],
    ) -> Result<(), DialError> {
        self.races.insert(id, (Race::new(candidates), None));
        self.advance(now, id)
    }

    /// Gives a race its turn. An error is the end of it.
    pub(super) fn advance(&mut self, now: Instant, id: FlowId) -> Result<(), DialError> {
        let Some((mut race, _)) = self.races.remove(&id) else { return Ok(()) };
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
                self.races.insert(id, (race, next));
                Ok(())
            }
            Standing::Lost(error) => Err(error),
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
        if let Some((race, _)) = self.races.remove(&id) {
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
        How::ResetByGuest | How::ResetByPeer | How::Refused | How::Idle | How::InternalError => true,
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
