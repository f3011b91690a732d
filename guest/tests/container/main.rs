//! The first process of a container, for real: every test plays npxc over the control socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(target_os = "linux")]

mod namespaces;
mod play;
mod podman;
#[path = "../../../tests/support/patience.rs"]
mod patience;
