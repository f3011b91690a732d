#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::Value;

/// Every key as it stands in the template, not commented out.
fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// How many keys and tables a schema has, without those of npxc 0.3.
fn keys(root: &Value, part: &Value) -> Vec<String> {
    let name = part["$ref"]
        .as_str()
        .or_else(|| part["allOf"][0]["$ref"].as_str())
        .or_else(|| part["anyOf"][0]["$ref"].as_str());
    let part = name.map_or(part, |name| &root["definitions"][name.rsplit('/').next().unwrap()]);
    let part = if part["items"].is_object() { return keys(root, &part["items"]) } else { part };
    let properties = part["properties"].as_object();
    let mut all = Vec::new();
    for (key, part) in properties.into_iter().flatten().filter(|(_, part)| part["deprecated"] != true) {
        all.push(key.clone());
        all.extend(keys(root, part));
    }
    all
}

#[test]
fn the_templates_load_as_they_are_and_uncommented_and_have_every_key() {
    let path = Path::new("x.toml");
    for text in [TEMPLATE.to_owned(), uncommented(TEMPLATE)] {
        schema::package(path, &text).unwrap();
    }
    let global = global_template();
    for text in [global.clone(), uncommented(&global)] {
        schema::global(path, &text).unwrap();
    }
    let (empty, _, _) = schema::package(path, TEMPLATE).unwrap();
    assert_eq!(empty.wanted_mode(), None, "nothing is granted before a key is uncommented");
    let written = uncommented(TEMPLATE);
    let root = json_schema::package();
    let keys = keys(&root, &root);
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        let stands = written.lines().any(|line| {
            line.starts_with(&format!("{key} = "))
                || line.trim_start_matches('[').split([']', '.']).any(|name| name == key)
        });
        assert!(stands, "{key} is not in the template");
    }
}

#[test]
fn a_file_is_made_private_once_and_never_written_over() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("npxc/packages/server.toml");
    assert!(make(&path, false, "#:schema file:///x").unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(&path, "version = \"1\"\n").unwrap();
    assert!(!make(&path, false, "#:schema file:///x").unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "version = \"1\"\n");
}

/// What an editor finds that follows a file's first line as taplo does.
fn schema_of(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    let named = text.lines().next().unwrap().strip_prefix("#:schema file://").unwrap();
    assert!(named.contains("/my%20home/.local/share/npxc/schema/"), "{named}");
    serde_json::from_str(&fs::read_to_string(named.replace("%20", " ")).unwrap()).unwrap()
}

#[test]
fn an_editor_with_options_gets_the_file_and_what_it_leaves_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("my home");
    let host = |editor: &str| HostEnv {
        vars: [("HOME", home.to_str().unwrap()), ("EDITOR", editor)]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        cwd: dir.path().to_owned(),
        home: home.clone(),
    };
    let run = |editor: &str, package: Option<&str>| {
        let host = host(editor);
        let found = Found::of(None, &host).unwrap();
        let word = package.map(OsString::from);
        let path = found.file(word.as_ref()).unwrap();
        (edit(&path, word.as_ref(), None, &host), path)
    };
    let (status, path) = run("sed -i 's/^#ipv6 = false/ipv6 = true/'", Some("@a/b@1"));
    assert_eq!(status.unwrap(), ExitStatus::Success);
    assert!(path.ends_with("npxc/packages/@a+b.toml"), "{}", path.display());
    assert!(fs::read_to_string(&path).unwrap().contains("\nipv6 = true"));
    assert_eq!(schema_of(&path), json_schema::package());
    // The file of npxc 0.3 is the one in use, also while there is a mistake in it.
    let old = path.with_file_name("c-d.toml");
    fs::write(&old, "package = \"@c/d\"\n[netwrk]\n").unwrap();
    let (status, edited) = run("sed -i 's/netwrk/network/'", Some("@c/d"));
    assert_eq!((status.unwrap(), edited), (ExitStatus::Success, old.clone()));
    assert!(!path.with_file_name("@c+d.toml").exists());
    let (status, _) = run("sed -i 's/^ipv6 = true/ipv6 = 1/'", Some("@a/b"));
    assert_eq!(status.unwrap(), ExitStatus::Config);
    let (status, path) = run("true", None);
    assert_eq!(status.unwrap(), ExitStatus::Success);
    assert!(path.ends_with(".config/npxc/npxc.toml") && path.exists());
    assert_eq!(schema_of(&path), json_schema::global());
    // The next npxc's schema takes its place.
    let shipped = home.join(".local/share/npxc/schema/npxc.json");
    fs::write(&shipped, "{}").unwrap();
    run("true", None).0.unwrap();
    assert_eq!(schema_of(&path), json_schema::global());
    assert!(run("false", None).0.unwrap_err().message.contains("the editor `false` failed"));
    assert!(run("", None).0.unwrap_err().message.contains("neither VISUAL nor EDITOR"));
    assert!(Found::of(None, &host("true")).unwrap().file(Some(&"./local".into())).is_err());
}

#[test]
fn without_a_choice_the_editor_is_the_first_of_the_usual_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let host = HostEnv {
        vars: [("PATH".into(), std::env::join_paths([&one, &two]).unwrap())].into(),
        cwd: dir.path().to_owned(),
        home: dir.path().to_owned(),
    };
    for directory in [&one, &two] {
        fs::create_dir(directory).unwrap();
    }
    assert_eq!(usual_editor(&host), None);
    fs::write(one.join("vi"), "").unwrap();
    assert_eq!(usual_editor(&host).as_deref(), Some("vi"));
    fs::write(two.join("nano"), "").unwrap();
    assert_eq!(usual_editor(&host).as_deref(), Some("nano"));
}

#[test]
fn a_check_reads_every_file_and_tells_names_that_nobody_has() {
    let dir = tempfile::tempdir().unwrap();
    let packages = dir.path().join("packages");
    fs::create_dir(&packages).unwrap();
    for (name, text) in [
        ("../npxc.toml", "[defaults]\n"),
        ("a.toml", ""),
        ("@b+c.toml", ""),
        ("short name.toml", "package = \"d\"\n"),
        ("Not A Name.toml", ""),
        ("notes.md", "no TOML at all"),
    ] {
        fs::write(packages.join(name), text).unwrap();
    }
    let found = Found { directory: dir.path().to_owned(), named: None };
    let all = found.all().unwrap();
    let names: Vec<_> = all.iter().map(|file| file.path().file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["npxc.toml", "@b+c.toml", "Not A Name.toml", "a.toml", "short name.toml"]);
    let wrong: Vec<String> =
        all.iter().filter_map(|file| check_file(file, &[]).err()).map(|error| error.to_string()).collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].ends_with("Not A Name.toml: no package has this name, so the file is not read"));
    assert_eq!(check_files(&all, &[]), ExitStatus::Config);
    fs::remove_file(packages.join("Not A Name.toml")).unwrap();
    let all = found.all().unwrap();
    let c = "@x/a".parse().unwrap();
    assert_eq!(all.iter().flat_map(|file| check_file(file, std::slice::from_ref(&c)).unwrap()).count(), 1);
    assert_eq!(check_files(&all, &[c]), ExitStatus::Success);
    // A run with --config FILE reads it for its package, whatever it is called.
    let named = Written::Named(dir.path().join("npxc.toml"));
    assert!(check_file(&named, &[]).unwrap_err().what.contains("unknown key `defaults`"));
    fs::write(dir.path().join("My File.toml"), "").unwrap();
    assert!(check_file(&Written::Named(dir.path().join("My File.toml")), &[]).unwrap().is_empty());
    fs::write(packages.join("a.toml"), "[network]\nalow = []\n").unwrap();
    assert_eq!(check_files(&all, &[]), ExitStatus::Config);
}
