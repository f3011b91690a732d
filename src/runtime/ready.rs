//! Waiting for a descriptor to become readable. `unsafe` because tokio's registration of a bare descriptor is.

use std::io;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until `fd` is readable or at its end. Cancel safe: it reads nothing.
pub(super) async fn readable(fd: &impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd();
    // SAFETY: the descriptor is borrowed, so open and unchanged, for as long as the registration lives; what is
    // registered is the borrow itself, not an owner that others could close.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
    registered.readable().await?.retain_ready();
    Ok(())
}
