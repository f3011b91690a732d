//! Values of the files as they are written, with their place, and what the JSON Schema says of each kind.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::choices::{Addresses, Choice, LinkChoice, RuntimeChoice, Strategy};
use crate::policy::Mode;
use crate::runtime::Access;

/// Any text.
pub(super) type Text = Word<Anything>;
/// A rule.
pub(super) type RuleText = Word<OneRule>;
/// A network mode.
pub(super) type ModeWord = Word<Mode>;
/// `ro` or `rw`.
pub(super) type AccessWord = Word<Access>;
/// Which addresses names get.
pub(super) type AddressesWord = Word<Addresses>;
/// A runtime's name.
pub(super) type RuntimeWord = Word<RuntimeChoice>;
/// A link's name.
pub(super) type LinkWord = Word<LinkChoice>;
/// A way to find paths.
pub(super) type StrategyWord = Word<Strategy>;

/// A string that is to become a `K`; parsed by the reader, which knows the place of a mistake.
#[derive(Debug)]
pub(super) struct Word<K>(Spanned<String>, PhantomData<K>);

/// What the JSON Schema says of a string.
pub(super) trait Kind {
    fn schema() -> Schema;
}

#[derive(Debug)]
pub(super) enum Anything {}

#[derive(Debug)]
pub(super) enum OneRule {}

impl Kind for Anything {
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Kind for OneRule {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["api.example.com:443", "*.example.com", "@npm"] })
    }
}

impl<C: Choice> Kind for C {
    fn schema() -> Schema {
        let words: Vec<&str> = C::ALL.iter().map(|(word, _)| *word).collect();
        json_schema!({ "type": "string", "enum": words })
    }
}

impl<K> Word<K> {
    /// One that stood elsewhere, or as another kind of value.
    pub(super) fn new(text: Spanned<String>) -> Self {
        Self(text, PhantomData)
    }
}

impl<K> Deref for Word<K> {
    type Target = Spanned<String>;

    fn deref(&self) -> &Spanned<String> {
        &self.0
    }
}

impl<'de, K> Deserialize<'de> for Word<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self::new)
    }
}

impl<K> PartialEq for Word<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K> Eq for Word<K> {}

impl<K> PartialOrd for Word<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Word<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K: Kind> JsonSchema for Word<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<K>().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        K::schema()
    }
}

/// A number, or a number with a unit in quotes.
#[derive(Debug)]
pub(super) struct Amount(Spanned<Scalar>);

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a size such as \"2G\"")]
enum Scalar {
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Amount {
    /// As text.
    pub(super) fn text(&self) -> String {
        match self.0.get_ref() {
            Scalar::Integer(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        }
    }

    /// Where it starts, in bytes.
    pub(super) fn start(&self) -> usize {
        self.0.span().start
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"] })
    }
}
