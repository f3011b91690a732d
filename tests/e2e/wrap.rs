//! `npxc wrap` and `npxc unwrap` on files where a client has them, and a server that answers through what was written.

mod asked;
mod probed;
mod words;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::loopback::{Registry, said};
use super::mcp::Client;
use super::processes::{signal, wait};
use super::world::{Npxc, world};

/// A home directory of a user of several clients.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        Self(world().scratch("client-home"))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// npxc with this home; what is installed, and the records of files, are the run's.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = world().command(arguments);
        command.env("HOME", &self.0).env("XDG_CONFIG_HOME", self.at(".config")).current_dir(&self.0);
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// On a terminal, where a line is typed at each question; its exit status, and all that is shown.
    fn typed(&self, arguments: &[&str], directory: &Path, lines: &str) -> (Option<i32>, String) {
        self.typed_with(&[], arguments, directory, lines)
    }

    fn typed_with(
        &self,
        variables: &[(&str, &str)],
        arguments: &[&str],
        directory: &Path,
        lines: &str,
    ) -> (Option<i32>, String) {
        let npxc = self.command(&[]);
        let line = format!("{} {}", npxc.get_program().display(), arguments.join(" "));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(directory);
        command.envs(npxc.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut shown, mut lines) = (Vec::new(), lines.split_inclusive('\n'));
        let mut byte = [0];
        while screen.read(&mut byte).is_ok_and(|count| count == 1) {
            shown.push(byte[0]);
            if shown.ends_with(b"[y/N] ") {
                keys.write_all(lines.next().unwrap_or("\x03").as_bytes()).unwrap();
            }
        }
        let shown = String::from_utf8(shown).unwrap().replace("\r\n", "\n");
        (child.wait().unwrap().code(), shown)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }
}

/// A package that is an MCP server, says what it has of a variable, and asks for a name when it starts.
fn server(name: &str) -> PathBuf {
    let directory = world().scratch(name);
    let package = json!({"name": name, "version": "1.0.0", "bin": "index.js"});
    fs::write(directory.join("package.json"), package.to_string()).unwrap();
    let index = r"#!/usr/bin/env node
require('dns').lookup('api.example.com', () => {});
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line);
  const send = (result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\n');
  if (method === 'initialize') send({ protocolVersion: '2025-06-18', capabilities: { tools: {} },
    serverInfo: { name: 'wrapped', version: String(process.env.TOKEN) } });
  else if (method === 'tools/call') send({ content: [{ type: 'text', text: JSON.stringify({
    token: process.env.TOKEN, key: process.env.KEY, notes: require('fs').readdirSync(process.argv[2]) }) }] });
  else if (id !== undefined) send({ tools: [] });
});
";
    fs::write(directory.join("index.js"), index).unwrap();
    directory
}

/// Where npxc says that it has a copy of a file.
fn copy(said: &str, file: &str) -> PathBuf {
    let named = said.lines().filter_map(|line| line.split_once("; as it was: "));
    named.filter(|(line, _)| line.ends_with(file)).map(|(_, path)| path.into()).next().unwrap()
}

const CURSOR: &str = ".cursor/mcp.json";
const CODEX: &str = ".codex/config.toml";

fn files(home: &Home, package: &Path) -> [(&'static str, String); 2] {
    let package = package.display();
    let cursor = format!(
        "// mine\n{{\"mcpServers\": {{\n  \"wrapped\": {{ \"command\": \"npx\", \"args\": [\"-y\", \"{package}\"], \"env\": {{\"TOKEN\": \"hunter2\"}}, }},\n  \"other\": {{\"command\": \"uvx\", \"args\": [\"x\"]}}\n}}}}"
    );
    let codex = format!("# mine\n[mcp_servers.wrapped]\r\ncommand = 'npx'\r\nargs = ['{package}']\r\n");
    home.write(CURSOR, &cursor);
    home.write(CODEX, &codex);
    [(CURSOR, cursor), (CODEX, codex)]
}

#[test]
fn a_wrapped_server_answers_and_unwrap_gives_back_every_byte() {
    let (home, package) = (Home::new(), server("wrapped-server"));
    let files = files(&home, &package);
    fs::set_permissions(home.at(CURSOR), fs::Permissions::from_mode(0o600)).unwrap();

    let (status, shown, said) = home.run(&["wrap", "--dry-run"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        shown.contains("other    left alone: uvx is not npx") && shown.contains("+  \"wrapped\": {"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !said.contains("hunter2"));
    let (status, _, said) = home.run(&["wrap"]);
    assert_eq!(status, Some(1), "nobody was asked");
    assert!(said.contains("npxc: hint: --yes "), "{said}");
    for (path, text) in &files {
        assert_eq!(home.read(path), *text, "nothing is changed yet");
    }

    let (status, _, said) = home.run(&["wrap", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(said.matches("npxc: installing ").count(), 1, "{said}");
    assert!(said.contains("is installed already"), "the second client has the same package: {said}");
    let before = said.find("is installed already").unwrap();
    assert!(before < said.find("npxc: wrapped 1 server").unwrap(), "no client may wait: {said}");
    // Beside the file, and in a project's history, a secret would be where others look.
    assert_eq!(fs::read_dir(home.at(".cursor")).unwrap().count(), 1);
    let backup = copy(&said, CURSOR);
    assert!(backup.starts_with(world().directory.join("home/.local/share/npxc/wrapped")), "{said}");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&backup).unwrap(), files[0].1);
    let wrapped: Vec<String> = files.iter().map(|(path, _)| home.read(path)).collect();
    let (status, shown, said) = home.run(&["wrap", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(shown.contains("is npxc already") && said.contains("nothing to change"), "{shown}{said}");
    assert_eq!(wrapped, files.iter().map(|(path, _)| home.read(path)).collect::<Vec<_>>());

    // As the client starts it.
    let entry: Value =
        serde_json::from_str(&wrapped[0].replace("// mine\n", "").replace(", },", " },")).unwrap();
    let entry = &entry["mcpServers"]["wrapped"];
    let words: Vec<&str> =
        entry["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[..2], ["-y", "--env=TOKEN"]);
    let mut npxc = world().npxc(&words);
    assert_eq!(
        entry["command"].as_str().unwrap(),
        npxc.command.get_program().to_str().unwrap(),
        "it is not in PATH"
    );
    npxc.command.env("TOKEN", entry["env"]["TOKEN"].as_str().unwrap());
    let audit = npxc.audit.clone();
    let mut client = Client::start(Npxc { command: npxc.command, audit });
    assert_eq!(client.request("tools/list", json!({}))["tools"], json!([]));
    client.close();

    let (status, shown, said) = home.run(&["unwrap", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(shown.matches("will be put back").count(), 2, "{shown}");
    assert_eq!(said.matches("byte for byte").count(), 2, "{said}");
    for (path, text) in &files {
        assert_eq!(home.read(path), *text);
    }
    assert!(!backup.exists(), "a copy of what is there again is nobody's help");
    let (_, _, said) = home.run(&["unwrap", "--yes"]);
    assert!(said.contains("nothing to put back"), "{said}");
}

#[test]
fn a_server_that_is_npxc_already_gets_options_by_its_name_and_nothing_of_it_is_started() {
    let home = Home::new();
    let npxc = world().command(&[]).get_program().to_str().unwrap().to_owned();
    let registry = "npm_config_registry";
    let text = json!({"mcpServers": {"own": {"command": npxc, "args": ["--memory=1G", "npxc-none", "x"],
        "env": {registry: "http://127.0.0.1:9/"}}}});
    let text = text.to_string();
    home.write(CURSOR, &text);
    let (status, _, said) = home.run(&["wrap", "--yes", "--allow", "api.example.com", CURSOR]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("gets --allow=api.example.com where it is named: npxc wrap --server NAME"),
        "{said}"
    );
    assert_eq!(home.read(CURSOR), text);
    let (status, shown, said) =
        home.run(&["wrap", "--yes", "--server", "own", "--allow", "api.example.com", CURSOR]);
    assert_eq!(status, Some(0), "{said}");
    assert!(shown.contains("own  is npxc already, and gets options"), "{shown}");
    assert!(!said.contains("install"), "{said}");
    let with = text.replace("\"--memory=1G\",", "\"--memory=1G\",\"--allow=api.example.com\",");
    assert_eq!(home.read(CURSOR), with);
    assert_eq!(fs::read_to_string(copy(&said, CURSOR)).unwrap(), text);
    let (status, _, said) = home.run(&["unwrap", "--yes", CURSOR]);
    assert_eq!((status, home.read(CURSOR)), (Some(0), text), "{said}");
}

#[test]
fn what_changed_since_stays_when_a_server_is_put_back() {
    let (home, package) = (Home::new(), server("kept-server"));
    let files = files(&home, &package);
    let (status, _, said) =
        home.run(&["wrap", "--yes", "--no-install", "--client", "cursor", "--allow", "api.example.com:443"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        home.read(CURSOR).contains("\"--allow=api.example.com:443\", \"--env=TOKEN\", "),
        "{}",
        home.read(CURSOR)
    );
    let backup = copy(&said, CURSOR);
    let hint = format!("npxc: hint: before the client starts: npxc install {}; ", package.display());
    assert!(said.contains(&hint), "{said}");
    assert_eq!(home.read(CODEX), files[1].1, "another client's");
    home.write(CURSOR, &format!("{}\n// later\n", home.read(CURSOR)));
    let (status, _, said) = home.run(&["unwrap", "--yes", CURSOR]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("what else has changed since stays"), "{said}");
    assert_eq!(home.read(CURSOR), format!("{}\n// later\n", files[0].1));
    assert!(said.contains(&format!("a copy from before is {}", backup.display())) && backup.exists());
}

#[test]
fn what_only_the_client_knows_reaches_the_server_when_the_client_fills_it_in() {
    let (home, package) = (Home::new(), server("filled-server"));
    let project = home.at("project");
    fs::create_dir_all(project.join("notes")).unwrap();
    home.write("project/notes/one.txt", "1");
    home.write("project/keys.env", "# mine\nexport TOKEN=\"hunter2\"\n");
    let text = json!({"servers": {"filled": {
        "command": "npx",
        "args": ["-y", package, "${workspaceFolder}/notes"],
        "envFile": "${workspaceFolder}/keys.env",
        "env": {"KEY": "${input:key}"},
    }}});
    let file = home.write("project/.vscode/mcp.json", &format!("{text:#}\n"));
    let original = fs::read_to_string(&file).unwrap();
    let wrap = |arguments: &[&str]| {
        let output = home.command(arguments).current_dir(&project).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let (status, shown) = home.typed(&["wrap", "--probe", "--client", "vscode"], &project, "y\ny\n");
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("probing filled, without the client's value of KEY"), "{shown}");
    assert!(shown.contains("it tried to reach api.example.com\n"), "{shown}");
    let wrapped = fs::read_to_string(&file).unwrap();
    assert!(!wrapped.contains("hunter2") && !shown.contains("hunter2"), "{wrapped}{shown}");

    // As the client starts it: with its own values.
    let filled = wrapped.replace("${workspaceFolder}", project.to_str().unwrap());
    let entry = serde_json::from_str::<Value>(&filled).unwrap()["servers"]["filled"].take();
    let words: Vec<&str> =
        entry["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let mut npxc = world().npxc(&words);
    npxc.command.envs([("TOKEN", "hunter2"), ("KEY", "asked")]);
    let mut client = Client::start(npxc);
    let seen: Value = serde_json::from_str(&client.text("look", json!({}))).unwrap();
    assert_eq!(seen, json!({"token": "hunter2", "key": "asked", "notes": ["one.txt"]}));
    client.close();

    wrap(&["unwrap", "--yes", "--client", "vscode"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), original);
}
