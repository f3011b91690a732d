//! A registry on loopback, tarballs made by hand, and a runner that starts npm without a sandbox. For tests only.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::*;
use crate::package::HostEnv;
use crate::package::progress::Kept;
use crate::package::request::Request;
use crate::package::step::{Purpose, StepError};
use crate::runtime::Access;

/// One entry of a tarball, written as it is told, however wrong.
pub(super) struct Member {
    pub(super) path: &'static str,
    pub(super) kind: u8,
    pub(super) link: &'static str,
    pub(super) mode: u32,
    pub(super) content: String,
}

pub(super) fn file(path: &'static str, content: impl Into<String>) -> Member {
    Member { path, kind: b'0', link: "", mode: 0o644, content: content.into() }
}

pub(super) fn tarball(members: &[Member]) -> Vec<u8> {
    let mut tar = Vec::new();
    for member in members {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, member.path.as_bytes());
        put(100, format!("{:07o}", member.mode).as_bytes());
        put(124, format!("{:011o}", member.content.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[member.kind]);
        put(157, member.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(member.content.as_bytes());
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[derive(Default)]
struct Served {
    /// By name: the manifest of the one version, and its tarball.
    packages: BTreeMap<String, (Value, Vec<u8>)>,
    token: Option<String>,
    requests: Vec<String>,
}

/// Answers as a registry does. Packages of the scope `@private` want a token.
pub(super) struct Registry {
    port: u16,
    served: Arc<Mutex<Served>>,
}

impl Registry {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Arc::new(Mutex::new(Served::default()));
        let shared = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared, port));
            }
        });
        Self { port, served }
    }

    /// How often a tarball was asked for.
    pub(super) fn downloads(&self, tarball: &str) -> usize {
        self.served.lock().unwrap().requests.iter().filter(|path| path.ends_with(tarball)).count()
    }

    pub(super) fn requests(&self) -> usize {
        self.served.lock().unwrap().requests.len()
    }

    pub(super) fn require_token(&self, token: &str) {
        self.served.lock().unwrap().token = Some(token.to_owned());
    }

    /// Publishes the version in it (1.0.0 if it has none) with this `package.json` and further files.
    pub(super) fn publish(&self, package: &Value, files: Vec<Member>) {
        let mut members = vec![file("package/package.json", package.to_string())];
        members.extend(files);
        self.publish_raw(package["name"].as_str().unwrap(), package, &tarball(&members));
    }

    pub(super) fn publish_raw(&self, name: &str, manifest: &Value, tar: &[u8]) {
        let entry = (manifest.clone(), tar.to_vec());
        self.served.lock().unwrap().packages.insert(name.to_owned(), entry);
    }
}

pub(super) fn integrity(tar: &[u8]) -> String {
    format!("sha512-{}", data_encoding::BASE64.encode(&Sha512::digest(tar)))
}

fn answer(stream: TcpStream, served: &Mutex<Served>, port: u16) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = request.split(' ').nth(1).unwrap_or_default().replace("%2f", "/").replace("%2F", "/");
    let mut served = served.lock().unwrap();
    served.requests.push(path.clone());
    let authorized = served.token.as_ref().is_none_or(|token| {
        headers.iter().any(|line| {
            line.to_ascii_lowercase().starts_with("authorization:") && line.ends_with(token.as_str())
        })
    });
    let name = path.trim_start_matches('/').trim_start_matches("tarball/").trim_end_matches(".tgz");
    let (status, body) = match served.packages.get(name) {
        Some(_) if name.starts_with("@private/") && !authorized => ("401 Unauthorized", b"{}".to_vec()),
        Some((_, tar)) if path.starts_with("/tarball/") => ("200 OK", tar.clone()),
        Some((manifest, tar)) => {
            let mut manifest = manifest.clone();
            manifest["name"] = json!(name);
            let version = manifest["version"].as_str().unwrap_or("1.0.0").to_owned();
            manifest["version"] = json!(version);
            // The host's loopback has no such name inside the sandbox: npm has to be told.
            let tarball = format!("http://127.0.0.1:{port}/tarball/{name}.tgz");
            manifest["dist"] = json!({"tarball": tarball, "integrity": integrity(tar)});
            let body =
                json!({"name": name, "dist-tags": {"latest": version}, "versions": {&version: manifest}});
            ("200 OK", body.to_string().into_bytes())
        }
        None => ("404 Not Found", b"{}".to_vec()),
    };
    drop(served);
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let mut stream = stream;
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

/// Runs steps on the host, with guest paths replaced, and remembers them.
pub(super) struct Unsandboxed {
    scratch: PathBuf,
    pub(super) steps: Mutex<Vec<Step>>,
    /// What the next failing step reports as denied.
    pub(super) denials: Vec<crate::audit::Event>,
    /// Steps of this purpose never end.
    pub(super) hang: Option<Purpose>,
}

impl StepRunner for Unsandboxed {
    async fn run(&self, step: Step) -> Result<StepOutcome, StepError> {
        self.steps.lock().unwrap().push(step.clone());
        if self.hang == Some(step.purpose) {
            std::future::pending::<()>().await;
        }
        let number = self.steps.lock().unwrap().len();
        let scratch = self.scratch.join(number.to_string());
        std::fs::create_dir_all(scratch.join("home/user")).unwrap();
        let mut replacements: Vec<(String, String)> = Vec::new();
        for mount in &step.mounts {
            let guest = mount.guest.to_str().unwrap().to_owned();
            let mut host = mount.host.to_str().unwrap().to_owned();
            if guest.starts_with("/opt/npxc/source") {
                // npm looks through a link; the sandbox mounts.
                let copy = scratch.join(guest.trim_start_matches('/'));
                std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
                let copied = std::process::Command::new("cp").arg("-a").arg(&host).arg(&copy).status();
                assert!(copied.unwrap().success());
                host = copy.to_str().unwrap().to_owned();
            }
            replacements.push((guest, host));
        }
        for guest in ["/home/user", "/etc/npxc"] {
            let host = scratch.join(guest.trim_start_matches('/'));
            replacements.push((guest.to_owned(), host.to_str().unwrap().to_owned()));
        }
        replacements.push(("host.npxc.internal".into(), "127.0.0.1".into()));
        let on_host = |text: &str| {
            replacements
                .iter()
                .fold(text.to_owned(), |text, (guest, host)| text.replace(guest.as_str(), host))
        };
        for (path, content) in &step.files {
            let path = PathBuf::from(on_host(path.to_str().unwrap()));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content =
                std::str::from_utf8(content).map_or_else(|_| content.clone(), |text| on_host(text).into());
            std::fs::write(path, content).unwrap();
        }
        for mount in step.mounts.iter().filter(|mount| mount.access == Access::ReadWrite) {
            relink(&mount.host, &on_host);
        }
        let words: Vec<String> = step.command.iter().map(|word| on_host(word.to_str().unwrap())).collect();
        let output = tokio::process::Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .envs(step.env.iter().map(|(name, value)| (name, on_host(value.to_str().unwrap()))))
            .current_dir(on_host(step.cwd.to_str().unwrap()))
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| StepError::new(e, None))?;
        Ok(StepOutcome {
            success: output.status.success(),
            ended: output.status.to_string(),
            stdout_tail: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr_tail: String::from_utf8_lossy(&output.stderr).into_owned(),
            denials: self.denials.clone(),
        })
    }
}

/// Links to what would be mounted lead to what would be mounted there.
fn relink(directory: &Path, on_host: &dyn Fn(&str) -> String) {
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if let Ok(target) = std::fs::read_link(&path) {
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(on_host(target.to_str().unwrap()), &path).unwrap();
        } else if path.is_dir() {
            relink(&path, on_host);
        }
    }
}

/// A registry, a store and everything between them in one directory.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) registry: Registry,
    pub(super) store: Store,
    pub(super) node: Node,
    pub(super) host: HostEnv,
    pub(super) runner: Unsandboxed,
    pub(super) said: Kept,
}

impl World {
    /// With the machine's own node and npm, which these tests need.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::find(&HostEnv::current(), &dir.path().join("cache")).unwrap();
        let registry = Registry::start();
        node.default_registry = format!("http://127.0.0.1:{}/", registry.port);
        let host = HostEnv {
            cwd: dir.path().join("home"),
            home: dir.path().join("home"),
            vars: [("SECRET".into(), "from-the-host".into())].into(),
        };
        std::fs::create_dir_all(&host.home).unwrap();
        let runner = Unsandboxed {
            scratch: dir.path().join("scratch"),
            steps: Mutex::default(),
            denials: Vec::new(),
            hang: None,
        };
        let store = Store::at(&dir.path().join("data"));
        Self { registry, store, node, host, runner, said: Kept::default(), dir }
    }

    pub(super) fn write_npmrc(&self, text: &str) {
        let text = text.replace("PORT", &self.registry.port.to_string());
        std::fs::write(self.host.home.join(".npmrc"), text).unwrap();
    }

    pub(super) fn resolve(&self, specs: &[&str]) -> Resolved {
        let packages = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        Request { packages, bin: None }.resolve(&self.host).unwrap()
    }

    pub(super) async fn install(&self, specs: &[&str]) -> Result<Entry, PackageError> {
        self.install_with(specs, &InstallOptions::default()).await
    }

    pub(super) async fn install_with(
        &self,
        specs: &[&str],
        options: &InstallOptions,
    ) -> Result<Entry, PackageError> {
        let config = NpmConfig::read(&self.host, &self.node, false).unwrap();
        let trust = Trust::of(&self.host, config.cafile.as_deref(), &self.node);
        let installer = Installer {
            store: &self.store,
            node: &self.node,
            config: &config,
            trust: &trust,
            runner: &self.runner,
        };
        installer.ensure(&self.resolve(specs), options, &self.said).await
    }

    /// Updates; what `wanted` says of the changes decides.
    pub(super) async fn update(
        &self,
        spec: &str,
        wanted: &dyn Fn(&Changes) -> bool,
    ) -> Result<Updated, PackageError> {
        let config = NpmConfig::read(&self.host, &self.node, false).unwrap();
        let trust = Trust::of(&self.host, config.cafile.as_deref(), &self.node);
        let installer = Installer {
            store: &self.store,
            node: &self.node,
            config: &config,
            trust: &trust,
            runner: &self.runner,
        };
        let options = InstallOptions::default();
        installer
            .update(&self.resolve(&[spec]), &options, &self.said, &async |changes: &Changes| wanted(changes))
            .await
    }

    pub(super) fn steps(&self, purpose: Purpose) -> Vec<Step> {
        let steps = self.runner.steps.lock().unwrap();
        steps.iter().filter(|step| step.purpose == purpose).cloned().collect()
    }

    /// Nothing half is left, and nothing stands where no package may write.
    pub(super) fn assert_clean(&self) {
        let staging = self.dir.path().join("data/store/staging");
        assert_eq!(std::fs::read_dir(staging).map_or(0, Iterator::count), 0, "staging is not empty");
        for outside in [self.dir.path().join("evil"), self.dir.path().join("data/evil"), "/npxc-evil".into()]
        {
            assert!(!outside.exists(), "{}", outside.display());
        }
    }
}
