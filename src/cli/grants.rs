//! Everything a run would be granted, and who says so: for `--dry-run` and `npxc inspect`. Values of variables are not
//! shown.

use std::fmt::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::audit::Target;
use crate::audit::escape::printable;
use crate::config::{HostPath, Layer, LinkChoice, MountSpec, Origin, Resolved, RuntimeChoice, variables};
use crate::exit::Failure;
use crate::policy::{HostPattern, Mode, Rule};
use crate::runtime::Access;
use crate::session::{self, Found, Installed, Survey, Translated};
use crate::storage::{GUEST_DATA, holds_no_layer};

/// One thing that is granted, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is, for people and for programs.
    what: &'static str,
    value: String,
    /// Who says so, where somebody can.
    from: Option<Granter>,
    /// What a preset stands for, or what names have as addresses now.
    more: Vec<String>,
}

impl Row {
    fn new(what: &'static str, value: impl Into<String>) -> Self {
        Self { what, value: value.into(), from: None, more: Vec::new() }
    }

    /// Says who grants it: the highest layer of which `says` is true. `option` is how the command line does.
    fn by(mut self, run: &Resolved, option: &str, says: impl Fn(&Layer) -> bool) -> Self {
        self.from = Some(match run.origin(says) {
            Origin::Option => Granter { who: "option", name: option.to_owned() },
            Origin::Variable => Granter { who: "variable", name: variables::of(option) },
            Origin::Package(file) => Granter { who: "package's file", name: file.display().to_string() },
            Origin::Global(file) => {
                Granter { who: "file for all packages", name: file.display().to_string() }
            }
            Origin::Default => Granter { who: "default", name: String::new() },
        });
        self
    }
}

/// Who grants something: of what kind, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Granter {
    who: &'static str,
    name: String,
}

impl fmt::Display for Granter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.who, &self.name) {
            ("default", _) => f.write_str("default"),
            ("option" | "variable", name) => f.write_str(name),
            (who, name) => write!(f, "the {who}, {name}"),
        }
    }
}

/// Everything that a run would be granted. `survey` is what it would find; a machine that cannot run it is described as
/// well. `found` are the addresses of names in rules, as far as they were asked for.
pub(super) fn rows(run: &Resolved, survey: &Result<Survey, Failure>, found: &[Found]) -> Vec<Row> {
    let mut rows =
        vec![Row::new("package", run.request.to_string()), Row::new("installed", installed(survey))];
    if let Some(bin) = &run.request.bin {
        rows.push(Row::new("bin", bin));
    }
    if !run.args.is_empty() {
        let args: Vec<_> = run.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        rows.push(Row::new("arguments", args.join(" ")));
    }
    let paths = session::preview(run).map_or_else(
        |failure| vec![format!("which of them are shared is unknown: {}", failure.message)],
        |paths| paths.iter().map(|Translated { given, inside }| format!("{given} -> {inside}")).collect(),
    );
    rows.extend(paths.into_iter().map(|path| Row::new("path", path)));
    network_rows(&mut rows, run, survey, found);
    file_rows(&mut rows, run);
    ground_rows(&mut rows, run, survey);
    let log = match &run.audit {
        Target::Directory { directory, .. } => format!("a new file in {}", directory.display()),
        Target::File(path) => path.display().to_string(),
    };
    rows.push(Row::new("audit log", log));
    rows.extend(run.files.iter().map(|file| Row::new("configured by", file.display().to_string())));
    rows
}

/// A list of rules of a layer.
type List = fn(&Layer) -> &Vec<Rule>;

fn network_rows(rows: &mut Vec<Row>, run: &Resolved, survey: &Result<Survey, Failure>, found: &[Found]) {
    let says = |layer: &Layer| layer.wanted_mode().is_some();
    let option = match run.layers.iter().find(|layer| says(layer)) {
        Some(layer) if layer.mode.is_none() && layer.allow.is_empty() => "--allow-private",
        Some(layer) if layer.mode.is_none() => "--allow",
        Some(_) | None => "--network",
    };
    rows.push(Row::new("network", network(run)).by(run, option, says));
    let lists: [(&'static str, &str, &Vec<Rule>, List); 4] = [
        ("allow", "--allow", &run.network.allow, |layer| &layer.allow),
        ("allow private", "--allow-private", &run.network.allow_private, |layer| &layer.allow_private),
        ("deny", "--deny", &run.network.deny, |layer| &layer.deny),
        ("allow install", "--allow-install", &run.install.allow, |layer| &layer.install_allow),
    ];
    for (what, option, rules, list) in lists {
        for rule in rules {
            let mut row = Row::new(what, spelled_out(rule, survey));
            row.more = found.iter().filter(|found| found.rule == *rule).map(ToString::to_string).collect();
            rows.push(row.by(run, option, |layer| list(layer).contains(rule)));
        }
    }
    if run.install.ignore_scripts {
        let row = Row::new("install", "scripts are not run");
        rows.push(row.by(run, "--ignore-scripts", |layer| layer.ignore_scripts.is_some()));
    }
    for (at, words) in proxied(run).into_iter().enumerate() {
        let row = Row::new("proxy", words);
        // What the environment says has its own name there.
        let chosen = at == 0 && run.network.proxy_chosen;
        rows.push(if chosen { row.by(run, "--proxy", |layer| layer.proxy.is_some()) } else { row });
    }
    for entry in &run.network.add_host {
        let row = Row::new("host entry", entry.to_string());
        rows.push(row.by(run, "--add-host", |layer| layer.add_host.contains(entry)));
    }
    for publish in &run.publish {
        let row = Row::new("publish", format!("{} -> port {} inside", publish.listen, publish.guest));
        rows.push(row.by(run, "--publish", |layer| layer.publish.contains(publish)));
    }
}

fn file_rows(rows: &mut Vec<Row>, run: &Resolved) {
    for mount in &run.mounts {
        let access = match mount.access {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        };
        let (host, guest) = (mount.host.display(), mount.guest.display());
        let value = if mount.host == mount.guest {
            format!("{host} ({access})")
        } else {
            format!("{host} at {guest} ({access})")
        };
        let says = |layer: &Layer| layer.mounts.iter().any(|spec| goes_to(spec, run, &mount.guest));
        rows.push(Row::new("mount", value).by(run, "the command line", says));
    }
    if run.no_isolate {
        rows.push(Row::new("not isolated", "the whole working directory is readable"));
    }
    let persist = |layer: &Layer| layer.persist.is_some();
    let folder = own_folder(run, holds_no_layer(&run.directories.data));
    rows.push(Row::new("own folder", folder).by(run, "--persist", persist));
    if run.persist {
        let data = session::lasting(run).unwrap_or_else(|| run.directories.data.clone());
        let value = format!("{GUEST_DATA} (read-write), kept in {}", data.display());
        rows.push(Row::new("storage", value).by(run, "--persist", persist));
    }
    if run.mounts.is_empty() {
        rows.push(Row::new("mounts", "none"));
    }
    let cwd = run.cwd.display();
    let shares = match run.mount_mode {
        _ if !session::shares_its_cwd(run) => {
            format!("no files that calls name: {cwd} is too wide (--cwd DIR)")
        }
        Access::ReadOnly => format!("read-only copies of files in {cwd} that calls name"),
        Access::ReadWrite => format!("files in {cwd} that calls name, and brings back what is written"),
    };
    rows.push(Row::new("shares", shares).by(run, "--write", |layer| layer.mount_mode.is_some()));
    if run.env.is_empty() {
        rows.push(Row::new("environment", "nothing of this machine's"));
    }
    for name in run.env.keys() {
        let says = |layer: &Layer| layer.env.contains_key(name) || layer.passthrough.contains_key(name);
        rows.push(Row::new("environment", name.to_string()).by(run, "--env", says));
    }
    let starts =
        run.guest_cwd.as_ref().map_or_else(|| "its own home".to_owned(), |cwd| cwd.display().to_string());
    rows.push(Row::new("starts in", starts));
}

/// Whether a mount that was asked for is the one at this path of the guest.
fn goes_to(spec: &MountSpec, run: &Resolved, guest: &Path) -> bool {
    let host = HostPath::new(&spec.host, &run.cwd, &run.directories.home);
    host.and_then(|host| spec.guest(&host)).is_ok_and(|path| path.as_path() == guest)
}

fn ground_rows(rows: &mut Vec<Row>, run: &Resolved, survey: &Result<Survey, Failure>) {
    let link = match (run.runtime.name, run.runtime.link) {
        (RuntimeChoice::Native, _) => "tun",
        (RuntimeChoice::Apple, LinkChoice::Auto) => "socket",
        (RuntimeChoice::Podman | RuntimeChoice::Docker, LinkChoice::Auto) => {
            "wireguard, or socket where that cannot be had"
        }
        (_, link) => link.as_str(),
    };
    let name = run.runtime.name.as_str();
    rows.push(Row::new("runtime", name).by(run, "--runtime", |layer| layer.runtime.is_some()));
    rows.push(Row::new("link", link).by(run, "--link", |layer| layer.link.is_some()));
    if let Ok(survey) = survey {
        if let Some(image) = &survey.image {
            rows.push(Row::new("image", image).by(run, "--image", |layer| layer.image.is_some()));
        }
        rows.push(Row::new("node", &survey.node));
    }
    let memory = format!("{} MiB", run.limits.memory >> 20);
    rows.push(Row::new("memory", memory).by(run, "--memory", |layer| layer.memory.is_some()));
    let cpus = run.limits.cpus.map_or_else(|| "no limit".to_owned(), |cpus| format!("{cpus} cores"));
    rows.push(Row::new("processors", cpus).by(run, "--cpus", |layer| layer.cpus.is_some()));
    let pids = run.limits.pids.to_string();
    rows.push(Row::new("processes", pids).by(run, "--pids", |layer| layer.pids.is_some()));
}

/// For a person; `origins` says who grants what as well.
pub(super) fn text(rows: &[Row], origins: bool) -> String {
    let mut out = String::new();
    let mut last = "";
    for row in rows {
        let title = if row.what == last || row.what == "path" { "" } else { row.what };
        last = row.what;
        let _ = write!(out, "{title:<14} {}", printable(&row.value, 2000));
        if let Some(from) = row.from.as_ref().filter(|_| origins) {
            let _ = write!(out, "  [{}]", printable(&from.to_string(), 2000));
        }
        out.push('\n');
        for more in &row.more {
            let _ = writeln!(out, "{:<16} {}", "", printable(more, 2000));
        }
    }
    out
}

/// For a program.
pub(super) fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let mut one = json!({ "what": row.what, "value": row.value });
        if let (Some(from), Some(object)) = (&row.from, one.as_object_mut()) {
            object.insert("from".to_owned(), from.who.into());
            if !from.name.is_empty() {
                object.insert("name".to_owned(), from.name.as_str().into());
            }
        }
        if let (false, Some(object)) = (row.more.is_empty(), one.as_object_mut()) {
            object.insert("addresses".to_owned(), row.more.clone().into());
        }
        one
    };
    rows.iter().map(row).collect()
}

/// The proxy, without its user name and password, and what it is not for.
fn proxied(run: &Resolved) -> Vec<String> {
    let Some(proxying) = &run.network.proxy else { return Vec::new() };
    let mut words = vec![proxying.to_string()];
    if proxying.proxy.resolves() {
        words.push("resolves names: their addresses are judged as far as this machine knows them".to_owned());
    }
    if !proxying.bypass.is_empty() {
        words.push(format!("not for {}", proxying.bypass));
    }
    words
}

/// What becomes of what the package writes there. `unlayered` where the data directory can hold no layer.
fn own_folder(run: &Resolved, unlayered: bool) -> String {
    match (run.persist, run.runtime.name) {
        (false, _) => "what it writes ends with the session".to_owned(),
        (true, RuntimeChoice::Native) if unlayered => format!(
            "what it writes is not kept: {} is on a file system that cannot hold it (set XDG_DATA_HOME to one that can)",
            run.directories.data.display()
        ),
        (true, RuntimeChoice::Native) => "what it writes is kept".to_owned(),
        (true, RuntimeChoice::Podman | RuntimeChoice::Docker | RuntimeChoice::Apple) => {
            "read-only in a container; what it writes to /data is kept".to_owned()
        }
    }
}

fn installed(survey: &Result<Survey, Failure>) -> String {
    match survey {
        Ok(Survey { installed: Installed::Ready(title), .. }) => title.clone(),
        Ok(Survey { installed: Installed::Missing, .. }) => "not yet; a run installs it first".to_owned(),
        Ok(Survey { installed: Installed::Unknown, .. }) => {
            "a run looks, and installs it first if it has to: that depends on the image's node".to_owned()
        }
        Err(failure) => format!("unknown: {}", failure.message.lines().next().unwrap_or_default()),
    }
}

/// A rule, and what a preset stands for on this machine.
fn spelled_out(rule: &Rule, survey: &Result<Survey, Failure>) -> String {
    let (HostPattern::Preset(name), Ok(survey)) = (rule.host(), survey) else {
        return rule.to_string();
    };
    let stands_for = survey.presets.get(name).map(Vec::as_slice).unwrap_or_default();
    let hosts: Vec<_> = stands_for.iter().map(ToString::to_string).collect();
    format!("{rule} -> {}", if hosts.is_empty() { "nothing".to_owned() } else { hosts.join(", ") })
}

fn network(run: &Resolved) -> String {
    let extra = if run.network.ipv6 { ", IPv6 answers" } else { "" };
    let what = match run.network.mode {
        Mode::None => return "none: nothing is reached".to_owned(),
        Mode::Allowlist => "allowlist: only what follows is reached",
        Mode::Observe => "observe: every public destination is reached, and noted",
        Mode::Open => "open: every public destination is reached",
    };
    format!("{what} ({} addresses{extra})", run.network.addresses)
}

#[cfg(test)]
mod tests;
