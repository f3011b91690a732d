//! The first process of a container, for real: every test plays npxc over the control socket. An ordinary user's run is
//! left out with a word, as is what needs a tool that `NPXC_TEST_LEAVE_OUT` names; another tool that is missing fails
//! its test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

#[path = "../../../tests/support/machine.rs"]
mod machine;
mod namespaces;
#[path = "../../../tests/support/patience.rs"]
mod patience;
mod play;
mod podman;
