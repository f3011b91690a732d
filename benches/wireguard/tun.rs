//! A TUN as npxc's guests have it: virtio headers, checksums and TCP segmentation left to the reader.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};

/// Creates the interface in this process's network namespace.
pub fn create(name: &str) -> Result<OwnedFd> {
    let tun = File::options().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
    let offload = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
    let fd = tun.as_raw_fd();
    // SAFETY: the request is a valid ifreq that outlives the call.
    check(unsafe { libc::ioctl(fd, libc::TUNSETIFF as _, &raw mut request) }).context("TUNSETIFF")?;
    // SAFETY: the argument is the value itself.
    check(unsafe { libc::ioctl(fd, libc::TUNSETOFFLOAD as _, offload) }).context("TUNSETOFFLOAD")?;
    Ok(tun.into())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
