//! `--dry-run`: everything a run would be granted, for a person to read. Values of variables are not shown.

use std::fmt::Write as _;

use crate::audit::Target;
use crate::audit::escape::printable;
use crate::config::Resolved;
use crate::policy::{Mode, Rule};
use crate::runtime::Access;

pub(super) fn describe(run: &Resolved) -> String {
    let mut out = String::new();
    let mut row = |title: &str, value: String| {
        let _ = writeln!(out, "{title:<14} {}", printable(&value, 2000));
    };
    row("package", run.request.to_string());
    if let Some(bin) = &run.request.bin {
        row("bin", bin.clone());
    }
    if !run.args.is_empty() {
        let args: Vec<_> = run.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        row("arguments", args.join(" "));
    }
    row("network", network(run));
    let mut rules = |title: &str, rules: &[Rule]| {
        for (index, rule) in rules.iter().enumerate() {
            row(if index == 0 { title } else { "" }, rule.to_string());
        }
    };
    rules("allow", &run.network.allow);
    rules("allow private", &run.network.allow_private);
    rules("deny", &run.network.deny);
    rules("allow install", &run.install.allow);
    if run.install.ignore_scripts {
        row("install", "scripts are not run".to_owned());
    }
    for entry in &run.network.add_host {
        row("host entry", entry.to_string());
    }
    for publish in &run.publish {
        row("publish", format!("{} -> port {} inside", publish.listen, publish.guest));
    }
    for mount in &run.mounts {
        let access = match mount.access {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "read-write",
        };
        let (host, guest) = (mount.host.display(), mount.guest.display());
        row(
            "mount",
            if mount.host == mount.guest {
                format!("{host} ({access})")
            } else {
                format!("{host} at {guest} ({access})")
            },
        );
    }
    if run.mounts.is_empty() {
        row("files", "none of this machine's".to_owned());
    }
    let names: Vec<_> = run.env.keys().map(ToString::to_string).collect();
    row(
        "environment",
        if names.is_empty() { "nothing of this machine's".to_owned() } else { names.join(" ") },
    );
    row(
        "starts in",
        run.guest_cwd.as_ref().map_or_else(|| "its own home".to_owned(), |cwd| cwd.display().to_string()),
    );
    row("runtime", format!("{}, link {}", run.runtime, run.link));
    let cpus =
        run.limits.cpus.map_or_else(|| "no limit on processors".to_owned(), |cpus| format!("{cpus} cores"));
    row(
        "limits",
        format!("{} MiB of memory, {cpus}, {} processes", run.limits.memory >> 20, run.limits.pids),
    );
    row(
        "audit log",
        match &run.audit {
            Target::Directory { directory, .. } => format!("a new file in {}", directory.display()),
            Target::File(path) => path.display().to_string(),
        },
    );
    for file in &run.files {
        row("configured by", file.display().to_string());
    }
    out
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
