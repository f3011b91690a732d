//! Asks node and npm what they are, once, and remembers the answer.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::error::PackageError;
use super::super::host::HostEnv;
use super::super::request::hex;
use super::{Answer, Home, Node, Npm, keep};

/// Version of the cache file's shape.
const CACHE_SCHEMA: u32 = 2;
/// Most answers that are kept: a handful of nodes per machine.
const MAX_CACHED: usize = 32;
/// Longest cache file that is read, in bytes.
const MAX_CACHE: u64 = 1 << 20;
/// Longest answer that is read from node or npm, in bytes: one small JSON object or one line.
const MAX_ANSWER: u64 = 64 << 10;

/// What node says about itself. Without the network part of the report, which would resolve names. `roots` as in
/// [`super::super::certificates`].
const QUESTION: &str = "if(process.report)process.report.excludeNetwork=true;\
    const h=process.report?process.report.getReport().header:{};\
    const roots=require('tls').rootCertificates.map(c=>require('crypto').createHash('sha256')\
    .update(c.replace(/-----[^-]*-----|\\s/g,'')).digest('hex').slice(0,32));\
    JSON.stringify({roots,exec:process.execPath,version:process.versions.node,modules:process.versions.modules,\
    platform:process.platform,arch:process.arch,libc:h.glibcVersionRuntime?'glibc':'musl'})";

#[derive(Serialize, Deserialize, Default)]
struct Cache {
    schema: u32,
    nodes: BTreeMap<String, Cached>,
}

#[derive(Serialize, Deserialize)]
struct Cached {
    node: Node,
    /// The files that the answer depends on, as they were.
    files: Vec<(PathBuf, String)>,
}

pub(super) fn find(host: &HostEnv, cache_dir: &Path) -> Result<Node, PackageError> {
    let found = on_path(host, "node").or_else(|| on_path(host, "nodejs")).ok_or(PackageError::NodeMissing)?;
    let key = key(host, &found);
    let cache_file = cache_dir.join("node.json");
    let mut cache = read_cache(&cache_file);
    if let Some(cached) = cache.nodes.get(&key)
        && cached.files.iter().all(|(path, was)| state(path).as_ref() == Some(was))
    {
        return Ok(cached.node.clone());
    }
    let node = ask(host, &found)?;
    let package = node.npm_dir().join("package.json");
    let builtin = node.npm_dir().join("npmrc");
    let files = [&found, &node.exec, &node.npm_cli, &package, &builtin]
        .into_iter()
        .filter_map(|path| Some((path.clone(), state(path)?)))
        .collect();
    if cache.nodes.len() >= MAX_CACHED {
        cache.nodes.clear();
    }
    cache.schema = CACHE_SCHEMA;
    cache.nodes.insert(key, Cached { node: node.clone(), files });
    // Without a cache the next start is slower, nothing else.
    let _ = keep(&cache_file, &cache);
    Ok(node)
}

/// The first executable file of this name in `PATH`. Relative parts are skipped: they lead into the working directory.
fn on_path(host: &HostEnv, name: &str) -> Option<PathBuf> {
    let path = host.var("PATH").unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

/// What decides which node a path leads to: where it leads, and for shims what they are told by files in the home
/// directory and by variables.
fn key(host: &HostEnv, found: &Path) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let real = fs::canonicalize(found).unwrap_or_else(|_| found.to_owned());
    for path in [found, &real, host.home.as_path()] {
        field(path.as_os_str().as_encoded_bytes());
    }
    // npm is looked for in PATH as well.
    field(host.var("PATH").unwrap_or_default().as_encoded_bytes());
    if is_shim(&real) {
        for (name, value) in &host.vars {
            let name = name.as_encoded_bytes();
            if [&b"ASDF_"[..], b"VOLTA_", b"NODENV_", b"NVM_", b"FNM_", b"MISE_", b"RTX_"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                field(name);
                field(value.as_encoded_bytes());
            }
        }
        for name in [
            ".tool-versions",
            ".nvmrc",
            ".node-version",
            "package.json",
            ".volta/tools/user/platform.json",
            ".asdf/shims/node",
            ".nodenv/version",
            ".config/mise/config.toml",
            "mise.toml",
            ".mise.toml",
        ] {
            field(state(&host.home.join(name)).unwrap_or_default().as_bytes());
        }
    }
    hex(&hash.finalize())
}

/// Whether a file is something else than node that starts a node.
fn is_shim(real: &Path) -> bool {
    let named = matches!(real.file_name().and_then(OsStr::to_str), Some("node" | "nodejs"));
    let mut start = [0_u8; 4];
    let binary = fs::File::open(real)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| &start == b"\x7fELF");
    !named || !binary
}

/// Size, time and inode of a file; changes when the file does.
fn state(path: &Path) -> Option<String> {
    let m = fs::metadata(path).ok()?;
    Some(format!("{}.{}.{}.{}.{}.{}", m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime()))
}

fn ask(host: &HostEnv, found: &Path) -> Result<Node, PackageError> {
    let unusable = |problem: String, hint: Option<&str>| PackageError::NodeUnusable {
        path: found.to_owned(),
        problem,
        hint: hint.map(str::to_owned),
    };
    let shim_hint = fs::canonicalize(found).is_ok_and(|real| is_shim(&real)).then_some(
        "this is a version manager's shim: set a default version for your user (asdf, mise, volta, nodenv), or put a node itself first in PATH",
    );
    let text = run(host, found, &["-p".as_ref(), QUESTION.as_ref()])
        .map_err(|problem| unusable(problem, shim_hint))?;
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|_| unusable("it does not answer as node does".to_owned(), shim_hint))?;
    let exec =
        fs::canonicalize(&answer.exec).map_err(|e| PackageError::io("find node at", &answer.exec, e))?;
    if is_shim(&exec) && !exec.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"node")) {
        return Err(unusable(format!("it says that it is {}, which is no node", exec.display()), shim_hint));
    }
    let npm_cli = find_npm(host, &exec).ok_or_else(|| PackageError::NpmMissing { node: exec.clone() })?;
    let registry = run(
        host,
        &exec,
        &[
            npm_cli.as_os_str(),
            "config".as_ref(),
            "get".as_ref(),
            "registry".as_ref(),
            "--userconfig=/dev/null/user".as_ref(),
            "--globalconfig=/dev/null/global".as_ref(),
        ],
    )
    .map_err(|problem| PackageError::NodeUnusable {
        path: npm_cli.clone(),
        problem,
        hint: Some("this is npm; does `npm --version` work?".to_owned()),
    })?;
    let npm_version = npm_cli
        .parent()
        .and_then(Path::parent)
        .and_then(|dir| fs::read_to_string(dir.join("package.json")).ok())
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|package| Some(package.get("version")?.as_str()?.to_owned()))
        .unwrap_or_default();
    let npm = Npm { cli: npm_cli, version: npm_version, registry: registry.trim().to_owned() };
    Ok(Answer { exec, ..answer }.with(npm, Home::Host))
}

/// The npm that came with node, else the one in `PATH`: a shim there may belong to another node.
fn find_npm(host: &HostEnv, exec: &Path) -> Option<PathBuf> {
    let is_npm = |path: PathBuf| {
        let real = fs::canonicalize(path).ok()?;
        let ours = real.file_name().is_some_and(|name| name == "npm-cli.js");
        (ours && real.parent()?.parent()?.join("package.json").is_file()).then_some(real)
    };
    let bin = exec.parent()?;
    let below = |prefix: &Path| prefix.join("lib/node_modules/npm/bin/npm-cli.js");
    is_npm(bin.join("npm"))
        .or_else(|| is_npm(below(bin.parent()?)))
        .or_else(|| on_path(host, "npm").and_then(is_npm))
        .or_else(|| is_npm("/usr/share/nodejs/npm/bin/npm-cli.js".into()))
        .or_else(|| is_npm(below(Path::new("/usr/local"))))
        .or_else(|| is_npm(below(Path::new("/usr"))))
}

/// Runs a program of the host's and gives what it wrote. Its environment is the host's without what changes node's or
/// npm's behaviour, its working directory the home directory.
fn run(host: &HostEnv, program: &Path, args: &[&OsStr]) -> Result<String, String> {
    let kept = host.vars.iter().filter(|(name, _)| {
        let name = name.as_encoded_bytes().to_ascii_lowercase();
        !name.starts_with(b"npm_") && !name.starts_with(b"node_") && name != b"prefix" && name != b"destdir"
    });
    let home = if host.home.is_dir() { host.home.as_path() } else { Path::new("/") };
    let quiet = [
        ("npm_config_cache", "/dev/null/none"),
        ("npm_config_logs_max", "0"),
        ("npm_config_update_notifier", "false"),
        ("npm_config_global", "true"),
        ("npm_config_loglevel", "silent"),
    ];
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .envs(kept)
        .envs(quiet)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("it cannot be started: {e}"))?;
    let mut answer = String::new();
    let mut complaint = String::new();
    let read = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => {
            // The complaint is read beside, so that neither pipe fills up.
            let reader = std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.take(MAX_ANSWER).read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            });
            let read = stdout.take(MAX_ANSWER).read_to_string(&mut answer);
            complaint = reader.join().unwrap_or_default();
            read
        }
        _ => Ok(0),
    };
    let status = child.wait().map_err(|e| format!("it cannot be waited for: {e}"))?;
    if !status.success() {
        let last: String = complaint
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(300)
            .collect();
        return Err(format!("it failed ({status}){}{last}", if last.is_empty() { "" } else { ": " }));
    }
    read.map_err(|e| format!("its answer cannot be read: {e}"))?;
    Ok(answer)
}

fn read_cache(path: &Path) -> Cache {
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_CACHE).read_to_end(&mut text))
        .ok()
        .and_then(|_| serde_json::from_slice::<Cache>(&text).ok())
        .filter(|cache| cache.schema == CACHE_SCHEMA)
        .unwrap_or_default()
}
