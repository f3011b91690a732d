//! Limits without cgroups: init adds up what `/proc` says. Slower and coarser than a cgroup (a fast allocator
//! gets past the limit for half a second), but it needs nobody's permission.

use std::fs;

use crate::spec::{Limit, Supervise};

/// How often to look: 500 ms cost next to nothing and bound the overshoot.
pub(super) const INTERVAL_NANOSECONDS: i64 = 500_000_000;

/// The limit that is exceeded now, if one is.
pub(super) fn exceeded(limits: Supervise) -> Option<Limit> {
    let mut memory = 0;
    let mut tasks = 0;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) || name == "1" {
            continue;
        }
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        for line in status.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let number = || {
                value
                    .split_whitespace()
                    .next()
                    .and_then(|word| word.parse::<u64>().ok())
                    .unwrap_or(0)
            };
            match key {
                "RssAnon" | "RssShmem" => memory += number() * 1024,
                "Threads" => tasks += number(),
                _ => {}
            }
        }
    }
    if limits.memory.is_some_and(|most| memory > most) {
        Some(Limit::Memory)
    } else if limits.pids.is_some_and(|most| tasks > most) {
        Some(Limit::Pids)
    } else {
        None
    }
}
