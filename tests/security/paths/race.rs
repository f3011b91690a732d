//! Names that change while calls run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::super::harness::{Client, everyone, said};
use super::super::machine::full;
use super::{CALLS, Ground, SECRET};

/// Puts a link to the secret, or to the directory that it is in, in the place of what calls name, and takes it away
/// again: once in each call, at another moment of it each time.
pub(super) fn swap(ground: &Ground, calls: &AtomicUsize) {
    let (cwd, sub) = (&ground.cwd, ground.cwd.join("sub"));
    let exchange = |one: &Path, other: &Path| {
        // npxc may have the one or the other in its hands.
        let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    };
    let wait = |moment: usize| (0..moment % 20_000).for_each(|_| std::hint::spin_loop());
    let mut seen = 0;
    loop {
        match calls.load(Ordering::Acquire) {
            usize::MAX => return,
            call if call == seen => std::thread::park(),
            call => {
                seen = call;
                let (one, other) = if call % 3 == 0 {
                    (sub.clone(), cwd.join("out"))
                } else {
                    (sub.join("race.txt"), sub.join("bait"))
                };
                wait(call.wrapping_mul(2_654_435_761));
                exchange(&one, &other);
                wait(call.wrapping_mul(40_503));
                // So it ends as it began.
                exchange(&one, &other);
            }
        }
    }
}

/// The secret's path in pieces, which are no path for npxc to judge.
pub(super) fn bait(ground: &Ground) -> Value {
    let secret = ground.outside.join("race.txt").display().to_string();
    json!(secret.split('/').collect::<Vec<_>>())
}

/// What calls of a file saw, whose names somebody changes meanwhile.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) served: usize,
    /// By the code of the error, npxc's or the server's.
    pub(super) failed: BTreeMap<String, usize>,
}

/// Calls that read, and write where that is `written`; `before` hears of each.
pub(super) fn calls(client: &mut Client, paths: &[String], written: bool, before: impl Fn(usize)) -> Count {
    let mut count = Count::default();
    for round in 0..CALLS {
        before(round + 1);
        let path = &paths[round % paths.len()];
        let answer = if written && round % 2 == 1 {
            client.call("write", &json!({"file": path, "text": "inside"}))
        } else {
            client.call("read", &json!({"file": path}))
        };
        assert!(!answer.to_string().contains(SECRET), "{answer}");
        let code = answer["error"]["data"]["code"].as_str();
        let server = said(&answer).filter(|_| answer["result"]["isError"] == true);
        assert!(code.is_some() || answer["error"].is_null(), "{answer}");
        match code.or(server) {
            Some(code) => *count.failed.entry(code.to_owned()).or_default() += 1,
            None => count.served += 1,
        }
    }
    count
}

/// Sessions of each user: 100,000 calls of all of them together in the long version.
pub(super) fn sessions() -> usize {
    if full() { 100_000 / CALLS / everyone().len() } else { 1 }
}
