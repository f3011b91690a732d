//! The audit log: what a session was granted, what it reached and what it was refused.
//!
//! [`event`] is pure and says what can happen; `writer` puts events on disk, chained by hash; `report` reads a
//! finished log back for people.

pub mod event;

pub use event::Event;
