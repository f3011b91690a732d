//! How long and how often things are measured.

use std::time::Duration;

/// Rounds and times of one run.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// A minute in all instead of five: for a look, or to see that everything still runs.
    pub quick: bool,
    /// Everything on one core, so that a figure is the whole cost in CPU time. Waking another core costs
    /// hundreds of microseconds on a small virtual machine and hides everything else.
    pub pinned: bool,
    /// Nothing that has to be downloaded each time.
    pub offline: bool,
}

impl Default for Scale {
    fn default() -> Self {
        Self { quick: false, pinned: true, offline: false }
    }
}

impl Scale {
    /// How often npxc and its peers take turns.
    pub fn rounds(self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// How often two take turns that hardly differ.
    pub fn pairs(self) -> usize {
        if self.quick { 3 } else { 31 }
    }

    /// How long one direction is kept busy.
    pub fn bulk(self) -> Duration {
        Duration::from_millis(if self.quick { 250 } else { 700 })
    }

    /// How long round trips are counted.
    pub fn short(self) -> Duration {
        Duration::from_millis(if self.quick { 150 } else { 400 })
    }

    /// How often a server is started in each way.
    pub fn starts(self) -> usize {
        if self.quick { 3 } else { 9 }
    }

    /// How often one that is not installed: each time it is downloaded from a registry that is others'.
    pub fn cold_starts(self) -> usize {
        if self.quick { 1 } else { 2 }
    }

    /// The options that say the same to a section's process.
    pub fn arguments(self) -> Vec<&'static str> {
        let mut arguments = Vec::new();
        if self.quick {
            arguments.push("--quick");
        }
        if !self.pinned {
            arguments.push("--unpinned");
        }
        if self.offline {
            arguments.push("--offline");
        }
        arguments
    }

    /// Keeps this process, and what it starts from now on, on one core. The machine should be quiet: a better niceness
    /// would reach only some of the processes (those that sandboxes put into sessions of their own are scheduled as
    /// groups of their own, sched(7)) and so favour one contender or another.
    pub fn pin(self) -> anyhow::Result<()> {
        if !self.pinned {
            return Ok(());
        }
        let mut allowed = rustix::thread::sched_getaffinity(None)?;
        // The last one: the first takes most interrupts.
        let last = (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu));
        if let Some(last) = last {
            allowed.clear();
            allowed.set(last);
            rustix::thread::sched_setaffinity(None, &allowed)?;
        }
        Ok(())
    }
}
