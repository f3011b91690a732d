#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::file::{self, FileError};
use super::places::{CLIENTS, Surroundings, places, unknown};
use super::servers::{Start, find};
use super::value::{Fault, Kind, Value};
use super::{diff, json, record, toml};
use crate::rpc::json::Splice;

fn fault(name: &str, text: &str) -> String {
    let place = unknown(PathBuf::from(name));
    let Err(Fault { at, what }) = find(&place, text) else { panic!("{text:?} is taken") };
    let (line, column) = Fault::new(at, "").place(text.as_bytes());
    format!("{line}:{column}: {what}")
}

#[test]
fn what_does_not_parse_is_said_with_its_place() {
    for (text, expected) in [
        ("[]", "1:1: expected an object with servers in it"),
        ("{\"a\": 1", "1:1: this is not closed by `}`"),
        ("{\n  \"a\": [1, 2\n", "2:8: this is not closed by `]`"),
        ("{\"é\": nope}", "1:7: expected a value"),
        ("\u{feff}{\"a\" 1}", "1:6: expected `:` behind the name"),
        ("{\"a\": \"x\ny\"}", "1:7: this string does not end on its line"),
        ("{\"a\": \"x\\", "1:7: this string does not end on its line"),
        ("{'a': 1}", "1:2: expected a name in quotes, or `}`"),
        ("{\"a\": 1,, \"b\": 2}", "1:9: expected a name in quotes, or `}`"),
        ("{\"a\": 1 \"b\": 2}", "1:9: expected `,` or `}`"),
        ("{\"a\": [1 2]}", "1:10: expected `,` or `]`"),
        ("{} {}", "1:4: something stands behind the outermost value"),
        ("{} /* x", "1:4: this comment does not end"),
        ("{\"a\":", "1:6: the file ends where a value is expected"),
        ("{\"mcpServers\": []}", "1:16: `mcpServers` is not a table of servers"),
        ("{\n\"mcpServers\": \"npx\"}", "2:15: `mcpServers` is not a table of servers"),
    ] {
        assert_eq!(fault("mcp.json", text), expected, "{text:?}");
    }
    assert!(fault("a.toml", "a = 1\nb = \"x\n").starts_with("2:"), "{}", fault("a.toml", "a = 1\nb = \"x\n"));
    assert_eq!(fault("a.toml", "mcp_servers = 3"), "1:15: `mcp_servers` is not a table of servers");
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(fault("a.json", &deep), "1:135: this is nested deeper than any configuration");
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(fault("a.toml", &deep).contains("recursion"), "{}", fault("a.toml", &deep));
}

#[test]
fn odd_files_are_read() {
    for text in [
        "",
        " \n",
        "// nothing\n",
        "\u{feff}",
        "{}",
        "{,}".get(..0).unwrap(),
        "{\"mcp\": true, \"projects\": {\"a\": 1}}",
    ] {
        assert_eq!(find(&unknown("a.json".into()), text).unwrap(), [], "{text:?}");
    }
    let text = "\u{feff}# é\r\n[mcp_servers.x]\r\ncommand = 'npx'\r\nargs = [ \"-y\" ]";
    let servers = find(&unknown("a.toml".into()), text).unwrap();
    let Start::Program(program) = &servers[0].start else { panic!("{servers:?}") };
    assert_eq!(
        (&text[program.command.span.clone()], &text[program.args[0].span.clone()]),
        ("'npx'", "\"-y\"")
    );
    let large = format!(
        "{{\"a\": [{}], \"mcpServers\": {{\"x\": {{\"command\": \"npx\"}}}}}}",
        "\"\\ud83d\", ".repeat(100_000)
    );
    assert!(large.len() > 1_000_000);
    let servers = find(&unknown("a.json".into()), &large).unwrap();
    assert!(matches!(&servers[0].start, Start::Program(program) if program.command.text == "npx"));
}

#[test]
fn the_last_of_two_names_counts_in_every_level() {
    let text = r#"{"mcpServers": {"old": {"command": "a"}}, "mcpServers": {"x": {"command": "b"}, "x": {"command": "c", "command": "d"}}}"#;
    let servers = find(&unknown("a.json".into()), text).unwrap();
    let [one] = servers.as_slice() else { panic!("{servers:?}") };
    assert!(one.twice && matches!(&one.start, Start::Program(program) if program.command.text == "d"));
}

#[test]
fn every_variable_that_a_client_sets_is_known() {
    let text = r#"{"mcpServers": {"x": {"command": "npx", "env": {"A": "1", "B": 2, "C": null, "D": true, "A": "3"}, "env_vars": ["E", {"name": "F"}, "B"]}}}"#;
    let servers = find(&unknown("a.json".into()), text).unwrap();
    let Start::Program(program) = &servers[0].start else { panic!("{servers:?}") };
    let names: Vec<_> = program.env.iter().map(|one| (one.name.as_str(), one.handed)).collect();
    assert_eq!(names, [("B", false), ("D", false), ("A", false), ("E", true), ("F", true)]);
    assert_eq!(program.env[2].value.as_ref().unwrap().0, "3");
    assert!(!format!("{program:?}").contains("\"3\""), "a value is no word for a log");
}

#[test]
fn a_file_of_nobodys_may_have_other_things_under_these_names() {
    let text = r#"{"servers": [1], "mcpServers": {"x": {"command": "npx"}}}"#;
    assert_eq!(find(&unknown("a.json".into()), text).unwrap().len(), 1);
    assert_eq!(fault("a.json", r#"{"servers": [1]}"#), "1:13: `servers` is not a table of servers");
    // Many names are no reason to take long.
    let many: Vec<String> = (0..50_000).map(|number| format!("\"s{number}\": {{}}")).collect();
    let text = format!("{{\"mcpServers\": {{{}}}}}", many.join(","));
    assert_eq!(find(&unknown("a.json".into()), &text).unwrap().len(), 50_000);
}

#[test]
fn the_places_follow_the_surroundings() {
    let variable = |name: &str| (name == "CODEX_HOME").then(|| PathBuf::from("/opt/codex"));
    let (home, config, cwd) = (Path::new("/home/me"), Path::new("/home/me/c"), Path::new("/home/me"));
    let found = |mac| -> Vec<String> {
        let all = places(&Surroundings { home, config, cwd, mac, variable: &variable });
        all.into_iter().map(|place| place.path.display().to_string()).collect()
    };
    let (linux, mac) = (found(false), found(true));
    for (path, on_linux, on_mac) in [
        ("/home/me/c/Claude/claude_desktop_config.json", true, false),
        ("/home/me/Library/Application Support/Claude/claude_desktop_config.json", false, true),
        ("/home/me/c/Code/User/mcp.json", true, false),
        ("/home/me/Library/Application Support/Code/User/profiles/*/mcp.json", false, true),
        ("/home/me/c/zed/settings.json", true, false),
        ("/home/me/.config/zed/settings.json", false, true),
        ("/home/me/.claude.json", true, true),
        ("/opt/codex/config.toml", true, true),
        ("/home/me/.gemini/settings.json", true, true),
        ("/home/me/.codeium/windsurf/mcp_config.json", true, true),
    ] {
        assert_eq!(
            (linux.iter().any(|one| one == path), mac.iter().any(|one| one == path)),
            (on_linux, on_mac),
            "{path}"
        );
    }
    // The project is the home directory here: that file is named once.
    assert_eq!(linux.iter().filter(|path| *path == "/home/me/.cursor/mcp.json").count(), 1);
    let all = places(&Surroundings { home, config, cwd: Path::new("/p"), mac: false, variable: &variable });
    assert!(CLIENTS.iter().all(|client| all.iter().any(|place| place.client == Some(*client))));
}

#[test]
fn a_file_is_replaced_whole_with_its_mode_through_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real.json"), directory.path().join("link.json"));
    fs::write(&real, "{}").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.json", &link).unwrap();
    let original = file::read(&link).unwrap();
    let data = tempfile::tempdir().unwrap();
    let copies = record::copies(data.path(), &original.path);
    let (one, two) = (original.back_up(&copies).unwrap(), original.back_up(&copies).unwrap());
    assert_eq!((&one, &two), (&copies.join("real.json"), &copies.join("real.json-2")));
    original.replace("{\"a\": 1}").unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "{\"a\": 1}");
    for (path, mode) in [(&real, 0o640), (&one, 0o600), (&copies, 0o700)] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, mode, "{}", path.display());
    }
    assert_eq!(fs::read_to_string(&one).unwrap(), "{}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    // A file that its owner made read-only is not replaced behind its back (root may write everything).
    fs::set_permissions(&real, fs::Permissions::from_mode(0o440)).unwrap();
    let read_only = file::read(&link).unwrap().replace("{\"a\": 2}");
    assert!(rustix::process::geteuid().is_root() || matches!(read_only, Err(FileError::Io { .. })));
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    // What was read first is not there any more.
    assert!(matches!(original.replace("{}"), Err(FileError::Changed(_))));
    let original = file::read(&link).unwrap();
    fs::write(&real, "{ }").unwrap();
    assert!(matches!(original.replace("{}"), Err(FileError::Changed(_))));
    assert_eq!(fs::read_to_string(&real).unwrap(), "{ }");
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("bytes"), b"{\n \"a\": \"\xff\"}").unwrap();
    let said = file::read(&at("bytes")).unwrap_err().to_string();
    assert!(said.ends_with("bytes:2:8: this is not UTF-8"), "{said}");
    assert!(file::read(directory.path()).unwrap_err().to_string().ends_with("is a directory"));
    assert!(file::read(Path::new("/dev/null")).unwrap_err().to_string().ends_with("is no regular file"));
    fs::File::create(at("large")).unwrap().set_len(17 << 20).unwrap();
    assert!(file::read(&at("large")).unwrap_err().to_string().contains("larger than any"));
    assert!(file::is_missing(&file::read(&at("none")).unwrap_err()));
    assert!(file::is_missing(&file::read(&at("bytes").join("none")).unwrap_err()));
    std::os::unix::fs::symlink("loop", at("loop")).unwrap();
    assert!(!file::is_missing(&file::read(&at("loop")).unwrap_err()));
}

#[test]
fn a_star_is_every_directory() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b", "a"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let found = file::expand(&directory.path().join("*/mcp.json"));
    assert_eq!(found, [directory.path().join("a/mcp.json"), directory.path().join("b/mcp.json")]);
    assert_eq!(file::expand(Path::new("/none/*/x")), [] as [PathBuf; 0]);
    assert_eq!(file::expand(Path::new("/none/x")), [PathBuf::from("/none/x")]);
}

#[test]
fn a_diff_shows_lines_around_and_no_secrets() {
    let text = "1\n2\n3\n4 a b\n5\n6 hunter2\n7\n8\n9\n10\n11\n12\n13\n14 c";
    let at = |part: &str| text.find(part).unwrap()..text.find(part).unwrap() + part.len();
    let put = |part: &str, with: &str| Splice { span: at(part), with: with.into() };
    assert_eq!(
        diff::unified(text, &[put("a", "x\ny"), put("b", ""), put("c", "z")], &[at("hunter2")]),
        "@@ -1,7 +1,8 @@\n 1\n 2\n 3\n-4 a b\n+4 x\n+y \n 5\n 6 \"…\"\n 7\n@@ -11,4 +12,4 @@\n 11\n 12\n 13\n-14 c\n+14 z\n"
    );
    let long = format!("{}é npx é{}", "x".repeat(1000), "y".repeat(1000));
    let npx = long.find("npx").unwrap();
    let shown = diff::unified(&long, &[Splice { span: npx..npx + 3, with: b"npxc".into() }], &[]);
    assert!(shown.contains("xé npxc éy") && shown.len() < 400, "{shown}");
}

#[test]
fn a_diff_shows_all_that_is_inserted() {
    let text = format!("{{\n\"args\": [\"a\", \"{}\"]\n}}", "x".repeat(150));
    let at = text.find("\"a\"").unwrap();
    let options = r#""--env=SOME_VARIABLE", "#.repeat(60);
    let shown = diff::unified(&text, &[Splice { span: at..at, with: options.clone().into() }], &[]);
    assert!(shown.contains(&format!("+\"args\": [{options}\"a\", ")), "{shown}");
    // In a file without line breaks, too.
    let text = text.replace('\n', &" ".repeat(300));
    let at = text.find("\"a\"").unwrap();
    let shown = diff::unified(&text, &[Splice { span: at..at, with: options.clone().into() }], &[]);
    assert!(shown.contains(&options), "{shown}");
}

/// Spans of a tree that were checked: each lies in the one around it, and a text is what its bytes say.
fn check(text: &str, value: &Value, around: std::ops::Range<usize>) {
    assert!(around.start <= value.span.start && value.span.end <= around.end);
    match &value.kind {
        Kind::Text(found) => {
            let written = &text[value.span.clone()];
            assert_eq!(serde_json::from_str::<String>(written).unwrap(), *found);
        }
        Kind::List(items) => items.iter().for_each(|item| check(text, item, value.span.clone())),
        Kind::Table(members) => members.iter().for_each(|(_, item)| check(text, item, value.span.clone())),
        Kind::Null | Kind::Other => {}
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_fail_otherwise(text in "[{}\\[\\]\",:/*\\\\aé1\n\r .='#-]{0,40}") {
        if let Ok(value) = json::parse(&text) {
            check(&text, &value, 0..text.len());
        }
        let _ = toml::parse(&text);
    }

    #[test]
    fn what_serde_prints_is_read_the_same(value in proptest::collection::vec((".{0,6}", proptest::collection::vec(".{0,12}", 0..4)), 0..6), pretty in any::<bool>()) {
        let map: serde_json::Map<_, _> =
            value.into_iter().map(|(name, items)| (name, serde_json::json!({ "a": items, "b": 1.5, "c": null }))).collect();
        let print = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
        let text = print(&map).unwrap();
        let read = json::parse(&text).unwrap();
        check(&text, &read, 0..text.len());
        prop_assert_eq!(read.members().len(), map.len());
        for (name, value) in read.members() {
            let span = value.span.clone();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&text[span]).unwrap(), &map[name]);
        }
    }
}
