//! The bodies of the fuzz targets, in one place: `fuzz_targets/*.rs` feeds them from libFuzzer, `tests/fuzz.rs`
//! replays the committed corpora through the same functions with a stable toolchain.
//!
//! A body takes any bytes and panics when a promise is broken. To add one: a function in a file beside this one, a
//! row in [`TARGETS`] here, five lines in `fuzz_targets/NAME.rs`, a `[[bin]]` in `Cargo.toml`, and seeds in
//! `corpus/NAME/`. Seeds have names in words (`ipv6-net`); files named by a hash are a run's own and are not committed.

mod dns;
mod messages;
mod packets;
mod positions;
mod proxy;
mod sniff;
mod text;

pub(crate) use self::dns::dns;
pub(crate) use self::messages::messages;
pub(crate) use self::packets::packets;
pub(crate) use self::positions::positions;
pub(crate) use self::proxy::proxy;
pub(crate) use self::sniff::{http, tls};
pub(crate) use self::text::{hostname, rule, spec};

/// A body under the name of its binary and its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub(crate) const TARGETS: &[Target] = &[
    ("rule", rule),
    ("hostname", hostname),
    ("spec", spec),
    ("tls", tls),
    ("http", http),
    ("dns", dns),
    ("packets", packets),
    ("messages", messages),
    ("positions", positions),
    ("proxy", proxy),
];
