//! Stock WireGuard implementations as the guest's end of npxc's link.
//!
//! wireguard-go and boringtun-cli run in a network namespace of the test's own, configured over their own control
//! sockets; npxc's end is its real datapath and router. Every byte is compared. Needs root (namespaces, TUN).
//!
//! Variables: `NPXC_TEST_FULL=1` moves 500 MB each way instead of 32 MB, and holds a transfer for more than two minutes,
//! until keys were renewed. `NPXC_TEST_LEAVE_OUT` lists, separated by commas, programs that this machine cannot have:
//! tests that need one of them say so and pass. Without it a missing program fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod wireguard {
    mod guest;
    mod host;
    mod interoperation;
    #[path = "../support/machine.rs"]
    mod machine;
    mod relay;
    #[allow(unsafe_code)] // a namespace for one thread
    mod sys;
    mod transfer;
}
