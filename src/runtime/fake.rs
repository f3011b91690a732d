//! A runtime without a sandbox, for tests of what stands around it: the link is one end of a datagram socket
//! pair, the command is never executed, and the test decides how it ends. Stdio is dropped.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Ended, Guest, Launch, Link, Runtime, RuntimeError, Status, Stdio3, TunLink};

/// The runtime; clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    launched: Vec<Launch>,
    wire: Option<OwnedFd>,
    released: bool,
    terminated: bool,
    ended: Option<Ended>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fake {
    /// Everything that was launched so far.
    pub fn launched(&self) -> Vec<Launch> {
        self.shared.state().launched.clone()
    }

    /// The guest's end of the last link, once: packets without a `virtio_net_hdr`, non-blocking.
    pub fn take_wire(&self) -> Option<OwnedFd> {
        self.shared.state().wire.take()
    }

    /// Whether the command was released.
    pub fn released(&self) -> bool {
        self.shared.state().released
    }

    /// Whether the guest was asked to terminate.
    pub fn terminated(&self) -> bool {
        self.shared.state().terminated
    }

    /// Lets the command end.
    pub fn end(&self, ended: Ended) {
        self.shared.state().ended.get_or_insert(ended);
        self.shared.changed.notify_one();
    }
}

impl Runtime for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn launch(&self, launch: &Launch, _stdio: Stdio3) -> Result<Guest, RuntimeError> {
        let pair = UnixDatagram::pair().and_then(|(ours, wire)| {
            ours.set_nonblocking(true)?;
            wire.set_nonblocking(true)?;
            Ok((OwnedFd::from(ours), OwnedFd::from(wire)))
        });
        let (ours, wire) = pair.map_err(RuntimeError::io("socketpair"))?;
        let mut state = self.shared.state();
        *state =
            State { launched: std::mem::take(&mut state.launched), wire: Some(wire), ..State::default() };
        state.launched.push(launch.clone());
        drop(state);
        Ok(Guest {
            link: Some(Link::Tun(TunLink { fd: ours, vnet_hdr: false, tso: false, mtu: 1500 })),
            kind: self.link(),
            warnings: Vec::new(),
            written: None,
            process: super::Process::Fake(Process { shared: Arc::clone(&self.shared) }),
        })
    }
}

/// The state of one fake guest.
#[derive(Debug)]
pub(super) struct Process {
    shared: Arc<Shared>,
}

impl Process {
    #[allow(clippy::unnecessary_wraps)] // the shape of the real ones
    pub(super) fn release(&mut self) -> Result<(), RuntimeError> {
        self.shared.state().released = true;
        Ok(())
    }

    pub(super) async fn wait(&mut self) -> Result<Ended, RuntimeError> {
        loop {
            let changed = self.shared.changed.notified();
            let ended = self.shared.state().ended;
            if let Some(ended) = ended {
                return Ok(ended);
            }
            changed.await;
        }
    }

    pub(super) fn terminate(&self) {
        self.shared.state().terminated = true;
    }

    pub(super) fn kill(&self) {
        let killed = Ended { status: Status::Signaled(rustix::process::Signal::KILL.as_raw()), limit: None };
        self.shared.state().ended.get_or_insert(killed);
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::runtime::Limits;

    fn guest(fake: &Fake) -> Guest {
        let launch = Launch {
            command: vec!["true".into()],
            env: Vec::new(),
            cwd: "/".into(),
            mounts: Vec::new(),
            layer: None,
            limits: Limits::default(),
            files: Vec::new(),
        };
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        fake.launch(&launch, Stdio3 { stdin: null(), stdout: null(), stderr: null() }).unwrap()
    }

    #[tokio::test]
    async fn the_test_is_the_guest() {
        let fake = Fake::default();
        let mut guest = guest(&fake);
        let Some(Link::Tun(link)) = guest.take_link() else { panic!("not a TUN") };
        rustix::io::write(fake.take_wire().unwrap(), b"packet").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(rustix::io::read(&link.fd, &mut buffer), Ok(6));

        assert!(!fake.released());
        guest.release().unwrap();
        guest.terminate();
        assert!(fake.released() && fake.terminated());
        let ended = Ended { status: Status::Exited(3), limit: None };
        fake.end(ended);
        guest.kill();
        // The first end counts, and stays.
        assert_eq!(guest.wait().await.unwrap(), ended);
        assert_eq!(guest.wait().await.unwrap(), ended);
        assert_eq!(fake.launched().len(), 1);
    }
}
