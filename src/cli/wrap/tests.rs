#![allow(clippy::unwrap_used, clippy::panic)]
// Strings that are put together once.
#![allow(clippy::format_push_string, clippy::format_collect)]

#[path = "odd_tests.rs"]
mod odd;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::apply::{applied, put_back, write};
use super::judge::{Verdict, Wish, command, is_own, judge, package};
use super::look::{Choice, Read};
use super::{Work, shown, unwrap};
use crate::cli::options::tracing_level::Level;
use crate::cli::say::Stderr;
use crate::clients::change::{Kept, Restored, restore};
use crate::clients::file;
use crate::clients::places::{Place, Surroundings, places, unknown};
use crate::clients::record::{self, Record};
use crate::clients::servers::{self, Server};
use crate::clients::variables;
use crate::config::Directories;
use crate::exit::Failure;

/// A fixture, made after the client's documentation, and the file that it would be.
const FIXTURES: [(&str, &str); 10] = [
    ("claude-desktop.json", "/home/me/.config/Claude/claude_desktop_config.json"),
    ("claude-code.json", "/home/me/.claude.json"),
    ("claude-code-project.json", "/srv/project/.mcp.json"),
    ("cursor.json", "/home/me/.cursor/mcp.json"),
    ("vscode.json", "/srv/project/.vscode/mcp.json"),
    ("vscode-settings.json", "/home/me/.config/Code/User/settings.json"),
    ("windsurf.json", "/home/me/.codeium/windsurf/mcp_config.json"),
    ("zed.json", "/home/me/.config/zed/settings.json"),
    ("codex.toml", "/home/me/.codex/config.toml"),
    ("gemini.json", "/home/me/.gemini/settings.json"),
];

fn place(path: &str) -> Place {
    let none = |_: &str| None;
    let (home, config, cwd) =
        (Path::new("/home/me"), Path::new("/home/me/.config"), Path::new("/srv/project"));
    let all = places(&Surroundings { home, config, cwd, mac: false, variable: &none });
    all.into_iter().find(|place| place.path == Path::new(path)).unwrap_or_else(|| unknown(path.into()))
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clients").join(name)
}

fn verdicts(place: &Place, file: &str, options: &[&str]) -> Vec<(Server, Verdict)> {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    let real = |path: &Path| {
        let path = crate::paths::tidy(path);
        let path = if path.ends_with("link") { PathBuf::from("/home") } else { path };
        let there = ["/home", "/srv/project"].iter().any(|known| path.starts_with(known));
        (there && !path.ends_with("gone")).then_some(path)
    };
    let text = |path: &Path| {
        (path == Path::new("/srv/project/keys.env")).then(|| "A_TOKEN=hunter2\nLEVEL=\"low\"\n".to_owned())
    };
    let home = Path::new("/home/me");
    let known = variables::known(place, home);
    let project = variables::project(place);
    let wish = Wish {
        command: "npxc",
        is_own: &|command| ["npxc", "/usr/local/bin/npxc", "/home/me/.cargo/bin/npxc"].contains(&command),
        options: &options,
        home,
        real: &real,
        text: &text,
        known: &known,
        in_project: place.project,
        project,
    };
    let servers = servers::find(place, file).unwrap();
    servers.into_iter().map(|server| (server.clone(), judge(file, &server, &wish))).collect()
}

fn work(place: Place, file: &Path, options: &[&str]) -> Work {
    let original = file::read(file).unwrap();
    let verdicts = verdicts(&place, &original.text, options);
    let servers = verdicts.iter().map(|(server, _)| server.clone()).collect();
    let read = Read { path: place.path.clone(), place, original, servers };
    Work { read, verdicts, command: "npxc".into() }
}

fn wrapped(place: &Place, text: &str, options: &[&str]) -> (String, Vec<Kept>) {
    let verdicts = verdicts(place, text, options);
    let changes: Vec<_> = verdicts
        .iter()
        .filter_map(|(_, verdict)| match verdict {
            Verdict::Wrap(change) => Some(change),
            Verdict::Already(_) | Verdict::Leave(_) => None,
        })
        .collect();
    let mut splices: Vec<_> = changes.iter().flat_map(|change| change.splices.clone()).collect();
    splices.sort_by_key(|splice| splice.span.start);
    (applied(text, &splices).unwrap(), changes.iter().map(|change| change.kept.clone()).collect())
}

fn back(place: &Place, text: &str, kept: &[Kept]) -> (String, Vec<Restored>) {
    let servers = servers::find(place, text).unwrap();
    let (splices, outcomes) = restore(text, &servers, kept, &|words| package(words).ok());
    (applied(text, &splices).unwrap(), outcomes)
}

fn expected(name: &str, found: &str) {
    let path = data(name);
    // To accept what is printed after a deliberate change: NPXC_TEST_ACCEPT=1.
    if std::env::var_os("NPXC_TEST_ACCEPT").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(expected == found, "{name} differs from what is there; now it is:\n{found}");
}

#[test]
fn every_clients_file_is_wrapped_as_shown_and_comes_back_byte_for_byte() {
    let mut said = String::new();
    for (name, path) in FIXTURES {
        let place = place(path);
        assert!(place.client.is_some(), "{path} is no known place");
        let mut work = work(place.clone(), &data(name), &[]);
        work.read.original.path = work.read.path.clone();
        said += &shown(&work);
        let text = &work.read.original.text;
        let (new, kept) = wrapped(&place, text, &[]);
        let (stem, extension) = name.split_once('.').unwrap();
        expected(&format!("{stem}.wrapped.{extension}"), &new);
        assert!(!kept.is_empty(), "{name}");
        assert_eq!(
            wrapped(&place, &new, &[]),
            (new.clone(), Vec::new()),
            "{name}: a second time changes nothing"
        );
        let (again, outcomes) = back(&place, &new, &kept);
        assert!(&again == text, "{name} comes back as:\n{again}");
        assert!(outcomes.iter().all(|outcome| *outcome == Restored::Back), "{name}: {outcomes:?}");
        assert_eq!(put_back(&work.read, &new, &kept).unwrap(), *text);
    }
    assert!(!said.contains("hunter2"), "a secret is shown");
    expected("said.txt", &said);
}

/// A file of two servers, and npxc's own directories.
struct Ground {
    directory: tempfile::TempDir,
    directories: Directories,
}

const TWO: &str =
    r#"{"mcpServers": {"a": {"command": "npx", "args": ["a"]}, "b": {"command": "npx", "args": ["b"]}}}"#;

impl Ground {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let directories =
            Directories::new(|name| (name == "HOME").then(|| home.clone().into_os_string())).unwrap();
        fs::write(directory.path().join("mcp.json"), text).unwrap();
        Self { directory, directories }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("mcp.json")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// What wrapping this server would be.
    fn wrapping(&self, name: &str) -> Work {
        let mut work = work(unknown(self.file()), &self.file(), &[]);
        work.verdicts.retain(|(server, _)| server.name() == name);
        work
    }

    fn unwrapping(&self, name: &str) -> unwrap::Work {
        let choice = Choice { server: vec![name.to_owned()], ..Choice::default() };
        unwrap::Work::of(work(unknown(self.file()), &self.file(), &[]).read, &choice, &self.directories)
            .unwrap()
    }

    fn record(&self) -> (PathBuf, Record) {
        let place = record::path(&self.directories.data, &self.file().canonicalize().unwrap());
        let record = Record::read(&place).unwrap();
        (place, record)
    }
}

fn silent() -> Stderr {
    Stderr::at(Level::Off)
}

#[test]
fn a_copy_that_the_file_is_again_goes_wherever_it_is() {
    let ground = Ground::new(TWO);
    write(&ground.wrapping("a"), &ground.directories, silent()).unwrap();
    let (place, mut record) = ground.record();
    let [copy] = record.backups.clone().try_into().unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), TWO);
    // Where they were once, beside the file.
    let (earlier, other) =
        (ground.file().with_extension("json.npxc-backup"), ground.directory.path().join("other"));
    fs::write(&earlier, TWO).unwrap();
    fs::write(&other, "{}").unwrap();
    record.backups.extend([earlier.clone(), other.clone()]);
    record.write(&place).unwrap();
    unwrap::write(&ground.unwrapping("a"), &ground.directories, silent()).unwrap();
    assert_eq!(ground.text(), TWO);
    assert!(!copy.exists() && !earlier.exists() && !copy.parent().unwrap().exists());
    // What it is not again stays known, until it is gone.
    assert!(other.exists());
    assert_eq!(ground.record().1.backups, [other.as_path()]);
    fs::remove_file(&other).unwrap();
    write(&ground.wrapping("a"), &ground.directories, silent()).unwrap();
    unwrap::write(&ground.unwrapping("a"), &ground.directories, silent()).unwrap();
    assert!(!place.exists(), "nothing is left to know");
}

#[test]
fn what_was_decided_about_another_file_is_not_done() {
    let ground = Ground::new(TWO);
    let (one, other) = (ground.wrapping("a"), ground.wrapping("b"));
    let refused = |change: &dyn Fn() -> Result<(), Failure>| {
        let (was, known) = (ground.text(), ground.record().1);
        let failure = change().unwrap_err();
        assert!(failure.message.contains("was changed by another program meanwhile"), "{}", failure.message);
        assert!(failure.hints.iter().any(|hint| hint.contains("try again")));
        assert_eq!((was, known), (ground.text(), ground.record().1));
    };
    write(&one, &ground.directories, silent()).unwrap();
    refused(&|| write(&other, &ground.directories, silent()));
    assert_eq!(fs::read_dir(ground.record().1.backups[0].parent().unwrap()).unwrap().count(), 1);
    write(&ground.wrapping("b"), &ground.directories, silent()).unwrap();
    // Each way back was decided before the other was gone.
    let (one, other) = (ground.unwrapping("a"), ground.unwrapping("b"));
    unwrap::write(&one, &ground.directories, silent()).unwrap();
    refused(&|| unwrap::write(&other, &ground.directories, silent()));
    // Nor is a record written over that says something else by now.
    let gone = ground.unwrapping("a");
    let (place, mut record) = ground.record();
    record.servers[0].path = vec!["mcpServers".to_owned(), "c".to_owned()];
    record.write(&place).unwrap();
    refused(&|| unwrap::write(&gone, &ground.directories, silent()));
    refused(&|| unwrap::write(&other, &ground.directories, silent()));
}

#[test]
fn unwrap_puts_back_what_was_wrapped_and_keeps_what_changed_since() {
    let place = place("/home/me/.cursor/mcp.json");
    let text = r#"{"mcpServers": {"a": {"command": "npx", "args": ["-y", "a-server", "x"]}, "b": {"command": "npx", "args": ["b"]}}}"#;
    let (new, kept) = wrapped(&place, text, &[]);
    for (from, to, expected, outcomes) in [
        // An option that was added goes, an argument of the package's stays.
        (
            r#""a-server", "x""#,
            r#""--allow=@npm", "a-server", "z""#,
            text.replace(r#""x""#, r#""z""#),
            [Restored::Back, Restored::Back],
        ),
        (
            "{\"mcpServers\"",
            "// mine\n{\"mcpServers\"",
            format!("// mine\n{text}"),
            [Restored::Back, Restored::Back],
        ),
        (
            r#""a": {"#,
            r#""c": {"#,
            text.replace(r#""a": {"#, r#""c": {"#).replacen("npx", "npxc", 1),
            [Restored::Gone, Restored::Back],
        ),
        (
            r#"["-y", "#,
            r#"["--bogus", "#,
            text.replacen("npx", "npxc", 1).replace("-y", "--bogus"),
            [Restored::Strange, Restored::Back],
        ),
        (
            r#"{"command": "npxc", "args": ["b"]}"#,
            r#"{"command": "npx", "args": ["b"]}"#,
            text.to_owned(),
            [Restored::Back, Restored::Before],
        ),
    ] {
        assert!(new.contains(from), "{new}");
        let (again, found) = back(&place, &new.replacen(from, to, 1), &kept);
        assert_eq!((again, found), (expected, outcomes.to_vec()), "{to}");
    }
}

#[test]
fn options_of_npxc_go_in_front_of_the_package() {
    let place = place("/home/me/.cursor/mcp.json");
    let text = r#"{"mcpServers": {"a": {"command": "npx", "args": ["-y", "a", "/home/me/notes/x"], "env": {"A": "1", "B": "2"}}}}"#;
    let (new, _) =
        wrapped(&place, text, &["--allow=api.example.com:443", "--env=A=3", "--mount=/home/me/notes:rw"]);
    assert!(
        new.contains(r#"["-y", "--allow=api.example.com:443", "--env=A=3", "--mount=/home/me/notes:rw", "--env=B", "a", "/home/me/notes/x"]"#),
        "{new}"
    );
}

#[test]
fn what_npxc_would_not_take_is_left_alone_and_said() {
    let place = place("/home/me/.cursor/mcp.json");
    for (entry, why) in [
        (r#"{"command": "npx", "args": ["-c", "server"]}"#, "npxc has no `-c` as npx has it"),
        (r#"{"command": "npx", "args": ["-y"]}"#, "it names no package"),
        (r#"{"command": "npx", "args": ["-p", "a"]}"#, "it names no package"),
        (r#"{"command": "npx", "args": ["-y", "git+ssh://x/y"]}"#, "package spec: "),
        (r#"{"command": "npx", "args": ["-y", 1]}"#, "an argument of it is not text"),
        (r#"{"command": "npx", "args": "-y a"}"#, "its args are not a list"),
        (r#"{"command": 1}"#, "its command is not text"),
        (r#"{"url": "https://example.com"}"#, "it is remote"),
        (r#""npx""#, "its entry is no object"),
        (r#"{"command": "cmd", "args": ["/c", /* mine */ "npx", "a"]}"#, "a comment stands between"),
        (r#"{"command": "/home/me/my npx", "args": ["a"]}"#, "my npx is not npx"),
        (r#"{"command": "npm", "args": ["exec", "a"]}"#, "npm is not npx"),
        (r#"{"command": "env", "args": ["A=b", "npx", "a"]}"#, "npx is started through env"),
    ] {
        let text = format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#);
        match verdicts(&place, &text, &[]).as_slice() {
            [(_, Verdict::Leave(found))] => assert!(found.starts_with(why), "{entry}: {found}"),
            other => panic!("{entry}: {other:?}"),
        }
    }
    let text = r#"{"mcpServers": {"a": {"command": "/usr/local/bin/npxc", "args": ["a"]}}}"#;
    assert!(matches!(verdicts(&place, text, &[]).as_slice(), [(_, Verdict::Already(_))]));
}

#[test]
fn a_projects_file_shows_nothing_outside_of_the_project() {
    let words = |arg: &str, options: &[&str]| {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", "args": ["a", "{arg}"]}}}}}}"#);
        match verdicts(&place("/srv/project/.mcp.json"), &text, options).remove(0).1 {
            Verdict::Wrap(change) => (change.words.join(" "), change.notes.join("\n")),
            other => panic!("{other:?}"),
        }
    };
    for arg in ["${HOME}/.ssh", "/home/me/.ssh", "/srv/project/../../home/me/x", "--root=/home/other"] {
        let (line, notes) = words(arg, &[]);
        assert!(!line.contains("--mount"), "{line}");
        let path = arg.trim_start_matches("--root=");
        assert_eq!(
            notes,
            format!("{path} is outside of the project and is not shown to it: --mount {path} shows it")
        );
    }
    assert!(words("/srv/project/docs", &[]).0.starts_with("--mount=/srv/project/docs "));
    assert!(words("/home/me/x", &["--mount=/home/me/x"]).0.starts_with("--mount=/home/me/x a"));
}

#[test]
fn a_projects_file_grants_itself_nothing_by_its_variables() {
    let judged = |path: &str, entry: &str| {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", "args": ["a"], {entry}}}}}}}"#);
        let mut verdicts = verdicts(&place(path), &text, &[]);
        assert_eq!(verdicts.len(), 1);
        verdicts.remove(0).1
    };
    for (name, npxcs) in [
        ("NPXC_ALLOW", true),
        ("NPXC_NETWORK", true),
        ("NPXC_CONFIG", true),
        ("XDG_CONFIG_HOME", true),
        ("npm_config_registry", true),
        ("NPM_CONFIG_REGISTRY", true),
        ("PATH", true),
        ("HOME", true),
        ("LD_PRELOAD", false),
        ("NODE_OPTIONS", false),
        ("OPENSSL_CONF", false),
        ("https_proxy", false),
        ("DOCKER_HOST", false),
        ("BASH_ENV", false),
        ("VOLTA_HOME", false),
    ] {
        let entry = format!(r#""env": {{"TOKEN": "x", "{name}": "y"}}"#);
        let who =
            if npxcs { "npxc itself obeys" } else { "programs that npxc starts outside the sandbox obey" };
        match judged("/srv/project/.mcp.json", &entry) {
            Verdict::Leave(why) => {
                assert!(why.starts_with(&format!("its env sets {name}, which {who}")), "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
        // What is the user's own is obeyed as the user wishes, and said.
        let Verdict::Wrap(change) = judged("/home/me/.cursor/mcp.json", &entry) else { panic!("{name}") };
        assert_eq!(change.notes.len(), 1, "{:?}", change.notes);
        assert!(change.notes[0].starts_with(&format!("{name} is obeyed by ")), "{:?}", change.notes);
        assert_eq!(change.words.contains(&format!("--env={name}")), !npxcs, "{:?}", change.words);
    }
    for entry in
        [r#""env": {"NODE_ENV": "x", "NPM_TOKEN": "y", "RUST_LOG": "z"}"#, r#""env": {"PATH": null}"#]
    {
        assert!(matches!(judged("/srv/project/.mcp.json", entry), Verdict::Wrap(_)), "{entry}");
    }
}

#[test]
fn only_this_npxc_is_npxc_already_and_its_options_are_shown() {
    let found = |path: &str, command: &str, args: &str, env: &str| {
        let text = format!(
            r#"{{"mcpServers": {{"a": {{"command": "{command}", "args": [{args}], "env": {{"A": "hunter2"{env}}}}}}}}}"#
        );
        match verdicts(&place(path), &text, &[]).remove(0).1 {
            Verdict::Already(options) => options,
            Verdict::Leave(why) => format!("left alone: {why}"),
            Verdict::Wrap(change) => panic!("{change:?}"),
        }
    };
    for path in ["/srv/project/.mcp.json", "/home/me/.cursor/mcp.json"] {
        for (command, args, expected) in [
            ("npxc", r#""-y", "a", "--network", "open""#, ""),
            (
                "npxc",
                r#""--network", "open", "--mount", "/home/me", "--", "x""#,
                "--network open --mount /home/me",
            ),
            (
                "npxc",
                r#""--env=A=hunter2", "--env", "B=hunter2", "--env=C", "--proxy=http://u:hunter2@p.example", "x""#,
                "--env=A=… --env B=… --env=C --proxy=…@p.example",
            ),
            ("./tools/npxc", r#""x""#, "left alone: ./tools/npxc is another npxc than this one"),
            ("/srv/project/npxc", r#""x""#, "left alone: /srv/project/npxc is another npxc than this one"),
        ] {
            assert_eq!(found(path, command, args, ""), expected);
        }
        let open = r#", "NPXC_NETWORK": "open""#;
        assert_eq!(found(path, "npxc", r#""--persist", "x""#, open), "--persist NPXC_NETWORK=…");
    }
}

#[test]
fn a_directory_with_everything_in_it_is_not_shown() {
    let place = place("/home/me/.cursor/mcp.json");
    for path in ["/home/me", "/home/me/", "/home/me/notes/..", "/home/me/link", "/home/me/a:b"] {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", "args": ["a", "{path}"]}}}}}}"#);
        let (new, _) = wrapped(&place, &text, &[]);
        assert_eq!(new, text.replace("npx", "npxc"));
    }
}

#[test]
fn npxc_is_called_by_its_name_only_where_that_leads_to_this_one() {
    let directory = tempfile::tempdir().unwrap();
    let [own, other, link] = ["own", "other", "link"].map(|name| directory.path().join(name));
    for directory in [&own, &other, &link] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(own.join("npxc"), "").unwrap();
    fs::write(other.join("npxc"), "").unwrap();
    std::os::unix::fs::symlink(own.join("npxc"), link.join("npxc")).unwrap();
    let (program, empty) = (own.join("npxc"), directory.path().to_owned());
    let called = |search: &[&PathBuf], desktop| {
        let search: Vec<PathBuf> = search.iter().map(|&directory| directory.clone()).collect();
        command(&program, &search, desktop)
    };
    let (name, linked) = (PathBuf::from("npxc"), link.join("npxc"));
    for (search, desktop, expected) in [
        (&[&empty, &own][..], false, &name),
        (&[&link, &other], false, &name),
        (&[&other, &own], false, &program),
        (&[&empty], false, &program),
        (&[&own], true, &program),
        (&[&link, &own], true, &linked),
    ] {
        assert_eq!(called(search, desktop).as_ref(), Some(expected), "{search:?}, {desktop}");
    }
    for (command, search, is) in [
        ("npxc", [&empty, &own], true),
        ("npxc", [&link, &other], true),
        ("npxc", [&other, &own], false),
        ("npxc", [&empty, &empty], false),
        (program.to_str().unwrap(), [&other, &other], true),
        (linked.to_str().unwrap(), [&other, &other], true),
        (other.join("npxc").to_str().unwrap(), [&own, &own], false),
        ("./npxc", [&own, &own], false),
    ] {
        assert_eq!(is_own(command, &program, &search.map(Clone::clone)), is, "{command}, {search:?}");
    }
    // What is called otherwise is known by a link of that name, or not at all.
    let renamed = own.join("npxc-0.4");
    fs::rename(&program, &renamed).unwrap();
    assert_eq!(command(&renamed, std::slice::from_ref(&other), false), None);
    fs::remove_file(&linked).unwrap();
    std::os::unix::fs::symlink(&renamed, &linked).unwrap();
    assert_eq!(command(&renamed, std::slice::from_ref(&link), true), Some(linked));
}

fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        4 => Just(" ".to_owned()),
        2 => "\r?\n[ \t]{0,4}",
        1 => "/\\*[a-z\" {}]{0,6}\\*/",
        1 => "//[a-z\" {}]{0,6}\n",
    ]
}

/// Something that is no server, printed by somebody else.
fn other() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("1e9".to_owned()),
        Just(r#"{"command": "npx", "args": ["decoy"]}"#.to_owned()),
        Just(r#"["npx", {"a": "\ud83d"}, ]"#.to_owned()),
        "[a-zé\"\\\\/{}]{0,8}".prop_map(|text| serde_json::Value::String(text).to_string()),
    ]
}

/// A server's entry in odd formatting, and whether it is npx's.
fn entry() -> impl Strategy<Value = (String, bool)> {
    let args = proptest::collection::vec(("[a-z0-9/.=-]{1,8}", blank()), 0..3);
    let parts = (any::<bool>(), any::<bool>(), any::<bool>(), args, other());
    (parts, proptest::collection::vec(blank(), 6)).prop_map(|((npx, yes, first, args, other), b)| {
        let command = if npx { "npx" } else { "uvx" };
        let yes = if yes { format!("\"-y\"{},{}", b[0], b[1]) } else { String::new() };
        let rest: String = args.iter().map(|(arg, blank)| format!(",{blank}\"{arg}\"")).collect();
        let args = format!("\"args\"{}:[{}{yes}\"@a/b@1\"{rest}{}]", b[2], b[3], b[4]);
        let command = format!("\"command\":{}\"{command}\"", b[5]);
        let (one, two) = if first { (command, args) } else { (args, command) };
        (format!("{{{one},\"x\":{other},{two},\"env\":{{\"KEY\":\"hunter2\"}}{}}}", b[0]), npx)
    })
}

proptest! {
    #[test]
    fn an_edit_changes_the_spans_of_wrapped_servers_alone(
        entries in proptest::collection::vec((entry(), blank()), 1..5),
        others in proptest::collection::vec((other(), blank()), 5),
        bom in any::<bool>(),
    ) {
        let place = place("/home/me/.cursor/mcp.json");
        let (mut text, mut pieces, mut npx) = (String::from(if bom { "\u{feff}" } else { "" }), Vec::new(), 0);
        text += &format!("{{\"first\":{}{},\"mcpServers\":{{", others[0].0, others[0].1);
        for (index, ((entry, is_npx), blank)) in entries.iter().enumerate() {
            text += &format!("{blank}\"s{index}\":");
            // Up to here nothing may change but in the entries.
            pieces.push((std::mem::take(&mut text), entry.clone(), *is_npx));
            text += ",";
            npx += usize::from(*is_npx);
        }
        text += &format!("}}{},\"last\":{}}}", others[1].1, others[1].0);
        let tail = text;
        let whole: String =
            pieces.iter().flat_map(|(before, entry, _)| [before.as_str(), entry]).chain([tail.as_str()]).collect();
        let (new, kept) = wrapped(&place, &whole, &[]);
        prop_assert_eq!(kept.len(), npx);
        let mut rest = new.as_str();
        for (before, entry, is_npx) in &pieces {
            rest = rest.strip_prefix(before.as_str()).unwrap();
            if *is_npx {
                // Within an entry: the command, and one option in front of the package.
                let end = rest.find(&entry[entry.rfind(",\"env\"").unwrap()..]).unwrap();
                let (changed, behind) = rest.split_at(end);
                let plain = changed.replacen("\"npxc\"", "\"npx\"", 1);
                let at = plain.find("\"--env=KEY\",").unwrap();
                let package = at + plain[at..].find("\"@a/b@1\"").unwrap();
                prop_assert_eq!(format!("{}{}", &plain[..at], &plain[package..]), &entry[..entry.rfind(",\"env\"").unwrap()]);
                rest = &behind[entry.len() - entry.rfind(",\"env\"").unwrap()..];
            } else {
                rest = rest.strip_prefix(entry.as_str()).unwrap();
            }
        }
        prop_assert_eq!(rest, tail);
        prop_assert_eq!(back(&place, &new, &kept).0, whole);
    }
}
