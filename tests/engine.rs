//! Containers, for real: every test has one made by an engine and looks at it from inside and from the host. The file
//! runs with podman as root; two of its tests run it again, with podman as an ordinary user and with docker, whose
//! daemon is started for it. What is missing on this machine is left out with a word on stderr.
//!
//! Engines keep everything in a directory of the run's own. podman's as root is below the target directory and keeps
//! the image for the next run; everything else is gone after it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

#[path = "support/account.rs"]
mod account;
#[path = "engine/again.rs"]
mod again;
#[path = "engine/apple.rs"]
mod apple;
#[path = "support/docker.rs"]
mod docker;
#[path = "engine/image.rs"]
mod image;
#[path = "engine/inside.rs"]
mod inside;
#[path = "engine/leftovers.rs"]
mod leftovers;
#[path = "engine/links.rs"]
mod links;
#[path = "engine/teardown.rs"]
mod teardown;
#[path = "engine/world.rs"]
mod world;
