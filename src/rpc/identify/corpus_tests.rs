#![allow(clippy::unwrap_used)]
//! Real-looking arguments: what is taken for a path with nothing but the value to go by, and with a schema.

use serde_json::json;

use super::*;

fn by_shape(value: &str) -> bool {
    identify(&Configured::default(), None, "tool", &["value"], value).is_some()
}

/// Paths of a machine, whatever the argument is called.
const PATHS: [&str; 32] = [
    "/home/me/report.pdf",
    "/home/me/my documents/a b.txt",
    "/Users/me/Desktop/notes.md",
    "/var/log/syslog",
    "/srv/www/index.html",
    "/home/me/",
    "/home/me/.env",
    "/home/me/.config/app/settings.json",
    "/home/me/app/[id]/page.tsx",
    "/home/me/app/(group)/layout.tsx",
    "/home/me/routes/$lang.tsx",
    "/home/me/a\\b",
    "/home/me/templates/{{name}}.tmpl",
    "/home/me/what?.txt",
    "/home/me/r\u{e9}sum\u{e9}.docx",
    "/home/me/\u{6587}\u{4ef6}.txt",
    "/home/me/a,b;c.txt",
    "/home/me/100%.txt",
    "/home/me/#1.txt",
    "/home/me/a=b.txt",
    "/home/me/a:b.txt",
    "/home/me/../you/x",
    "/mnt/c/Users/me/x.txt",
    "~/notes.md",
    "~/Documents/a b.pdf",
    "./x.txt",
    "./src/main.rs",
    "../sibling/file.c",
    "../../x",
    "file:///home/me/a%20b.txt",
    "file://localhost/home/me/a.txt",
    "file:///C:/Users/me/a.txt",
];

/// None, as far as the value goes.
const OTHERS: [&str; 124] = [
    // URLs and other URIs
    "https://example.com/a/b",
    "http://localhost:3000/home/me",
    "https://example.com/?path=/home/me/x",
    "ftp://example.com/pub/x",
    "s3://bucket/key/a.txt",
    "gs://bucket/a",
    "git@example.com:owner/repo.git",
    "ssh://git@example.com/owner/repo.git",
    "git+https://example.com/a/b.git",
    "postgresql://user@db.example.com:5432/app",
    "sqlite:///home/me/a.db",
    "redis://localhost:6379/0",
    "mongodb+srv://example.com/app",
    "data:text/plain;base64,SGVsbG8=",
    "mailto:me@example.com",
    "memo://insights",
    "test://static/resource/1",
    "screen://localhost/display1",
    "urn:isbn:0451450523",
    "jdbc:mysql://localhost/app",
    "vscode://file/home/me/a",
    "about:blank",
    "file://server/share/a.txt",
    "file:///a?b=c",
    "//cdn.example.com/lib.js",
    "example.com/a/b",
    "www.example.com",
    // globs
    "**/*.ts",
    "*.md",
    "/home/me/**/*.rs",
    "src/*.test.js",
    "./src/**",
    "!/node_modules/**",
    "~/x/*",
    // regular expressions and the like
    "^/api/v[0-9]+/.*$",
    "/^[a-z]+$/i",
    "/^foo/bar/",
    "\\d+/\\d+",
    "(foo|bar)/baz",
    "s/foo/bar/g",
    "[/\\\\]",
    "TODO|FIXME",
    // code
    "import x from './a'",
    "const a = 1 / 2 / 3;",
    "// comment /home/me",
    "/* comment */",
    "# comment about /home/me/x",
    "</div>",
    "<a href=\"/home/me\">",
    "{\"path\": \"/home/me\"}",
    "[\"/home/me/a\"]",
    "fn main() { println!(\"/a/b\") }",
    "require('/home/me/a')",
    "SELECT a/b FROM t",
    "SELECT * FROM t WHERE path = '/home/me/x'",
    "INSERT INTO t VALUES ('/a/b')",
    "DROP TABLE users;",
    "a / b",
    "1/2",
    "x = y // z",
    "$.store.book[0].title",
    "//book/title",
    "#/definitions/User",
    "#/components/schemas/A",
    "user.profile.path",
    "body > div.main",
    "rgba(0, 0, 0, 0.5)",
    // prose
    "see /home/me/a for details",
    "and/or",
    "Read the file /home/me/notes.txt, please.",
    "What is in my home directory?",
    "either/or, neither/nor",
    "Hello.\n/home/me/x",
    "24/7 support",
    "km/h",
    "TCP/IP",
    "n/a",
    "w/o",
    "",
    " ",
    "/",
    "//",
    "/help",
    "/start",
    "/ path with a space first",
    // git
    "origin/main",
    "refs/heads/main",
    "feature/add-path-support",
    "HEAD~1",
    "HEAD^",
    "main..feature/x",
    "v1.2.3",
    "owner/repo",
    "owner/repo#123",
    "a1b2c3d4",
    // mime types, packages, images
    "text/plain",
    "application/json; charset=utf-8",
    "image/svg+xml",
    "@scope/package",
    "@scope/package@1.2.3",
    "library/node:22-slim",
    "registry.example.com/team/image:tag",
    // API routes
    "/users/:id",
    "/repos/:owner/:repo/issues",
    "/search?q=path/to",
    "/v1/items?limit=10&offset=20",
    "GET /api/users",
    "api/v1/users",
    // cron, dates, numbers
    "*/5 * * * *",
    "0 0 1 1/2 *",
    "2026/11/23",
    "11/23/2026",
    "2026-11-23T10:00:00+01:00",
    "Europe/Berlin",
    "America/Argentina/Buenos_Aires",
    "192.168.0.0/16",
    "2001:db8::/32",
    "10:30",
    // another system's
    "C:\\Users\\me\\a.txt",
    "C:/Users/me/a.txt",
    "\\\\server\\share\\a.txt",
    "%APPDATA%\\x",
    "--output=/home/me/x",
    "-I/usr/include/x",
];

/// They look like paths and are perhaps none: nobody is refused for them where nothing is there.
const PERHAPS: [&str; 8] = [
    "/api/v1/users",
    "/repos/owner/repo",
    "/users/{id}/posts",
    "/9j/4AAQSkZJRgABAQ",
    "/blog/2026/hello-world",
    "./utils",
    "/dev/null",
    "/regex/g",
];

#[test]
fn values_alone() {
    for value in PATHS.into_iter().chain(PERHAPS) {
        assert!(by_shape(value), "{value}");
    }
    for value in OTHERS {
        assert!(!by_shape(value), "{value}");
    }
}

#[test]
fn only_the_first_of_the_strategies_that_find_it_is_named() {
    let schema = ToolSchema::read(&json!({"properties": {"path": {"type": "string"}}}));
    let reason = |strategies| {
        let paths = Arguments::from([("*".to_owned(), vec!["path".to_owned()])]);
        let configured = Configured { paths, strategies, ..Configured::default() };
        identify(&configured, Some(&schema), "t", &["path"], "/home/me").map(|named| named.reason)
    };
    let all = Strategies::default();
    assert_eq!(reason(all), Some(Reason::Configured));
    assert_eq!(reason(Strategies { config: false, ..all }), Some(Reason::Schema(Sign::Name)));
    assert_eq!(reason(Strategies { config: false, schema: false, ..all }), Some(Reason::Shape));
    assert_eq!(reason(Strategies { config: false, schema: false, heuristic: false }), None);
}

/// Whether the schema of an argument makes it one of paths: name, rest of its schema, expected.
/// What a server stores as it is must not come to hold the guest's paths.
#[test]
fn content_is_not_judged_by_its_looks() {
    let schema = ToolSchema::read(&json!({"properties": {"content": {"type": "string"}}}));
    for keys in [&["content"][..], &["edits", "newText"], &["entities", "observations"], &["commit_message"]]
    {
        for value in ["/home/me/notes.txt", "./notes.txt", "file:///home/me/notes.txt"] {
            let found = explain(&Configured::default(), Some(&schema), "tool", keys, value);
            assert_eq!(found, Err(Other::Content), "{keys:?}");
        }
    }
    // Somebody has said so.
    let said = Configured {
        paths: Arguments::from([("*".to_owned(), vec!["content".to_owned()])]),
        ..Configured::default()
    };
    assert!(identify(&said, Some(&schema), "tool", &["content"], "/home/me/notes.txt").is_some());
    // Not what stands in it.
    assert!(identify(&Configured::default(), None, "tool", &["content", "file"], "/home/me/a.txt").is_some());
}

#[test]
fn names_and_descriptions_of_real_servers() {
    let string = json!({"type": "string"});
    let described = |text: &str| json!({"type": "string", "description": text});
    for (name, schema, expected) in [
        ("path", string.clone(), true),
        ("file_path", string.clone(), true),
        ("filePath", string.clone(), true),
        ("inputFile", string.clone(), true),
        ("output_dir", string.clone(), true),
        ("workingDirectory", string.clone(), true),
        ("cwd", string.clone(), true),
        ("source", described("Absolute path to the source"), true),
        ("image", described("Path to the image, relative or absolute"), true),
        ("target", json!({"type": "string", "format": "path"}), true),
        ("maybe_path", json!({"type": ["string", "null"]}), true),
        ("filename", described("Name of the file to save the screenshot to"), true),
        ("repo_path", described("Path to Git repository"), true),
        ("url", string.clone(), false),
        ("query", string.clone(), false),
        ("pattern", string.clone(), false),
        ("name", string.clone(), false),
        ("branch", string.clone(), false),
        ("content", described("The content to write to the file"), false),
        ("json_path", described("JSONPath expression"), false),
        ("api_path", described("API path, such as the endpoint"), false),
        ("path_pattern", string.clone(), false),
        ("date_path", json!({"type": "string", "format": "date"}), false),
        ("kind_of_file", json!({"type": "string", "enum": ["csv", "json"]}), false),
        ("path_count", json!({"type": "integer"}), false),
        ("path", json!({"type": "number"}), false),
        ("profile", string.clone(), false),
        ("psychopath", string, false),
    ] {
        let schema = ToolSchema::read(&json!({"type": "object", "properties": {name: schema}}));
        assert_eq!(schema.sign(&[name]).is_some(), expected, "{name}");
    }
}
