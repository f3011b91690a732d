//! Files that were written for npxc 0.3, as its README shows them.

use super::*;

/// `npxc.toml`.
const GLOBAL: &str = r#"
[defaults]
node_image    = "node:lts-slim"
container_cli = "container"
network       = "none"
memory        = "512m"
cpus          = "1"
mount_mode    = "ro"
log_level     = "warn"

[paths]
strategies = ["config", "schema", "heuristic"]

[paths.heuristic]
absolute_prefix = true
home_prefix     = true
uri_prefix      = ["file://"]
"#;

/// `packages/scope-my-mcp-server.toml`, but for `env_passthrough`, which stands below `[env]` there.
const PACKAGE: &str = r#"
package = "@scope/my-mcp-server"
version = "1.2.3"
env_passthrough = ["TOKEN", "GITHUB_TOKEN"]

[env]
NODE_OPTIONS = "--max-old-space-size=512"

[network]
mode  = "allowlist"
allow = [
  "api.example.com:443",
  "10.0.0.5/32:5432",
  "[2001:db8::1]:443",
]

[storage]
persist = true

[[mounts]]
host      = "."
container = "/project"
mode      = "ro"

[[mounts]]
host      = "data"
container = "/app/config"
mode      = "rw"

[path_arguments]
"*"             = ["path", "file", "filename", "input"]
"extract_pages" = ["path"]

[non_path_arguments]
"*" = ["url", "query", "pattern"]

[runtime]
memory = "1g"
"#;

fn global(text: &str) -> Result<Layer, String> {
    let shown = |error: ConfigError| format!("{error}\nhint: {}", error.hint.clone().unwrap_or_default());
    schema::global(Path::new("npxc.toml"), text).map_err(shown)
}

#[test]
fn both_files_load_and_mean_what_they_meant() {
    let home = Home::new(&[("npxc.toml", GLOBAL), ("packages/scope-my-mcp-server.toml", PACKAGE)]);
    // 0.3 did not check it; the home directory itself is not mounted for writing.
    fs::create_dir(home.host.home.join("work")).unwrap();
    fs::create_dir(home.host.home.join("work/data")).unwrap();
    let host = HostEnv { cwd: home.host.home.join("work"), ..home.host.clone() };
    let packages = vec!["@scope/my-mcp-server".parse().unwrap()];
    let run = load(Asked { packages, ..Asked::default() }, &host).unwrap();
    assert_eq!(run.request.to_string(), "@scope/my-mcp-server@1.2.3");
    assert_eq!(run.files.len(), 2, "the file has its old name");
    assert_eq!(run.network.mode, Mode::Allowlist);
    assert_eq!(shown(&run.network.allow), ["api.example.com:443", "10.0.0.5:5432", "[2001:db8::1]:443"]);
    let names: Vec<_> = run.env.keys().map(values::EnvName::as_str).collect();
    assert_eq!(names, ["NODE_OPTIONS", "TOKEN"]);
    assert!(run.persist);
    let mounts: Vec<_> =
        run.mounts.iter().map(|mount| (mount.guest.to_str().unwrap(), mount.access)).collect();
    assert_eq!(mounts, [("/app/config", Access::ReadWrite), ("/project", Access::ReadOnly)]);
    assert_eq!(run.arguments.paths["*"], ["path", "file", "filename", "input"]);
    assert_eq!(run.arguments.others["*"], ["url", "query", "pattern"]);
    assert_eq!((run.limits.memory, run.limits.cpus), (1 << 30, Some(1.0)));
    assert_eq!(run.runtime.image.as_deref(), Some("node:lts-slim"));
    assert_eq!(run.mount_mode, Access::ReadOnly);
    assert_eq!(run.arguments.strategies, Strategies::default());
    assert_eq!(run.warnings, ["the variable GITHUB_TOKEN (env_passthrough) is not set, so it is left out"]);
}

#[test]
fn what_has_moved_is_taken_from_where_it_was() {
    let layer =
        global("[defaults]\nnetwork = \"open\"\nmemory = \"1g\"\ncpus = \"2\"\nmount_mode = \"rw\"\n")
            .unwrap();
    assert_eq!((layer.mode, layer.memory, layer.cpus), (Some(Mode::Open), Some(1 << 30), Some(2.0)));
    assert_eq!((layer.mount_mode, layer.notes.len()), (Some(Access::ReadWrite), 0));
    let (layer, ..) = schema::package(Path::new("x"), "[runtime]\nnetwork = \"none\"\n").unwrap();
    assert_eq!(layer.mode, Some(Mode::None));
    let both = "[defaults]\nmemory = \"1g\"\n[defaults.runtime]\nmemory = \"2g\"\n";
    assert_eq!(global(both).unwrap().memory, Some(2 << 30), "the key of today counts");
}

#[test]
fn what_is_different_is_said() {
    let noted = |text: &str| global(text).unwrap().notes.join("\n");
    assert_eq!(
        noted("[defaults]\nlog_level = \"debug\"\n"),
        "npxc.toml:2:13: this key is of npxc 0.3 and does nothing: the option --log-level and the variable \
         NPXC_LOG_LEVEL say it"
    );
    assert!(noted("[defaults]\ncontainer_cli = \"/opt/container\"\n").contains("[defaults.runtime]"));
    assert!(
        noted("[paths.heuristic]\nuri_prefix = [\"file://\", \"doc://\"]\n")
            .starts_with("npxc.toml:2:26: no URI")
    );
    for (text, expected) in [
        (
            "[defaults]\nnetwork = \"bridge\"\n",
            "npxc.toml:2:11: `bridge` was a network without a filter, and is no mode\nnetwork = \"bridge\"\n          ^\n\
             hint: name what is needed in `allow`; mode = \"open\" lets every public destination through",
        ),
        (
            "[defaults]\nnetwork = \"my-net\"\n",
            "npxc.toml:2:11: expected one of none, allowlist, observe, open\nnetwork = \"my-net\"\n          ^\nhint: ",
        ),
        (
            "[defaults]\nnetwork = true\n",
            "npxc.toml:2:11: invalid type: boolean `true`, expected a table\nnetwork = true\n          ^\nhint: `npxc config schema` prints what each key takes",
        ),
        (
            "[defaults.network]\nalow = []\n",
            "npxc.toml:2:1: unknown key `alow`\nalow = []\n^\nhint: did you mean `allow`?",
        ),
        (
            "[paths.heuristic]\nhome_prefix = false\n",
            "npxc.toml:2:15: what looks like a path cannot be told apart here\n\
             hint: npxc looks for all of these or for none: `enabled = false` turns them off",
        ),
        (
            "[paths.heuristic]\nuri_prefix = []\n",
            "npxc.toml:2:14: file:// cannot be left out here\n\
             hint: npxc looks for all of these or for none: `enabled = false` turns them off",
        ),
        (
            "[defaults]\nlog = \"x\"\n",
            "npxc.toml:2:1: unknown key `log`\nlog = \"x\"\n^\nhint: the keys here are node_image, env, env_passthrough, \
             network, storage, mounts, paths, path_arguments, non_path_arguments, runtime, install",
        ),
    ] {
        assert_eq!(global(text).unwrap_err(), expected, "{text}");
    }
    let below = "[env]\nA = \"b\"\n\n# a comment\nenv_passthrough = [\"TOKEN\"]\n";
    let home = Home::new(&[("packages/server.toml", below), ("packages/other.toml", "[defaults]\n")]);
    assert_eq!(
        home.refused("server"),
        "~/.config/npxc/packages/server.toml:5:19: this stands in the table [env], so it is taken for a variable's \
         value\nenv_passthrough = [\"TOKEN\"]\n                  ^\nhint: move `env_passthrough` to the top, before the \
         first line that begins with ["
    );
    assert!(home.refused("other").contains("this is read as one package's file"));
}

#[test]
fn an_old_name_is_taken_only_for_the_package_that_it_says() {
    let other = Home::new(&[("packages/a-b.toml", "package = \"a-b\"\n[network]\nmode = \"open\"\n")]);
    let run = other.load("@a/b", flags()).unwrap();
    assert_eq!((run.network.mode, run.files.len(), run.warnings.len()), (Mode::None, 0, 0));
    let unnamed = Home::new(&[("packages/a-b.toml", "[network]\nmode = \"open\"\n")]);
    let run = unnamed.load("@a/b", flags()).unwrap();
    assert_eq!(run.network.mode, Mode::None);
    assert!(
        run.warnings[0].ends_with(
            "packages/a-b.toml is not read for @a/b: if it is meant for it, rename it to @a+b.toml"
        )
    );
    let named = "package = \"@a/b\"\n[network]\nmode = \"open\"\n";
    let old = Home::new(&[("packages/a-b.toml", named)]);
    assert_eq!(old.load("@a/b", flags()).unwrap().network.mode, Mode::Open);
    let both = Home::new(&[("packages/a-b.toml", named), ("packages/@a+b.toml", "")]);
    let run = both.load("@a/b", flags()).unwrap();
    assert_eq!(run.network.mode, Mode::None, "its own file counts");
    let directory = both.host.home.join(".config/npxc/packages");
    let directory = directory.display();
    let expected = format!(
        "{directory}/a-b.toml is not read for @a/b, as {directory}/@a+b.toml is there: what both say belongs there"
    );
    assert_eq!(run.warnings, [expected]);
    let wrong = Home::new(&[("packages/a-b.toml", "package = \"@a/b\"\n[netwrk]\n")]);
    assert!(wrong.refused("@a/b").contains("unknown key `netwrk`"));
}

#[test]
fn what_a_package_kept_is_pointed_out() {
    let home = Home::new(&[("packages/@a+b.toml", "[storage]\npersist = true\n")]);
    let packages = home.host.home.join(".local/share/npxc/packages");
    let warnings = || home.load("@a/b", flags()).unwrap().warnings;
    fs::create_dir_all(packages.join("a-b/data")).unwrap();
    assert!(warnings().is_empty(), "that is what the package a-b has today");
    fs::write(packages.join("a-b/memory.json"), "").unwrap();
    let expected = format!(
        "{0}/a-b/memory.json is of npxc 0.3, it seems; what the package is to have in /data goes to {0}/@a+b/data",
        packages.display()
    );
    assert_eq!(warnings(), [expected]);
}

#[test]
fn a_variable_that_contradicts_a_rule_is_named() {
    let home = Home::new(&[]);
    let mut host = home.host.clone();
    host.vars.extend([("NPXC_NETWORK".into(), "none".into()), ("NPXC_ALLOW".into(), "@npm".into())]);
    let error =
        load(Asked { packages: vec!["server".parse().unwrap()], ..Asked::default() }, &host).unwrap_err();
    assert!(
        error.to_string().starts_with("NPXC_NETWORK: no network at all, and `@npm` is allowed"),
        "{error}"
    );
    assert!(error.hint.unwrap().starts_with("leave NPXC_NETWORK out"));
}
