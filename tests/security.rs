//! Attacks.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![allow(unreachable_pub, reason = "the modules see each other")]

mod security {
    mod closed;
    mod dns;
    mod floods;
    mod harness;
    mod inside;
    mod names;
    mod packets;
    mod reach;
    mod sandbox;
    mod sniff;
    mod stub;
    mod sys;
}
