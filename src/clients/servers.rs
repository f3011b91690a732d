//! The servers of a file: how each is started, and what of that npxc has to know. Pure.

use std::collections::HashMap;
use std::ops::Range;

use super::places::{Format, Place, Shape};
use super::value::{Fault, Kind, Value};
use super::{json, toml};
use crate::config::values::EnvValue;

/// Most variables of a server: each becomes an argument.
pub const MOST_VARIABLES: usize = 500;

/// A string of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its bytes, quotes included.
    pub span: Range<usize>,
    /// What it says.
    pub text: String,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The names that lead to it, its own last.
    pub path: Vec<String>,
    /// Where its entry begins.
    pub at: usize,
    /// Whether an earlier entry has the same name; this is the one that counts.
    pub twice: bool,
    /// How it is started.
    pub start: Start,
    /// Values that may be secrets: of variables and headers.
    pub secrets: Vec<Range<usize>>,
}

/// How a server is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A program and its arguments.
    Program(Program),
    /// By the client alone, or not as clients document it; why, for people.
    Unknown(String),
}

/// A program that the client starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program.
    pub command: Text,
    /// Its arguments.
    pub args: Vec<Text>,
    /// The variables that the client sets, or hands on.
    pub env: Vec<Variable>,
    /// The file that has more of them (`envFile`), if the client reads one; as it is written.
    pub env_file: Option<String>,
}

/// A variable for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, if it is written as text.
    pub value: Option<EnvValue>,
    /// Whether it is handed on from where the client is started, and not set by it.
    pub handed: bool,
}

impl Server {
    /// Its name.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// Its name, with the project that it is for (`projects.DIRECTORY.mcpServers.NAME`).
    pub fn label(&self) -> String {
        match self.path.as_slice() {
            [projects, directory, _, name] if projects == "projects" => format!("{name} ({directory})"),
            _ => self.name().to_owned(),
        }
    }
}

/// Reads a file's text and finds its servers, in the order of the file.
///
/// # Errors
/// It does not parse, or what should be a table of servers is none.
pub fn find(place: &Place, text: &str) -> Result<Vec<Server>, Fault> {
    let root = match place.format {
        Format::Json => json::parse(text)?,
        Format::Toml => toml::parse(text)?,
    };
    if !matches!(root.kind, Kind::Table(_)) {
        return Err(Fault::new(root.span.start, "expected an object with servers in it"));
    }
    let mut servers = Vec::new();
    let mut other = None;
    for shape in place.shapes {
        match descend(&root, shape, &mut Vec::new(), &mut servers) {
            Ok(()) => {}
            // In a file of nobody's these names may mean something else.
            Err(fault) if place.client.is_none() => other = other.or(Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
    if let Some(fault) = other.filter(|_| servers.is_empty()) {
        return Err(fault);
    }
    servers.sort_by_key(|server| server.at);
    Ok(servers)
}

fn descend(
    value: &Value,
    shape: Shape,
    path: &mut Vec<String>,
    found: &mut Vec<Server>,
) -> Result<(), Fault> {
    // Said to be nothing, and there is nothing in it.
    if value.kind == Kind::Null {
        return Ok(());
    }
    let Kind::Table(members) = &value.kind else {
        let name = path.last().map_or("this", String::as_str);
        return Err(Fault::new(value.span.start, format!("`{name}` is not a table of servers")));
    };
    // The last one of a name counts.
    let mut last: HashMap<&str, (usize, bool)> = HashMap::new();
    for (index, (name, _)) in members.iter().enumerate() {
        last.entry(name).and_modify(|known| *known = (index, true)).or_insert((index, false));
    }
    for (index, (name, below)) in members.iter().enumerate() {
        let Some(&(_, twice)) = last.get(name.as_str()).filter(|(last, _)| *last == index) else { continue };
        path.push(name.clone());
        match shape.split_first() {
            None => found.push(server(path.clone(), below, twice)),
            Some((first, _)) if *first != "*" && first != name => {}
            // What is no table and only might lead to servers is something else's.
            Some((_, rest)) if !rest.is_empty() && !matches!(below.kind, Kind::Table(_)) => {}
            Some((_, rest)) => descend(below, rest, path, found)?,
        }
        path.pop();
    }
    Ok(())
}

fn server(path: Vec<String>, entry: &Value, twice: bool) -> Server {
    let secrets = ["env", "headers", "http_headers"]
        .iter()
        .filter_map(|name| entry.get(name))
        .chain(entry.get("command").and_then(|command| command.get("env")))
        .flat_map(|table| table.members().iter().map(|(_, value)| value.span.clone()))
        .collect();
    let start = program(entry).map_or_else(Start::Unknown, Start::Program);
    Server { path, at: entry.span.start, twice, start, secrets }
}

fn program(entry: &Value) -> Result<Program, String> {
    if !matches!(entry.kind, Kind::Table(_)) {
        return Err("its entry is no object".to_owned());
    }
    let Some(command) = entry.get("command") else {
        let remote = ["url", "serverUrl", "httpUrl"].iter().any(|name| entry.get(name).is_some());
        let why = if remote { "it is remote" } else { "it has no command of its own" };
        return Err(why.to_owned());
    };
    // Zed's older form has all of it below `command`.
    let (holder, command) = match command.get("path") {
        Some(path) => (command, path),
        None => (entry, command),
    };
    let text = |value: &Value| Some(Text { span: value.span.clone(), text: value.text()?.to_owned() });
    let command = text(command).ok_or("its command is not text")?;
    let args = match holder.get("args").map(|args| &args.kind) {
        None => Vec::new(),
        Some(Kind::List(items)) => {
            items.iter().map(text).collect::<Option<_>>().ok_or("an argument of it is not text")?
        }
        Some(Kind::Text(_) | Kind::Table(_) | Kind::Null | Kind::Other) => {
            return Err("its args are not a list".to_owned());
        }
    };
    let mut env: Vec<Variable> = Vec::new();
    let set = holder.get("env").map(Value::members).unwrap_or_default();
    let handed = match holder.get("env_vars").map(|names| &names.kind) {
        Some(Kind::List(names)) => names.as_slice(),
        Some(Kind::Text(_) | Kind::Table(_) | Kind::Null | Kind::Other) | None => &[],
    };
    if set.len() + handed.len() > MOST_VARIABLES {
        return Err("it has more variables than any server".to_owned());
    }
    // A variable that is null is one that the client takes away.
    for (name, value) in set.iter().filter(|(_, value)| value.kind != Kind::Null) {
        env.retain(|known| known.name != *name);
        let value = value.text().map(|value| EnvValue(value.into()));
        env.push(Variable { name: name.clone(), value, handed: false });
    }
    for name in handed.iter().filter_map(|one| one.text().or_else(|| one.get("name")?.text())) {
        if env.iter().all(|known| known.name != name) {
            env.push(Variable { name: name.to_owned(), value: None, handed: true });
        }
    }
    let env_file = holder.get("envFile").map(|file| file.text().unwrap_or_default().to_owned());
    Ok(Program { command, args, env, env_file })
}
