//! Published clients and test suites, each run against a server as node starts it and against the same one under npxc:
//! what they say has to be the same.
//!
//! They are installed once in a run, below the run's own directory, with the user's npm and pip configuration. The run as
//! an ordinary user goes without: to a client npxc is the same program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::machine::{have, there_is};
use super::world::{USER_DIRECTORY, world};

/// Servers: their names and versions.
const EVERYTHING: (&str, &str) = ("@modelcontextprotocol/server-everything", "2026.8.31");
const CONTEXT7: (&str, &str) = ("@upstash/context7-mcp", "4.1.1");
/// What npm installs.
const PACKAGES: [(&str, &str); 6] = [
    EVERYTHING,
    CONTEXT7,
    ("@modelcontextprotocol/sdk", "1.32.2"),
    ("@modelcontextprotocol/inspector", "2.12.0"),
    ("@modelcontextprotocol/conformance", "0.1.16"),
    ("supergateway", "4.0.0"),
];
/// The node that the newest of them want.
const NODE: &str = "22.23.3";
/// What pip installs.
const PYTHON: [&str; 2] = ["mcp==2.3.0", "fastmcp==4.1.2"];
/// Longest time for one of them, for `timeout(1)`; only a hang takes it.
const PATIENCE: &str = "600";

/// Where they are; `None` in the run as an ordinary user.
fn suites() -> Option<&'static Path> {
    static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(install);
    std::env::var_os(USER_DIRECTORY).is_none().then(|| DIRECTORY.as_path())
}

fn install() -> PathBuf {
    let directory = world().scratch("suites");
    let node = node_package();
    let packages = PACKAGES.into_iter().chain([(node.as_str(), NODE)]);
    let dependencies: serde_json::Map<_, _> =
        packages.map(|(name, version)| (name.to_owned(), json!(version))).collect();
    let manifest = json!({"private": true, "dependencies": dependencies});
    fs::create_dir(directory.join("conforming")).unwrap();
    fs::write(directory.join("package.json"), manifest.to_string()).unwrap();
    for (name, text) in [
        ("typescript.mjs", include_str!("clients/typescript.mjs")),
        ("python_sdk.py", include_str!("clients/python_sdk.py")),
        ("discover.py", include_str!("clients/discover.py")),
        ("fastmcp_client.py", include_str!("clients/fastmcp_client.py")),
        ("loopback.cjs", include_str!("clients/loopback.cjs")),
        ("conforming/package.json", include_str!("conforming/package.json")),
        ("conforming/index.js", include_str!("conforming/index.js")),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
    let mut npm = Command::new("npm");
    world().environment(&mut npm);
    // Their node is not this one; none of them has anything to build.
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    succeeds(npm.current_dir(&directory));
    // A client would not wait for an installation.
    for server in [Served::Everything, Served::Context7, Served::Conforming] {
        succeeds(&mut world().command(&["install", &server.spec(&directory)]));
    }
    directory
}

/// A node of its own, as a package without scripts.
fn node_package() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("node-linux-{architecture}")
}

/// The server that is driven.
#[derive(Debug, Clone, Copy)]
enum Served {
    /// The reference server that has everything.
    Everything,
    /// One that speaks the revision 2026-07-28.
    Context7,
    /// The tests' own, with what the conformance suite asks for by name (`conforming/index.js`).
    Conforming,
}

impl Served {
    /// For npxc.
    fn spec(self, suites: &Path) -> String {
        match self.package() {
            Some((name, version)) => format!("{name}@{version}"),
            None => suites.join("conforming").display().to_string(),
        }
    }

    /// For node.
    fn program(self, suites: &Path) -> PathBuf {
        match self.package() {
            Some((name, _)) => suites.join("node_modules").join(name).join("dist/index.js"),
            None => suites.join("conforming/index.js"),
        }
    }

    /// Its package, if it is published.
    fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Everything => Some(EVERYTHING),
            Self::Context7 => Some(CONTEXT7),
            Self::Conforming => None,
        }
    }
}

/// A Python with the clients, if this machine has what makes one.
fn python() -> Option<PathBuf> {
    static VENV: LazyLock<PathBuf> = LazyLock::new(|| {
        let venv = world().scratch("python");
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        // With the user's own environment: pip's configuration is in their home.
        let mut pip = Command::new(venv.join("bin/pip"));
        succeeds(pip.args(["--quiet", "--disable-pip-version-check", "install"]).args(PYTHON));
        venv.join("bin/python")
    });
    if !have("python3") {
        return None;
    }
    let probe = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    let usable = there_is("python3-venv", probe.is_ok_and(|status| status.success()));
    (usable && there_is("PyPI", !super::machine::left_out("PyPI"))).then(|| VENV.clone())
}

/// How a server is started.
#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    Npxc,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Plain, Self::Npxc];

    /// Its command line.
    fn command(self, server: Served, suites: &Path) -> Vec<String> {
        match self {
            Self::Plain => vec!["node".to_owned(), server.program(suites).display().to_string()],
            Self::Npxc => {
                let npxc = world().npxc(&[&server.spec(suites)]).command;
                let words = std::iter::once(npxc.get_program()).chain(npxc.get_args());
                words.map(|word| word.to_str().unwrap().to_owned()).collect()
            }
        }
    }
}

/// A program of the suites', in the run's environment.
fn suite(program: &Path, suites: &Path) -> Command {
    let mut command = Command::new("timeout");
    world().environment(&mut command);
    command.args(["--kill-after=10", PATIENCE]).arg(program).current_dir(suites);
    command
}

fn node(suites: &Path) -> PathBuf {
    suites.join("node_modules").join(node_package()).join("bin/node")
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a client has to say of either server: the same, line by line.
fn transcripts(
    program: &Path,
    client: &str,
    server: Served,
    suites: &Path,
) -> serde_json::Map<String, Value> {
    let directory = world().scratch("client");
    let [plain, npxc] = Way::BOTH.map(|way| {
        let mut command = suite(program, suites);
        command.arg(suites.join(client)).arg(&directory).args(way.command(server, suites));
        String::from_utf8(succeeds(&mut command).stdout).unwrap()
    });
    for (plain, npxc) in plain.lines().zip(npxc.lines()) {
        assert_eq!(plain, npxc);
    }
    assert_eq!(plain.lines().count(), npxc.lines().count());
    let entries = npxc.lines().map(|line| serde_json::from_str::<serde_json::Map<_, _>>(line).unwrap());
    entries.flatten().collect()
}

/// That the client did what it was there for.
fn has_done_all(said: &serde_json::Map<String, Value>) {
    let has = |what: &str, word: &str| {
        let entry = said.get(what).unwrap_or(&Value::Null).to_string();
        assert!(entry.contains(word), "{what}: {entry}");
    };
    has("tools", "trigger-sampling-request");
    has("prompts", "simple-prompt");
    has("resource", "Everything Server");
    has("echo", "gr\u{fc}\u{df} \u{1f980}");
    has("structured", "temperature");
    has("image", "image/png");
    has("wrong arguments", "Input validation error");
    has("roots", "file:///home/user/a%20project");
    has("sampling", "sampled \u{1f980}");
    has("elicitation", "Ferris");
    has("asked", "say it");
    has("long", "Steps: 2");
    assert_eq!(said["progress"].as_array().unwrap().len(), 3);
    assert!(said.contains_key("cancelled"));
    has("logged", "Roots updated: 2 root(s)");
}

#[test]
fn the_typescript_client_sees_no_difference() {
    let Some(suites) = suites() else { return };
    let said = transcripts(Path::new("node"), "typescript.mjs", Served::Everything, suites);
    has_done_all(&said);
    assert!(said["cancelled"].as_str().unwrap().contains("enough"), "{}", said["cancelled"]);
}

#[test]
fn the_python_client_sees_no_difference() {
    let (Some(suites), Some(python)) = (suites(), python()) else { return };
    let said = transcripts(&python, "python_sdk.py", Served::Everything, suites);
    has_done_all(&said);
    assert_eq!(said["cancelled"], true);
    assert!(said["echo again"].to_string().contains("still there"));
}

#[test]
fn a_client_that_never_initializes_sees_no_difference() {
    let (Some(suites), Some(python)) = (suites(), python()) else { return };
    let said = transcripts(&python, "discover.py", Served::Context7, suites);
    assert_eq!(said["version"], "2026-07-28");
    assert!(said["tools"].to_string().contains("resolve-library-id"), "{}", said["tools"]);
    assert_eq!(said["wrong arguments"]["isError"], true, "{}", said["wrong arguments"]);
}

#[test]
fn fastmcp_sees_no_difference() {
    let (Some(suites), Some(python)) = (suites(), python()) else { return };
    let said = transcripts(&python, "fastmcp_client.py", Served::Everything, suites);
    has_done_all(&said);
    assert!(said["echo again"].to_string().contains("still there"));
}

#[test]
fn the_inspector_sees_no_difference() {
    let Some(suites) = suites() else { return };
    let inspector =
        suites.join("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let inspect = |way: Way, words: &[&str]| {
        let mut command = suite(&node(suites), suites);
        command.arg(&inspector).arg("--cli").args(way.command(Served::Everything, suites)).args(words);
        serde_json::from_slice::<Value>(&succeeds(&mut command).stdout).unwrap()
    };
    let both = |words: &[&str]| {
        let [plain, npxc] = Way::BOTH.map(|way| inspect(way, words));
        assert_eq!(plain, npxc, "{words:?}");
        npxc
    };
    let tools = both(&["--method", "tools/list"]);
    assert!(tools["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "get-sum"), "{tools}");
    let call = |name: &str, arguments: &[&str]| {
        let mut words = vec!["--method", "tools/call", "--tool-name", name];
        words.extend(arguments.iter().flat_map(|argument| ["--tool-arg", argument]));
        both(&words)
    };
    assert!(
        call("echo", &["message=gr\u{fc}\u{df} \u{1f980}"]).to_string().contains("gr\u{fc}\u{df} \u{1f980}")
    );
    assert!(call("get-sum", &["a=1", "b=41.5"]).to_string().contains("42.5"));
    assert!(call("get-tiny-image", &[]).to_string().contains("image/png"));
    assert!(both(&["--method", "prompts/list"]).to_string().contains("simple-prompt"));
    assert!(both(&["--method", "resources/list"]).to_string().contains("architecture.md"));
}

/// A server behind HTTP, on loopback.
struct Bridge {
    child: Child,
    port: u16,
}

impl Bridge {
    fn start(server: &[String], suites: &Path) -> Self {
        let quoted: Vec<_> = server.iter().map(|word| format!("'{word}'")).collect();
        let mut command = Command::new(node(suites));
        world().environment(&mut command);
        command.arg("-r").arg(suites.join("loopback.cjs"));
        command.arg(suites.join("node_modules/supergateway/dist/index.js"));
        command.args(["--outputTransport", "streamableHttp", "--stateful", "--stdio", &quoted.join(" ")]);
        // A group of its own, so that what it started ends with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("port ")?.parse().ok()).expect("it listens");
        // It says more, and must not wait for somebody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        let _ = kill_process_group(group, Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Every check of the conformance suite: its scenario and name, how it ended, and what it says.
fn conformance(way: Way, server: Served, suites: &Path) -> Vec<String> {
    let bridge = Bridge::start(&way.command(server, suites), suites);
    let results = world().scratch("conformance");
    let mut command = suite(&node(suites), suites);
    command.arg(suites.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"));
    command.args([
        "server",
        "--suite",
        "all",
        "--url",
        &format!("http://127.0.0.1:{}/mcp", bridge.port),
        "-o",
    ]);
    // Its status says whether all passed, which they do not: the bridge takes any Host.
    let output = command.arg(&results).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("=== SUMMARY ==="), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let mut checks = Vec::new();
    for scenario in fs::read_dir(&results).unwrap().map(|entry| entry.unwrap()) {
        let name = scenario.file_name().into_string().unwrap();
        // Without the time: "-2026-11-23T05-19-17-847Z".
        let name = &name[..name.len() - 25];
        let text = fs::read_to_string(scenario.path().join("checks.json")).unwrap();
        for check in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let line = format!("{name} {} {} {}", check["id"], check["status"], check["errorMessage"]);
            checks.push(line.replace(&bridge.port.to_string(), "PORT"));
        }
    }
    checks.sort();
    checks
}

#[test]
fn the_conformance_suite_sees_no_difference() {
    let Some(suites) = suites() else { return };
    for (server, least) in [(Served::Conforming, 40), (Served::Everything, 10)] {
        let [plain, npxc] = Way::BOTH.map(|way| conformance(way, server, suites));
        for (plain, npxc) in plain.iter().zip(&npxc) {
            eprintln!("{} {plain} | {npxc}", if plain == npxc { "same" } else { "DIFFERENT" });
        }
        assert_eq!(plain, npxc, "{server:?}");
        let passed = npxc.iter().filter(|check| check.contains("\"SUCCESS\"")).count();
        assert!(passed >= least, "{server:?}: {npxc:#?}");
    }
}
