//! The JSON Schemas of the two files, for editors: made of the types that the reader uses, so that they say the same.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::tables::{GlobalFile, PackageFile};

/// The schema of `packages/NAME.toml`.
pub fn package() -> Value {
    of::<PackageFile>()
}

/// The schema of `npxc.toml`.
pub fn global() -> Value {
    of::<GlobalFile>()
}

/// In draft 7, which every editor's TOML support knows.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft07().with_transform(WithoutNull).into_generator().into_root_schema_for::<T>().into()
}

/// TOML has no null: a key that need not be there is left out.
#[derive(Debug, Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        let null = Value::from("null");
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|one| *one != null);
            if let [only] = &types[..] {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(words)) = object.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
    }
}

#[cfg(test)]
mod tests;
