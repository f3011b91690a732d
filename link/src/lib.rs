//! What both ends of a link share: npxc's own end and the one in the guest.
//!
//! ```text
//! npxc:   router -> segment -> wg -> udp  ~~~ the container network ~~~  udp -> wg -> coalesce -> TUN
//! guest:  TUN    -> segment -> wg -> udp  ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~  udp -> wg -> coalesce -> router
//! ```
//!
//! Nothing in here decides what may be reached, keeps a file or starts a thread. [`virtio`], [`segment`], [`coalesce`]
//! and [`frame`] are pure: bytes in, bytes out; so is [`wg`], but that the WireGuard in it reads the clock. [`udp`], `pump` and `relay` (Linux) are thin shells around
//! descriptors.

pub mod coalesce;
pub mod frame;
#[cfg(target_os = "linux")]
pub mod pump;
#[cfg(target_os = "linux")]
pub mod relay;
pub mod segment;
pub mod udp;
pub mod virtio;
pub mod wg;
