//! Makes the manifest of an entry: what was resolved, and which programs there are.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::super::entry::{Bin, Interpreter, MANIFEST, Manifest, Root, SCHEMA};
use super::super::error::PackageError;
use super::super::node::Node;
use super::super::request::Resolved;
use super::super::tree::resolve_inside;
use super::lock::{Lock, LockedRoot};

/// How much of a program is read for its first line: Linux reads 256 bytes.
const FIRST_LINE: u64 = 256;
/// Most programs of one entry: the largest trees have some hundred.
const MAX_BINS: usize = 10_000;

pub(super) fn make(
    entry: &Path,
    resolved: &Resolved,
    lock: Lock,
    scripts_run: bool,
    size: u64,
    node: &Node,
    npm_rules: Vec<String>,
) -> Result<Manifest, String> {
    let linked = linked_bins(entry)?;
    let mut roots = Vec::new();
    for root in &lock.roots {
        let path = format!("node_modules/{}", root.name);
        let installed =
            lock.packages.get(&path).ok_or_else(|| format!("npm's lock file does not have {path}"))?;
        roots.push(Root {
            name: root.name.to_string(),
            package: root.package.to_string(),
            version: installed.version.clone(),
            integrity: installed.integrity.clone(),
            bins: own_bins(entry, root, &linked)?,
        });
    }
    Ok(Manifest {
        schema: SCHEMA,
        request: resolved.request.packages.iter().map(ToString::to_string).collect(),
        roots,
        packages: lock.packages,
        install_scripts: lock.install_scripts,
        scripts_run,
        bins: linked,
        npm_rules,
        node: node.version.clone(),
        npm: node.npm_version.clone(),
        time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        size,
    })
}

/// Writes the manifest into a staged entry. A script may have put something of that name there, a link even: it is
/// removed, never written through.
pub(super) fn write(entry: &Path, manifest: &Manifest) -> Result<(), PackageError> {
    let path = entry.join(MANIFEST);
    let fail = |e| PackageError::io("write the manifest", &path, e);
    match fs::symlink_metadata(&path) {
        Ok(there) if there.is_dir() => super::tree::remove(&path)?,
        Ok(_) => fs::remove_file(&path).map_err(fail)?,
        Err(_) => {}
    }
    let text = serde_json::to_vec(manifest).map_err(|e| fail(e.into()))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&path)
        .and_then(|mut file| file.write_all(&text))
        .map_err(fail)
}

/// The programs that a requested package declares and that are there.
fn own_bins(
    entry: &Path,
    root: &LockedRoot,
    linked: &BTreeMap<String, Bin>,
) -> Result<BTreeMap<String, Bin>, String> {
    let directory = PathBuf::from("node_modules").join(root.name.as_str());
    let mut declared: Vec<(&str, &str)> = Vec::new();
    match root.json.get("bin") {
        Some(Value::String(path)) => declared.push((root.package.unscoped(), path)),
        Some(Value::Object(bins)) => {
            declared.extend(bins.iter().filter_map(|(name, path)| Some((name.as_str(), path.as_str()?))));
        }
        // `directories.bin`: npm has linked what is in there.
        _ => {
            let prefix = format!("node_modules/{}/", root.name);
            return Ok(linked
                .iter()
                .filter(|(_, bin)| bin.path.starts_with(&prefix))
                .map(|(name, bin)| (name.clone(), bin.clone()))
                .collect());
        }
    }
    let mut bins = BTreeMap::new();
    for (name, path) in declared {
        let refused = || format!("its package.json declares a program {name:?} at {path:?}");
        let leaves = |text: &str| text.contains('\0') || Path::new(text).iter().any(|part| part == "..");
        if leaves(name) || leaves(path) || Path::new(path).is_absolute() {
            return Err(refused());
        }
        // npm keeps the last part of a name such as `@scope/tool`.
        let name = name.rsplit('/').next().unwrap_or(name);
        if !is_bin_name(name) {
            return Err(refused());
        }
        let real = resolve_inside(entry, &directory, Path::new(path)).ok_or_else(refused)?;
        if let Some(bin) = read(entry, &real) {
            bins.insert(name.to_owned(), bin);
        }
    }
    Ok(bins)
}

/// Everything that npm linked into `node_modules/.bin`.
fn linked_bins(entry: &Path) -> Result<BTreeMap<String, Bin>, String> {
    let place = Path::new("node_modules/.bin");
    let mut bins = BTreeMap::new();
    // A package without programs has no such directory; a link in its place was checked to stay inside.
    let Ok(read_dir) = fs::read_dir(entry.join(place)) else {
        return Ok(bins);
    };
    for link in read_dir.flatten().take(MAX_BINS) {
        let name = link.file_name();
        let Some(name) = name.to_str().filter(|name| is_bin_name(name)) else {
            return Err(format!("it has a program called {:?}", name.to_string_lossy()));
        };
        let real = resolve_inside(entry, place, Path::new(name))
            .ok_or_else(|| format!("its program {name:?} is not inside the package"))?;
        if let Some(bin) = read(entry, &real) {
            bins.insert(name.to_owned(), bin);
        }
    }
    Ok(bins)
}

fn is_bin_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.chars().any(|c| c == '/' || c == '\\' || c.is_control())
}

fn read(entry: &Path, path: &Path) -> Option<Bin> {
    let full = entry.join(path);
    if !fs::symlink_metadata(&full).ok()?.is_file() {
        return None;
    }
    let mut start = Vec::new();
    fs::File::open(&full).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let path = path.to_str()?.to_owned();
    Some(Bin { run: Interpreter::of(&path, &start), path })
}
