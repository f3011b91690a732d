//! The network core: what a guest's packets mean and what becomes of them. Sans-IO: no sockets, no clock (the
//! time is an argument), no tokio; the shell around it is `egress`.
//!
//! [`pins`] knows which name an address stands for, [`dns`] is the guest's resolver and makes the pins,
//! [`sniff`] looks at the first bytes of a flow and holds them against its pin.

pub mod dns;
pub mod pins;
pub mod sniff;
