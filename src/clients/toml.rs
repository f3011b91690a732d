//! TOML as a tree with places, by the `toml` crate's own parser. Pure.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Fault, Kind, Value};

/// Reads a text.
///
/// # Errors
/// The first place where it is not TOML.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Fault::new(at, error.message().lines().collect::<Vec<_>>().join(", "))
    })?;
    Ok(Value { span: table.span(), kind: members(table.get_ref()) })
}

fn members(table: &DeTable<'_>) -> Kind {
    let mut members: Vec<(String, Value)> =
        table.iter().map(|(name, value)| (name.get_ref().to_string(), convert(value))).collect();
    members.sort_by_key(|(_, value)| value.span.start);
    Kind::Table(members)
}

fn convert(value: &Spanned<DeValue<'_>>) -> Value {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Array(items) => Kind::List(items.iter().map(convert).collect()),
        DeValue::Table(table) => members(table),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => Kind::Other,
    };
    Value { span: value.span(), kind }
}
