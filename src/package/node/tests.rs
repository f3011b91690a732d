use std::os::unix::fs::{PermissionsExt, symlink};
use std::{fs, io};

use super::*;

fn executable(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn host(home: &Path, path: &[&Path]) -> HostEnv {
    let mut host = HostEnv::current();
    host.home = home.to_owned();
    let path =
        std::env::join_paths(path.iter().copied().chain(["/usr/bin".as_ref(), "/bin".as_ref()])).unwrap();
    host.vars.insert("PATH".into(), path);
    host
}

/// The node this machine has, which these tests need.
fn real() -> Node {
    let cache = tempfile::tempdir().unwrap();
    Node::find(&HostEnv::current(), cache.path()).unwrap()
}

/// A prefix such as nvm's, fnm's or a tarball's, with the machine's own node and npm in it.
fn prefix(at: &Path, real: &Node) -> io::Result<()> {
    fs::create_dir_all(at.join("bin"))?;
    fs::create_dir_all(at.join("lib/node_modules"))?;
    if fs::hard_link(&real.exec, at.join("bin/node")).is_err() {
        fs::copy(&real.exec, at.join("bin/node"))?;
    }
    // npm itself is found through its links; a copy of its start is enough to be found.
    fs::create_dir_all(at.join("lib/node_modules/npm/bin"))?;
    fs::write(at.join("lib/node_modules/npm/package.json"), "{\"version\":\"9.9.9\"}")?;
    let cli = at.join("lib/node_modules/npm/bin/npm-cli.js");
    executable(&cli, b"console.log('https://registry.example.com/')");
    symlink("../lib/node_modules/npm/bin/npm-cli.js", at.join("bin/npm"))
}

#[test]
fn a_version_manager_in_a_home_directory() {
    let real = real();
    let home = tempfile::tempdir().unwrap();
    let home = fs::canonicalize(home.path()).unwrap();
    let version = home.join(".nvm/versions/node/v1");
    prefix(&version, &real).unwrap();
    let cache = home.join("cache");
    let node = Node::find(&host(&home, &[&version.join("bin")]), &cache).unwrap();
    assert_eq!(node.exec, version.join("bin/node"));
    assert_eq!(node.npm_cli, version.join("lib/node_modules/npm/bin/npm-cli.js"));
    assert_eq!(
        (node.npm_version.as_str(), node.default_registry.as_str()),
        ("9.9.9", "https://registry.example.com/")
    );
    assert_eq!(node.guest_exec(), Path::new("/opt/npxc/node/bin/node"));
    let mounted: Vec<_> = node.mounts.iter().map(|m| (m.host.clone(), m.guest.clone())).collect();
    assert_eq!(
        mounted,
        [
            (version.join("bin/node"), "/opt/npxc/node/bin/node".into()),
            (version.join("lib/node_modules/npm"), "/opt/npxc/node/lib/node_modules/npm".into()),
        ]
    );
    assert!(node.mounts.iter().all(|m| m.access == Access::ReadOnly));
    assert_eq!(
        node.guest_path(),
        "/opt/npxc/node/bin:/opt/npxc/node/lib/node_modules/npm/bin:/usr/local/bin:/usr/bin:/bin"
    );
}

#[test]
fn a_shell_shim_is_asked_in_the_home_directory() {
    let real = real();
    let dir = tempfile::tempdir().unwrap();
    let home = fs::canonicalize(dir.path()).unwrap();
    let version = home.join(".asdf/installs/nodejs/1");
    prefix(&version, &real).unwrap();
    let shim = home.join(".asdf/shims/node");
    // As asdf does: the working directory decides; a hostile project must not be asked.
    let script =
        format!("#!/bin/sh\n[ -e ./evil ] && touch ./ran\nexec {}/bin/node \"$@\"\n", version.display());
    executable(&shim, script.as_bytes());
    executable(&home.join(".asdf/shims/npm"), b"#!/bin/sh\nexit 1\n");
    let project = home.join("project");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("evil"), "").unwrap();
    let mut host = host(&home, &[shim.parent().unwrap()]);
    host.cwd.clone_from(&project);
    let node = Node::find(&host, &home.join("cache")).unwrap();
    assert_eq!(node.exec, version.join("bin/node"));
    assert_eq!(node.npm_version, "9.9.9");
    assert!(!project.join("ran").exists());
}

#[test]
fn the_second_time_nothing_is_run() {
    let real = real();
    let dir = tempfile::tempdir().unwrap();
    let home = fs::canonicalize(dir.path()).unwrap();
    let version = home.join("n");
    prefix(&version, &real).unwrap();
    let shim = home.join("shims/node");
    let script = format!("#!/bin/sh\necho x >> {0}/runs\nexec {0}/n/bin/node \"$@\"\n", home.display());
    executable(&shim, script.as_bytes());
    let host = host(&home, &[shim.parent().unwrap()]);
    let runs = || fs::read_to_string(home.join("runs")).unwrap().lines().count();
    let first = Node::find(&host, &home.join("cache")).unwrap();
    assert_eq!(runs(), 1);
    assert_eq!(Node::find(&host, &home.join("cache")).unwrap(), first);
    assert_eq!(runs(), 1);
    // Another default version, or a changed npm, is noticed.
    fs::write(home.join(".tool-versions"), "nodejs 2").unwrap();
    Node::find(&host, &home.join("cache")).unwrap();
    assert_eq!(runs(), 2);
    fs::write(version.join("lib/node_modules/npm/package.json"), "{\"version\":\"10.0.0\"}").unwrap();
    assert_eq!(Node::find(&host, &home.join("cache")).unwrap().npm_version, "10.0.0");
    // A damaged cache is no cache.
    fs::write(home.join("cache/node.json"), "{").unwrap();
    assert_eq!(Node::find(&host, &home.join("cache")).unwrap().npm_version, "10.0.0");
}

#[test]
fn failures_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let only = |bin: &Path| {
        let mut host = HostEnv { home: home.to_owned(), ..HostEnv::default() };
        host.vars.insert("PATH".into(), bin.into());
        Node::find(&host, &home.join("cache"))
    };
    let missing = only(&home.join("none")).unwrap_err();
    assert!(matches!(missing, PackageError::NodeMissing) && missing.hints()[0].contains(OLDEST_NODE));

    let bad = home.join("bad");
    executable(&bad.join("node"), b"#!/bin/sh\necho 'No version is set for command node' >&2\nexit 126\n");
    let error = only(&bad).unwrap_err();
    assert!(error.to_string().contains("No version is set"), "{error}");
    assert!(error.hints()[0].contains("default version"));

    let old = home.join("old");
    let answer = r#"{"exec":"EXEC","version":"16.20.0","modules":"93","platform":"linux","arch":"x64","libc":"glibc"}"#;
    let answer = answer.replace("EXEC", &old.join("node").display().to_string());
    let script =
        format!("#!/bin/sh\ncase $1 in -p) echo '{answer}';; *) echo https://registry.example.com/;; esac\n");
    executable(&old.join("node"), script.as_bytes());
    fs::create_dir_all(home.join("lib/npm/bin")).unwrap();
    executable(&home.join("lib/npm/bin/npm-cli.js"), b"");
    fs::write(home.join("lib/npm/package.json"), "{}").unwrap();
    symlink(home.join("lib/npm/bin/npm-cli.js"), old.join("npm")).unwrap();
    let error = only(&old).unwrap_err();
    assert!(matches!(error, PackageError::NodeTooOld { .. }), "{error}");
}

#[test]
fn headers_of_another_version_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("include/node")).unwrap();
    let header =
        "#define NODE_MAJOR_VERSION 20\n#define NODE_MINOR_VERSION 1\n#define NODE_PATCH_VERSION 2\n";
    fs::write(dir.path().join("include/node/node_version.h"), header).unwrap();
    assert!(headers_match(dir.path(), "20.1.2"));
    assert!(!headers_match(dir.path(), "20.1.3"));
    assert!(!headers_match(&dir.path().join("x"), "20.1.2"));
}
