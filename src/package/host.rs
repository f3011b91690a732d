//! What this room knows of the process's surroundings: environment, working directory, home. An argument
//! everywhere, so that tests make their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A snapshot of the surroundings that npxc was started in.
#[derive(Debug, Clone, Default)]
pub struct HostEnv {
    /// The environment.
    pub vars: BTreeMap<OsString, OsString>,
    /// The working directory; relative specs are relative to it.
    pub cwd: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
}

impl HostEnv {
    /// This process's own. A working directory that is gone counts as `/`.
    pub fn current() -> Self {
        let vars: BTreeMap<_, _> = std::env::vars_os().collect();
        let home = vars
            .get(OsStr::new("HOME"))
            .filter(|home| Path::new(home).is_absolute())
            .map(PathBuf::from)
            .or_else(std::env::home_dir)
            .unwrap_or_else(|| PathBuf::from("/"));
        Self { vars, cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")), home }
    }

    /// The value of a variable, if it is set and not empty.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The value of a variable as text, if it is set, not empty and UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.var(name).and_then(OsStr::to_str)
    }
}
