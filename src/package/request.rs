//! What one run needs installed, and the key that it has in the store.
//!
//! [`Request`] is what the user said; [`Resolved`] has looked at the disk for local packages. The key of a
//! local package contains what its files look like (path, size, time, inode, mode), so a directory that was
//! changed is installed again.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::PackageError;
use super::host::HostEnv;
use super::spec::PackageSpec;

/// Most packages in one request: `-p` is repeated by hand.
const MAX_PACKAGES: usize = 64;
/// Most files that are looked at to see whether a local directory changed: a package, not a disk.
const MAX_LOCAL_FILES: usize = 50_000;

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to install; the first one is the package whose bin is run.
    pub packages: Vec<PackageSpec>,
    /// The bin to run, when it was named (`-p NAME bin`).
    pub bin: Option<String>,
}

impl Request {
    /// A request for one package and its own bin.
    pub fn of(package: PackageSpec) -> Self {
        Self { packages: vec![package], bin: None }
    }

    /// Ties local packages to what is on disk now.
    pub fn resolve(&self, host: &HostEnv) -> Result<Resolved, PackageError> {
        if self.packages.is_empty() || self.packages.len() > MAX_PACKAGES {
            return Err(PackageError::PackageCount { count: self.packages.len(), max: MAX_PACKAGES });
        }
        let packages = self.packages.iter().map(|spec| Source::of(spec, host)).collect::<Result<_, _>>()?;
        Ok(Resolved { request: self.clone(), packages })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, package) in self.packages.iter().enumerate() {
            write!(f, "{}{package}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// A request whose local packages have been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What was asked for.
    pub request: Request,
    /// Where each package comes from, in the request's order.
    pub packages: Vec<Source>,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From a registry; the spec as npm takes it.
    Registry(String),
    /// A directory on this host.
    Directory {
        /// Absolute, links resolved.
        path: PathBuf,
        /// What its files look like.
        fingerprint: String,
    },
    /// A tarball on this host.
    Tarball {
        /// Absolute, links resolved.
        path: PathBuf,
        /// What it looks like.
        fingerprint: String,
    },
}

impl Source {
    fn of(spec: &PackageSpec, host: &HostEnv) -> Result<Self, PackageError> {
        let find = |local: &super::spec::LocalPath| {
            let path = local.absolute(&host.cwd, &host.home);
            fs::canonicalize(&path).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => {
                    PackageError::NotAPackage { path, problem: "it does not exist" }
                }
                _ => PackageError::io("open the package", path, e),
            })
        };
        match spec {
            PackageSpec::Registry { .. } | PackageSpec::Alias { .. } => Ok(Self::Registry(spec.to_string())),
            PackageSpec::Directory(local) => {
                let path = find(local)?;
                if !path.join("package.json").is_file() {
                    return Err(PackageError::NotAPackage {
                        problem: if path.is_dir() { "it has no package.json" } else { "it is no directory" },
                        path,
                    });
                }
                let fingerprint = directory_fingerprint(&path)?;
                Ok(Self::Directory { path, fingerprint })
            }
            PackageSpec::Tarball(local) => {
                let path = find(local)?;
                let metadata = fs::metadata(&path).map_err(|e| PackageError::io("look at", &path, e))?;
                if !metadata.is_file() {
                    return Err(PackageError::NotAPackage { path, problem: "it is no file" });
                }
                let mut hash = Sha256::new();
                add_metadata(&mut hash, &metadata);
                Ok(Self::Tarball { path, fingerprint: hex(&hash.finalize()) })
            }
        }
    }

    /// The directory or file on this host.
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Registry(_) => None,
            Self::Directory { path, .. } | Self::Tarball { path, .. } => Some(path),
        }
    }
}

impl Resolved {
    /// Name of the request's directory in the store: readable, and different for different requests.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        for package in &self.packages {
            let (kind, text, fingerprint): (&[u8], &[u8], &str) = match package {
                Source::Registry(spec) => (b"registry", spec.as_bytes(), ""),
                Source::Directory { path, fingerprint } => {
                    (b"directory", path.as_os_str().as_bytes(), fingerprint)
                }
                Source::Tarball { path, fingerprint } => {
                    (b"tarball", path.as_os_str().as_bytes(), fingerprint)
                }
            };
            for field in [kind, text, fingerprint.as_bytes()] {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field);
            }
        }
        format!("{}@{}", self.label(), &hex(&hash.finalize())[..32])
    }

    /// The first package's name as a path component; `.local` when only its path is known. A name cannot start
    /// with a dot, so the two are never the same.
    fn label(&self) -> String {
        self.request
            .packages
            .first()
            .and_then(PackageSpec::name)
            .map_or_else(|| ".local".to_owned(), super::name::PackageName::path_component)
    }
}

/// What a directory's files look like, without reading them. `node_modules` and `.git` are not part of a package.
fn directory_fingerprint(root: &Path) -> Result<String, PackageError> {
    let mut hash = Sha256::new();
    let mut pending = vec![root.to_owned()];
    let mut seen = 0_usize;
    while let Some(directory) = pending.pop() {
        let read =
            fs::read_dir(&directory).map_err(|e| PackageError::io("read the directory", &directory, e))?;
        let mut entries = Vec::new();
        for entry in read {
            entries.push(entry.map_err(|e| PackageError::io("read the directory", &directory, e))?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if matches!(entry.file_name().to_str(), Some("node_modules" | ".git")) {
                continue;
            }
            seen += 1;
            if seen > MAX_LOCAL_FILES {
                return Err(PackageError::NotAPackage {
                    path: root.to_owned(),
                    problem: "it holds more than 50000 files",
                });
            }
            let path = entry.path();
            let metadata = entry.metadata().map_err(|e| PackageError::io("look at", &path, e))?;
            let relative = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
            hash.update((relative.len() as u64).to_le_bytes());
            hash.update(relative);
            if metadata.is_dir() {
                hash.update(metadata.mode().to_le_bytes());
                pending.push(path);
            } else {
                add_metadata(&mut hash, &metadata);
            }
        }
    }
    Ok(hex(&hash.finalize()))
}

fn add_metadata(hash: &mut Sha256, metadata: &fs::Metadata) {
    for number in [
        u64::from(metadata.mode()),
        metadata.size(),
        metadata.ino(),
        metadata.mtime().cast_unsigned(),
        metadata.mtime_nsec().cast_unsigned(),
        metadata.ctime().cast_unsigned(),
        metadata.ctime_nsec().cast_unsigned(),
    ] {
        hash.update(number.to_le_bytes());
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn key(specs: &[&str], host: &HostEnv) -> String {
        let packages = specs.iter().map(|s| s.parse().unwrap()).collect();
        Request { packages, bin: None }.resolve(host).unwrap().key()
    }

    #[test]
    fn different_requests_have_different_keys() {
        let host = HostEnv::default();
        let all: &[&[&str]] = &[
            &["a-b"],
            &["@a/b"],
            &["a"],
            &["a@1.0.0"],
            &["a@latest"],
            &["a", "b"],
            &["b", "a"],
            &["A"],
            &["a@npm:b"],
            &["a@npm:b@1.0.0"],
        ];
        let keys: std::collections::BTreeSet<String> =
            all.iter().map(|specs| key(specs, &host).to_lowercase()).collect();
        assert_eq!(keys.len(), all.len());
        assert!(key(&["@a/b"], &host).starts_with("@a+b@"));
        assert!(keys.iter().all(|key| !key.contains('/')));
    }

    #[test]
    fn a_changed_directory_has_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostEnv { cwd: dir.path().to_owned(), ..HostEnv::default() };
        fs::create_dir_all(dir.path().join("p/sub")).unwrap();
        let absent = Request::of("./none".parse().unwrap()).resolve(&host).unwrap_err();
        assert!(absent.to_string().ends_with("/none is not a package: it does not exist"), "{absent}");
        assert!(absent.hints()[0].starts_with("name a directory"), "{:?}", absent.hints());
        let missing = Request::of("./p".parse().unwrap()).resolve(&host);
        assert!(matches!(missing, Err(PackageError::NotAPackage { .. })));
        fs::write(dir.path().join("p/package.json"), "{}").unwrap();
        let first = key(&["./p"], &host);
        assert_eq!(first, key(&["./p"], &host));
        fs::create_dir(dir.path().join("p/node_modules")).unwrap();
        assert_eq!(first, key(&["./p"], &host), "node_modules does not count");
        fs::write(dir.path().join("p/sub/index.js"), "1").unwrap();
        let second = key(&["./p"], &host);
        assert_ne!(first, second);
        fs::rename(dir.path().join("p"), dir.path().join("q")).unwrap();
        assert_ne!(second, key(&["./q"], &host));
    }

    #[test]
    fn no_package_and_too_many_are_refused() {
        let host = HostEnv::default();
        for count in [0, MAX_PACKAGES + 1] {
            let packages = vec!["a".parse().unwrap(); count];
            let resolved = Request { packages, bin: None }.resolve(&host);
            assert!(matches!(resolved, Err(PackageError::PackageCount { .. })));
        }
    }
}
