//! One container from `container run` to its end. There is no pidfd on macOS: the client's end is looked for.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use npxc_guest::spec::{Ready, Supervise};

use super::Apple;
use super::network::Network;
use super::place::Place;
use crate::runtime::command::essence;
use crate::runtime::control::Control;
use crate::runtime::{Ended, RuntimeError};

/// From the guest's end to its client's: a virtual machine is stopped.
const END: Duration = Duration::from_secs(15);
/// How long a container may take to end by itself once its lifeline is cut, before it is removed.
const GRACE: Duration = Duration::from_secs(5);
/// How often the client's end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// For standard error to end when its program has.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Most that is kept of what the client says before the guest is there, bytes.
const MOST_WORDS: usize = 64 << 10;

/// A container. Dropping it removes the container, its network and its directory, in that order.
#[derive(Debug)]
pub(in crate::runtime) struct Process {
    pub(super) control: Control,
    pub(super) container: Container,
    pub(super) supervise: Supervise,
    pub(super) outcome: Option<Ended>,
}

/// What was made for a session.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) apple: Apple,
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) errors: Errors,
    /// The client has ended, or somebody sees to that.
    pub(super) over: Arc<AtomicBool>,
    // In the order in which they go, after the container: see `drop`.
    pub(super) network: Option<Network>,
    pub(super) place: Option<Place>,
}

impl Process {
    pub(in crate::runtime) fn release(&mut self) -> Result<(), RuntimeError> {
        self.control.set_nonblocking()?;
        self.control.release(self.supervise)
    }

    /// Waits for the guest's word that its link stands.
    pub(super) fn ready(&mut self, patience: Duration) -> Result<Ready, RuntimeError> {
        let ready = self.control.ready(patience)?.ok_or_else(|| self.container.refused())?;
        // From here on, what comes is the workload's.
        self.container.errors.pass();
        Ok(ready)
    }

    pub(in crate::runtime) fn terminate(&self) {
        self.control.terminate();
    }

    pub(in crate::runtime) fn kill(&self) {
        self.control.cut();
        if self.outcome.is_some() {
            return;
        }
        let (apple, name) = (self.container.apple.clone(), self.container.name.clone());
        let over = Arc::clone(&self.container.over);
        std::thread::spawn(move || {
            std::thread::sleep(GRACE);
            if !over.swap(true, Ordering::Relaxed) {
                apple.remove(&name);
            }
        });
    }

    pub(in crate::runtime) async fn wait(&mut self) -> Result<Ended, RuntimeError> {
        if let Some(ended) = self.outcome {
            return Ok(ended);
        }
        self.control.last_words().await?;
        let deadline = Instant::now() + END;
        while !self.container.has_ended() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        let ended = self.control.conclude(None)?;
        self.outcome = Some(ended);
        Ok(ended)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.control.channel, rustix::net::Shutdown::Both);
    }
}

impl Container {
    pub(super) fn has_ended(&mut self) -> bool {
        let ended = !matches!(self.child.try_wait(), Ok(None));
        if ended {
            self.over.store(true, Ordering::Relaxed);
        }
        ended
    }

    /// The client ended, or will: its own words are the error.
    pub(super) fn refused(&mut self) -> RuntimeError {
        let deadline = Instant::now() + END;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let said = essence(&self.errors.said());
        match self.apple.status() {
            Ok(status) if !status.running => RuntimeError::Unfit {
                what: "the service of `container` is not running".into(),
                hint: Some("container system start --enable-kernel-install".into()),
            },
            Ok(_) | Err(_) if said.is_empty() => RuntimeError::Lost(" while its link was built"),
            Ok(_) | Err(_) => self.apple.client.failed(&["run"], said),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deadline = Instant::now() + GRACE;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        if !self.over.swap(true, Ordering::Relaxed) {
            self.apple.remove(&self.name);
        }
        // Has no effect on a client that has ended. One that hangs would be waited for for ever, whoever sees to its
        // container's removal.
        let _ = self.child.kill();
        let orderly = self.child.wait().is_ok_and(|status| status.code().is_some());
        if !orderly {
            self.apple.remove(&self.name);
        }
        self.network.take();
        self.place.take();
    }
}

/// The client's standard error: its own words until the guest is there, the workload's after that.
#[derive(Debug)]
pub(super) struct Errors {
    held: Arc<Mutex<Option<Vec<u8>>>>,
    ended: mpsc::Receiver<()>,
}

impl Errors {
    pub(super) fn new(from: Option<ChildStderr>, to: OwnedFd) -> Self {
        let held = Arc::new(Mutex::new(Some(Vec::new())));
        let (end, ended) = mpsc::sync_channel(1);
        let words = Arc::clone(&held);
        std::thread::spawn(move || {
            if let Some(from) = from {
                carry(from, &mut File::from(to), &words);
            }
            let _ = end.send(());
        });
        Self { held, ended }
    }

    /// Everything from now on is the workload's.
    fn pass(&self) {
        if let Some(words) = lock(&self.held).take().filter(|words| !words.is_empty()) {
            tracing::debug!(said = %String::from_utf8_lossy(&words), "container run");
        }
    }

    /// What the client said, once it has ended.
    fn said(&self) -> String {
        let _ = self.ended.recv_timeout(LAST_WORDS);
        lock(&self.held).as_ref().map(|words| String::from_utf8_lossy(words).into_owned()).unwrap_or_default()
    }
}

fn carry(mut from: impl Read, to: &mut impl Write, held: &Mutex<Option<Vec<u8>>>) {
    let mut chunk = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let mut words = lock(held);
        if let Some(words) = &mut *words {
            let room = MOST_WORDS - words.len();
            words.extend_from_slice(&chunk[..count.min(room)]);
        } else {
            drop(words);
            // Nobody reads any more: go on, so that the workload does not stand still.
            let _ = to.write_all(&chunk[..count]);
        }
    }
}

fn lock(held: &Mutex<Option<Vec<u8>>>) -> MutexGuard<'_, Option<Vec<u8>>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
