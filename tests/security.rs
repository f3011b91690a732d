//! Attacks.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![allow(unreachable_pub, reason = "the modules see each other")]

mod security {
    mod harness;
    mod reach;
    mod stub;
    mod sys;
}
