//! The audit log: what a session was granted, what it reached and what it was refused.
//!
//! [`event`] is pure and says what can happen; [`writer`] puts events on disk, chained by hash ([`chain`] says
//! how, and checks it; [`segments`] which files it goes through); [`report`] reads a log back for people; [`escape`] keeps hostile text harmless on the way.

pub mod chain;
pub mod diff;
mod error;
pub mod escape;
pub mod event;
mod file;
pub mod otel;
pub mod page;
mod queue;
pub mod report;
pub mod segments;
pub mod shelf;
pub mod signature;
pub mod suggest;
mod throttle;
pub mod writer;

pub use error::AuditError;
pub use event::{Collected, Event};
pub use file::Target;
pub use segments::Segments;
pub use writer::{Log, Mirror, Options, Recorder, Totals, Unavailable};
