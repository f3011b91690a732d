//! The I/O around the router: the link to the guest on one side, host sockets on the other.
//!
//! Thin on purpose. `driver` is the datapath thread, `link` what carries the guest's packets (`tun`, `wireguard`, `stream`),
//! `upstream` the sockets, `dial` the race between addresses, `resolver` the host's own name resolution. Nothing
//! here decides what may be reached: sockets are opened towards a [`crate::policy::Dialable`], which only the
//! policy makes, or towards the host's proxy (`asking`), which is asked for a [`crate::policy::Tunnel`].

mod asking;
mod dial;
pub mod driver;
mod link;
pub mod resolver;
mod stream;
mod tun;
mod upstream;
mod wireguard;
