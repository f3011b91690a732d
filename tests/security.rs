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
    mod limits;
    mod names;
    mod packets;
    mod reach;
    mod sandbox;
    mod sniff;
    mod store;
    mod stub;
    mod sys;
    mod teardown;
    mod text;
}
