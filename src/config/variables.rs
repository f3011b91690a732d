//! npxc's own variables: what a client can say that sets nothing but an environment.
//!
//! They stand between the files and the command line, and mean what the option of the same name means. Whoever sets them
//! may set npxc's `PATH` and options as well, so they are trusted as those are. None of them reaches a package.

use std::collections::BTreeMap;

use super::choices::Choice as _;
use super::error::{ConfigError, Fault, nearest};
use super::layer::{Layer, Origin};
use super::options::{one, rules};
use super::values::{self, OWN_VARIABLES};
use crate::config::error::Place;
use crate::package::HostEnv;
use crate::policy::Mode;

/// The variable of `--config`.
pub const CONFIG: &str = "NPXC_CONFIG";

/// The variable of `--log-level`; `cli` reads it, before anything else is said.
pub const LOG_LEVEL: &str = "NPXC_LOG_LEVEL";

/// What another npxc that started this one for `wrap --probe` gives the package by `--env NAME`: names and values in JSON. They
/// come from a file that may be somebody else's, so they are no variables of this process, or of what it starts outside the sandbox.
pub const GIVEN: &str = "NPXC_GIVEN";

/// Every variable there is. Files, environment, ports and what is written are granted by options and files only.
pub const NAMES: [&str; 16] = [
    "NPXC_ADDRESSES",
    "NPXC_ALLOW",
    "NPXC_ALLOW_INSTALL",
    "NPXC_ALLOW_PRIVATE",
    "NPXC_AUDIT_LOG",
    CONFIG,
    "NPXC_CPUS",
    "NPXC_CWD",
    "NPXC_DENY",
    "NPXC_IMAGE",
    "NPXC_LINK",
    LOG_LEVEL,
    "NPXC_MEMORY",
    "NPXC_NETWORK",
    "NPXC_PIDS",
    "NPXC_RUNTIME",
];

/// Names that are no option's: a package's, a build's, the tests', another npxc's that started this one.
const OTHERS: [&str; 5] = ["NPXC_DATA", GIVEN, "NPXC_GUEST_BINARY", "NPXC_TEST_", crate::voice::VARIABLE];

/// The variable of an option.
pub fn of(option: &str) -> String {
    format!("{OWN_VARIABLES}{}", option.trim_start_matches('-').to_ascii_uppercase().replace('-', "_"))
}

/// What the variables say.
#[derive(Debug, Default)]
pub struct Variables {
    /// What they grant.
    pub layer: Layer,
    /// `NPXC_CWD`.
    pub cwd: Option<String>,
    /// `NPXC_AUDIT_LOG`.
    pub audit_log: Option<String>,
}

/// What stands in [`GIVEN`].
pub fn given(host: &HostEnv) -> BTreeMap<String, String> {
    host.text(GIVEN).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Reads them; an empty one says nothing.
///
/// # Errors
/// One has a value that its option would not take, or is not UTF-8.
pub fn read(host: &HostEnv) -> Result<Variables, ConfigError> {
    let text = |name: &str| {
        let Some(value) = host.var(name) else { return Ok(None) };
        let text = value.to_str().map(str::to_owned).ok_or_else(|| {
            ConfigError::option(name, &value.to_string_lossy(), Fault::new("it is not UTF-8"))
        })?;
        Ok::<_, ConfigError>(Some(text))
    };
    let list = |name: &str| rules(name, &Vec::from_iter(text(name)?));
    macro_rules! value {
        ($name:literal, $parse:expr) => {
            one($name, text($name)?.as_ref(), $parse)?
        };
    }
    let layer = Layer {
        origin: Origin::Variable,
        mode: value!("NPXC_NETWORK", Mode::from_word),
        mode_place: Some(Place::Option("NPXC_NETWORK".to_owned())),
        allow: list("NPXC_ALLOW")?,
        allow_private: list("NPXC_ALLOW_PRIVATE")?,
        deny: list("NPXC_DENY")?,
        addresses: value!("NPXC_ADDRESSES", str::parse),
        install_allow: list("NPXC_ALLOW_INSTALL")?,
        runtime: value!("NPXC_RUNTIME", str::parse),
        link: value!("NPXC_LINK", str::parse).map(|link| (link, Place::Option("NPXC_LINK".to_owned()))),
        image: value!("NPXC_IMAGE", values::image),
        memory: value!("NPXC_MEMORY", values::memory),
        cpus: value!("NPXC_CPUS", values::cpus),
        pids: value!("NPXC_PIDS", values::pids),
        notes: unknown(host),
        ..Layer::default()
    };
    Ok(Variables { layer, cwd: text("NPXC_CWD")?, audit_log: text("NPXC_AUDIT_LOG")? })
}

/// A word and a hint about each name that looks like one of npxc's and is none.
fn unknown(host: &HostEnv) -> Vec<String> {
    let names = host.vars.keys().filter_map(|name| name.to_str());
    let unknown = names.filter(|name| {
        name.starts_with(OWN_VARIABLES)
            && !NAMES.contains(name)
            && !OTHERS.iter().any(|other| name.starts_with(other))
    });
    let known = NAMES.map(str::to_ascii_lowercase);
    let word = |name: &str| {
        let near = nearest(name, known.iter().map(String::as_str)).map_or_else(
            || format!("npxc's are {}", NAMES.join(", ")),
            |near| format!("did you mean {}?", near.to_ascii_uppercase()),
        );
        format!("the variable {name} is none of npxc's and does nothing\n{near}")
    };
    unknown.map(word).collect()
}
