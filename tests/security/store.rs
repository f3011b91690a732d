//! Packages that try to leave their place in the store: names, bins, tarball entries, install scripts (row 42).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use npxc::audit::Event;
use serde_json::{Value, json};

use super::harness::{Attack, Server, Who, directory, everyone, give, packets, page, sealed};

/// An entry of a tarball.
pub(super) struct Part {
    name: String,
    kind: u8,
    mode: u32,
    link: String,
    data: Vec<u8>,
}

impl Part {
    pub(super) fn file(name: &str, data: &str) -> Self {
        Self { name: name.to_owned(), kind: b'0', mode: 0o755, link: String::new(), data: data.into() }
    }

    fn link(name: &str, to: &str) -> Self {
        Self { kind: b'2', link: to.to_owned(), ..Self::file(name, "") }
    }

    fn hard(name: &str, to: &str) -> Self {
        Self { kind: b'1', link: to.to_owned(), ..Self::file(name, "") }
    }

    fn kind(name: &str, kind: u8) -> Self {
        Self { kind, ..Self::file(name, "") }
    }

    fn mode(name: &str, mode: u32) -> Self {
        Self { mode, ..Self::file(name, "#!/bin/sh\n") }
    }

    /// One header and its data (POSIX ustar).
    fn write(&self, out: &mut Vec<u8>) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, &self.name.as_bytes()[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.data.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link.as_bytes()[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, b"0000001\0");
        put(337, b"0000003\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

/// A tarball that says it is a package. npm takes it without compression, too.
pub(super) fn package(who: Who, name: &str, manifest: &Value, parts: &[Part]) -> PathBuf {
    let directory = directory(who, "tarball");
    let path = directory.join(format!("{name}.tgz"));
    let mut out = Vec::new();
    Part::file("package/package.json", &manifest.to_string()).write(&mut out);
    parts.iter().for_each(|part| part.write(&mut out));
    out.resize(out.len() + 1024, 0);
    fs::write(&path, out).unwrap();
    give(who, &path);
    path
}

/// Everything below a directory: path, kind and mode, and where links lead.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Option<PathBuf>)> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            all.insert(entry.path(), (metadata.mode(), fs::read_link(entry.path()).ok()));
        }
    }
    all
}

/// Nothing in the store is anything but files, directories and links that stay in their entry.
#[track_caller]
fn assert_sound(data: &Path) {
    for (path, (mode, link)) in tree(data) {
        let kind = mode & libc::S_IFMT;
        assert!(
            [libc::S_IFREG, libc::S_IFDIR, libc::S_IFLNK].contains(&kind),
            "{}: {mode:o}",
            path.display()
        );
        assert!(kind == libc::S_IFLNK || mode & 0o6000 == 0, "{}: {mode:o}", path.display());
        if let Some(link) = link {
            let real = fs::canonicalize(&path).unwrap_or_default();
            assert!(
                real.starts_with(data) || real == Path::new("") && link.is_relative(),
                "{} leads to {}",
                path.display(),
                link.display()
            );
        }
    }
    assert!(tree(&data.join("npxc/store/staging")).is_empty(), "nothing half is left");
}

#[test]
fn row_42_tarball_entries_stay_in_their_package_or_refuse_the_install() {
    let main = || Part::file("package/main.js", "console.log('ran')");
    let manifest = json!({"name": "hostile", "version": "1.0.0", "bin": "main.js"});
    let cases: Vec<(&str, Vec<Part>)> = vec![
        ("dots", vec![Part::file("package/../../../../../evil", "x"), Part::file("../evil", "x")]),
        ("absolute", vec![Part::file("/tmp/npxc-evil", "x"), Part::file("//etc/npxc-evil", "x")]),
        ("a link out", vec![Part::link("package/out", "/etc"), Part::file("package/out/npxc-evil", "x")]),
        ("a link up", vec![Part::link("package/up", "../../.."), Part::file("package/up/npxc-evil", "x")]),
        ("a link instead of the manifest", vec![Part::link("package/package.json", "/etc/passwd")]),
        (
            "a hard link out",
            vec![Part::hard("package/shadow", "/etc/passwd"), Part::hard("package/up", "../../x")],
        ),
        (
            "devices",
            vec![
                Part::kind("package/device", b'3'),
                Part::kind("package/disk", b'4'),
                Part::kind("package/pipe", b'6'),
            ],
        ),
        ("set user id", vec![Part::mode("package/su", 0o6755), Part::mode("package/sticky", 0o1777)]),
        (
            "odd names",
            vec![
                Part::file("package/new\nline", "x"),
                Part::file("package/\u{1b}[2J", "x"),
                Part::file("package/ ", "x"),
            ],
        ),
        (
            "its own node_modules",
            vec![
                Part::file("package/node_modules/.bin/node", "#!/bin/sh\n"),
                Part::link("package/node_modules/x", "/etc"),
            ],
        ),
        (
            "an .npmrc",
            vec![Part::file(
                "package/.npmrc",
                "ignore-scripts=false\nprefix=/tmp/evil\nscript-shell=/bin/evil\n",
            )],
        ),
        (
            "npxc's own files",
            vec![Part::file("npxc-entry.json", "{}"), Part::file("package/.npxc-cache", "x")],
        ),
    ];
    for who in everyone() {
        let data = directory(who, "data");
        for (what, parts) in &cases {
            let mut all = vec![main()];
            all.extend(parts.iter().map(|part| Part {
                name: part.name.clone(),
                kind: part.kind,
                mode: part.mode,
                link: part.link.clone(),
                data: part.data.clone(),
            }));
            let tarball = package(who, "hostile", &manifest, &all);
            let seen = Attack::new(who, tarball).data(&data).run();
            // Either npm left the entry out and the package runs, or the install is refused; with words.
            match seen.code {
                Some(0) => assert_eq!(seen.out, "ran\n", "{what}: {seen:?}"),
                code => assert!(code == Some(3) && seen.err.contains("npxc: error: "), "{what}: {seen:?}"),
            }
            assert_sound(&data);
            assert!(!Path::new("/tmp/npxc-evil").exists() && !Path::new("/etc/npxc-evil").exists(), "{what}");
            let own: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(own, ["npxc"], "{what}");
        }
    }
}

#[test]
fn row_42_names_and_bins_stay_in_their_package_or_refuse_the_install() {
    let main = || [Part::file("package/main.js", "#!/usr/bin/env node\nconsole.log('ran')")];
    let with = |name: &str, bin: Value| json!({"name": name, "version": "1.0.0", "bin": bin});
    let cases = [
        with("../evil", json!("main.js")),
        with("/etc/evil", json!("main.js")),
        with("@a/../../evil", json!("main.js")),
        with("@../evil", json!("main.js")),
        with(".bin", json!("main.js")),
        with("node_modules", json!("main.js")),
        with("a\nb", json!("main.js")),
        with("\u{1b}[2J", json!("main.js")),
        with(&"a".repeat(300), json!("main.js")),
        with("", json!("main.js")),
        with("x", json!({"../../../../evil": "main.js"})),
        with("x", json!({"/etc/evil": "main.js"})),
        with("x", json!({"x": "../../../../../../usr/bin/id"})),
        with("x", json!({"x": "/usr/bin/id"})),
        with("x", json!({"node": "main.js", "sh": "main.js"})),
        with("x", json!({"x\u{1b}[2J": "main.js"})),
        with("x", json!("")),
        with("x", json!([])),
        json!({"name": "x", "version": "../../1", "bin": "main.js"}),
        json!({"name": "x", "version": "1.0.0", "bin": "main.js", "dependencies": {"../evil": "file:/etc"}}),
        json!({"name": "x", "version": "1.0.0", "bin": "main.js", "dependencies": {"evil": "file:/etc"}}),
        json!({"name": "x", "version": "1.0.0", "bin": "main.js", "directories": {"bin": "/usr/bin"}}),
    ];
    let who = everyone()[0];
    let data = directory(who, "data");
    for manifest in &cases {
        sealed();
        let tarball = package(who, "hostile", manifest, &main());
        let seen = Attack::new(who, tarball).data(&data).run();
        match seen.code {
            Some(0) => assert_eq!(seen.out, "ran\n", "{manifest}: {seen:?}"),
            code => assert!(
                matches!(code, Some(1 | 3)) && seen.err.contains("npxc: error: "),
                "{manifest}: {seen:?}"
            ),
        }
        assert!(!seen.out.contains("uid="), "{manifest} ran a program of the host's: {seen:?}");
        assert!(!seen.err.contains('\u{1b}'), "{seen:?}");
        assert_sound(&data);
    }
}

/// Looks for everything a worm looks for; leaves what it found in its package, which is all that it may write.
const WORM: &str = r#"
const fs = require('node:fs'), dns = require('node:dns').promises, net = require('node:net'), os = require('node:os');
const found = { env: Object.keys(process.env), tokens: [], written: [], reached: [], seen: [] };
const tell = JSON.stringify(process.env);
if (/sesame|secret/.test(tell)) found.tokens.push('environment');
const homes = [os.homedir(), '/root', '/home', process.env.HOST_HOME ?? '/nonexistent'];
for (const home of homes)
  for (const name of ['.npmrc', '.ssh/id_ed25519', '.aws/credentials', '.config/gh/hosts.yml', '.netrc', '.git-credentials'])
    try { if (/sesame|secret/.test(fs.readFileSync(`${home}/${name}`, 'utf8'))) found.tokens.push(`${home}/${name}`); } catch {}
for (const name of ['/home/user/.npmrc-global', '/usr/etc/npmrc', '/etc/npmrc', '/opt/npxc/package/.npmrc'])
  try { if (/sesame/.test(fs.readFileSync(name, 'utf8'))) found.tokens.push(name); } catch {}
for (const name of ['/etc/npxc-evil', '/usr/bin/npxc-evil', '/opt/npxc/evil', '/opt/npxc/source/0/evil', '/opt/evil',
  __dirname.split('/node_modules/')[0] + '/../evil'])
  try { fs.writeFileSync(name, 'x'); found.written.push(name); } catch {}
const dial = (host, port) => new Promise((done) => {
  const socket = net.connect({ host, port, timeout: 5000 }, () => { found.reached.push(`${host}:${port}`); socket.destroy(); done(); });
  socket.on('error', (error) => { found.seen.push(`${host}:${port} ${error.code}`); done(); });
  socket.on('timeout', () => { found.seen.push(`${host}:${port} silence`); socket.destroy(); done(); });
});
(async () => {
  for (const name of ['registry.example.com', 'evil.example', 'host.npxc.internal'])
    await dns.lookup(name).then(() => found.reached.push(name), (error) => found.seen.push(`${name} ${error.code}`));
  for (const host of ['registry.example.com', '198.18.0.1', '192.0.2.7', '2001:db8::7', 'host.npxc.internal'])
    for (const port of [443, PORT]) await dial(host, port);
  fs.writeFileSync(`${__dirname}/found.json`, JSON.stringify(found));
})();
"#;

#[test]
fn row_42_an_install_script_finds_no_token_no_registry_and_no_host_and_the_log_says_so() {
    for who in everyone() {
        sealed();
        let server = Server::start(page("secret"));
        let data = directory(who, "data");
        let manifest = json!({"name": "worm", "version": "1.0.0", "bin": "main.js", "scripts": {"postinstall": "node worm.js"}});
        let parts = [
            Part::file("package/worm.js", &WORM.replace("PORT", &server.port.to_string())),
            Part::file(
                "package/main.js",
                "console.log(require('node:fs').readFileSync(__dirname + '/found.json', 'utf8'))",
            ),
        ];
        let tarball = package(who, "worm", &manifest, &parts);
        let home = directory(who, "home");
        fs::create_dir(home.join(".ssh")).unwrap();
        give(who, &home.join(".ssh"));
        let npmrc =
            "registry=https://registry.example.com/\n//registry.example.com/:_authToken=open-sesame\n";
        for (name, text) in [(".npmrc", npmrc), (".ssh/id_ed25519", "secret"), (".netrc", "secret")] {
            fs::write(home.join(name), text).unwrap();
            give(who, &home.join(name));
        }
        let seen = Attack::new(who, tarball)
            .data(&data)
            .env("HOME", home.as_os_str())
            .env("NPM_TOKEN", "open-sesame")
            .env("npm_config__auth", "open-sesame")
            .env("GITHUB_TOKEN", "secret")
            .allow("registry.example.com,host.npxc.internal")
            .run();
        assert_eq!(seen.code, Some(0), "{seen:?}");
        let found: Value = serde_json::from_str(&seen.out).unwrap();
        for nothing in ["tokens", "reached"] {
            assert_eq!(found[nothing], json!([]), "{nothing}: {found}");
        }
        let written: Vec<&str> =
            found["written"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert!(written.is_empty(), "{written:?}");
        let seen_there = found["seen"].as_array().unwrap();
        assert!(seen_there.len() >= 13 && !found.to_string().contains("silence"), "{found}");
        // What the run may reach, its install scripts may not.
        let build = seen.events.iter().position(|event| {
            matches!(event, Event::SessionStart { purpose, network, allow, .. } if purpose == "build" && network == "none" && allow.is_empty())
        });
        let log = &seen.events[build.unwrap()..];
        let names = log.iter().filter_map(|event| match event {
            Event::Dns { name, hint: Some(hint), .. } => Some((name.as_str(), hint.as_str())),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        assert!(names.iter().any(|(name, _)| *name == "registry.example.com"), "{names:?}");
        assert!(names.iter().any(|(name, _)| *name == "evil.example"), "{names:?}");
        let denied = log.iter().filter(|event| matches!(event, Event::FlowDeny { code, .. } if code == "network-off" || code == "private-address"));
        assert!(denied.count() >= 6, "{seen:?}");
        assert!(!seen.log.contains("sesame"), "no token in the log");
        assert_eq!(packets(), 0, "nothing left, in neither step");
        assert!(server.visits().is_empty());
        assert_sound(&data);
    }
}
