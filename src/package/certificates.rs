//! The certificates that the host trusts, for the guest: the system's bundle, `NODE_EXTRA_CA_CERTS`,
//! `SSL_CERT_FILE` and npm's `cafile`, as one read-only file and the variables that name it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::host::HostEnv;

/// Where the bundle stands inside the guest.
pub const GUEST_BUNDLE: &str = "/etc/npxc/certificates.pem";
/// Where systems keep their bundle; the first that exists counts.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Longest file that is taken over, in bytes: system bundles have about 250 KB.
const MAX_BUNDLE: u64 = 4 << 20;

/// What the guest needs to trust what the host trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Files in the guest's private `/etc`.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Variables that name them.
    pub env: Vec<(OsString, OsString)>,
    /// Files that were named and could not be read.
    pub notes: Vec<String>,
}

impl Trust {
    /// Gathers the host's certificates. `cafile` is npm's.
    pub fn of(host: &HostEnv, cafile: Option<&Path>) -> Self {
        let mut trust = Self::default();
        let mut seen = Vec::new();
        let mut bundle = Vec::new();
        let named = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"]
            .into_iter()
            .filter_map(|name| Some((name, host.cwd.join(host.var(name)?))))
            .chain(cafile.map(|path| ("npm's cafile", path.to_owned())));
        for (origin, path) in named {
            if !add(&path, &mut seen, &mut bundle) {
                trust.notes.push(format!("{origin}: no certificates in {}", path.display()));
            }
        }
        for path in SYSTEM_BUNDLES {
            if add(Path::new(path), &mut seen, &mut bundle) {
                break;
            }
        }
        if !bundle.is_empty() {
            trust.files.push((GUEST_BUNDLE.into(), bundle));
            for name in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"] {
                trust.env.push((name.into(), GUEST_BUNDLE.into()));
            }
        }
        trust
    }
}

/// Adds a file's certificates, once; only those: a bundle may also hold a key.
fn add(path: &Path, seen: &mut Vec<PathBuf>, bundle: &mut Vec<u8>) -> bool {
    let Ok(real) = std::fs::canonicalize(path) else {
        return false;
    };
    if seen.contains(&real) {
        return true;
    }
    let mut text = Vec::new();
    if !real.is_file()
        || File::open(&real).and_then(|file| file.take(MAX_BUNDLE).read_to_end(&mut text)).is_err()
    {
        return false;
    }
    let before = bundle.len();
    let mut inside = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let word = line.trim_ascii();
        inside |= matches!(word, b"-----BEGIN CERTIFICATE-----" | b"-----BEGIN TRUSTED CERTIFICATE-----");
        if inside {
            bundle.extend_from_slice(word);
            bundle.push(b'\n');
        }
        inside &= !matches!(word, b"-----END CERTIFICATE-----" | b"-----END TRUSTED CERTIFICATE-----");
    }
    seen.push(real);
    bundle.len() > before
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_source_counts_once_and_keys_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let pem = |label: &str| format!("-----BEGIN CERTIFICATE-----\n{label}\n-----END CERTIFICATE-----\n");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "extra",
            &format!("{}-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", pem("extra")),
        );
        write("ca", &pem("cafile"));
        let mut host = HostEnv { cwd: dir.path().to_owned(), ..HostEnv::default() };
        host.vars.insert("NODE_EXTRA_CA_CERTS".into(), dir.path().join("extra").into());
        host.vars.insert("SSL_CERT_FILE".into(), dir.path().join("./extra").into());
        let trust = Trust::of(&host, Some(&dir.path().join("ca")));
        let text = String::from_utf8(trust.files[0].1.clone()).unwrap();
        assert_eq!((text.matches("extra").count(), text.matches("cafile").count()), (1, 1));
        assert!(!text.contains("secret"));
        assert!(trust.env.contains(&("NODE_EXTRA_CA_CERTS".into(), GUEST_BUNDLE.into())));
        assert!(trust.notes.is_empty());
        let trust = Trust::of(&host, Some(&dir.path().join("gone")));
        assert!(trust.notes[0].contains("cafile"));
    }
}
