//! Containers, for real: every test has one made by an engine and looks at it from inside and from the host. The file
//! runs with podman as root; two of its tests run it again, with podman as an ordinary user and with docker, whose
//! daemon is started for it. An ordinary user's run is left out with a word. `NPXC_TEST_LEAVE_OUT` lists, separated by
//! commas, tools that this machine cannot have (`podman`): what needs one of them is left out with a word, too. Without
//! it a missing tool fails the test, and an engine that is there and does not work fails it in any case.
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
#[path = "engine/bind.rs"]
mod bind;
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
#[path = "support/machine.rs"]
mod machine;
#[path = "support/patience.rs"]
mod patience;
#[path = "engine/teardown.rs"]
mod teardown;
#[path = "engine/world.rs"]
mod world;
