//! Packages: what the user asked for ([`spec`], [`request`]), the host's node and npm ([`node`], [`registry`]),
//! the store of finished installs ([`store`], [`entry`]) and how an entry is made ([`install`]).
//!
//! Nothing of a package runs in this process or outside a sandbox: [`install`] describes each run of npm as a
//! [`Step`] and hands it to a [`StepRunner`]. What a step leaves behind is hostile until [`tree`] has looked
//! at it. A warm start ([`store::Store::lookup`]) runs nothing and opens no socket.
//!
//! Data comes from the command line, npm's configuration and the disk; it goes to `session`, which mounts an
//! entry at [`GUEST_PACKAGE`] and starts [`Entry::command`].

pub mod certificates;
pub mod entry;
pub mod error;
pub mod host;
mod ini;
pub mod install;
pub mod name;
pub mod node;
mod npmrc;
pub mod progress;
mod range;
pub mod registry;
pub mod request;
pub mod spec;
pub mod step;
pub mod store;
pub mod tarballs;
pub mod tree;

pub use entry::{Entry, Manifest};
pub use error::PackageError;
pub use host::HostEnv;
pub use install::{Change, Changes, InstallOptions, Installer, Updated};
pub use name::PackageName;
pub use node::Node;
pub use progress::Progress;
pub use registry::NpmConfig;
pub(crate) use request::hex;
pub use request::{Request, Resolved};
pub use spec::{PackageSpec, VersionSpec};
pub use step::{Purpose, Step, StepError, StepOutcome, StepRunner};
pub use store::Store;

/// Where a package's entry stands inside the guest: read-only when it runs, writable while it is installed.
pub const GUEST_PACKAGE: &str = "/opt/npxc/package";
/// Where local directories and tarballs stand while they are installed, each in a directory of its own.
pub const GUEST_SOURCE: &str = "/opt/npxc/source";
/// Where node and npm stand inside the guest when the host does not have them under `/usr`.
pub const GUEST_NODE: &str = "/opt/npxc/node";
/// The guest's home directory.
pub const GUEST_HOME: &str = npxc_guest::spec::HOME;
