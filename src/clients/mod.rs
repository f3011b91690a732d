//! The configuration files of MCP clients: where they are ([`places`]), which servers stand in them ([`servers`]), which of
//! those are npx's ([`npx`]), what a client puts into them ([`variables`]), and how npxc gets in front of one and away again ([`change`]).
//!
//! A file is somebody's own: it is read as a tree with places ([`value`], by [`json`] and [`toml`]), single spans of it are
//! replaced, and nothing is ever printed again. All that is pure; [`file`](mod@file) reads and replaces, [`record`] remembers
//! what was changed.

pub mod change;
pub mod diff;
pub mod file;
pub mod json;
pub mod npx;
pub mod places;
pub mod record;
pub mod servers;
pub mod toml;
pub mod value;
pub mod variables;

#[cfg(test)]
mod tests;
