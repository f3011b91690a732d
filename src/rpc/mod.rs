//! Path B: the client's messages to the guest and back.
//!
//! `frame` cuts the streams into lines, `json` reads them, `identify` says what is a path, `translate` what becomes of it, with
//! `denials` for the errors that came of one, and `calls` for those that are under way: all of that is pure. `wire` and `proxy` are
//! the shells that read, write and ask the workspace.
//!
//! On stdout npxc writes errors alone: for a request that it stops itself, and in the place of a reply whose files could not be
//! brought back. Only what people should hear goes to the session, which says it.

pub mod calls;
pub mod denials;
pub mod frame;
pub mod identify;
pub mod json;
pub mod proxy;
pub mod translate;
mod wire;
