//! npxc is `npx`, contained: it runs an npm package in a sandbox that starts with no network, no environment
//! and no host files, and whose only way out is a packet link that ends in this process.
//!
//! # The two paths
//!
//! **Path A, packets:** guest → [`egress`] (link) → [`net`] (packet, flow, sniff, dns, pins) → [`policy`] →
//! `Permit` → [`egress`] (upstream) → the internet, and back the same way. Every verdict leaves the router as
//! one [`audit::Event`]. The link is a TUN, a WireGuard tunnel, or a stream of frames ([`runtime::Link`]); what both of its
//! ends share is the crate `npxc_link`, and what runs at the guest's is the crate `npxc_guest`.
//!
//! **Path B, messages:** client stdin → [`rpc`] → guest stdin, and back; files that a call names go through
//! [`workspace`]; stderr beside it.
//!
//! # Reading order
//!
//! [`policy`] says what may be reached, [`net`] applies it to packets, [`egress`] does the I/O for it,
//! [`runtime`] builds the sandbox, [`package`] fills it, [`session`] puts one run together, out of what [`config`] made of
//! files and options, with [`rpc`] for its stdio, [`workspace`] for the files that calls name, [`storage`] for what the
//! package keeps and [`audit`] for its log; [`cli`] talks to people, and [`exit`] is what a run comes to. Dependencies point
//! one way (ARCHITECTURE.md draws them); `policy`, `net`, the core of `rpc` and `audit::event` do no I/O and are given the
//! time as an argument.

pub mod audit;
pub mod cli;
pub mod clients;
pub mod config;
pub mod egress;
pub mod exit;
pub mod live;
pub mod net;
pub mod package;
mod paths;
mod patient;
pub mod policy;
pub mod rpc;
pub mod runtime;
pub mod session;
pub mod storage;
mod voice;
pub mod workspace;
