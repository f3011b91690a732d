//! Namespaces for threads, and the programs that set them up.

use std::io;
use std::process::{Command, Stdio};

use super::machine::{have, root_for};

/// Puts the calling thread, and what it starts from now on, into a network namespace of its own.
pub(super) fn seal() {
    // SAFETY: only this thread's network namespace changes; no descriptor is affected.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "a network namespace: {}", io::Error::last_os_error());
    ip("link set lo up");
}

/// The calling thread's number, which stands for its namespaces.
pub(super) fn thread() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// Runs `ip` in the calling thread's namespace.
pub(super) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).stdin(Stdio::null()).output().expect("iproute2");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether the tests can run with `program`.
pub(super) fn ready(program: &str) -> bool {
    root_for("interoperation with stock WireGuard implementations") && have(program)
}
