//! The datapath thread: one loop that feeds the router and does what it asks for.
//!
//! Each round waits for readiness, reads up to a batch of packets, lets every touched flow move its bytes once,
//! and sends. Names are resolved elsewhere ([`super::resolver`]); answers come in as commands. If the thread
//! ends, the link ends with it, and the guest reaches nothing any more.
//!
//! This file is what others hold of it; [`turn`] is the loop, [`sockets`] the host sockets of its flows.

mod sockets;
mod turn;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use mio::{Poll, Waker};
use tokio::sync::oneshot;

use self::sockets::Sockets;
use self::turn::{Driver, WAKE};
use super::link;
use crate::audit::Event;
use crate::net::dns::{Lookup, LookupOutcome};
use crate::net::router::{self, Options, Router};
use crate::net::stack::LinkProperties;
use crate::policy::Policy;
use crate::runtime::Link;

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
    Revise(Box<Policy>, Box<Event>, oneshot::Sender<bool>),
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

    /// Another policy, and the log's word of it. The answer is whether it holds now ([`Router::revise`]); there is none if the
    /// datapath has ended.
    pub fn revise(&self, policy: Policy, said: Event) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Revise(Box::new(policy), Box::new(said), answer));
        answered
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
        link: Link,
        published: Vec<Published>,
        options: impl FnOnce(LinkProperties) -> Options,
        resolve: impl FnOnce(Handle) -> Resolve,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, received) = channel();
        let handle = Handle { commands, waker };
        let link = link::open(link)?;
        let router = Router::new(options(link.properties()));
        let sockets = Sockets::new(poll.registry().try_clone()?, published)?;
        let driver = Driver::new(poll, link, router, sockets, received, resolve(handle.clone()))?;
        let thread = std::thread::Builder::new().name("datapath".to_owned()).spawn(move || {
            // Runs on a panic too: whoever waits has to learn that the guest is cut off.
            let _ended = OnDrop(Some(on_end));
            driver.run();
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }

    /// What tells it things.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
