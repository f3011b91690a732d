#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use std::fs;

use super::*;
use crate::config::{Addresses, MountSpec, RuntimeChoice, schema, values};
use crate::exit::{ExitStatus, Failure};
use crate::policy::{Mode, Rule};
use crate::rpc::identify::Strategies;

#[path = "tests/files.rs"]
mod files;
#[path = "tests/former.rs"]
mod former;
#[path = "tests/variables.rs"]
mod variables;

/// A home with configuration files.
struct Home {
    dir: tempfile::TempDir,
    host: HostEnv,
}

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for (name, text) in files {
            let path = root.join(".config/npxc").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(root.join("data")).unwrap();
        let vars = [("HOME", root.to_str().unwrap()), ("TOKEN", "host-token"), ("LANG", "C")];
        let vars: BTreeMap<OsString, OsString> = vars.map(|(name, value)| (name.into(), value.into())).into();
        Self { host: HostEnv { vars, cwd: root.clone(), home: root }, dir }
    }

    fn load(&self, package: &str, layer: Layer) -> Result<Resolved, ConfigError> {
        let packages = vec![package.parse().unwrap()];
        load(Asked { packages, layer, ..Asked::default() }, &self.host)
    }

    fn refused(&self, package: &str) -> String {
        let error = self.load(package, Layer::default()).unwrap_err();
        assert_eq!(Failure::from(error.clone()).status, ExitStatus::Config);
        let text = format!("{error}\nhint: {}", error.hint.clone().unwrap_or_default());
        text.replace(&format!("{}/", self.host.home.display()), "~/")
    }
}

fn rules(text: &str) -> Vec<Rule> {
    Rule::parse_list(text).unwrap()
}

fn shown(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

fn flags() -> Layer {
    Layer { mode_place: Some(Place::Option("--network".into())), ..Layer::default() }
}

#[test]
fn without_anything_nothing_is_granted() {
    let home = Home::new(&[]);
    let run = home.load("server", Layer::default()).unwrap();
    assert_eq!(run.network, crate::config::Network::default());
    assert_eq!(run.network.mode, Mode::None);
    assert!(run.mounts.is_empty() && run.env.is_empty() && run.publish.is_empty() && run.warnings.is_empty());
    assert_eq!(run.guest_cwd, None);
    assert!(!run.limits.chosen);
    let directory = home.host.home.join(".local/state/npxc/audit");
    assert_eq!(run.audit, audit::Target::Directory { directory, package: "server".into() });
}

#[test]
fn flags_win_over_the_packages_file_over_the_global_file() {
    let home = Home::new(&[
        (
            "npxc.toml",
            "[defaults]\nenv = { A = \"global\", C = \"global\" }\n[defaults.network]\nallow = [\"global.example.com\"]\n\
             deny = [\"bad.example.com\"]\naddresses = \"real\"\nipv6 = true\n[defaults.runtime]\nmemory = \"1G\"\npids = 99\n\
             cpus = 2\n[[defaults.mounts]]\nhost = \"~/data\"\nguest = \"/data\"\n",
        ),
        (
            "packages/server.toml",
            "env_passthrough = [\"TOKEN\", \"MISSING\"]\n[env]\nA = \"package\"\nB = \"package\"\n[network]\n\
             allow = [\"@npm\", \"api.example.com:443\"]\naddresses = \"virtual\"\n[runtime]\nmemory = 536870912\ncpus = 0.5\n\
             [install]\nallow = [\"dl.example.com:443\"]\n[[mounts]]\nhost = \"data\"\nguest = \"/data\"\naccess = \"rw\"\n",
        ),
    ]);
    let layer = Layer {
        allow: rules("flag.example.com:443"),
        env: [("B".parse().unwrap(), values::EnvValue("flag".into()))].into(),
        memory: Some(1 << 28),
        ..flags()
    };
    let run = home.load("server@1.2.3", layer).unwrap();
    assert_eq!(run.network.mode, Mode::Allowlist);
    assert_eq!(
        shown(&run.network.allow),
        ["flag.example.com:443", "@npm", "api.example.com:443", "global.example.com"]
    );
    assert_eq!(shown(&run.network.deny), ["bad.example.com"]);
    assert_eq!((run.network.addresses, run.network.ipv6), (Addresses::Virtual, true));
    assert_eq!((run.limits.memory, run.limits.cpus, run.limits.pids), (1 << 28, Some(0.5), 99));
    assert!(run.limits.chosen);
    assert_eq!(shown(&run.install.allow), ["dl.example.com:443"]);
    assert_eq!(run.runtime.name, RuntimeChoice::HERE);
    let env: Vec<_> =
        run.env.iter().map(|(name, value)| (name.as_str(), value.0.to_str().unwrap())).collect();
    assert_eq!(env, [("A", "package"), ("B", "flag"), ("C", "global"), ("TOKEN", "host-token")]);
    assert_eq!(run.mounts.len(), 1);
    assert_eq!(run.mounts[0].access, Access::ReadWrite);
    assert_eq!(run.files.len(), 2);
    assert_eq!(run.warnings, ["the variable MISSING (env_passthrough) is not set, so it is left out"]);
    assert_eq!(run.request.to_string(), "server@1.2.3");
}

#[test]
fn the_mode_comes_from_the_highest_layer_that_has_an_opinion() {
    let open = Home::new(&[("packages/server.toml", "[network]\nmode = \"open\"\n")]);
    assert_eq!(open.load("server", flags()).unwrap().network.mode, Mode::Open);
    let narrowed = Layer { allow: rules("api.example.com"), ..flags() };
    assert_eq!(open.load("server", narrowed.clone()).unwrap().network.mode, Mode::Allowlist);
    let observed = Layer { mode: Some(Mode::Observe), ..narrowed };
    assert_eq!(open.load("server", observed).unwrap().network.mode, Mode::Observe);
    let off = Layer { mode: Some(Mode::None), ..flags() };
    let listed = Home::new(&[("packages/server.toml", "[network]\nallow = [\"@npm\"]\n")]);
    assert_eq!(listed.load("server", off).unwrap().network.mode, Mode::None);
}

#[test]
fn a_rule_for_the_sandboxs_own_loopback_is_warned_of() {
    let layer = Layer {
        allow: rules("127.0.0.1:8099,0.0.0.0/0"),
        allow_private: rules("[::1]"),
        deny: rules("127.0.0.2"),
        ..flags()
    };
    let run = Home::new(&[]).load("server", layer).unwrap();
    assert_eq!(run.warnings.len(), 2, "{:?}", run.warnings);
    assert!(
        run.warnings[0].starts_with("127.0.0.1 inside the sandbox is the sandbox itself"),
        "{:?}",
        run.warnings
    );
    assert!(run.warnings[0].ends_with("--allow host.npxc.internal:8099 does"), "{:?}", run.warnings);
    assert!(run.warnings[1].contains("`[::1]`"), "{:?}", run.warnings);
}

#[test]
fn no_network_and_an_allowed_destination_contradict_each_other() {
    let home = Home::new(&[("packages/server.toml", "[network]\nmode = \"none\"\nallow = [\"@npm\"]\n")]);
    let layer = Layer { mode: Some(Mode::None), allow_private: rules("db.example.com:5432"), ..flags() };
    let error = home.load("other", layer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--network: no network at all, and `db.example.com:5432` is allowed: one contradicts the other"
    );
    assert_eq!(
        home.refused("server"),
        "~/.config/npxc/packages/server.toml:2:8: no network at all, and `@npm` is allowed: one contradicts the other\n\
         hint: write mode = \"allowlist\", or take `mode` out"
    );
}

#[test]
fn variables_are_granted_one_by_one() {
    let home = Home::new(&[]);
    let pass = |name: &str| Layer { passthrough: [(name.parse().unwrap(), true)].into(), ..flags() };
    let run = home.load("server", pass("TOKEN")).unwrap();
    assert_eq!(run.env.values().next().unwrap().0, "host-token");
    assert!(!format!("{run:?}").contains("host-token"));
    let error = home.load("server", pass("MISSING")).unwrap_err();
    assert_eq!(error.to_string(), "--env: `MISSING`: this variable is not set in npxc's own environment");
}

#[test]
fn the_working_directory_is_seen_when_a_mount_has_it() {
    let home = Home::new(&[]);
    fs::create_dir(home.host.home.join("data/sub")).unwrap();
    let mount = |text: &str| MountSpec::parse(text, Place::Option("--mount".into())).unwrap();
    let with = |cwd: &str, mounts: Vec<MountSpec>| {
        let layer = Layer { mounts, ..flags() };
        let packages = vec!["server".parse().unwrap()];
        load(Asked { packages, layer, cwd: Some(cwd.to_owned()), ..Asked::default() }, &home.host)
    };
    let run = with("data/sub", vec![mount("..:/work")]).unwrap();
    assert_eq!(run.mounts[0].host, home.host.home.join("data"), "relative to --cwd");
    assert_eq!(run.guest_cwd, Some("/work/sub".into()));
    let run = with("data", vec![mount(".:/work")]).unwrap();
    assert_eq!(run.guest_cwd.unwrap().to_str(), Some("/work"));
    let run = with("data", vec![]).unwrap();
    assert_eq!(run.guest_cwd, None);
    assert!(run.warnings[0].contains("--mount"), "{:?}", run.warnings);
    assert_eq!(
        with("nowhere", vec![]).unwrap_err().to_string(),
        "--cwd: `nowhere`: there is no such directory"
    );
    let twice = with("data", vec![mount("sub:/work"), mount("../data:/work")]).unwrap_err();
    assert!(twice.to_string().ends_with("two mounts go to /work inside the sandbox"), "{twice}");
}

#[test]
fn the_log_is_out_of_the_packages_reach() {
    let home = Home::new(&[]);
    let with = |log: &str, mount: &str| {
        let mounts = vec![MountSpec::parse(mount, Place::Option("--mount".into())).unwrap()];
        let packages = vec!["@a/b@1".parse().unwrap()];
        let layer = Layer { mounts, ..flags() };
        load(Asked { packages, layer, audit_log: Some(log.to_owned()), ..Asked::default() }, &home.host)
    };
    let log = home.host.home.join("data/log.jsonl");
    assert_eq!(with("data/log.jsonl", "data").unwrap().audit, audit::Target::File(log));
    let directory = home.host.home.join("data");
    let target = audit::Target::Directory { directory, package: "@a+b".into() };
    assert_eq!(with("data", "data").unwrap().audit, target);
    for log in ["data/log.jsonl", "data"] {
        assert!(with(log, "data:rw").unwrap_err().what.contains("could change its own log"));
    }
}

#[test]
fn what_was_named_wins_over_no_isolate() {
    let home = Home::new(&[]);
    fs::create_dir_all(home.host.home.join("work")).unwrap();
    let load = |cwd: &str, mounts: &[&str]| {
        let asked = Asked {
            packages: vec!["server".parse().unwrap()],
            cwd: Some(cwd.to_owned()),
            no_isolate: true,
            layer: Layer {
                mounts: mounts
                    .iter()
                    .map(|text| MountSpec::parse(text, Place::Option("--mount".into())).unwrap())
                    .collect(),
                ..Layer::default()
            },
            ..Asked::default()
        };
        load(asked, &home.host)
    };
    let run = load("work", &[]).unwrap();
    let work = home.host.home.canonicalize().unwrap().join("work");
    assert_eq!((run.mounts[0].host.as_path(), run.mounts[0].access), (work.as_path(), Access::ReadOnly));
    assert!(run.no_isolate && run.guest_cwd.is_some() && run.warnings[0].contains("--no-isolate"));
    let run = load("work", &[".:rw"]).unwrap();
    assert_eq!((run.mounts.len(), run.mounts[0].access), (1, Access::ReadWrite));
    for wide in [".", "..", "/"] {
        let error = load(wide, &[]).unwrap_err();
        assert!(error.to_string().contains("your whole home directory"), "{wide}: {error}");
    }
}

#[test]
fn no_isolate_and_write_contradict_each_other() {
    let home = Home::new(&[]);
    fs::create_dir_all(home.host.home.join("work")).unwrap();
    let load = |mounts: &[&str]| {
        let mounts =
            mounts.iter().map(|text| MountSpec::parse(text, Place::Option("--mount".into())).unwrap());
        let layer =
            Layer { mounts: mounts.collect(), mount_mode: Some(Access::ReadWrite), ..Layer::default() };
        let packages = vec!["server".parse().unwrap()];
        let cwd = Some("work".to_owned());
        load(Asked { packages, cwd, no_isolate: true, layer, ..Asked::default() }, &home.host)
    };
    let error = load(&[]).unwrap_err();
    assert!(error.to_string().contains("--write"), "{error}");
    assert!(error.hint.unwrap().contains("--mount .:rw"));
    load(&[".:rw"]).unwrap();
}

#[test]
fn what_is_seen_of_a_working_directory_is_said_as_it_is() {
    let home = Home::new(&[]);
    fs::create_dir_all(home.host.home.join("work")).unwrap();
    let warnings = |cwd: &str| {
        let packages = vec!["server".parse().unwrap()];
        load(Asked { packages, cwd: Some(cwd.to_owned()), ..Asked::default() }, &home.host).unwrap().warnings
    };
    assert!(warnings("work").join("").contains("sees the files that calls name"));
    let said = warnings(".").join("");
    assert!(said.contains("none of its files") && said.contains("--cwd DIR or --mount DIR"), "{said}");
    assert!(!said.contains(&format!("--mount {}", home.host.home.display())), "{said}");
}

#[test]
fn a_local_packages_logs_have_its_base_name() {
    let home = Home::new(&[]);
    fs::create_dir_all(home.host.home.join("my server\u{202e}/v1")).unwrap();
    for (spec, expected) in
        [("./data", "data"), ("./my server\u{202e}", "my_server_"), ("./data/..", "HOME"), ("/", "local")]
    {
        let run = home.load(spec, flags()).unwrap();
        let own = home.host.home.file_name().unwrap().to_str().unwrap();
        let expected = if expected == "HOME" { own } else { expected };
        let audit::Target::Directory { package, .. } = run.audit else { panic!("{spec}: a file") };
        assert_eq!(package, expected, "{spec}");
    }
}
