//! Where npxc keeps things: the XDG base directories, each with `npxc` below. Pure.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::error::ConfigError;

/// npxc's directories; absolute, not necessarily there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// The user's home.
    pub home: PathBuf,
    /// `npxc.toml` and `packages/`: `$XDG_CONFIG_HOME/npxc`, or what `--config` names.
    pub config: PathBuf,
    /// The same of a start without `--config`.
    usual_config: PathBuf,
    /// The package store and what packages keep: `$XDG_DATA_HOME/npxc`.
    pub data: PathBuf,
    /// Audit logs: `$XDG_STATE_HOME/npxc`.
    pub state: PathBuf,
    /// What can be made again: `$XDG_CACHE_HOME/npxc`.
    pub cache: PathBuf,
}

impl Directories {
    /// Reads them from an environment.
    ///
    /// # Errors
    /// `HOME` is missing or relative, or an XDG variable is set to a relative path (the specification says to
    /// ignore those; npxc would then read another configuration than the user meant).
    pub fn new(variable: impl Fn(&OsStr) -> Option<OsString>) -> Result<Self, ConfigError> {
        let read =
            |name: &str| variable(OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = read("HOME").ok_or_else(|| {
            ConfigError::surroundings(
                "HOME is not set, so npxc does not know where its configuration and its packages are",
                "set HOME to your home directory in the environment that starts npxc (the `env` of an MCP client)",
            )
        })?;
        let absolute = |name: &str, path: PathBuf| {
            if path.is_absolute() {
                return Ok(path);
            }
            Err(ConfigError::surroundings(
                format!("{name} is `{}`, which is not an absolute path", path.display()),
                format!("set {name} to a path that starts with `/`"),
            ))
        };
        let home = absolute("HOME", home)?;
        let base = |name: &str, default: &str| {
            let path = read(name).map_or_else(|| Ok(home.join(default)), |path| absolute(name, path))?;
            Ok::<_, ConfigError>(path.join("npxc"))
        };
        let config = base("XDG_CONFIG_HOME", ".config")?;
        Ok(Self {
            usual_config: config.clone(),
            config,
            data: base("XDG_DATA_HOME", ".local/share")?,
            state: base("XDG_STATE_HOME", ".local/state")?,
            cache: base("XDG_CACHE_HOME", ".cache")?,
            home,
        })
    }

    /// Audit logs, one file per session.
    pub fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// The key that signs logs.
    pub fn audit_key(&self) -> PathBuf {
        self.data.join("audit.key")
    }

    /// The sockets of running sessions: whoever reaches one changes what that session may.
    pub fn control(&self) -> PathBuf {
        self.state.join("control")
    }

    /// What packages wrote and could not be put where it belongs.
    pub fn kept(&self) -> PathBuf {
        self.state.join("kept")
    }

    /// Where sessions in containers keep their files: this user's, on this machine, with a short path. `runtime` is
    /// `XDG_RUNTIME_DIR`.
    pub fn sessions(&self, runtime: Option<&OsStr>) -> PathBuf {
        let runtime = runtime.map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
        runtime.map_or_else(|| self.state.join("run"), |path| path.join("npxc"))
    }

    /// The directories that a package must never be able to change: its own policy, its own code, its own log.
    pub fn own(&self) -> [&PathBuf; 5] {
        [&self.config, &self.usual_config, &self.data, &self.state, &self.cache]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Directories, ConfigError> {
        Directories::new(|name| pairs.iter().find(|(key, _)| name == *key).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_defaults_are_below_home() {
        let found = with(&[("HOME", "/home/me"), ("XDG_CACHE_HOME", "")]).unwrap();
        assert_eq!(found.config, PathBuf::from("/home/me/.config/npxc"));
        assert_eq!(found.data, PathBuf::from("/home/me/.local/share/npxc"));
        assert_eq!(found.audit(), PathBuf::from("/home/me/.local/state/npxc/audit"));
        assert_eq!(found.cache, PathBuf::from("/home/me/.cache/npxc"));
    }

    #[test]
    fn xdg_variables_win_and_relative_ones_are_refused() {
        let found = with(&[("HOME", "/home/me"), ("XDG_STATE_HOME", "/var/s")]).unwrap();
        assert_eq!(found.state, PathBuf::from("/var/s/npxc"));
        let error = with(&[("HOME", "/home/me"), ("XDG_DATA_HOME", "data")]).unwrap_err();
        assert_eq!(error.to_string(), "XDG_DATA_HOME is `data`, which is not an absolute path");
    }

    #[test]
    fn without_home_there_is_a_clear_word() {
        assert!(with(&[]).unwrap_err().to_string().starts_with("HOME is not set"));
        assert!(with(&[("HOME", "me")]).unwrap_err().to_string().contains("not an absolute path"));
    }
}
