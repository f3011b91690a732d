//! What a tool's input schema says about its arguments.
//!
//! Data comes from the server, in the result of `tools/list`; it is untrusted, so the walk is bounded in depth and in
//! places visited. A wrong schema can make npxc look for a path that the client named; it names none itself.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::sign::{self, Sign};

/// Levels of a schema that are followed; references count.
const MOST_LEVELS: usize = 24;
/// Subschemas that are visited in one tool's schema.
const MOST_VISITS: usize = 4096;
/// Path arguments of one tool; real ones have a handful. A schema that refers to itself has thousands of ways to each.
const MOST_SIGNS: usize = 64;
/// Longest name of an argument, bytes: a schema that refers to itself repeats it at every level.
const MOST_NAME: usize = 256;
/// The key that stands for every key (`additionalProperties`).
const ANY_KEY: &str = "*";

/// Which arguments of one tool are paths, by the keys that lead to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolSchema {
    signs: HashMap<Vec<String>, Sign>,
    remote: bool,
}

impl ToolSchema {
    /// Reads an `inputSchema`.
    pub fn read(schema: &Value) -> Self {
        let mut out = Self::default();
        let remote =
            schema["properties"].as_object().is_some_and(|all| all.keys().any(|name| sign::is_remote(name)));
        if remote {
            out.remote = true;
            return out;
        }
        // Breadth first: arguments at the top are known whatever a schema that holds itself does below.
        let mut queue = VecDeque::from([Part { schema, keys: Vec::new(), level: 0 }]);
        let mut queued = 1;
        while let Some(part) = queue.pop_front() {
            out.note(&part);
            if part.level < MOST_LEVELS && queued < MOST_VISITS {
                let before = queue.len();
                queue.extend(part.below(schema).into_iter().take(MOST_VISITS - queued));
                queued += queue.len() - before;
            }
        }
        out
    }

    /// Reads the arguments of a prompt, all of which are strings.
    pub fn of_prompt(arguments: &Value) -> Self {
        let mut out = Self::default();
        for argument in arguments.as_array().into_iter().flatten().take(MOST_VISITS) {
            let description = argument["description"].as_str().unwrap_or_default();
            let Some(name) = argument["name"].as_str().filter(|name| name.len() <= MOST_NAME) else {
                continue;
            };
            if out.signs.len() < MOST_SIGNS
                && let Some(sign) = sign::of(name, None, description)
            {
                out.signs.insert(vec![name.to_owned()], sign);
            }
        }
        out
    }

    /// Whether its tool works on the files of another machine, as far as its arguments' names say.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// The arguments that are paths, by the keys that lead to them, and why.
    pub fn signs(&self) -> impl Iterator<Item = (&[String], Sign)> {
        self.signs.iter().map(|(keys, sign)| (&**keys, *sign))
    }

    fn note(&mut self, part: &Part<'_>) {
        let Some(name) = part.keys.last().filter(|_| takes_strings(part.schema)) else { return };
        let format = part.schema["format"].as_str();
        let description = part.schema["description"].as_str().unwrap_or_default();
        if self.signs.len() >= MOST_SIGNS {
            return;
        }
        if let Some(sign) = sign::of(name, format, description) {
            self.signs.entry(part.keys.clone()).or_insert(sign);
        }
    }

    /// Why the argument below `keys` is a path, if it is one.
    pub fn sign(&self, keys: &[&str]) -> Option<Sign> {
        self.signs.iter().find_map(|(known, sign)| {
            let fits = known.len() == keys.len()
                && known.iter().zip(keys).all(|(known, key)| known == key || known == ANY_KEY);
            fits.then_some(*sign)
        })
    }
}

/// A part of a schema, and the arguments that it is about.
struct Part<'a> {
    schema: &'a Value,
    keys: Vec<String>,
    level: usize,
}

impl<'a> Part<'a> {
    /// The parts of it.
    fn below(&self, root: &'a Value) -> Vec<Self> {
        let mut out = Vec::new();
        let mut part = |schema: &'a Value, key: Option<&str>| {
            let mut keys = self.keys.clone();
            keys.extend(key.map(str::to_owned));
            out.push(Self { schema, keys, level: self.level + 1 });
        };
        let schema = self.schema;
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            if name.len() <= MOST_NAME {
                part(below, Some(name));
            }
        }
        if schema["additionalProperties"].is_object() {
            part(&schema["additionalProperties"], Some(ANY_KEY));
        }
        // The same argument, seen from another side.
        if schema["items"].is_object() {
            part(&schema["items"], None);
        }
        for word in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            schema[word].as_array().into_iter().flatten().for_each(|schema| part(schema, None));
        }
        let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        if let Some(found) = reference.and_then(|pointer| root.pointer(pointer)) {
            part(found, None);
        }
        out
    }
}

/// Whether a value may be a string as far as this part of the schema says, and is not one of a list.
fn takes_strings(schema: &Value) -> bool {
    let string = match &schema["type"] {
        Value::String(kind) => kind == "string",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    };
    string && schema["enum"].is_null() && schema["const"].is_null()
}
