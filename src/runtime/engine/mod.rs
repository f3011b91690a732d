//! Container engines: podman and docker.

mod guest;

pub use self::guest::guest_binary;
