//! Path B: the client's messages to the guest and back.
//!
//! Nothing here may write a byte of its own to stdout, but the error for a request that npxc itself stops.

pub mod frame;
pub mod identify;
pub mod json;
pub mod proxy;
pub mod translate;
mod wire;
