//! The whole path, for real: packages through the real binary in the real sandbox.
//!
//! As root the tests run twice, the second time as an ordinary user (`e2e::user`). Packages come from the registry
//! that npm is configured for, clients in Python from where pip has packages; everything else that is reached is a
//! server of the tests' own on loopback.
//!
//! Variables: `NPXC_TEST_FULL=1` moves 2 GB instead of 64 MB. `NPXC_TEST_KEEP=1` keeps the store from run to run.
//! `NPXC_TEST_LEAVE_OUT` lists, separated by commas, tools that this machine cannot have (`chromium`): tests that
//! need one of them say so and pass. Without it a missing tool fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
// `json!({...})` as an argument, and strings that are put together once.
#![allow(clippy::needless_pass_by_value, clippy::format_push_string, clippy::format_collect)]
#![cfg(target_os = "linux")]

mod e2e {
    #[path = "../support/account.rs"]
    mod account;
    mod audit;
    mod containers;
    #[path = "../support/docker.rs"]
    mod docker;
    mod ends;
    mod fidelity;
    mod files;
    mod full;
    mod install;
    mod live;
    mod loopback;
    #[path = "../support/machine.rs"]
    mod machine;
    mod mcp;
    mod mistakes;
    mod otel;
    mod paths;
    #[path = "../support/patience.rs"]
    mod patience;
    mod processes;
    mod proxied;
    mod publish;
    mod registry;
    mod servers;
    mod spreadsheet;
    mod stdio;
    mod storage;
    mod suites;
    mod transfer;
    mod unfinished;
    mod update;
    mod user;
    mod words;
    mod world;
    mod wrap;
    mod writing;
}
