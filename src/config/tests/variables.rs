//! npxc's own variables, and who said what.

use super::*;
use crate::config::Origin;

fn with(home: &Home, variables: &[(&str, &str)]) -> HostEnv {
    let mut host = home.host.clone();
    host.vars.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
    host
}

fn loaded(host: &HostEnv, layer: Layer) -> Result<Resolved, ConfigError> {
    load(Asked { packages: vec!["server".parse().unwrap()], layer, ..Asked::default() }, host)
}

#[test]
fn variables_stand_between_options_and_files() {
    let home = Home::new(&[
        (
            "packages/server.toml",
            "[network]\nallow = [\"file.example.com\"]\n[runtime]\nmemory = \"1G\"\npids = 99\ncpus = 3\n",
        ),
        ("npxc.toml", "[defaults.runtime]\nlink = \"auto\"\n"),
    ]);
    let host = with(
        &home,
        &[
            ("NPXC_ALLOW", "@npm,variable.example.com:443"),
            ("NPXC_MEMORY", "2G"),
            ("NPXC_PIDS", "100"),
            ("NPXC_CPUS", ""),
        ],
    );
    let run = loaded(&host, Layer { memory: Some(3 << 30), ..flags() }).unwrap();
    assert_eq!((run.limits.memory, run.limits.pids, run.limits.cpus), (3 << 30, 100, Some(3.0)));
    assert_eq!(shown(&run.network.allow), ["@npm", "variable.example.com:443", "file.example.com"]);
    assert_eq!(run.origin(|layer| layer.memory.is_some()), &Origin::Option);
    assert_eq!(run.origin(|layer| layer.pids.is_some()), &Origin::Variable);
    assert_eq!(run.origin(|layer| layer.cpus.is_some()), &Origin::Package(run.files[0].clone()));
    assert_eq!(run.origin(|layer| layer.link.is_some()), &Origin::Global(run.files[1].clone()));
    assert_eq!(run.origin(|layer| layer.image.is_some()), &Origin::Default);
    assert!(run.warnings.is_empty(), "{:?}", run.warnings);
}

/// Desktops set such; a package that reaches nothing needs no proxy.
#[test]
fn a_proxy_that_cannot_be_used_stops_who_needs_it() {
    let home = Home::new(&[]);
    let host = with(&home, &[("ALL_PROXY", "socks://192.0.2.1:1080/")]);
    assert_eq!(loaded(&host, flags()).unwrap().network.proxy, None);
    let open = Layer { mode: Some(Mode::Open), ..flags() };
    assert!(loaded(&host, open).unwrap_err().to_string().contains("ALL_PROXY"));
}

#[test]
fn paths_of_variables_are_those_of_options() {
    let home = Home::new(&[]);
    fs::create_dir_all(home.host.home.join("data/packages")).unwrap();
    fs::write(home.host.home.join("data/packages/server.toml"), "[network]\nmode = \"open\"\n").unwrap();
    let host =
        with(&home, &[("NPXC_CONFIG", "~/data"), ("NPXC_CWD", "data"), ("NPXC_AUDIT_LOG", "data/log")]);
    let run = loaded(&host, flags()).unwrap();
    assert_eq!(run.network.mode, Mode::Open);
    assert_eq!(run.cwd, home.host.home.join("data"));
    assert_eq!(run.audit, audit::Target::File(home.host.home.join("data/log")));
    let refused = |name: &str| loaded(&with(&home, &[(name, "none")]), flags()).unwrap_err().to_string();
    assert_eq!(refused("NPXC_CONFIG"), "NPXC_CONFIG: `none`: there is no such file or directory");
    assert_eq!(refused("NPXC_CWD"), "NPXC_CWD: `none`: there is no such directory");
    assert_eq!(
        refused("NPXC_RUNTIME"),
        "NPXC_RUNTIME: `none`: expected one of auto, native, podman, docker, apple"
    );
    let pointed = loaded(&with(&home, &[("NPXC_DENY", "a.example.com,@nmp")]), flags()).unwrap_err();
    assert_eq!(
        pointed.to_string(),
        "NPXC_DENY: there is no preset @nmp\na.example.com,@nmp\n              ^"
    );
}

#[test]
fn who_said_it_is_blamed() {
    let home = Home::new(&[("packages/other.toml", "[runtime]\npids = 99\nlink = \"socket\"\n")]);
    let refused = |name: &str, value: &str, layer: Layer| {
        loaded(&with(&home, &[(name, value)]), layer).unwrap_err().to_string()
    };
    let mounts = vec![MountSpec::parse("data:rw", Place::Option("--mount".into())).unwrap()];
    let said = refused("NPXC_AUDIT_LOG", "data/log", Layer { mounts, ..flags() });
    assert!(said.starts_with("NPXC_AUDIT_LOG: `data/log`: the package may write "), "{said}");
    let said = refused("NPXC_LINK", "socket", flags());
    assert_eq!(said, "NPXC_LINK: `socket`: the native runtime has its TUN and needs no other link");
    let said = home.refused("other");
    assert!(said.contains("packages/other.toml:3:8: the native runtime has its TUN"), "{said}");

    let said = refused("NPXC_IMAGE", "node:22", flags());
    assert!(said.starts_with("NPXC_IMAGE: `node:22`: the native runtime has this machine's files"), "{said}");
    let native = Layer { runtime: Some(RuntimeChoice::Native), ..flags() };
    let host = with(&home, &[("NPXC_IMAGE", "node:22"), ("NPXC_RUNTIME", "podman")]);
    assert_eq!(loaded(&host, native).unwrap().runtime.name, RuntimeChoice::Native);
}

#[test]
fn a_name_that_is_none_is_warned_of_and_none_reaches_the_package() {
    let home = Home::new(&[("packages/server.toml", "env_passthrough = [\"NPXC_ALLOW\"]\n")]);
    assert!(
        home.refused("server").contains("packages/server.toml:1:20: variables whose names begin with NPXC_")
    );
    let home = Home::new(&[]);
    let host =
        with(&home, &[("NPXC_ALOW", "x"), ("NPXC_EGRESS", "x"), ("NPXC_DATA", "/x"), ("NPXC_TEST_X", "1")]);
    let run = loaded(&host, flags()).unwrap();
    assert_eq!(
        run.warnings[0],
        "the variable NPXC_ALOW is none of npxc's and does nothing\ndid you mean NPXC_ALLOW?"
    );
    assert!(run.warnings[1].starts_with(
        "the variable NPXC_EGRESS is none of npxc's and does nothing\nnpxc's are NPXC_ADDRESSES, "
    ));
    assert_eq!((run.warnings.len(), run.env.len()), (2, 0));
}

#[test]
fn what_another_npxc_gives_reaches_the_package_alone() {
    let home = Home::new(&[]);
    let host = with(
        &home,
        &[("NPXC_GIVEN", r#"{"A": "1", "NPXC_NETWORK": "open", "PATH": "/x"}"#), ("A", "2"), ("B", "3")],
    );
    let names = ["A", "B"].map(|name| (name.parse().unwrap(), true));
    let resolved = loaded(&host, Layer { passthrough: names.into(), ..flags() }).unwrap();
    let env: Vec<_> =
        resolved.env.iter().map(|(name, value)| (name.as_str(), value.0.to_str().unwrap())).collect();
    assert_eq!(env, [("A", "1"), ("B", "3")]);
    assert_eq!(resolved.network.mode, Mode::None);
    assert_eq!(resolved.warnings, [] as [String; 0]);
}
