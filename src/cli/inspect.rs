//! `npxc inspect`: what a package is granted, and by whom; which arguments of a server's tools are taken for paths, and what
//! would become of those of one call.
//!
//! The server is asked for its tools as `npxc probe` does it; what is said of a call is decided by the code that decides it
//! for a client.

mod calls;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser};
use serde_json::{Value, json};

use super::options::{Options, again};
use super::probe::show::ROWS;
use super::probe::{Plan, client};
use super::say::Stderr;
use super::table::Table;
use super::{grants, log_to_stderr, own_program, parse_keeping, resolve, say, server};
use crate::config::Resolved;
use crate::config::error::nearest;
use crate::exit::{ExitStatus, Failure};
use crate::rpc::identify::{Reason, ToolSchema, embedded};
use crate::rpc::translate::Translator;
use crate::session;

/// Shows what it is granted and by whom, and which arguments of its tools are taken for paths and why
#[derive(Debug, Parser)]
#[command(name = "npxc inspect")]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
    /// Show what is granted only: install nothing, start nothing
    #[arg(long, conflicts_with_all = ["tool", "arguments"])]
    no_start: bool,
    /// Ask the resolver for the names in rules, and show their addresses
    #[arg(long, conflicts_with_all = ["tool", "arguments"])]
    resolve: bool,
    /// Show what would become of a call of this tool
    #[arg(long, visible_alias = "call", value_name = "TOOL", requires = "arguments")]
    tool: Option<String>,
    /// The call's arguments, a JSON object
    #[arg(long, visible_alias = "args", value_name = "JSON", requires = "tool")]
    arguments: Option<String>,
    /// Longest time from its start until the server answers `initialize`
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// The package and its arguments; those that begin with a dash stand behind a `--`
    #[arg(value_name = "PACKAGE-SPEC")]
    words: Vec<OsString>,
    /// The options as they were given.
    #[arg(skip)]
    again: Vec<OsString>,
    /// There was a `--`: what is behind it is meant for the package.
    #[arg(skip)]
    marked: bool,
}

impl Args {
    pub(super) fn parse(argv: &[OsString]) -> Result<Self, clap::Error> {
        let (parsed, matches) = parse_keeping::<Self>(argv).map_err(with_dashes)?;
        let marked = argv.iter().any(|word| word == "--");
        Ok(Self { again: again(&matches), marked, ..parsed })
    }
}

/// An option that is not npxc's is the package's.
fn with_dashes(error: clap::Error) -> clap::Error {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) => {
            let text = format!(
                "npxc inspect has no option `{option}`\n\n  tip: the package's own stand behind `--`: \
                 npxc inspect PACKAGE -- {option}"
            );
            Args::command().error(ErrorKind::InvalidValue, text)
        }
        _ => error,
    }
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let level = args.options.level()?;
    log_to_stderr(level);
    if args.words.is_empty() && args.options.package.is_empty() {
        return Err(server::no_package("inspect"));
    }
    let resolved = resolve(&args.options, &args.words)?;
    let voice = Stderr::at(level);
    super::warn_of_slips(&args.words, args.marked, &resolved, voice);
    let call = match (&args.tool, &args.arguments) {
        (Some(tool), Some(text)) => {
            let arguments = server::arguments("--arguments", text, "{\"path\": \"report.pdf\"}")?;
            Some((tool.as_str(), Value::Object(arguments)))
        }
        _ => None,
    };
    let rows = if call.is_none() { grants(args, &resolved)? } else { Vec::new() };
    if !args.json && call.is_none() {
        say::print(&grants::text(&rows, true));
    }
    if args.no_start {
        for warning in &resolved.warnings {
            voice.advice(warning);
        }
        if args.json {
            say::print(&super::audit::to_json(&json!({ "grants": grants::json(&rows) }))?);
        }
        return Ok(ExitStatus::Success);
    }
    session::install(&resolved, false, &voice)?;
    let tools = tools(args, voice)?;
    let mut translator = Translator::new(resolved.arguments.clone());
    for (name, schema) in &tools {
        translator.learn_tool(name, schema);
    }
    let text = match call {
        Some((tool, arguments)) => {
            is_known(tool, &tools, &resolved)?;
            calls::text(&translator, &resolved, tool, &arguments, args.json)?
        }
        None => of_tools(&translator, &resolved, &tools, args.json.then_some(&rows))?,
    };
    say::print(&text);
    Ok(ExitStatus::Success)
}

/// Everything that a run would be granted.
fn grants(args: &Args, resolved: &Resolved) -> Result<Vec<grants::Row>, Failure> {
    let survey = session::survey(resolved);
    let found = match (&survey, args.resolve) {
        (_, false) => Vec::new(),
        (Ok(survey), true) => session::look_up(resolved, &survey.presets)?,
        // Presets are what npm says, and there is none to ask.
        (Err(_), true) => session::look_up(resolved, &session::no_presets())?,
    };
    Ok(grants::rows(resolved, &survey, &found))
}

/// The server's tools, with their input schemas.
fn tools(args: &Args, voice: Stderr) -> Result<Vec<(String, Value)>, Failure> {
    let program = own_program()?;
    let mut words = args.again.clone();
    words.push("--".into());
    words.extend(args.words.iter().cloned());
    let timeout = Duration::from_secs(args.timeout);
    let plan =
        Plan { program, args: words, env: Vec::new(), call: None, timeout, wait: Duration::ZERO, voice };
    let outcome = client::run(&plan)?;
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let schema = |tool: &rmcp::model::Tool| Value::Object(tool.input_schema.as_ref().clone());
    Ok(outcome.tools.iter().map(|tool| (tool.name.to_string(), schema(tool))).collect())
}

/// A tool that neither the server lists nor the configuration names is a mistake.
fn is_known(tool: &str, tools: &[(String, Value)], resolved: &Resolved) -> Result<(), Failure> {
    let arguments = &resolved.arguments;
    let listed = tools.iter().map(|(name, _)| name.as_str());
    if listed
        .clone()
        .chain(arguments.paths.keys().chain(arguments.others.keys()).map(String::as_str))
        .any(|name| name == tool)
    {
        return Ok(());
    }
    let near = nearest(tool, listed.clone()).map(|near| format!("did you mean `{near}`?"));
    let hints = near.into_iter().chain(server::its_tools(listed));
    Err(Failure::new(ExitStatus::Config, server::no_tool("--tool", tool)).hints(hints))
}

/// The arguments that are taken for paths whatever their values are.
fn of_tools(
    translator: &Translator,
    resolved: &Resolved,
    tools: &[(String, Value)],
    as_json: Option<&Vec<grants::Row>>,
) -> Result<String, Failure> {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for (tool, schema) in tools {
        let configured = &resolved.arguments;
        let known = translator.schema(tool);
        let mut signs: Vec<_> = known.into_iter().flat_map(ToolSchema::signs).collect();
        signs.sort_by_key(|(keys, _)| *keys);
        for (keys, sign) in signs {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let why = match configured.says(tool, &keys) {
                Some(false) => "no: [non_path_arguments] names it".to_owned(),
                Some(true) => Reason::Configured.to_string(),
                None if configured.strategies.schema => Reason::Schema(sign).to_string(),
                None => continue,
            };
            rows.push([tool.clone(), keys.join("."), why]);
        }
        let listed = [tool.as_str(), "*"].into_iter().filter_map(|tool| configured.paths.get(tool)).flatten();
        for name in listed.filter(|_| configured.strategies.config) {
            if !rows.iter().any(|[of, argument, _]| of == tool && argument == name) {
                rows.push([tool.clone(), name.clone(), Reason::Configured.to_string()]);
            }
        }
        for name in schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if embedded::is_command(name, "select") {
                rows.push([
                    tool.clone(),
                    name.clone(),
                    "if its value is a command line or a statement: the paths in it".to_owned(),
                ]);
            }
        }
    }
    if let Some(granted) = as_json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|[tool, argument, why]| json!({"tool": tool, "argument": argument, "why": why}))
            .collect();
        let names: Vec<&String> = tools.iter().map(|(name, _)| name).collect();
        return super::audit::to_json(
            &json!({"grants": grants::json(granted), "tools": names, "paths": rows}),
        );
    }
    let mut text = "\n".to_owned();
    if rows.is_empty() {
        let _ = writeln!(text, "no argument of its {} tools is taken for a path by its name", tools.len());
    } else {
        let mut table = Table::new(&["tool", "argument", "why"]);
        let more = rows.len().saturating_sub(ROWS);
        for row in rows.into_iter().take(ROWS) {
            table.row(row.to_vec());
        }
        text.push_str(&table.render());
        if more > 0 {
            let _ = writeln!(text, "and {more} more (--json shows all)");
        }
    }
    if resolved.arguments.strategies.heuristic {
        text.push_str("besides these, values that are absolute, or begin with ./, ../, ~/ or file:///\n");
    }
    Ok(text)
}
