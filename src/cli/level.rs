//! How much npxc says about its own work on stderr: `--log-level`, else npxc's variable.

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

use crate::config::variables::LOG_LEVEL;
use crate::config::{ConfigError, Fault};

/// The levels of `--log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Level {
    Off,
    Error,
    #[default]
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// The option's, else the one that [`LOG_LEVEL`] names.
    ///
    /// # Errors
    /// The variable names none.
    pub(super) fn chosen(option: Option<Self>) -> Result<Self, ConfigError> {
        if let Some(level) = option {
            return Ok(level);
        }
        let Some(text) = std::env::var_os(LOG_LEVEL).filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        let text = text.to_string_lossy();
        <Self as ValueEnum>::from_str(&text, false).map_err(|_| {
            let fault = Fault::new("expected one of off, error, warn, info, debug, trace");
            ConfigError::option(LOG_LEVEL, &text, fault)
        })
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}
