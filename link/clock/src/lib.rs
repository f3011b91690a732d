//! Nothing but tests: the WireGuard tunnel of `npxc-link` in virtual time (`tests/time.rs`).
