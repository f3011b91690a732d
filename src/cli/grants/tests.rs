#![allow(clippy::unwrap_used)]

use super::*;
use crate::config;
use crate::config::load::Asked;
use crate::config::values::EnvValue;
use crate::exit::ExitStatus;
use crate::package::HostEnv;

fn resolved(home: &std::path::Path) -> Resolved {
    let layer = Layer {
        allow: Rule::parse_list("@npm,api.example.com:443").unwrap(),
        env: [("TOKEN".parse().unwrap(), EnvValue("hunter2".into()))].into(),
        ..Layer::default()
    };
    let packages = vec!["server".parse().unwrap()];
    let host =
        HostEnv { vars: [("HOME".into(), home.into())].into(), cwd: home.to_owned(), home: home.to_owned() };
    config::load(Asked { packages, layer, ..Asked::default() }, &host).unwrap()
}

fn describe(run: &Resolved, survey: &Result<Survey, Failure>) -> String {
    text(&rows(run, survey, &[]), false)
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
        "runtime        native\n",
        "link           tun\n",
        "node           20.1.0 (/usr/bin/node)\n",
        "environment    TOKEN\n",
        "memory         4096 MiB\n",
        "processors     no limit\n",
        "processes      512\n",
    ] {
        assert!(text.contains(line), "{line}in {text}");
    }
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_container_is_shown_with_its_image_and_not_with_this_machines_node() {
    let home = tempfile::tempdir().unwrap();
    let mut run = resolved(home.path());
    run.runtime.name = RuntimeChoice::Podman;
    let text = describe(&run, &crate::session::survey(&run));
    for line in [
        "runtime        podman\n",
        "link           wireguard, or socket where that cannot be had\n",
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

#[test]
fn who_grants_what_is_said() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join(".config/npxc/packages")).unwrap();
    std::fs::create_dir(root.join("notes")).unwrap();
    let package = root.join(".config/npxc/packages/server.toml");
    let global = root.join(".config/npxc/npxc.toml");
    let own = "env_passthrough = [\"TOKEN\"]\n[env]\nA = \"hunter2\"\n[network]\nallow = [\"api.example.com:443\"]\n\
               [[mounts]]\nhost = \"~/notes\"\nguest = \"/notes\"\n";
    std::fs::write(&package, own).unwrap();
    std::fs::write(&global, "[defaults.runtime]\npids = 99\n[paths]\nmount_mode = \"rw\"\n").unwrap();
    let host = HostEnv {
        vars: [("HOME", root.to_str().unwrap()), ("NPXC_DENY", "bad.example.com"), ("TOKEN", "hunter3")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        cwd: root.clone(),
        home: root.clone(),
    };
    let packages = vec!["server".parse().unwrap()];
    let layer = Layer {
        allow: Rule::parse_list("flag.example.com").unwrap(),
        memory: Some(1 << 30),
        ..Layer::default()
    };
    let run = config::load(Asked { packages, layer, ..Asked::default() }, &host).unwrap();
    let found = Found {
        rule: "flag.example.com".parse().unwrap(),
        name: "flag.example.com".parse().unwrap(),
        addresses: Ok(vec![
            ("192.0.2.7".parse().unwrap(), None),
            ("10.0.0.7".parse().unwrap(), Some("private-address")),
        ]),
    };
    let rows = rows(&run, &Err(Failure::new(ExitStatus::Install, "no node")), &[found]);
    let shown = text(&rows, true);
    let (package, global) = (
        format!("[the package's file, {}]", package.display()),
        format!("[the file for all packages, {}]", global.display()),
    );
    for line in [
        "network        allowlist: only what follows is reached (virtual addresses)  [--allow]".to_owned(),
        "allow          flag.example.com  [--allow]\n                 flag.example.com: 192.0.2.7, 10.0.0.7 (not dialled: private-address)".to_owned(),
        format!("               api.example.com:443  {package}"),
        "deny           bad.example.com  [NPXC_DENY]".to_owned(),
        format!("mount          {} at /notes (read-only)  {package}", root.join("notes").display()),
        format!("environment    A  {package}\n               TOKEN  {package}"),
        "memory         1024 MiB  [--memory]".to_owned(),
        format!("processes      99  {global}"),
        "processors     no limit  [default]".to_owned(),
        "runtime        native  [default]".to_owned(),
    ] {
        assert!(shown.contains(&format!("{line}\n")), "{line}\nin {shown}");
    }
    assert!(
        shown.contains(&format!("brings back what is written  {global}")) || shown.contains("too wide"),
        "{shown}"
    );
    assert!(!shown.contains("hunter"));
    let value = json(&rows);
    let allow = value.as_array().unwrap().iter().find(|row| row["what"] == "allow").unwrap();
    assert_eq!(
        allow,
        &json!({"what": "allow", "value": "flag.example.com", "from": "option", "name": "--allow",
            "addresses": ["flag.example.com: 192.0.2.7, 10.0.0.7 (not dialled: private-address)"]})
    );
    assert!(!value.to_string().contains("hunter"));
}
