#![allow(clippy::unwrap_used, clippy::panic)]
// Strings that are put together once.
#![allow(clippy::format_push_string, clippy::format_collect)]

#[path = "bytes_tests.rs"]
mod bytes;
#[path = "odd_tests.rs"]
mod odd;
#[path = "options_tests.rs"]
mod options;
#[path = "own_tests.rs"]
mod own;
#[path = "project_tests.rs"]
mod project;

use std::fs;
use std::path::{Path, PathBuf};

use super::apply::{applied, put_back, write};
use super::judge::{Verdict, Wish, command, is_own, judge, package};
use super::look::{Choice, Read};
use super::{Work, shown, unwrap};
use crate::cli::level::Level;
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
    judged(place, file, options, false)
}

/// What is decided about servers, where each was `named` or none was.
fn judged(place: &Place, file: &str, options: &[&str], named: bool) -> Vec<(Server, Verdict)> {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    let real = |path: &Path| {
        let path = crate::paths::tidy(path);
        let path = if path.ends_with("link") { PathBuf::from("/home") } else { path };
        let there = ["/home", "/srv/project", "/tmp"].iter().any(|known| path.starts_with(known));
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
        named,
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
    changed(text, &verdicts(place, text, options))
}

fn changed(text: &str, verdicts: &[(Server, Verdict)]) -> (String, Vec<Kept>) {
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
        (
            r#""a-server", "x""#,
            r#""--allow", "db", "a-server", "x""#,
            text.to_owned(),
            [Restored::Back, Restored::Back],
        ),
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
