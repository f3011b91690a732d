#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Map;

use super::*;
use crate::config::{former, schema};

/// The schema that is shipped is the one that the types have. After a change:
/// `npxc config schema >docs/schema/package.json`, `npxc config schema --global >docs/schema/npxc.json`.
#[test]
fn what_is_shipped_is_what_the_types_say() {
    for (shipped, made) in [
        (include_str!("../../../docs/schema/package.json"), package()),
        (include_str!("../../../docs/schema/npxc.json"), global()),
    ] {
        assert_eq!(shipped, format!("{made:#}\n"));
    }
}

/// One table of a file: the keys that lead there, and its part of the schema.
struct Table<'a> {
    path: Vec<&'a str>,
    properties: &'a Map<String, Value>,
}

impl Table<'_> {
    /// A file in which `line` stands in this table.
    fn file(&self, line: &str) -> String {
        let mut value = format!("{{ {line} }}");
        for key in self.path.iter().rev() {
            value = match *key {
                "[]" => format!("[{value}]"),
                key => format!("{{ {key} = {value} }}"),
            };
        }
        let inner = value.strip_prefix('{').and_then(|value| value.strip_suffix('}')).unwrap().trim();
        format!("{inner}\n")
    }
}

fn followed<'a>(root: &'a Value, mut part: &'a Value) -> &'a Value {
    while let Some(name) = part.get("$ref").and_then(Value::as_str) {
        part = &root["definitions"][name.rsplit('/').next().unwrap()];
    }
    part
}

/// A key's own schema: a reference may stand in `allOf` beside a description.
fn branches<'a>(root: &'a Value, part: &'a Value) -> Vec<&'a Value> {
    let part = followed(root, part);
    let several = ["allOf", "anyOf"].iter().filter_map(|key| part[*key].as_array()).flatten();
    let mut all: Vec<&Value> = several.flat_map(|part| branches(root, part)).collect();
    all.push(part);
    all
}

fn tables<'a>(root: &'a Value, part: &'a Value, path: &[&'a str]) -> Vec<Table<'a>> {
    let mut all = Vec::new();
    for part in branches(root, part) {
        if let Some(properties) = part["properties"].as_object() {
            assert_eq!(part["additionalProperties"], Value::Bool(false), "{path:?}");
            all.push(Table { path: path.to_vec(), properties });
            for (key, part) in properties {
                all.extend(tables(root, part, &[path, &[key]].concat()));
            }
        } else if part["items"].is_object() {
            all.extend(tables(root, &part["items"], &[path, &["[]"]].concat()));
        }
    }
    all
}

/// Both files' schema, with how it is read.
type Read = fn(&str) -> Result<(), String>;
fn both() -> [(Value, Read); 2] {
    [
        (package(), |text| toml::from_str::<PackageFile>(text).map(drop).map_err(|e| e.message().to_owned())),
        (global(), |text| toml::from_str::<GlobalFile>(text).map(drop).map_err(|e| e.message().to_owned())),
    ]
}

#[test]
fn every_key_that_is_taken_is_in_the_schema_and_every_one_there_is_taken() {
    for (root, read) in both() {
        let tables = tables(&root, &root, &[]);
        assert!(tables.len() >= 8, "{}", tables.len());
        for table in tables {
            let message = read(&table.file("no_such_key = 1")).unwrap_err();
            let words = message.strip_prefix("unknown field `no_such_key`, expected ");
            let words = words.unwrap_or_else(|| panic!("{:?}: {message}", table.path));
            let taken: BTreeSet<&str> = words.split('`').skip(1).step_by(2).collect();
            let written: BTreeSet<&str> = table.properties.keys().map(String::as_str).collect();
            assert_eq!(taken, written, "{:?}", table.path);
        }
    }
}

#[test]
fn the_words_of_the_schema_are_those_that_are_taken() {
    let mut seen = 0;
    let root = package();
    for table in tables(&root, &root, &[]) {
        for (key, part) in table.properties {
            let listed = part["items"]["enum"].is_array();
            let words = if listed { &part["items"]["enum"] } else { &part["enum"] };
            let Some(words) = words.as_array() else { continue };
            seen += 1;
            let with = |word: &str| {
                let value = if listed { format!("[\"{word}\"]") } else { format!("\"{word}\"") };
                let rest = if table.path.contains(&"mounts") { "host = \"/x\", " } else { "" };
                schema::package(Path::new("x.toml"), &table.file(&format!("{rest}{key} = {value}"))).map(drop)
            };
            for word in words {
                with(word.as_str().unwrap()).unwrap();
            }
            assert!(with("no-such-word").unwrap_err().to_string().contains("expected one of"), "{key}");
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn what_is_of_npxc_0_3_is_marked_and_in_no_hint() {
    let root = global();
    let mut marked = 0;
    for table in tables(&root, &root, &[]) {
        let keys: Vec<&str> = table.properties.keys().map(String::as_str).collect();
        for (key, part) in table.properties {
            assert_eq!(former::is_former(key, &keys), part["deprecated"] == true, "{:?} {key}", table.path);
            marked += usize::from(part["deprecated"] == true);
        }
    }
    // Those of [paths] stand in two places.
    let all: usize = former::KEYS.iter().map(|(_, keys)| keys.len()).sum();
    assert_eq!(marked, all + 3);
}

#[test]
fn every_key_has_a_description() {
    for (root, _) in both() {
        for table in tables(&root, &root, &[]) {
            for (key, part) in table.properties {
                assert!(part["description"].is_string(), "{:?} {key}", table.path);
            }
        }
    }
    assert!(!package().to_string().contains("null"), "TOML has no null");
}
