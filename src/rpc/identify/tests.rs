#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn reason(schema: &serde_json::Value, keys: &[&str], value: &str) -> Option<Reason> {
    let schema = ToolSchema::read(schema);
    identify(&Configured::default(), Some(&schema), "tool", keys, value).map(|named| named.reason)
}

#[test]
fn schemas_name_paths() {
    let schema = json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "outputPath": {"type": "string"},
            "paths": {"type": "array", "items": {"type": "string"}},
            "input": {"type": "string", "description": "Absolute path to the file"},
            "where": {"type": "string", "format": "file-path"},
            "sources": {"type": "array", "items": {"type": "object", "properties": {
                "path": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "url": {"type": "string"}}}},
            "named": {"type": "object", "additionalProperties": {"$ref": "#/$defs/File"}},
            "route": {"type": "string"},
            "pattern": {"type": "string", "description": "glob"},
            "query_path": {"type": "string", "description": "JSON path of the value"},
            "mode_file": {"type": "string", "enum": ["a", "b"]},
        },
        "$defs": {"File": {"type": "object", "properties": {"file": {"type": "string"}}}},
    });
    let name = Some(Reason::Schema(Sign::Name));
    for keys in [&["path"][..], &["outputPath"], &["paths"], &["sources", "path"], &["named", "x", "file"]] {
        assert_eq!(reason(&schema, keys, "report.pdf"), name, "{keys:?}");
    }
    assert_eq!(reason(&schema, &["input"], "x"), Some(Reason::Schema(Sign::Description)));
    assert_eq!(reason(&schema, &["where"], "x"), Some(Reason::Schema(Sign::Format)));
    for keys in
        [&["sources", "url"][..], &["route"], &["pattern"], &["query_path"], &["mode_file"], &["other"]]
    {
        assert_eq!(reason(&schema, keys, "report.pdf"), None, "{keys:?}");
    }
    let remote = json!({"properties": {"owner": {"type": "string"}, "path": {"type": "string"}}});
    assert_eq!(reason(&remote, &["path"], "README.md"), None);
}

#[test]
fn a_hostile_schema_ends() {
    let looped = json!({"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "path": {"type": "string"}}});
    let wide: serde_json::Map<_, _> = (0..10_000).map(|n| (format!("a{n}"), json!({"$ref": "#"}))).collect();
    ToolSchema::read(&json!({"properties": wide}));
    assert!(ToolSchema::read(&looped).sign(&["path"]).is_some());
    // Every level names a path once more.
    let name = format!("{}_path", "n".repeat(100));
    let paths = json!({"type": ["object", "string"], "properties":
        {"path": {"$ref": "#"}, "file": {"$ref": "#"}, name: {"$ref": "#"}, "long".repeat(1000) + "_path": {"$ref": "#"}}});
    let schema = ToolSchema::read(&paths);
    assert!(schema.signs().count() <= 64 && schema.sign(&["path"]).is_some());
    assert!(schema.signs().flat_map(|(keys, _)| keys).all(|key| key.len() < 300));
}

#[test]
fn values_are_judged_by_their_shape() {
    let nothing = json!({});
    for value in ["/home/me/a.txt", "~/notes", "./x", "../x/y", "file:///a/b%20c", "/a b/c d.txt"] {
        assert_eq!(reason(&nothing, &["input"], value), Some(Reason::Shape), "{value}");
    }
    for value in [
        "",
        "a.txt",
        "src/main.rs",
        "/help",
        "/",
        "//server/share",
        "// a comment",
        "https://example.com/a/b",
        "/src/**/*.rs",
        "a\n/b/c",
        "SELECT 1",
        "data:text/plain,a",
        "file://host/a",
        "file:///a?b",
        "file:///%ff/a",
    ] {
        assert_eq!(reason(&nothing, &["input"], value), None, "{value}");
    }
    let read = shape::read("file:///a/b%20%C3%A9").unwrap();
    assert_eq!((read.path.as_str(), read.uri), ("/a/b \u{e9}", true));
}

#[test]
fn the_configuration_wins() {
    let list = |tool: &str, names: &[&str]| {
        Arguments::from([(tool.to_owned(), names.iter().map(ToString::to_string).collect())])
    };
    let configured = Configured {
        paths: list("*", &["doc", "a.b"]),
        others: list("tool", &["path", "text"]),
        ..Configured::default()
    };
    let schema = ToolSchema::read(&json!({"properties": {"path": {"type": "string"}}}));
    let found = |tool: &str, keys: &[&str], value: &str| {
        identify(&configured, Some(&schema), tool, keys, value).map(|named| named.reason)
    };
    assert_eq!(found("tool", &["doc"], "x"), Some(Reason::Configured));
    assert_eq!(found("tool", &["a", "b"], "x"), Some(Reason::Configured));
    assert_eq!(found("tool", &["b"], "x"), None);
    assert_eq!(found("tool", &["path"], "/a/b"), None);
    assert_eq!(found("tool", &["text"], "/a/b"), None);
    assert_eq!(found("other", &["path"], "/a/b"), Some(Reason::Schema(Sign::Name)));
}

#[test]
fn names_say_which_files_a_tool_makes() {
    let schema = json!({"properties": {"path": {"type": "string"}, "outputFile": {"type": "string"}}});
    let schema = ToolSchema::read(&schema);
    let makes = |tool: &str, key: &str| {
        identify(&Configured::default(), Some(&schema), tool, &[key], "x.txt").unwrap().makes
    };
    for (tool, key) in [
        ("write_file", "path"),
        ("excel_create_table", "path"),
        ("saveAs", "path"),
        ("export-data", "path"),
        ("convert", "outputFile"),
    ] {
        assert!(makes(tool, key), "{tool} {key}");
    }
    for tool in ["read_file", "browser_take_screenshot", "rewrite", "get_created", "list"] {
        assert!(!makes(tool, "path"), "{tool}");
    }
}

proptest! {
    #[test]
    fn uris_come_back(path in "/[a-z %#?\u{e9}\u{1f980}/]{0,20}") {
        let uri = format!("file://{}", shape::percent_encode(&path));
        prop_assert_eq!(shape::read(&uri).unwrap().path, path);
    }
}
