//! `npxc update` beside a registry of the test's own, on loopback: files below a directory.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::machine::have_all;
use super::processes::{eventually, wait};
use super::world::world;

/// A registry, and an npxc with a store of its own that uses it.
struct Registry {
    directory: PathBuf,
    data: PathBuf,
    url: String,
}

impl Registry {
    fn start() -> Self {
        let (directory, data) = (world().scratch("registry"), world().scratch("data"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let root = directory.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || serve(stream, &root));
            }
        });
        Self { directory, data, url }
    }

    /// Makes this its newest version of the package.
    fn publish(&self, name: &str, version: &str) {
        let made = world().scratch("made").join("package");
        fs::create_dir(&made).unwrap();
        let manifest = json!({"name": name, "version": version, "bin": "index.js"});
        fs::write(made.join("package.json"), manifest.to_string()).unwrap();
        fs::write(made.join("index.js"), format!("#!/usr/bin/env node\nconsole.log('{version}')\n")).unwrap();
        let tarball = format!("{name}-{version}.tgz");
        let mut tar = Command::new("tar");
        tar.arg("-czf")
            .arg(self.directory.join(&tarball))
            .arg("-C")
            .arg(made.parent().unwrap())
            .arg("package");
        assert!(tar.status().unwrap().success());
        let mut entry = manifest;
        entry["dist"] = json!({"tarball": format!("{}{tarball}", self.url)});
        let packument = json!({"name": name, "dist-tags": {"latest": version}, "versions": {version: entry}});
        fs::write(self.directory.join(name), packument.to_string()).unwrap();
    }

    fn forget(&self, name: &str) {
        fs::remove_file(self.directory.join(name)).unwrap();
    }

    /// A command of npxc's that uses it.
    fn use_with(&self, command: &mut Command) {
        command.env("XDG_DATA_HOME", &self.data).env("npm_config_registry", &self.url);
        command.env("npm_config_fetch_retries", "0");
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
            command.env_remove(name);
        }
    }

    fn npxc(&self, arguments: &[&str]) -> Output {
        let mut command = world().command(arguments);
        self.use_with(&mut command);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

/// Answers one request with a file, or with 404.
fn serve(mut stream: TcpStream, root: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let _ = lines.find(String::is_empty);
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let file = fs::read(root.join(name)).ok().filter(|_| !name.is_empty() && !name.contains('/'));
    let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
    let body = file.unwrap_or_else(|| b"{}".to_vec());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_package_that_cannot_be_updated_does_not_stop_the_others() {
    let registry = Registry::start();
    for name in ["npxc-a", "npxc-b", "npxc-c"] {
        registry.publish(name, "1.0.0");
    }
    let output = registry.npxc(&["install", "npxc-a", "npxc-b", "npxc-c"]);
    assert!(output.status.success(), "{}", said(&output));
    registry.publish("npxc-a", "1.1.0");
    registry.forget("npxc-b");
    registry.publish("npxc-c", "1.1.0");

    let output = registry.npxc(&["update", "--yes"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("npxc: error: download of npxc-b failed"), "{text}");
    assert!(text.contains("npxc: error: not updated, for the reasons above: npxc-b\n"), "{text}");
    for (name, version) in [("npxc-a", "1.1.0\n"), ("npxc-b", "1.0.0\n"), ("npxc-c", "1.1.0\n")] {
        let output = registry.npxc(&[name]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), version, "{name}: {}", said(&output));
    }
}

#[test]
fn an_interrupt_at_the_question_ends_an_update() {
    if !have_all(&["script"]) {
        return;
    }
    let registry = Registry::start();
    for name in ["npxc-a", "npxc-b"] {
        registry.publish(name, "1.0.0");
    }
    assert!(registry.npxc(&["install", "npxc-a", "npxc-b"]).status.success());
    for name in ["npxc-a", "npxc-b"] {
        registry.publish(name, "1.1.0");
    }

    // script(1) makes the terminal, whose driver makes a signal of the character.
    let npxc = world().command(&[]);
    let mut command = Command::new("script");
    world().environment(&mut command);
    registry.use_with(&mut command);
    let line = format!("'{}' update", npxc.get_program().display());
    command.args(["-qfec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    while !shown.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.push(byte[0]);
    }
    keys.write_all(b"\x03").unwrap();
    // No Enter.
    assert_eq!(wait(&mut child).code(), Some(130));
    let mut rest = String::new();
    screen.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\nnpxc: error: interrupted; nothing was changed"), "{rest}");
    assert_eq!(rest.matches("[y/N]").count(), 0, "no other is asked about: {rest}");
    let staging = registry.data.join("npxc/store/staging");
    eventually("nothing half is left", || fs::read_dir(&staging).is_ok_and(|mut left| left.next().is_none()));
    for name in ["npxc-a", "npxc-b"] {
        assert_eq!(registry.npxc(&[name]).stdout, b"1.0.0\n");
    }
}
