//! Which clients there are and where their files lie, after their public documentation. Pure: nothing is looked up.

use std::path::{Path, PathBuf};

use super::variables::Named;

/// A client. What it calls its servers' table, and where its files are, stands in [`FILES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// For `--client`.
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
    /// Started from the desktop, with a shorter `PATH` than a shell's.
    pub desktop: bool,
    /// What it puts paths in the place of, wherever its servers are described.
    pub named: &'static [Named],
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, with comments.
    Json,
    /// TOML.
    Toml,
}

/// The names that lead to a table of servers; `*` is any name.
pub type Shape = &'static [&'static str];

/// A file that may have servers in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose it is; of a file that was named, and is none of those known, nobody's.
    pub client: Option<Client>,
    /// Where. A part of it may be `*`: any directory.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// Where its servers are.
    pub shapes: &'static [Shape],
    /// In the working directory: others may use it, too.
    pub project: bool,
}

/// What the places depend on.
#[allow(missing_debug_implementations)] // it has a closure
pub struct Surroundings<'a> {
    /// The user's home directory.
    pub home: &'a Path,
    /// `$XDG_CONFIG_HOME`, or where that is by default.
    pub config: &'a Path,
    /// The project.
    pub cwd: &'a Path,
    /// Whether this is macOS.
    pub mac: bool,
    /// A variable's value, if it is an absolute path.
    pub variable: &'a dyn Fn(&str) -> Option<PathBuf>,
}

const EDITORS: &[Named] = &[Named::Project("${workspaceFolder}"), Named::Home("${userHome}")];
const SHELLS: &[Named] = &[Named::Home("${HOME}")];

const CLAUDE_DESKTOP: Client =
    Client { id: "claude-desktop", name: "Claude Desktop", desktop: true, named: &[] };
const CLAUDE_CODE: Client = Client { id: "claude-code", name: "Claude Code", desktop: false, named: SHELLS };
const CURSOR: Client = Client { id: "cursor", name: "Cursor", desktop: true, named: EDITORS };
const VS_CODE: Client = Client { id: "vscode", name: "VS Code", desktop: true, named: EDITORS };
const WINDSURF: Client = Client { id: "windsurf", name: "Windsurf", desktop: true, named: &[] };
const ZED: Client = Client { id: "zed", name: "Zed", desktop: true, named: &[] };
const CODEX: Client = Client { id: "codex", name: "Codex", desktop: false, named: &[] };
const GEMINI: Client = Client { id: "gemini", name: "Gemini CLI", desktop: false, named: SHELLS };

/// Every client.
pub const CLIENTS: [Client; 8] = [CLAUDE_DESKTOP, CLAUDE_CODE, CURSOR, VS_CODE, WINDSURF, ZED, CODEX, GEMINI];

/// What a file's place is relative to.
enum Base {
    /// The home directory.
    Home,
    /// `$XDG_CONFIG_HOME`.
    Config,
    /// Where applications keep settings: `~/Library/Application Support` on macOS, else `$XDG_CONFIG_HOME`.
    Application,
    /// This variable, or else this directory of the home directory.
    Variable(&'static str, &'static str),
    /// The working directory.
    Project,
}

const SERVERS: &[Shape] = &[&["mcpServers"]];
const SETTINGS: &[Shape] = &[&["mcp", "servers"]];
const FILE: &[Shape] = &[&["servers"]];
const CONTEXT: &[Shape] = &[&["context_servers"]];
const TABLES: &[Shape] = &[&["mcp_servers"]];
const USER_AND_PROJECTS: &[Shape] = &[&["mcpServers"], &["projects", "*", "mcpServers"]];

/// All that a file of no known client may have.
const ANY: &[Shape] = &[
    &["mcpServers"],
    &["projects", "*", "mcpServers"],
    &["servers"],
    &["mcp", "servers"],
    &["context_servers"],
];

const FILES: &[(Client, Base, &str, &[Shape])] = &[
    (CLAUDE_DESKTOP, Base::Application, "Claude/claude_desktop_config.json", SERVERS),
    (CLAUDE_CODE, Base::Variable("CLAUDE_CONFIG_DIR", ""), ".claude.json", USER_AND_PROJECTS),
    (CLAUDE_CODE, Base::Project, ".mcp.json", SERVERS),
    (CURSOR, Base::Home, ".cursor/mcp.json", SERVERS),
    (CURSOR, Base::Project, ".cursor/mcp.json", SERVERS),
    (VS_CODE, Base::Application, "Code/User/mcp.json", FILE),
    (VS_CODE, Base::Application, "Code/User/profiles/*/mcp.json", FILE),
    (VS_CODE, Base::Application, "Code/User/settings.json", SETTINGS),
    (VS_CODE, Base::Application, "Code - Insiders/User/mcp.json", FILE),
    (VS_CODE, Base::Application, "Code - Insiders/User/settings.json", SETTINGS),
    (VS_CODE, Base::Application, "VSCodium/User/mcp.json", FILE),
    (VS_CODE, Base::Application, "VSCodium/User/settings.json", SETTINGS),
    (VS_CODE, Base::Project, ".vscode/mcp.json", FILE),
    (VS_CODE, Base::Project, ".vscode/settings.json", SETTINGS),
    (WINDSURF, Base::Home, ".codeium/windsurf/mcp_config.json", SERVERS),
    (ZED, Base::Config, "zed/settings.json", CONTEXT),
    (ZED, Base::Project, ".zed/settings.json", CONTEXT),
    (CODEX, Base::Variable("CODEX_HOME", ".codex"), "config.toml", TABLES),
    (CODEX, Base::Project, ".codex/config.toml", TABLES),
    (GEMINI, Base::Home, ".gemini/settings.json", SERVERS),
    (GEMINI, Base::Project, ".gemini/settings.json", SERVERS),
];

/// Every file that a client may have, whether it is there or not, each once.
pub fn places(here: &Surroundings<'_>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (client, base, name, shapes) in FILES {
        let directory = match base {
            Base::Home => here.home.to_owned(),
            Base::Config if here.mac => here.home.join(".config"),
            Base::Application if here.mac => here.home.join("Library/Application Support"),
            Base::Config | Base::Application => here.config.to_owned(),
            Base::Variable(variable, below) => {
                (here.variable)(variable).unwrap_or_else(|| here.home.join(below))
            }
            Base::Project => here.cwd.to_owned(),
        };
        let path = directory.join(name);
        if places.iter().all(|known| known.path != path) {
            let project = matches!(base, Base::Project);
            places.push(Place { client: Some(*client), format: format(&path), path, shapes, project });
        }
    }
    places
}

/// A file that was named and is none of the known ones: whatever shape its servers have.
pub fn unknown(path: PathBuf) -> Place {
    let format = format(&path);
    let shapes = match format {
        Format::Json => ANY,
        Format::Toml => TABLES,
    };
    Place { client: None, path, format, shapes, project: false }
}

fn format(path: &Path) -> Format {
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_toml { Format::Toml } else { Format::Json }
}
