//! The system calls that neither std nor rustix wraps safely. Thin: no policy in here.

pub(crate) mod link;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `unshare`, while this process has one thread.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: no flag in use (no CLONE_FILES, CLONE_FS) breaks what std relies on, and there is one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// `fork`, while this process has one thread: `None` in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: single-threaded, so the child may use everything that the parent could.
    let pid = unsafe { libc::fork() };
    check(libc::c_long::from(pid))?;
    Ok(Pid::from_raw(pid))
}

/// Ends the process without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; always sound.
    unsafe { libc::_exit(code) }
}

/// Blocks every signal for this process and its children to come.
pub(crate) fn block_signals() -> io::Result<()> {
    // SAFETY: sigset_t is plain data that sigfillset initializes.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        check(libc::c_long::from(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const all,
            std::ptr::null_mut(),
        )))?;
    }
    Ok(())
}

/// A descriptor that becomes readable when a child changes state. Signals have to be blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: sigset_t is plain data; the descriptor is new and owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(descriptor))?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Gives every descriptor from 3 on the close-on-exec flag.
pub(crate) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: changes flags only.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Closes every descriptor but the standard ones. Only for a process that has opened no other yet.
pub(crate) fn close_from_3() -> io::Result<()> {
    // SAFETY: the caller owns no descriptor from 3 on: what is there was inherited, and no value stands for it.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) })?;
    Ok(())
}

/// Makes standard descriptor `target` (0, 1 or 2) a copy of `source`.
pub(crate) fn replace_stdio(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    debug_assert!((0..=2).contains(&target));
    // SAFETY: the target is a standard descriptor, which no owned value stands for.
    check(libc::c_long::from(unsafe { libc::dup2(source.as_raw_fd(), target) }))?;
    Ok(())
}

/// `mount_setattr` on the mount that `tree` stands for, and on all below it if `recursive`.
pub(crate) fn set_mount_attributes(tree: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let attributes = Attributes { set, clear: 0, propagation: libc::MS_PRIVATE, userns: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure is the kernel's struct mount_attr, version 0, and outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    })?;
    Ok(())
}

/// Drops every capability from the bounding set.
pub(crate) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: prctl with integer arguments.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            let error = io::Error::last_os_error();
            // The kernel knows no capability of this number: that was all.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Installs one seccomp filter, given as (code, jt, jf, k).
pub(crate) fn install_filter(program: &[(u16, u8, u8, u32)]) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let length = libc::c_ushort::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    // SAFETY: the program is copied by the kernel during the call and outlives it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) })?;
    Ok(())
}

/// What to execute, ready for a process that has just been forked.
pub(crate) struct Exec {
    /// Paths to try, in order.
    pub(crate) candidates: Vec<CString>,
    /// Arguments, the program's name first.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=VALUE`.
    pub(crate) environment: Vec<CString>,
    /// Working directory.
    pub(crate) cwd: CString,
}

/// What a forked child was at when it failed, as the byte it sends.
const CHILD_SETUP: u8 = 0;
const CHILD_CWD: u8 = 1;
const CHILD_EXEC: u8 = 2;

/// Where a workload's start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecFailure {
    Setup,
    WorkingDirectory,
    Exec,
}

/// Starts the workload: own session, its three descriptors and no other, signals as a program expects them.
/// Returns once the program has been executed or could not be.
pub(crate) fn spawn(exec: &Exec, stdio: [OwnedFd; 3]) -> Result<Pid, (ExecFailure, io::Error)> {
    let (failed, fails) = io::pipe().map_err(|error| (ExecFailure::Setup, error))?;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let arguments = pointers(&exec.arguments);
    let environment = pointers(&exec.environment);

    let Some(pid) = fork().map_err(|error| (ExecFailure::Setup, error))? else {
        let (stage, error) = become_workload(exec, &stdio, &arguments, &environment);
        let mut message = [stage, 0, 0, 0, 0];
        message[1..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_le_bytes());
        let _ = rustix::io::write(&fails, &message);
        exit_now(127);
    };
    drop((fails, stdio));
    let mut message = [0; 5];
    match rustix::io::retry_on_intr(|| rustix::io::read(&failed, &mut message)) {
        Ok(5) => {
            let [stage, errno @ ..] = message;
            let stage = match stage {
                CHILD_CWD => ExecFailure::WorkingDirectory,
                CHILD_EXEC => ExecFailure::Exec,
                _ => ExecFailure::Setup,
            };
            Err((stage, io::Error::from_raw_os_error(i32::from_le_bytes(errno))))
        }
        Ok(_) => Ok(pid),
        Err(error) => Err((ExecFailure::Setup, error.into())),
    }
}

/// In the forked child: returns only if something failed.
fn become_workload(
    exec: &Exec,
    stdio: &[OwnedFd; 3],
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) -> (u8, io::Error) {
    let setup = || -> io::Result<()> {
        rustix::process::setsid()?;
        for (target, source) in (0..).zip(stdio) {
            replace_stdio(source.as_fd(), target)?;
        }
        close_on_exec_from_3()?;
        // SAFETY: signal dispositions and mask of this process, set to what a fresh program expects.
        unsafe {
            for signal in 1..=libc::SIGRTMAX() {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }
        Ok(())
    };
    if let Err(error) = setup() {
        return (CHILD_SETUP, error);
    }
    if let Err(error) = rustix::process::chdir(exec.cwd.as_c_str()) {
        return (CHILD_CWD, error.into());
    }
    let mut worst = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in &exec.candidates {
        // SAFETY: all pointers are to NUL-terminated strings in arrays that end with a null pointer.
        unsafe { libc::execve(candidate.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            worst = error;
        }
    }
    (CHILD_EXEC, worst)
}

/// Sends a signal to every process of this pid namespace but this one, which is process 1.
pub(crate) fn signal_everyone(signal: i32) {
    // SAFETY: kill with integer arguments; as process 1 of its namespace this reaches nothing outside.
    unsafe { libc::kill(-1, signal) };
}
