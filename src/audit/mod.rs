//! The audit log: what a session was granted, what it reached and what it was refused.
//!
//! [`event`] is pure and says what can happen; [`writer`] puts events on disk, chained by hash ([`chain`] says
//! how, and checks it); [`report`] reads a log back for people; [`escape`] keeps hostile text harmless on the way.

pub mod chain;
pub mod escape;
pub mod event;
mod file;
mod queue;
pub mod report;
pub mod writer;

pub use event::Event;
pub use file::{Target, newest};
pub use writer::{AuditError, Log, Recorder, Totals, Unavailable};
