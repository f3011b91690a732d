//! `--dry-run`: everything a run would be granted, for a person to read. Values of variables are not shown.

use std::fmt::Write as _;

use crate::audit::Target;
use crate::audit::escape::printable;
use crate::config::{LinkChoice, Resolved, RuntimeChoice};
use crate::exit::Failure;
use crate::policy::{HostPattern, Mode, Rule};
use crate::runtime::Access;
use crate::session::{Installed, Survey, Translated, lasting, shares_its_cwd};
use crate::storage::{GUEST_DATA, holds_no_layer};

/// `survey` is what a run would find; a machine that cannot run it is described as well.
pub(super) fn describe(run: &Resolved, survey: &Result<Survey, Failure>) -> String {
    let mut out = String::new();
    let mut row = |title: &str, value: String| {
        let _ = writeln!(out, "{title:<14} {}", printable(&value, 2000));
    };
    row("package", run.request.to_string());
    row("installed", installed(survey));
    if let Some(bin) = &run.request.bin {
        row("bin", bin.clone());
    }
    if !run.args.is_empty() {
        let args: Vec<_> = run.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        row("arguments", args.join(" "));
    }
    match crate::session::preview(run) {
        Ok(paths) => {
            for Translated { given, inside } in paths {
                row("", format!("{given} -> {inside}"));
            }
        }
        Err(failure) => row("", format!("which of them are shared is unknown: {}", failure.message)),
    }
    row("network", network(run));
    let mut rules = |title: &str, rules: &[Rule]| {
        for (index, rule) in rules.iter().enumerate() {
            row(if index == 0 { title } else { "" }, spelled_out(rule, survey));
        }
    };
    rules("allow", &run.network.allow);
    rules("allow private", &run.network.allow_private);
    rules("deny", &run.network.deny);
    rules("allow install", &run.install.allow);
    if run.install.ignore_scripts {
        row("install", "scripts are not run".to_owned());
    }
    for (at, words) in proxied(run).into_iter().enumerate() {
        row(if at == 0 { "proxy" } else { "" }, words);
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
    if run.no_isolate {
        row("not isolated", "the whole working directory is readable".to_owned());
    }
    row("own folder", own_folder(run, holds_no_layer(&run.directories.data)));
    if run.persist {
        let data = lasting(run).unwrap_or_else(|| run.directories.data.clone());
        row("storage", format!("{GUEST_DATA} (read-write), kept in {}", data.display()));
    }
    if run.mounts.is_empty() {
        row("mounts", "none".to_owned());
    }
    let cwd = run.cwd.display();
    row(
        "shares",
        match run.mount_mode {
            _ if !shares_its_cwd(run) => {
                format!("no files that calls name: {cwd} is too wide (--cwd DIR)")
            }
            Access::ReadOnly => format!("read-only copies of files in {cwd} that calls name"),
            Access::ReadWrite => format!("files in {cwd} that calls name, and brings back what is written"),
        },
    );
    let names: Vec<_> = run.env.keys().map(ToString::to_string).collect();
    row(
        "environment",
        if names.is_empty() { "nothing of this machine's".to_owned() } else { names.join(" ") },
    );
    row(
        "starts in",
        run.guest_cwd.as_ref().map_or_else(|| "its own home".to_owned(), |cwd| cwd.display().to_string()),
    );
    let link = match (run.runtime.name, run.runtime.link) {
        (RuntimeChoice::Native, _) => "tun",
        (RuntimeChoice::Apple, LinkChoice::Auto) => "socket",
        (RuntimeChoice::Podman | RuntimeChoice::Docker, LinkChoice::Auto) => {
            "wireguard, or socket where that cannot be had"
        }
        (_, link) => link.as_str(),
    };
    row("runtime", format!("{}, link {link}", run.runtime.name.as_str()));
    if let Ok(survey) = survey {
        if let Some(image) = &survey.image {
            row("image", image.clone());
        }
        row("node", survey.node.clone());
    }
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::load::Asked;
    use crate::config::values::EnvValue;
    use crate::config::{self, Layer};
    use crate::exit::ExitStatus;
    use crate::package::HostEnv;

    fn resolved(home: &std::path::Path) -> Resolved {
        let layer = Layer {
            allow: Rule::parse_list("@npm,api.example.com:443").unwrap(),
            env: [("TOKEN".parse().unwrap(), EnvValue("hunter2".into()))].into(),
            ..Layer::default()
        };
        let packages = vec!["server".parse().unwrap()];
        let host = HostEnv {
            vars: [("HOME".into(), home.into())].into(),
            cwd: home.to_owned(),
            home: home.to_owned(),
        };
        config::load(Asked { packages, layer, ..Asked::default() }, &host).unwrap()
    }

    #[test]
    fn presets_version_runtime_and_names_are_spelled_out() {
        let home = tempfile::tempdir().unwrap();
        let run = resolved(home.path());
        let survey = Survey {
            installed: Installed::Ready("server@1.2.3".to_owned()),
            presets: [("npm".to_owned(), Rule::parse_list("r.example.com:443,s.example.com:4873").unwrap())]
                .into(),
            node: "20.1.0 (/usr/bin/node)".to_owned(),
            image: None,
        };
        let text = describe(&run, &Ok(survey));
        for line in [
            "installed      server@1.2.3\n",
            "allow          @npm -> r.example.com:443, s.example.com:4873\n",
            "\n               api.example.com:443\n",
            "runtime        native, link tun\n",
            "node           20.1.0 (/usr/bin/node)\n",
            "environment    TOKEN\n",
            "limits         4096 MiB of memory, no limit on processors, 512 processes\n",
        ] {
            assert!(text.contains(line), "{line}in {text}");
        }
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let home = tempfile::tempdir().unwrap();
        let mut run = resolved(home.path());
        assert!(!describe(&run, &crate::session::survey(&run)).contains("\nproxy "));
        run.network.proxy = Some(crate::net::proxy::Proxying {
            proxy: "http://u:hunter2@proxy.example:3128".parse().unwrap(),
            bypass: crate::net::proxy::Bypass::parse("corp.example,10.0.0.0/8"),
            origin: "HTTPS_PROXY".to_owned(),
            given: [].into(),
        });
        let text = describe(&run, &crate::session::survey(&run));
        for line in [
            "\nproxy          http://proxy.example:3128 (HTTPS_PROXY)\n",
            "\n               resolves names: their addresses are judged as far as this machine knows them\n",
            "\n               not for corp.example, 10.0.0.0/8\n",
        ] {
            assert!(text.contains(line), "{line}in {text}");
        }
        assert!(!format!("{text} {run:?}").contains("hunter2"));
    }

    #[test]
    fn a_container_is_shown_with_its_image_and_not_with_this_machines_node() {
        let home = tempfile::tempdir().unwrap();
        let mut run = resolved(home.path());
        run.runtime.name = RuntimeChoice::Podman;
        let text = describe(&run, &crate::session::survey(&run));
        for line in [
            "runtime        podman, link wireguard, or socket where that cannot be had\n",
            "image          docker.io/library/node:22-slim\n",
            "node           the image's\n",
            "installed      a run looks",
        ] {
            assert!(text.contains(line), "{line}in {text}");
        }
    }

    #[test]
    fn what_persist_cannot_keep_is_said() {
        let home = tempfile::tempdir().unwrap();
        let mut run = resolved(home.path());
        assert!(own_folder(&run, true).contains("ends with the session"));
        run.persist = true;
        assert_eq!(own_folder(&run, false), "what it writes is kept");
        let said = own_folder(&run, true);
        assert!(said.contains("not kept") && said.contains("XDG_DATA_HOME"), "{said}");
        run.runtime.name = RuntimeChoice::Podman;
        assert!(own_folder(&run, false).starts_with("read-only"));
    }

    #[test]
    fn what_is_shared_and_kept_is_said_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let mut run = resolved(home.path());
        run.cwd = home.path().join("project");
        std::fs::create_dir(&run.cwd).unwrap();
        run.persist = true;
        let text = describe(&run, &Err(Failure::new(ExitStatus::Install, "no node")));
        let data = run.directories.data.join("packages/server/data");
        assert!(text.contains(&format!("/data (read-write), kept in {}\n", data.display())), "{text}");
        assert!(text.contains("read-only copies of files in"), "{text}");
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        let home = tempfile::tempdir().unwrap();
        let text = describe(&resolved(home.path()), &Err(Failure::new(ExitStatus::Install, "no node")));
        assert!(
            text.contains("installed      unknown: no node\n") && text.contains("allow          @npm\n"),
            "{text}"
        );
    }
}
