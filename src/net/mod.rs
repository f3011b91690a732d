//! The network core: what a guest's packets mean and what becomes of them. Sans-IO: no sockets, no clock (the
//! time is an argument), no tokio; the shell around it is `egress`.
//!
//! A packet of the guest goes through [`packet`] (checked once), [`router`] (whose flow is it, and does the policy
//! permit it), the flow's own [`stack`] and [`sniff`] (what does it say first), and leaves as bytes for an upstream
//! that the shell dialled with a permit. [`dns`] is the guest's resolver and makes the [`pins`], which say which
//! name an address stands for. [`reply`] writes the few packets that no stack writes. [`proxy`] asks the proxy of this
//! machine, where it has one, for what a permit allows.

pub mod dns;
pub mod flow;
pub mod packet;
pub mod pins;
pub mod proxy;
pub mod reply;
pub mod router;
pub mod sniff;
pub mod stack;
pub mod table;
