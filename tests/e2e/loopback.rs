//! A registry of a test's own, on loopback: files below a directory.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::Digest as _;

use super::world::world;

/// A registry, and an npxc with a store of its own that uses it.
pub(super) struct Registry {
    directory: PathBuf,
    pub(super) data: PathBuf,
    url: String,
    silent: Silent,
}

/// Packages that are not answered about, and who hears of a request.
type Silent = Arc<Mutex<HashMap<String, Sender<()>>>>;

impl Registry {
    pub(super) fn start() -> Self {
        let (directory, data) = (world().scratch("registry"), world().scratch("data"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (root, silent) = (directory.clone(), Silent::default());
        let known = Arc::clone(&silent);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, silent) = (root.clone(), Arc::clone(&known));
                std::thread::spawn(move || serve(stream, &root, &silent));
            }
        });
        Self { directory, data, url, silent }
    }

    /// Answers nothing about this package; the receiver hears when it is asked.
    pub(super) fn never_answers(&self, name: &str) -> Receiver<()> {
        let (asked, hears) = channel();
        self.silent.lock().unwrap().insert(name.to_owned(), asked);
        hears
    }

    /// Makes this its newest version of the package.
    pub(super) fn publish(&self, name: &str, version: &str) {
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
        let digest = sha2::Sha512::digest(fs::read(self.directory.join(&tarball)).unwrap());
        let integrity = format!("sha512-{}", data_encoding::BASE64.encode(&digest));
        entry["dist"] = json!({"tarball": format!("{}{tarball}", self.url), "integrity": integrity});
        let packument = json!({"name": name, "dist-tags": {"latest": version}, "versions": {version: entry}});
        fs::write(self.directory.join(name), packument.to_string()).unwrap();
    }

    pub(super) fn forget(&self, name: &str) {
        fs::remove_file(self.directory.join(name)).unwrap();
    }

    /// A command of npxc's that uses it.
    pub(super) fn use_with(&self, command: &mut Command) {
        command.env("XDG_DATA_HOME", &self.data).env("npm_config_registry", &self.url);
        command.env("npm_config_fetch_retries", "0");
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
            command.env_remove(name);
        }
    }

    pub(super) fn npxc(&self, arguments: &[&str]) -> Output {
        let mut command = world().command(arguments);
        self.use_with(&mut command);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

/// Answers one request with a file, or with 404.
fn serve(mut stream: TcpStream, root: &Path, silent: &Silent) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let _ = lines.find(String::is_empty);
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let asked = silent.lock().unwrap().get(name).cloned();
    if let Some(asked) = asked {
        let _ = asked.send(());
        // Until the other side gives up.
        let _ = io::copy(&mut stream, &mut io::sink());
        return;
    }
    let file = fs::read(root.join(name)).ok().filter(|_| !name.is_empty() && !name.contains('/'));
    let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
    let body = file.unwrap_or_else(|| b"{}".to_vec());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// What it said.
pub(super) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
