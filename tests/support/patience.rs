//! No test waits without end: what does not come in time fails it.
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Longest wait for anything that a test does not measure: far beyond what a busy machine takes. A test that reaches it
/// has failed.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until there is something to read, or the end of it.
pub(super) fn readable(what: &impl AsFd) -> io::Result<()> {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(what, PollFlags::IN)], Some(&patience)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing in {PATIENCE:?}"))),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A reader that waits so long for more, and not longer.
#[derive(Debug)]
pub(super) struct Patient<R>(pub(super) R);

impl<R: Read + AsFd> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        readable(&self.0)?;
        self.0.read(buffer)
    }
}

/// Waits for a process to end.
pub(super) fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    readable(&pidfd_open(pid, PidfdFlags::empty())?)?;
    child.wait()
}
