//! What a run is granted: flags over npxc's variables over the package's file over the global file over defaults.
//!
//! Text comes from the command line (`cli`), from the environment ([`variables`]) and from two files ([`schema`]); each becomes a typed [`Layer`], and
//! [`Resolved`] is what comes out of putting the layers on top of each other ([`resolve`], pure). Only [`files`],
//! [`mod@load`], [`mounts`] and `former` look at the disk. Nothing here decides what may be reached; that is `policy`.
//!
//! How layers combine, highest first (command line, variables, package file, global file):
//! - A single value (`memory`, `addresses`, ...) is taken from the highest layer that has it.
//! - Lists (`allow`, `allow_private`, `deny`, `env_passthrough`, `publish`, ...) are united. A rule in a file
//!   cannot be taken away by a flag; a deny rule can always be added.
//! - `[path_arguments]` and `[non_path_arguments]` are united by tool, and their lists too; the latter win.
//! - Tables are united by key: an environment variable by its name, a mount by its path inside the guest, a host
//!   entry by its name. The highest layer wins.
//! - The network mode is taken from the highest layer that says anything about it. A layer that has allow rules
//!   and names no mode says `allowlist`; one that says `none` and has allow rules contradicts itself.

mod choices;
pub mod directories;
pub mod error;
pub mod files;
mod former;
pub mod json_schema;
pub mod layer;
pub mod load;
mod masked;
pub mod mounts;
pub mod options;
pub mod proxy;
pub mod resolve;
pub mod schema;
mod tables;
pub mod values;
pub mod variables;
mod written;

pub use choices::{Addresses, Choice, LinkChoice, RuntimeChoice, Strategy};
pub use directories::Directories;
pub use error::{ConfigError, Fault};
pub use layer::{Layer, Origin};
pub use load::{chosen_proxy, ground, load};
pub use mounts::{GuestPath, HostPath, MountSpec};
pub use proxy::{Chosen, ProxyChoice};
pub use resolve::{InstallGrants, Network, Resolved, RuntimeOptions};
pub use values::{AddHost, EnvName, EnvValue, Publish, age};
