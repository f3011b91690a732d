//! The files themselves: which ones are read, what stands in them, and mistakes in them.

use super::*;
use crate::audit::shelf::Keep;
use crate::config::ProxyChoice;
use crate::config::layer::Logs;

#[test]
fn mistakes_in_files_are_pointed_at() {
    for (text, expected) in [
        ("[network]\nalow = []\n", "2:1: unknown key `alow`\nalow = []\n^\nhint: did you mean `allow`?"),
        (
            "[network]\nallow = \"@npm\"\n",
            "2:9: a list is wanted here\nallow = \"@npm\"\n        ^\nhint: write [\"@npm\"]",
        ),
        ("[netwrk]\n", "1:2: unknown key `netwrk`\n[netwrk]\n ^\nhint: did you mean `network`?"),
        (
            "[runtime]\nswap = 1\n",
            "2:1: unknown key `swap`\nswap = 1\n^\nhint: the keys here are name, link, image, program, arguments, require_limits, memory, cpus, pids",
        ),
        (
            "[audit]\npath = \"x\"\n",
            "1:2: unknown key `audit`\n[audit]\n ^\nhint: this is read as one package's file; what is for all of them stands in \
             npxc.toml, in the directory that --config names",
        ),
        (
            "[storage]\nwritable = [\"dist\"]\n",
            "2:1: `writable` says nothing here\nwritable = [\"dist\"]\n^\nhint: take it out: a package can write anywhere in its own folder, and `persist = true` keeps it",
        ),
        (
            "[storage]\npersit = true\n",
            "2:1: unknown key `persit`\npersit = true\n^\nhint: did you mean `persist`?",
        ),
        (
            "[network]\nmode = \"allow\"\n",
            "2:8: expected one of none, allowlist, observe, open\nmode = \"allow\"\n       ^\nhint: ",
        ),
        (
            "[network]\nipv6 = \"yes\"\n",
            "2:8: invalid type: string \"yes\", expected a boolean\nipv6 = \"yes\"\n       ^\nhint: `npxc config schema` prints what each key takes",
        ),
        (
            "[runtime]\nmemory = \"much\"\n",
            "2:10: expected a size\nmemory = \"much\"\n         ^\nhint: write a number with K, M or G, for example 512M or 2G",
        ),
        (
            "[runtime]\nmemory = true\n",
            "2:10: expected a number, or a size such as \"2G\"\nmemory = true\n         ^\nhint: for example memory = \"2G\", cpus = 0.5 or pids = 512",
        ),
        (
            "[[mounts]]\nguest = \"/x\"\n",
            "1:1: missing field `host`\n[[mounts]]\n^\nhint: add host = ... to this table",
        ),
        (
            "[[mounts]]\nhost = \"/no/such/place\"\n",
            "2:8: /no/such/place does not exist\nhint: check the path, or make it first: mkdir -p /no/such/place",
        ),
        (
            "[env]\n\"A-B\" = \"x\"\n",
            "2:3: a variable's name has letters, digits and `_` only, and no digit first\n\"A-B\" =\n  ^\nhint: for example --env API_TOKEN (npxc's own value) or --env LANG=C; in a file API_TOKEN = \"...\" below [env]",
        ),
        (
            "version = \"a b\"\n",
            "1:11: its version is neither a version nor a range nor a tag\nversion = \"a b\"\n          ^\nhint: for example NAME@1.2.3, NAME@^1.2 or NAME@latest; NAME alone is the latest",
        ),
    ] {
        let home = Home::new(&[("packages/server.toml", text)]);
        let expected = format!("~/.config/npxc/packages/server.toml:{expected}");
        assert_eq!(home.refused("server"), expected, "{text}");
    }
    let home =
        Home::new(&[("npxc.toml", "[defaults.network]\nallow = [\n  \"@npm\",\n  \"exa mple.com\",\n]\n")]);
    let refused = home.refused("server");
    assert!(refused.starts_with("~/.config/npxc/npxc.toml:4:7: "), "{refused}");
    assert!(refused.contains("\n  \"exa mple.com\",\n      ^"), "{refused}");
    for (text, hint) in [
        (
            "[network]\nallow = []\n",
            "unknown key `network`\n[network]\n ^\nhint: in npxc.toml it is [defaults.network]",
        ),
        ("[[mounts]]\nhost = \"/x\"\n", "hint: in npxc.toml it is [[defaults.mounts]]"),
        ("[path_arguments]\nt = [\"a\"]\n", "hint: in npxc.toml it is [defaults.path_arguments]"),
        ("env_passthrough = []\n", "hint: in npxc.toml it stands below [defaults]"),
        ("[defaults.netwrk]\n", "hint: did you mean `network`?"),
    ] {
        let refused = Home::new(&[("npxc.toml", text)]).refused("server");
        assert!(refused.ends_with(hint), "{refused}");
    }
}

#[test]
fn another_configuration_does_not_give_the_usual_one_away() {
    let home = Home::new(&[("npxc.toml", "")]);
    let mounts = vec![MountSpec::parse(".config:rw", Place::Option("--mount".into())).unwrap()];
    let asked = Asked {
        packages: vec!["server".parse().unwrap()],
        config: Some("data".to_owned()),
        layer: Layer { mounts, ..flags() },
        ..Asked::default()
    };
    let error = load(asked, &home.host).unwrap_err();
    assert!(error.what.contains("could change npxc's own files in"), "{error}");
}

#[test]
fn no_mistake_shows_a_variables_value() {
    for text in [
        "env = { TOKEN = \"hunter2\", X = 1 }\n",
        "[env]\nTOKEN = hunter2\n",
        "[env]\nTOKEN = \"hunter2\n",
        "[env]\nTOKEN = \"\"\"hunter2\n\\q hunter2\n\"\"\"\n",
        "[env]\nTOKEN = \"\\qhunter2\"\n",
        "[env]\nTOKEN = \"a\"\nTOKEN = \"hunter2\"\n",
        "[env]\nPIN = 40421\n",
        "[env]\n\"A B\" = \"hunter2\"\n",
        "[env]\nA = \"hunter2\\u0000\"\n",
        "[env]\nA = { b = \"hunter2\" }\n",
        "[env.A]\nb = \"hunter2\"\n",
        "env = \"TOKEN=hunter2\"\n",
        "env = [\"TOKEN=hunter2\"]\n",
        "env.PIN = 40421\n",
    ] {
        for (file, text) in [
            ("packages/server.toml", text.to_owned()),
            ("npxc.toml", format!("[defaults]\n{}", text.replace("[env", "[defaults.env"))),
        ] {
            let refused = Home::new(&[(file, &text)]).refused("server");
            assert!(!refused.contains("hunter2") && !refused.contains("40421"), "{text}\n{refused}");
            assert!(refused.starts_with("~/.config/npxc/"), "{refused}");
        }
    }
    let refused = Home::new(&[("packages/server.toml", "[env]\nPIN = 40421\n")]).refused("server");
    let expected = "server.toml:2:7: a text is wanted here\nPIN =\n     ^\nhint: write the value in quotes";
    assert!(refused.ends_with(expected), "{refused}");
}

#[test]
fn names_never_share_a_file() {
    let home = Home::new(&[
        ("packages/@a+b.toml", "[network]\nallow = [\"scoped.example.com\"]\n"),
        ("packages/a-b.toml", "[network]\nallow = [\"plain.example.com\"]\n"),
    ]);
    assert_eq!(shown(&home.load("@a/b", flags()).unwrap().network.allow), ["scoped.example.com"]);
    assert_eq!(shown(&home.load("a-b", flags()).unwrap().network.allow), ["plain.example.com"]);
    assert_eq!(home.load("b", flags()).unwrap().files.len(), 0);
}

#[test]
fn a_file_says_which_version_and_may_be_a_short_name() {
    let home = Home::new(&[
        ("packages/server.toml", "version = \"1.2.3\"\n"),
        ("packages/gh.toml", "package = \"@scope/server-github\"\nversion = \"2.0.0\"\n"),
    ]);
    let request = |spec: &str| home.load(spec, flags()).unwrap().request.to_string();
    assert_eq!(request("server"), "server@1.2.3");
    assert_eq!(request("server@next"), "server@next");
    assert_eq!(request("gh"), "@scope/server-github@2.0.0");
    assert_eq!(request("gh@3.0.0"), "@scope/server-github@3.0.0");
}

#[test]
fn a_configuration_can_be_named() {
    let home = Home::new(&[("packages/server.toml", "[network]\nmode = \"open\"\n")]);
    let own = home.host.home.join("own.toml");
    fs::write(&own, "package = \"server\"\n[network]\nallow = [\"@npm\"]\n").unwrap();
    let with = |config: &str, package: &str| {
        let packages = vec![package.parse().unwrap()];
        load(Asked { packages, config: Some(config.to_owned()), ..Asked::default() }, &home.host)
    };
    assert_eq!(shown(&with("own.toml", "server").unwrap().network.allow), ["@npm"]);
    assert!(with("own.toml", "other").unwrap_err().what.contains("is for the package `server`"));
    assert_eq!(
        with("~/data", "server").unwrap().network.mode,
        Mode::None,
        "a directory stands for the whole"
    );
    assert_eq!(
        with("missing.toml", "server").unwrap_err().to_string(),
        "--config: `missing.toml`: there is no such file or directory"
    );
}

#[test]
fn files_that_are_none_are_refused() {
    let home = Home::new(&[("packages/server.toml", "")]);
    let path = home.host.home.join(".config/npxc/packages/other.toml");
    fs::create_dir(&path).unwrap();
    assert!(home.refused("other").contains("cannot be"));
    fs::write(home.host.home.join(".config/npxc/npxc.toml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(home.refused("server").contains("larger than 1 MiB"));
    drop(home.dir);
}

/// Every key the readers know, as README.md shows it: the example has to load, and to be complete.
#[test]
fn the_readmes_example_loads_and_leaves_nothing_out() {
    let readme = include_str!("../../../README.md");
    let text = readme.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let path = Path::new("some-mcp-server.toml");
    let (layer, package, version) = schema::package(path, text).unwrap();
    assert!(package.is_some() && version.is_some());
    let defaults: String = text
        .lines()
        .filter(|line| !line.starts_with("package =") && !line.starts_with("version ="))
        .map(|line| match line.strip_prefix("[[").map(|_| "[[").or(line.strip_prefix('[').map(|_| "[")) {
            Some(open) => format!("{open}defaults.{}\n", &line[open.len()..]),
            None => format!("{line}\n"),
        })
        .collect();
    let global = schema::global(path, &format!("[defaults]\n{defaults}")).unwrap();
    assert_eq!((global.allow.len(), global.mounts.len()), (2, 1));

    let Layer {
        mode,
        mode_place: _,
        allow,
        allow_private,
        deny,
        ipv6,
        addresses,
        add_host,
        publish,
        explain,
        proxy,
        install_allow,
        ignore_scripts,
        env,
        persist,
        passthrough,
        mounts,
        mount_mode,
        strategies,
        heuristic,
        path_arguments,
        non_path_arguments,
        runtime,
        link,
        image,
        require_limits,
        program,
        arguments,
        memory,
        cpus,
        pids,
        logs: _,
        notes,
        origin,
    } = layer;
    let audit = |text: &str| schema::global(path, &format!("[audit]\n{text}\n")).map(|layer| layer.logs);
    let logs = audit("sign = true\nkeep = \"2w\"\nmax_size = \"64M\"\notel = true").unwrap();
    let age = Keep::For(std::time::Duration::from_hours(14 * 24));
    assert_eq!(logs, Logs { sign: true, keep: Some(age), max_size: Some(64 << 20), otel: true });
    for number in ["keep = 20", "keep = \"20\""] {
        assert_eq!(audit(number).unwrap().keep, Some(Keep::Newest(20)));
    }
    for (wrong, what) in [
        ("keep = \"2 weeks\"", ":2:8: expected an age"),
        ("keep = -1", ":2:8: expected an age"),
        ("keep = 0", ":2:8: at least one session's log"),
        ("max_size = \"63K\"", ":2:12: less than 64K"),
        ("max_size = \"big\"", ":2:12: expected a size"),
    ] {
        let error = audit(wrong).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    assert_eq!((notes.len(), origin), (0, crate::config::Origin::Package(path.to_owned())));
    assert!(mode.is_some() && ipv6.is_some() && addresses.is_some() && ignore_scripts.is_some());
    assert!(!(allow.is_empty() || allow_private.is_empty() || deny.is_empty() || install_allow.is_empty()));
    assert!(!(add_host.is_empty() || publish.is_empty() || env.is_empty() || passthrough.is_empty()));
    assert!(!mounts.is_empty() && persist.is_some() && proxy.is_some());
    assert_eq!((mount_mode, explain), (Some(Access::ReadWrite), Some(true)));
    let alone = schema::global(path, "[paths]\nmount_mode = \"rw\"").unwrap();
    assert_eq!((alone.mount_mode, global.mount_mode), (mount_mode, mount_mode));
    assert_eq!(strategies.map(|all| all.len()), Some(3));
    assert_eq!(heuristic, Some(true));
    assert_eq!(path_arguments["*"], ["document"]);
    assert_eq!(non_path_arguments["search"], ["filter.path"]);
    assert!(image.is_some() && require_limits.is_some() && program.is_some() && arguments.is_some());
    assert!(runtime.is_some() && link.is_some() && memory.is_some() && cpus.is_some() && pids.is_some());
}

#[test]
fn strategies_are_those_that_were_named() {
    let path = Path::new("npxc.toml");
    let resolved = |text: &str| {
        let layers = [Layer::default(), schema::global(path, text).unwrap()];
        crate::config::resolve::strategies(&layers)
    };
    let all = Strategies::default();
    assert_eq!(resolved(""), all);
    assert_eq!(resolved("[paths.heuristic]\nenabled = false"), Strategies { heuristic: false, ..all });
    let config = Strategies { config: true, schema: false, heuristic: false };
    assert_eq!(resolved("[paths]\nstrategies = [\"config\"]"), config);
    assert_eq!(
        resolved("[defaults.paths]\nstrategies = [\"config\"]\n[paths.heuristic]\nenabled = true"),
        config
    );
    let error = schema::global(path, "[paths]\nstrategies = [\"shape\"]").unwrap_err().to_string();
    assert!(error.contains("expected one of config, schema, heuristic"), "{error}");
}

#[test]
fn a_proxy_is_an_url_or_none_and_a_mistake_shows_no_password() {
    let parsed =
        |text: &str| schema::global(Path::new("npxc.toml"), &format!("[defaults.network]\n{text}\n"));
    let chosen = |text: &str| parsed(text).unwrap().proxy.unwrap().0;
    assert_eq!(chosen("proxy = \"none\""), ProxyChoice::None);
    assert!(matches!(chosen("proxy = \"socks5://proxy.example\""), ProxyChoice::Url(_)));
    for text in [
        "proxy = \"https://u:secret@proxy.example\"",
        "proxy = \"http://u:secret@proxy.example:x\"",
        "proxy = http://u:secret@proxy.example",
        "proxies = \"http://u:secret@proxy.example\"",
    ] {
        let error = parsed(text).unwrap_err().to_string();
        assert!(error.starts_with("npxc.toml:2:") && !error.contains("secret"), "{error}");
    }
}
