//! Reads what npm resolved, out of its lock file and the tree, before any script ran. Everything in there comes
//! from a registry and is judged: names and paths that do not fit refuse the install.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::entry::Installed;
use super::super::name::PackageName;
use super::super::range;
use super::super::request::{Resolved, Source};
use super::super::spec::PackageSpec;
use super::read_bounded;
use super::steps::guest_source;

/// Longest lock file that is read, in bytes: trees of 20 000 packages fit.
const MAX_LOCK: u64 = 32 << 20;
/// Longest `package.json` that is read, in bytes: the largest that are known have 2 MB.
const MAX_PACKAGE: u64 = 8 << 20;

/// What was resolved.
pub(super) struct Lock {
    /// Name in `node_modules` of each requested package, in the request's order.
    pub(super) roots: Vec<LockedRoot>,
    /// Every package that is there, by path.
    pub(super) packages: BTreeMap<String, Installed>,
    /// Paths of those that have install scripts.
    pub(super) install_scripts: Vec<String>,
}

/// A requested package.
pub(super) struct LockedRoot {
    pub(super) name: PackageName,
    pub(super) package: PackageName,
    /// Its `package.json`.
    pub(super) json: Value,
}

#[derive(Deserialize)]
struct File {
    packages: BTreeMap<String, Package>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Package {
    version: Option<String>,
    integrity: Option<String>,
    has_install_script: bool,
    link: bool,
    dependencies: BTreeMap<String, String>,
}

pub(super) fn read(entry: &Path, resolved: &Resolved) -> Result<Lock, String> {
    let text = read_bounded(&entry.join("package-lock.json"), MAX_LOCK)
        .map_err(|e| format!("npm left no lock file that can be read ({e})"))?;
    let file: File =
        serde_json::from_slice(&text).map_err(|e| format!("npm's lock file cannot be read ({e})"))?;

    let mut packages = BTreeMap::new();
    let mut install_scripts = Vec::new();
    for (path, package) in &file.packages {
        if path.is_empty() {
            continue;
        }
        check_path(path)?;
        if package.link {
            return Err(format!(
                "{path:?} is a link to a directory; npm 8.12 or later is needed for --install-links"
            ));
        }
        let directory = entry.join(path);
        // A package for another platform is locked and not there.
        if !directory.is_dir() {
            continue;
        }
        if package.has_install_script || has_install_script(&directory)? {
            install_scripts.push(path.clone());
        }
        packages.insert(
            path.clone(),
            Installed {
                version: package.version.clone().unwrap_or_default(),
                integrity: package.integrity.clone(),
            },
        );
    }

    let wanted = file.packages.get("").map(|root| &root.dependencies);
    let roots = resolved
        .request
        .packages
        .iter()
        .zip(&resolved.packages)
        .enumerate()
        .map(|(number, (spec, source))| root(entry, number, spec, source, wanted))
        .collect::<Result<Vec<_>, _>>()?;
    for root in &roots {
        let installed = packages.get(&format!("node_modules/{}", root.name));
        // A registry takes no other; a directory may have any, or none.
        if let Some(version) = installed.map(|one| one.version.as_str()).filter(|one| !one.is_empty())
            && !range::is_version(version)
        {
            return Err(format!(
                "its package.json: {version:?} is no version as npm has them, 1.2.3 or 1.2.3-rc.1"
            ));
        }
    }
    Ok(Lock { roots, packages, install_scripts })
}

/// The package's name at the end of its path.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit_once("node_modules/").map_or(path, |(_, name)| name)
}

fn root(
    entry: &Path,
    number: usize,
    spec: &PackageSpec,
    source: &Source,
    wanted: Option<&BTreeMap<String, String>>,
) -> Result<LockedRoot, String> {
    let name: PackageName = match (spec.name(), guest_source(source, number)) {
        (Some(name), _) => name.clone(),
        (None, guest) => {
            // npm saves a path relative to the entry: `file:../source/0/package`.
            let end = guest
                .and_then(|guest| Some(format!("/{}/{}", number, guest.file_name()?.to_str()?)))
                .unwrap_or_default();
            wanted
                .into_iter()
                .flatten()
                .find(|(_, value)| value.ends_with(&end))
                .ok_or("npm did not install it")?
                .0
                .parse()
                .map_err(|e: super::super::name::NameError| e.to_string())?
        }
    };
    let directory = entry.join("node_modules").join(name.as_str());
    let json = package_json(&directory)?.ok_or_else(|| format!("npm did not install {name}"))?;
    let package: PackageName = json
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .parse()
        .map_err(|e: super::super::name::NameError| format!("its package.json: {e}"))?;
    let expected = match spec {
        PackageSpec::Registry { name, .. } | PackageSpec::Alias { name, .. } => name,
        PackageSpec::Directory(_) | PackageSpec::Tarball(_) => &name,
    };
    if package != *expected {
        return Err(format!("the registry gave {package} for {expected}"));
    }
    Ok(LockedRoot { name, package, json })
}

/// `node_modules/NAME` and again, every name one that npm accepts.
fn check_path(path: &str) -> Result<(), String> {
    let fits = path
        .strip_prefix("node_modules/")
        .is_some_and(|rest| rest.split("/node_modules/").all(|name| name.parse::<PackageName>().is_ok()));
    if fits { Ok(()) } else { Err(format!("npm's lock file names a package at {path:?}")) }
}

fn has_install_script(directory: &Path) -> Result<bool, String> {
    let Some(json) = package_json(directory)? else {
        return Ok(false);
    };
    let named = ["preinstall", "install", "postinstall"].iter().any(|name| {
        json.get("scripts")
            .and_then(|scripts| scripts.get(name))
            .and_then(Value::as_str)
            .is_some_and(|script| !script.trim().is_empty())
    });
    // npm compiles what has a binding.gyp, also when no script says so.
    let compiled =
        directory.join("binding.gyp").is_file() && json.get("gypfile") != Some(&Value::Bool(false));
    Ok(named || compiled)
}

fn package_json(directory: &Path) -> Result<Option<Value>, String> {
    let path = directory.join("package.json");
    let text = match read_bounded(&path, MAX_PACKAGE) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("a package.json cannot be read ({e})")),
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    // A dependency's may be damaged without anything needing it.
    Ok(Some(serde_json::from_slice(text).unwrap_or(Value::Null)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_lock_file() {
        for path in ["node_modules/a", "node_modules/@s/a", "node_modules/a/node_modules/@s/b"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in [
            "a",
            "../a",
            "node_modules/..",
            "node_modules/../../x",
            "/node_modules/a",
            "node_modules/a/../b",
            "node_modules/a/node_modules/../b",
            "node_modules/",
            "../source/0/package",
            "node_modules/.bin",
        ] {
            assert!(check_path(path).is_err(), "{path}");
        }
        assert_eq!(name_of("node_modules/a/node_modules/@s/b"), "@s/b");
    }
}
