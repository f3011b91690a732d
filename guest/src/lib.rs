//! Everything that runs inside the sandbox: namespaces, mounts, the TUN, confinement, reaping.
//!
//! npxc starts itself again as `npxc __guest`, with one end of a unix socket pair as standard input. Over it
//! come a [`spec::Spec`] and the three descriptors of the workload's stdio; back go [`spec::Report`]s and the
//! TUN descriptor. The socket is also the lifeline: when npxc ends, however it ends, its end of file takes
//! the whole process tree down.
//!
//! ```text
//! npxc ── spawns ──> helper: unshare, id maps ── forks ──> init (pid 1): network, mounts, confinement
//!                      waits for init                        forks the workload at "go", reaps, reports
//! ```
//!
//! In a container that an engine made there is no helper: `npxc-guest enter SOCKET` is its first process, connects to
//! npxc's socket and does what is left to do (see [`container`]); the rest is the same code.
//!
//! Nothing in here decides what is granted: the specification is complete. Single-threaded by construction,
//! because user namespaces and `fork` demand it.

pub mod spec;
pub mod step;
pub mod wire;

#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod container;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // the system calls that neither std nor rustix wraps safely
mod sys;
#[cfg(target_os = "linux")]
mod workload;

/// The first argument that makes this program the sandbox's helper instead of npxc.
pub const MARK: &str = "__guest";

/// Becomes the sandbox's helper if this process was started as one; then it never returns.
///
/// Has to be called before anything else in `main`: the helper must stay single-threaded.
pub fn dispatch() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == MARK) {
        #[cfg(target_os = "linux")]
        std::process::exit(enter::main());
        #[cfg(not(target_os = "linux"))]
        std::process::exit(2);
    }
}

/// The program `npxc-guest`: the first process of a container. Returns the exit status.
pub fn program(arguments: &[std::ffi::OsString]) -> i32 {
    match arguments {
        #[cfg(target_os = "linux")]
        [_, verb, control] if verb == "enter" => container::main(control.as_ref()),
        _ => {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "npxc-guest: started by npxc inside a container; of no use elsewhere"
            );
            2
        }
    }
}
