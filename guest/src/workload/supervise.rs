//! Limits without cgroups: init adds up what `/proc` says. Slower and coarser than a cgroup (a fast allocator
//! gets past the limit for half a second), but it needs nobody's permission.

use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::event::Timespec;
use rustix::process::Pid;

use crate::spec::{Limit, Supervise};

/// How often to look: twice a second costs next to nothing and bounds the overshoot.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks at all processes from time to time.
pub(super) struct Guard {
    limits: Supervise,
    /// A process that is not the workload's.
    companion: Option<Pid>,
    looked: Instant,
}

/// What all processes of the workload use together.
#[derive(Default)]
struct Usage {
    memory: u64,
    tasks: u64,
}

impl Guard {
    pub(super) fn new(limits: Supervise, companion: Option<Pid>) -> Self {
        Self { limits, companion, looked: Instant::now() }
    }

    /// How long to sleep at most; `None` if there is nothing to look at.
    pub(super) fn timeout(&self) -> Option<Timespec> {
        let anything = self.limits.memory.is_some() || self.limits.pids.is_some();
        anything
            .then(|| Timespec::try_from(INTERVAL.saturating_sub(self.looked.elapsed())).unwrap_or_default())
    }

    /// The limit that is exceeded, if it is time to look and one is. Goes by the clock, so that a workload that
    /// keeps init busy is watched all the same.
    pub(super) fn look(&mut self) -> Option<Limit> {
        self.timeout()?;
        if self.looked.elapsed() < INTERVAL {
            return None;
        }
        self.looked = Instant::now();
        // What cannot be seen is not let go on.
        let Ok(usage) = usage(self.companion) else {
            return Some(if self.limits.memory.is_some() { Limit::Memory } else { Limit::Pids });
        };
        if self.limits.memory.is_some_and(|most| usage.memory > most) {
            Some(Limit::Memory)
        } else if self.limits.pids.is_some_and(|most| usage.tasks > most) {
            Some(Limit::Pids)
        } else {
            None
        }
    }

    /// Whether the kernel refuses more processes by `RLIMIT_NPROC` now. It keeps no count of refusals that could
    /// be asked for later.
    pub(super) fn processes_exhausted(&self) -> bool {
        self.limits.nproc.is_some()
            && self
                .limits
                .pids
                .is_some_and(|most| usage(self.companion).is_ok_and(|usage| usage.tasks + 1 >= most))
    }
}

fn usage(companion: Option<Pid>) -> io::Result<Usage> {
    let companion = companion.map(|pid| pid.as_raw_nonzero().get().to_string());
    let mut usage = Usage::default();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
            || name == "1"
            || name.to_str() == companion.as_deref()
        {
            continue;
        }
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        for line in status.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let number =
                || value.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
            match key {
                "RssAnon" | "RssShmem" => usage.memory += number() * 1024,
                "Threads" => usage.tasks += number(),
                _ => {}
            }
        }
    }
    Ok(usage)
}
