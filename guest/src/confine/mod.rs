//! What init takes away from itself before it starts the workload, which inherits it all: limits, Landlock,
//! capabilities, system calls. Nothing in here can be undone from inside.

mod landlock;
mod seccomp;

use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

pub(crate) use self::landlock::{writable, writable_in_container};
use crate::spec::Ready;
use crate::step::{At, Failure, Step};
use crate::sys;

/// Most open files per process: what a large node program needs, and no more work for those that close all.
const OPEN_FILES: u64 = 65_536;

/// No core dump, and no crash handler of the host either: a `core_pattern` that names a program runs it outside,
/// as root, on whatever crashed inside, and only this value keeps the kernel from that (core(5)).
const NO_CORE: u64 = 1;

/// Resource limits of each process.
pub(crate) fn limits() -> Result<(), Failure> {
    limit(Resource::Core, NO_CORE, "RLIMIT_CORE")?;
    limit(Resource::Nofile, OPEN_FILES, "RLIMIT_NOFILE")
}

/// Number of processes of this user in this user namespace.
pub(crate) fn limit_processes(most: u64) -> Result<(), Failure> {
    limit(Resource::Nproc, most, "RLIMIT_NPROC")
}

fn limit(resource: Resource, most: u64, what: &str) -> Result<(), Failure> {
    // Raising a hard limit is refused: what the host has is the most.
    let hard = rustix::process::getrlimit(resource).maximum;
    let most = Some(hard.map_or(most, |hard| most.min(hard)));
    let limit = Rlimit { current: most, maximum: most };
    rustix::process::setrlimit(resource, limit).at(Step::Limits, what)
}

/// `no_new_privs` and Landlock; says in words what the kernel's Landlock covers.
pub(crate) fn landlock(writable: &[PathBuf], ready: &mut Ready) -> Result<String, Failure> {
    rustix::thread::set_no_new_privs(true).at(Step::Capabilities, "no_new_privs")?;
    landlock::restrict(writable, ready)
}

/// What an unprivileged process becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// Drops every capability, for good, becomes `identity` if there is one to become, and hides this process's
/// descriptors and memory from the workload.
pub(crate) fn capabilities(identity: Option<Identity>) -> Result<(), Failure> {
    let at = |result: rustix::io::Result<()>, what: &str| result.at(Step::Capabilities, what);
    sys::empty_bounding_set().at(Step::Capabilities, "bounding set")?;
    if let Some(identity) = identity {
        become_user(identity)?;
    }
    at(rustix::thread::clear_ambient_capability_set(), "ambient set")?;
    let none = CapabilitySet::empty();
    at(
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        ),
        "capset",
    )?;
    at(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable), "dumpable")
}

fn become_user(Identity { user, group }: Identity) -> Result<(), Failure> {
    let at = |result: rustix::io::Result<()>, what: String| result.at(Step::User, what);
    // -1 stands for "as it is".
    if user == u32::MAX || group == u32::MAX {
        return at(Err(rustix::io::Errno::INVAL), format!("user {user}, group {group}"));
    }
    at(rustix::thread::set_thread_groups(&[]), "setgroups".into())?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    at(rustix::thread::set_thread_res_gid(group, group, group), format!("group {group}"))?;
    at(rustix::thread::set_thread_res_uid(user, user, user), format!("user {user}"))
}

/// Installs the system call filters of the process that holds the tunnel: no program, file or socket to open.
pub(crate) fn tunnel_seccomp() -> Result<(), Failure> {
    seccomp::install_tunnel()
}

/// Installs the system call filters.
pub(crate) fn seccomp() -> Result<(), Failure> {
    seccomp::install()
}
