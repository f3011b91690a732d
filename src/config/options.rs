//! Values of options and variables: text that becomes a value, or a complaint that names the option or variable. Pure.

use super::error::{ConfigError, Fault};
use super::values;
use crate::policy::Rule;

/// Lists of rules, each separated by commas.
pub fn rules(option: &str, texts: &[String]) -> Result<Vec<Rule>, ConfigError> {
    let lists = all(option, texts, values::rules)?;
    Ok(lists.into_iter().flatten().collect())
}

/// Each of them.
pub fn all<T>(
    option: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Result<Vec<T>, ConfigError> {
    texts.iter().map(|text| parse(text).map_err(|fault| ConfigError::option(option, text, fault))).collect()
}

/// The one, if there is one.
pub fn one<T>(
    option: &str,
    text: Option<&String>,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Result<Option<T>, ConfigError> {
    text.map(|text| parse(text).map_err(|fault| ConfigError::option(option, text, fault))).transpose()
}
