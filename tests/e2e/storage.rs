//! What a package writes: in its own folder, in `/data`, and what becomes of it. And the directory it is shown.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::json;

use super::mcp::Client;
use super::processes::{descendants, wait, wait_for_end};
use super::world::{sha256, world};

const MEMORY: &str = "@modelcontextprotocol/server-memory@2026.8.31";

/// A package that writes beside its own files, as its arguments say.
const NOTEBOOK: &str = r"#!/usr/bin/env node
const fs = require('fs'), path = require('path');
const words = process.argv.slice(2);
const say = (text) => fs.writeSync(1, text + '\n');
const attempt = (work) => { try { say(String(work())); } catch (error) { say(error.code); } };
for (const word of words) {
  const [verb, name, text] = word.split('=');
  const file = name && path.resolve(__dirname, name.replace('$DATA', process.env.NPXC_DATA));
  if (verb === 'write') attempt(() => (fs.mkdirSync(path.dirname(file), { recursive: true }), fs.writeFileSync(file, text), 'written'));
  if (verb === 'read') attempt(() => fs.readFileSync(file, 'utf8'));
  if (verb === 'remove') attempt(() => (fs.unlinkSync(file), 'removed'));
  if (verb === 'version') say('VERSION');
  if (verb === 'wait') { say('waiting'); fs.readSync(0, Buffer.alloc(1)); }
}
";

struct Notebook(PathBuf);

impl Notebook {
    /// A package of its own, whatever it is called.
    fn new(name: &str) -> Self {
        let notebook = Self(world().scratch(name));
        let text = json!({"name": "notebook", "version": "1.0.0", "bin": "index.js"}).to_string();
        fs::write(notebook.0.join("package.json"), text).unwrap();
        notebook.version("1");
        notebook
    }

    fn version(&self, version: &str) {
        fs::write(self.0.join("index.js"), NOTEBOOK.replace("VERSION", version)).unwrap();
    }

    fn arguments<'a>(&'a self, options: &[&'a str], words: &[&'a str]) -> Vec<&'a str> {
        [options, &[self.0.to_str().unwrap()], words].concat()
    }

    /// What it says, and npxc.
    fn run(&self, options: &[&str], words: &[&str]) -> (String, String) {
        let (output, _) = world().npxc(&self.arguments(options, words)).output();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    }

    /// One that waits, when it does.
    fn waiting(&self, options: &[&str], words: &[&str]) -> Child {
        let mut npxc = world().npxc(&self.arguments(options, &[words, &["wait"]].concat()));
        let mut child =
            npxc.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.into_iter().any(|line| line == "waiting"), "it ended");
        child
    }
}

fn data() -> PathBuf {
    world().directory.join("home/.local/share/npxc")
}

/// Everything in the store: names, modes, times, contents.
fn store(name: &str) -> String {
    let mut all = Vec::new();
    let mut pending = vec![data().join("store/v1")];
    while let Some(path) = pending.pop() {
        let stat = path.symlink_metadata().unwrap();
        if path.display().to_string().contains(name) {
            let bytes = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let time = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
            all.push(format!("{} {:o} {time:?} {}", path.display(), stat.mode(), sha256(&bytes)));
        }
        if stat.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all.sort();
    assert!(all.len() > 10, "{all:?}");
    all.join("\n")
}

#[test]
fn memory_works_without_an_option_and_what_is_lost_is_said() {
    let entity = json!({"name": "Ferris", "entityType": "crab", "observations": ["lives in a sandbox"]});
    let mut client = Client::start(world().npxc(&[MEMORY]));
    let before = store("server-memory");
    client.text("create_entities", json!({"entities": [entity]}));
    assert!(client.text("read_graph", json!({})).contains("lives in a sandbox"));
    let (status, stderr, _) = client.close();
    assert!(status.success(), "{stderr}");
    let said: Vec<&str> =
        stderr.lines().filter(|line| line.starts_with("npxc: ") && !line.contains("install")).collect();
    let [lost, "npxc: hint: --persist keeps it"] = said[..] else { panic!("{stderr}") };
    let words = format!("npxc: warning: what {MEMORY} wrote into its own folder is lost: memory.jsonl, ");
    assert!(lost.starts_with(&words) && lost.ends_with(" bytes"), "{lost}");
    assert_eq!(store("server-memory"), before);

    let mut client = Client::start(world().npxc(&[MEMORY]));
    assert!(!client.text("read_graph", json!({})).contains("Ferris"));
    let (_, stderr, _) = client.close();
    assert!(!stderr.contains("is lost"), "{stderr}");
}

#[test]
fn memory_is_kept_with_persist() {
    let entity = json!({"name": "Ferris", "entityType": "crab", "observations": ["is still here"]});
    // Whoever comes first installs it, and is told how not to wait for that.
    assert!(world().command(&["install", MEMORY]).status().unwrap().success());
    let mut client = Client::start(world().npxc(&["--persist", MEMORY]));
    let before = store("server-memory");
    client.text("create_entities", json!({"entities": [entity]}));
    let (status, stderr, _) = client.close();
    assert!(status.success() && !stderr.contains("npxc: warning") && !stderr.contains("hint"), "{stderr}");
    let mut client = Client::start(world().npxc(&["--persist", MEMORY]));
    assert!(client.text("read_graph", json!({})).contains("is still here"));
    client.close();
    assert_eq!(store("server-memory"), before);
}

#[test]
fn data_lasts_and_is_ones_own() {
    let (one, other) = (Notebook::new("one"), Notebook::new("other"));
    let words = ["write=$DATA/x=of one", "read=/data/x", "write=kept=beside"];
    let (said, stderr) = one.run(&["--persist"], &words);
    assert_eq!(said, "written\nof one\nwritten\n", "{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
    // Another package that has the same name for itself.
    assert_eq!(other.run(&["--persist"], &["read=$DATA/x", "read=kept"]).0, "ENOENT\nENOENT\n");
    assert_eq!(one.run(&["--persist"], &["read=$DATA/x", "read=kept"]).0, "of one\nbeside\n");
    // Without the option there is no such directory, and what lasts is not seen.
    assert_eq!(one.run(&[], &["read=/data/x", "read=kept"]).0, "ENOENT\nENOENT\n");
    for place in fs::read_dir(data().join("packages")).unwrap() {
        assert_eq!(place.unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    }
}

#[test]
fn the_file_says_persist_as_the_option_does() {
    let notebook = Notebook::new("configured");
    let config = world().scratch("config").join("notebook.toml");
    fs::write(&config, "[storage]\npersist = true\n").unwrap();
    let options = ["--config", config.to_str().unwrap()];
    assert_eq!(notebook.run(&options, &["write=kept=yes", "write=$DATA/x=yes"]).0, "written\nwritten\n");
    assert_eq!(notebook.run(&options, &["read=kept", "read=$DATA/x"]).0, "yes\nyes\n");
}

#[test]
fn what_a_package_keeps_survives_its_update_and_old_code_does_not() {
    let notebook = Notebook::new("updated");
    let words = ["write=kept/note=mine", "write=index2.js=new", "version"];
    assert_eq!(notebook.run(&["--persist"], &words).0, "written\nwritten\n1\n");
    notebook.version("2");
    fs::write(notebook.0.join("index2.js"), "shipped").unwrap();
    let (said, stderr) = notebook.run(&["--persist"], &["read=kept/note", "read=index2.js", "version"]);
    assert_eq!(said, "mine\nshipped\n2\n", "{stderr}");
    assert!(stderr.contains("1 file of the package's that it had changed"), "{stderr}");
    let (_, stderr) = notebook.run(&["--persist"], &["read=kept/note"]);
    assert!(!stderr.contains("that it had changed"), "{stderr}");
}

#[test]
fn caches_and_removed_files_are_not_missed() {
    let notebook = Notebook::new("caching");
    let words = ["write=node_modules/.cache/x/y=again", "remove=package.json", "write=empty="];
    let (said, stderr) = notebook.run(&[], &words);
    assert_eq!(said, "written\nremoved\nwritten\n");
    assert!(!stderr.contains("lost"), "{stderr}");
}

#[test]
fn settings_that_it_came_with_are_written_over() {
    let notebook = Notebook::new("settings");
    fs::write(notebook.0.join("settings.json"), "{}").unwrap();
    let (said, stderr) =
        notebook.run(&[], &["read=settings.json", "write=settings.json=[1]", "read=settings.json"]);
    assert_eq!(said, "{}\nwritten\n[1]\n");
    assert!(stderr.contains("is lost: settings.json, 3 bytes"), "{stderr}");
    assert_eq!(notebook.run(&[], &["read=settings.json"]).0, "{}\n");
}

/// Its dependencies, and what is beside it, are not its own.
#[test]
fn only_its_own_folder_is_writable() {
    let notebook = Notebook::new("beside");
    let words = ["write=../x=no", "write=../../x=no", "write=../../package.json=no", "write=own=yes"];
    assert_eq!(notebook.run(&[], &words).0, "EROFS\nEROFS\nEROFS\nwritten\n");
}

#[test]
fn a_hostile_name_does_nothing_to_the_terminal() {
    let notebook = Notebook::new("hostile");
    let (_, stderr) = notebook.run(&[], &["write=\u{1b}[31m\nnpxc: \u{202e}=x"]);
    let lost: Vec<&str> = stderr.lines().filter(|line| line.contains("lost")).collect();
    assert_eq!(lost.len(), 1, "{stderr}");
    assert!(lost[0].ends_with("1 byte") && !stderr.contains(['\u{1b}', '\u{202e}']), "{stderr}");
}

#[test]
fn two_sessions_share_data_and_one_has_the_folder() {
    let notebook = Notebook::new("shared");
    let mut first =
        notebook.waiting(&["--persist"], &["write=$DATA/x=from the first", "write=kept=from the first"]);
    let (said, stderr) = notebook.run(&["--persist"], &["read=$DATA/x", "read=kept", "write=other=second"]);
    assert_eq!(said, "from the first\nENOENT\nwritten\n");
    assert!(stderr.contains("another session of this package is running"), "{stderr}");
    assert!(stderr.contains("is lost: other, 6 bytes"), "{stderr}");
    first.stdin.take().unwrap().write_all(b"x").unwrap();
    assert!(wait(&mut first).success());
    assert_eq!(notebook.run(&["--persist"], &["read=kept", "read=other"]).0, "from the first\nENOENT\n");
}

#[test]
fn a_killed_npxc_leaves_what_was_kept_and_nothing_else() {
    let notebook = Notebook::new("killed");
    let mut first = notebook.waiting(&["--persist"], &["write=kept=before"]);
    let tree = descendants(first.id());
    first.kill().unwrap();
    wait(&mut first);
    // At once: the sandbox may have a moment to live, and its lock with it.
    let (said, stderr) = notebook.run(&["--persist"], &["read=kept"]);
    assert_eq!(said, "before\n", "{stderr}");
    wait_for_end(&tree);
    let mut second = notebook.waiting(&[], &["write=written-by-the-killed=x"]);
    let tree = descendants(second.id());
    second.kill().unwrap();
    wait(&mut second);
    wait_for_end(&tree);
    let mut pending = vec![world().directory.join("home")];
    while let Some(path) = pending.pop() {
        assert!(!path.ends_with("written-by-the-killed"), "{}", path.display());
        // Other tests remove things meanwhile.
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            pending.extend(fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

#[test]
fn no_isolate_shows_the_working_directory_and_says_so() {
    let notebook = Notebook::new("open");
    let directory = world().scratch("work");
    fs::write(directory.join("note.txt"), "unnamed").unwrap();
    let (cwd, note) = (directory.to_str().unwrap(), directory.join("note.txt").display().to_string());
    let read = format!("read={note}");
    assert_eq!(notebook.run(&["--cwd", cwd], &[&read]).0, "ENOENT\n");
    let write = format!("write={cwd}/new=x");
    let words = [read.as_str(), write.as_str(), "read=/etc/shadow"];
    let (said, stderr) = notebook.run(&["--no-isolate", "--cwd", cwd], &words);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["unnamed", "EROFS", "ENOENT"], "{stderr}");
    assert!(!directory.join("new").exists());
    let warning = format!("npxc: warning: --no-isolate: the package can read everything in {cwd}");
    assert!(stderr.contains(&warning), "{stderr}");
    let dry = world().npxc(&notebook.arguments(&["--dry-run", "--no-isolate", "--cwd", cwd], &[])).output().0;
    let text = String::from_utf8(dry.stdout).unwrap();
    assert!(
        text.contains("not isolated") && text.contains(&format!("mount          {cwd} (read-only)")),
        "{text}"
    );
}

#[test]
fn no_isolate_is_refused_where_it_would_show_everything() {
    let notebook = Notebook::new("wide");
    let home = world().directory.join("home");
    for cwd in [Path::new("/"), home.as_path(), world().directory.as_path()] {
        let options = ["--no-isolate", "--cwd", cwd.to_str().unwrap()];
        let (output, _) = world().npxc(&notebook.arguments(&options, &["version"])).output();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("your whole home directory") && stderr.contains("--cwd"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn data_is_not_mounted_over() {
    let notebook = Notebook::new("taken");
    let mount = format!("{}:/data", world().scratch("files").display());
    let (output, _) =
        world().npxc(&notebook.arguments(&["--persist", "--mount", &mount], &["version"])).output();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("where `persist` has its own") && stderr.contains("hint: mount it at another"),
        "{stderr}"
    );
}
