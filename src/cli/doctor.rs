//! `npxc doctor`: tries what a run needs, for real, and explains each failure.

mod surroundings;

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use super::audit::to_json;
use super::own_program;
use super::say;
use crate::audit::escape::printable;
use crate::config::{self, Chosen, Directories, RuntimeChoice, RuntimeOptions};
use crate::exit::{ExitStatus, Failure};
use crate::net::proxy::{Proxying, Route};
use crate::package::{HostEnv, Node, NpmConfig, PackageError};
use crate::policy::HOST_NAME;
#[cfg(target_os = "linux")]
use crate::runtime::engine::Found;
use crate::runtime::{self, Outcome, StepReport};
use crate::session::{self, online};

/// How long one address of the registry may take to answer.
const DIAL: Duration = Duration::from_secs(5);

/// Tries what npxc needs, and explains what is missing; exit status 0 if npxc works here, warnings or not, 2 if it does not
#[derive(Debug, Parser)]
#[command(name = "npxc doctor")]
pub(super) struct Args {
    /// Connect to the registry as well
    #[arg(long)]
    online: bool,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
    /// Print the AppArmor profile that lets this program make user namespaces (Ubuntu 23.10 and newer), and try nothing
    #[allow(clippy::doc_markdown, reason = "it is printed as it is")]
    #[arg(long, conflicts_with_all = ["online", "json"])]
    apparmor: bool,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    area: &'static str,
    step: String,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Passed,
    Warning,
    Failed,
}

impl Line {
    fn new(area: &'static str, step: impl Into<String>, state: State, detail: impl Into<String>) -> Self {
        Self { area, step: step.into(), state, detail: detail.into(), hints: Vec::new() }
    }

    fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// What nobody chose need not work.
    fn counts_if(&mut self, chosen: bool) {
        if self.state == State::Failed && !chosen {
            self.state = State::Warning;
        }
    }
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    if args.apparmor {
        say::print(&apparmor()?);
        return Ok(ExitStatus::Success);
    }
    let host = HostEnv::current();
    // A file that cannot be read is every run's failure.
    let (options, broken) = match config::ground(&host) {
        Ok((_, options)) => (options, None),
        Err(error) => {
            let line = Line::new("engines", "configuration", State::Failed, error.to_string());
            (RuntimeOptions::default(), Some(line.hints(error.hint)))
        }
    };
    let is_native = options.name == RuntimeChoice::Native;
    let mut lines: Vec<Line> = runtime::check().into_iter().map(sandbox).collect();
    for line in &mut lines {
        line.counts_if(is_native);
    }
    match Directories::new(|name| host.vars.get(name).cloned()) {
        Ok(directories) => {
            lines.extend(writable(&directories));
            lines.extend(packages(&host, &directories, &options, args.online));
            lines.extend(broken);
            lines.extend(engines(&host, &directories, &options));
            lines.extend(surroundings::look(&host, &directories));
        }
        Err(error) => {
            lines.push(Line::new("directories", "home", State::Failed, error.to_string()).hints(error.hint));
        }
    }
    let failed = lines.iter().any(|line| line.state == State::Failed);
    if args.json {
        let count = |state| lines.iter().filter(|line| line.state == state).count();
        let result = serde_json::json!({
            "ok": !failed,
            "failed": count(State::Failed),
            "warnings": count(State::Warning),
            "npxc": env!("CARGO_PKG_VERSION"),
            "checks": lines,
        });
        say::print(&to_json(&result)?);
    } else {
        say::print(&render(&lines));
    }
    Ok(if failed { ExitStatus::Runtime } else { ExitStatus::Success })
}

fn apparmor() -> Result<String, Failure> {
    let program = own_program()?;
    Ok(runtime::apparmor_profile(&program.display().to_string()))
}

fn sandbox(report: StepReport) -> Line {
    let (state, detail, hint) = match report.outcome {
        Outcome::Passed(note) => (State::Passed, note, None),
        Outcome::Warning { why, hint } => (State::Warning, why, hint),
        Outcome::Failed { why, hint } => (State::Failed, why, hint),
    };
    Line::new("sandbox", report.step, state, detail).hints(hint)
}

/// The container engines that are here. They are alternatives: only the one that was chosen has to be.
fn engines(host: &HostEnv, directories: &Directories, options: &RuntimeOptions) -> Vec<Line> {
    let sessions = directories.sessions(host.var("XDG_RUNTIME_DIR"));
    let chosen = options.name == RuntimeChoice::Apple;
    let apple = || session::chosen_apple(options, sessions.clone()).check();
    let apple = (cfg!(target_os = "macos") || chosen).then(apple).into_iter().flatten();
    let apple = apple.map(|report| {
        let mut line = Line { area: "apple", ..sandbox(report) };
        line.counts_if(chosen);
        line
    });
    linux_engines(options, &sessions).into_iter().chain(apple).collect()
}

#[cfg(not(target_os = "linux"))]
fn linux_engines(_: &RuntimeOptions, _: &Path) -> Vec<Line> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn linux_engines(options: &RuntimeOptions, sessions: &Path) -> Vec<Line> {
    use crate::runtime::engine::{self, Kind};
    let engines =
        [Kind::Podman, Kind::Docker].map(|kind| session::chosen_engine(kind, options, sessions.to_owned()));
    engine::detect(&engines.each_ref()).iter().filter_map(|found| engine_line(found, options.name)).collect()
}

/// Nothing of one that is not there, unless it was chosen.
#[cfg(target_os = "linux")]
fn engine_line(found: &Found, chosen: RuntimeChoice) -> Option<Line> {
    let is_chosen = chosen.as_str() == found.kind.as_str();
    let notes = found.notes.join("; ");
    let line = |state, detail: String| Line::new("engines", found.kind.as_str(), state, detail);
    let mut line = match (&found.facts, &found.problem) {
        (Ok(_), None) => line(State::Passed, notes),
        (Ok(_), Some(problem)) => line(State::Failed, format!("{problem} ({notes})")),
        (Err(error), _) => line(State::Failed, error.to_string()).hints(error.hint()),
    };
    line.counts_if(is_chosen);
    (is_chosen || !found.missing()).then_some(line)
}

fn writable(directories: &Directories) -> Vec<Line> {
    let audit = directories.audit();
    [("packages", &directories.data), ("audit logs", &audit), ("cache", &directories.cache)]
        .into_iter()
        .map(|(step, path)| match try_writing(path) {
            Ok(()) => Line::new("directories", step, State::Passed, path.display().to_string()),
            Err(error) => {
                let detail = format!("{} cannot be written: {error}", path.display());
                let hint = "make it yours (ls -ld shows whose it is), or set XDG_DATA_HOME, XDG_STATE_HOME and \
                            XDG_CACHE_HOME to directories that are";
                Line::new("directories", step, State::Failed, detail).hints([hint.to_owned()])
            }
        })
        .collect()
}

fn try_writing(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    tempfile::tempfile_in(path).map(drop)
}

fn packages(host: &HostEnv, directories: &Directories, options: &RuntimeOptions, online: bool) -> Vec<Line> {
    let failed = |step: &str, error: &PackageError| {
        Line::new("packages", step, State::Failed, error.to_string()).hints(error.hints())
    };
    let node = match Node::find(host, &directories.cache) {
        Ok(node) => node,
        Err(error) => {
            let mut line = failed("node", &error);
            // A container has its image's.
            line.counts_if(options.name == RuntimeChoice::Native);
            return vec![line];
        }
    };
    let mut lines = vec![
        Line::new("packages", "node", State::Passed, format!("{} ({})", node.version, node.exec.display())),
        Line::new(
            "packages",
            "npm",
            State::Passed,
            format!("{} ({})", node.npm_version, node.npm_cli.display()),
        ),
    ];
    let config = match NpmConfig::read(host, &node, false) {
        Ok(config) => config,
        Err(error) => {
            lines.push(failed("registry", &error));
            return lines;
        }
    };
    let rules: Vec<String> = config.rules().iter().map(ToString::to_string).collect();
    lines.push(Line::new("packages", "registry", State::Passed, format!("@npm is {}", rules.join(", "))));
    lines.extend(
        config.notes.iter().map(|note| Line::new("packages", "npm's configuration", State::Warning, note)),
    );
    let proxying = match config::chosen_proxy(host) {
        Ok(Some(Chosen::Proxy(proxying))) => Ok(Some(proxying)),
        Ok(Some(Chosen::None(origin))) => {
            lines.push(Line::new("packages", "proxy", State::Passed, format!("none ({origin})")));
            Ok(None)
        }
        // A file that cannot be read has a line of its own.
        Ok(None) | Err(_) => config.proxy(host),
    };
    match &proxying {
        Ok(None) => {}
        Ok(Some(proxying)) => {
            lines.push(Line::new("packages", "proxy", State::Passed, proxying.to_string()));
        }
        Err((origin, error)) => {
            let line = Line::new("packages", "proxy", State::Failed, format!("{origin}: {error}"));
            lines.push(line.hints([error.hint().to_owned()]));
        }
    }
    if online {
        let proxying = proxying.ok().flatten();
        lines.extend(rules.iter().map(|rule| reach(rule, proxying.as_ref())));
    }
    lines
}

/// Connects to a registry the way that flows go.
fn reach(rule: &str, proxying: Option<&Proxying>) -> Line {
    let Some(proxying) = proxying.filter(|proxying| online::route(proxying, rule) != Route::Direct) else {
        return dial(rule);
    };
    match online::through(proxying, rule, DIAL) {
        Ok(()) => {
            let detail = format!("{rule} answers behind {}", proxying.proxy);
            Line::new("packages", "online", State::Passed, detail)
        }
        Err((what, hint)) => {
            let detail = format!("the connection to {rule} was {what} ({})", proxying.proxy);
            Line::new("packages", "online", State::Failed, detail).hints([hint])
        }
    }
}

/// Connects to a registry, `HOST:PORT`, and hangs up.
fn dial(rule: &str) -> Line {
    let addresses = match rule.rsplit_once(':') {
        Some((HOST_NAME, port)) => {
            port.parse().map(|port| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]).unwrap_or_default()
        }
        _ => match rule.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                return Line::new(
                    "packages",
                    "online",
                    State::Failed,
                    format!("{rule} has no address: {error}"),
                )
                .hints(["check DNS: npxc resolves names as this machine does".to_owned()]);
            }
        },
    };
    let mut last = "it has no address".to_owned();
    for address in &addresses {
        match TcpStream::connect_timeout(address, DIAL) {
            Ok(_) => {
                return Line::new(
                    "packages",
                    "online",
                    State::Passed,
                    format!("{rule} answers at {address}"),
                );
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Line::new("packages", "online", State::Failed, format!("{rule} cannot be reached ({last})"))
        .hints(["check the connection and npm's registry: npm config get registry".to_owned()])
}

fn render(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut area = "";
    for line in lines {
        if line.area != area {
            area = line.area;
            let _ = writeln!(out, "{area}");
        }
        let mark = match line.state {
            State::Passed => "ok     ",
            State::Warning => "warning",
            State::Failed => "FAILED ",
        };
        let text = format!("{:<22} {}", line.step, line.detail);
        let _ = writeln!(out, "  {mark} {}", printable(text.trim_end(), 2000));
        for hint in &line.hints {
            let _ = writeln!(out, "            hint: {}", printable(hint, 2000));
        }
    }
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let _ = match (count(State::Failed), count(State::Warning)) {
        (0, 0) => writeln!(out, "npxc works here"),
        (0, warnings) => writeln!(out, "npxc works here; {warnings} to know about"),
        (failed, _) => writeln!(out, "npxc does not work here: {failed} failed"),
    };
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_failure_has_its_hint_below_it() {
        let lines = [
            Line::new("sandbox", "user namespace", State::Passed, ""),
            Line::new("sandbox", "tun", State::Failed, "no /dev/net/tun").hints(["modprobe tun".to_owned()]),
            Line::new("packages", "node", State::Passed, "20.1.0 (/usr/bin/node)"),
        ];
        assert_eq!(
            render(&lines),
            "sandbox\n  ok      user namespace\n  FAILED  tun                    no /dev/net/tun\n            hint: modprobe \
             tun\npackages\n  ok      node                   20.1.0 (/usr/bin/node)\nnpxc does not work here: 1 failed\n"
        );
    }

    #[test]
    fn directories_are_made_private_and_tried() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let directories = Directories::new(|name| (name == "HOME").then(|| home.clone().into())).unwrap();
        let lines = writable(&directories);
        assert!(lines.iter().all(|line| line.state == State::Passed), "{lines:?}");
        std::fs::write(dir.path().join("file"), "").unwrap();
        let blocked = dir.path().join("file");
        let directories = Directories::new(|name| (name == "HOME").then(|| blocked.clone().into())).unwrap();
        let lines = writable(&directories);
        assert!(lines.iter().all(|line| line.state == State::Failed && line.hints.len() == 1), "{lines:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_chosen_has_to_work_and_nothing_else() {
        use crate::runtime::RuntimeError;
        use crate::runtime::engine::Kind;
        let source = || std::io::ErrorKind::NotFound.into();
        let facts = || Err(RuntimeError::NoEngine { program: "podman".into(), source: source() });
        let found = Found { kind: Kind::Podman, facts: facts(), problem: None, notes: Vec::new() };
        assert_eq!(engine_line(&found, RuntimeChoice::Native), None);
        assert_eq!(engine_line(&found, RuntimeChoice::Docker), None);
        let line = engine_line(&found, RuntimeChoice::Podman).unwrap();
        assert_eq!((line.state, line.hints.len()), (State::Failed, 1));
        let facts = Ok(crate::runtime::engine::Facts::default());
        let found = Found { facts, problem: Some("too old".into()), ..found };
        assert_eq!(engine_line(&found, RuntimeChoice::Native).unwrap().state, State::Warning);
        assert_eq!(engine_line(&found, RuntimeChoice::Podman).unwrap().state, State::Failed);
    }

    #[test]
    fn a_registry_on_this_machine_is_dialled() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let rule = format!("{HOST_NAME}:{}", listener.local_addr().unwrap().port());
        assert_eq!(dial(&rule).state, State::Passed);
    }
}
