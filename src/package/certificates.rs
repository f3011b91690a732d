//! The certificates that the host trusts, for the guest: the system's bundle, `NODE_EXTRA_CA_CERTS`,
//! `SSL_CERT_FILE` and npm's `cafile`, as read-only files and the variables that name them.
//!
//! node trusts a list of its own and reads `NODE_EXTRA_CA_CERTS` at every start, which takes 50 ms for a whole
//! system bundle. So node is told only what it does not have: usually nothing, or a company's few.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::host::HostEnv;
use super::node::Node;
use super::request::hex;

/// Where everything that the host trusts stands inside the guest.
pub const GUEST_BUNDLE: &str = "/etc/npxc/certificates.pem";
/// Where those stand that node does not know by itself.
pub const GUEST_EXTRA: &str = "/etc/npxc/extra-certificates.pem";
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

/// Hexadecimal digits of a certificate's fingerprint, as [`super::node`] asks node for them.
pub(super) const FINGERPRINT: usize = 32;

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
    pub fn of(host: &HostEnv, cafile: Option<&Path>, node: &Node) -> Self {
        let mut trust = Self::default();
        let mut bundle = Bundle::default();
        let named = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"]
            .into_iter()
            .filter_map(|name| Some((name, host.cwd.join(host.var(name)?))))
            .chain(cafile.map(|path| ("npm's cafile", path.to_owned())));
        for (origin, path) in named {
            if !bundle.add(&path, node) {
                trust.notes.push(format!("{origin}: no certificates in {}", path.display()));
            }
        }
        for path in SYSTEM_BUNDLES {
            if bundle.add(Path::new(path), node) {
                break;
            }
        }
        for (content, guest, variable) in
            [(bundle.all, GUEST_BUNDLE, "SSL_CERT_FILE"), (bundle.extra, GUEST_EXTRA, "NODE_EXTRA_CA_CERTS")]
        {
            if !content.is_empty() {
                trust.files.push((guest.into(), content));
                trust.env.push((variable.into(), guest.into()));
            }
        }
        trust
    }
}

#[derive(Default)]
struct Bundle {
    all: Vec<u8>,
    /// Those that node does not have.
    extra: Vec<u8>,
    files: BTreeSet<PathBuf>,
    fingerprints: BTreeSet<String>,
}

impl Bundle {
    /// Adds a file's certificates, each once; only those: a bundle may also hold a key.
    fn add(&mut self, path: &Path, node: &Node) -> bool {
        let Ok(real) = std::fs::canonicalize(path) else {
            return false;
        };
        if self.files.contains(&real) {
            return true;
        }
        let mut text = Vec::new();
        let read = real.is_file()
            && File::open(&real).and_then(|file| file.take(MAX_BUNDLE).read_to_end(&mut text)).is_ok();
        if !read {
            return false;
        }
        let mut found = false;
        let mut body: Option<Vec<u8>> = None;
        for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            match (line, &mut body) {
                (b"-----BEGIN CERTIFICATE-----", _) => body = Some(Vec::new()),
                (b"-----END CERTIFICATE-----", Some(lines)) => {
                    found = true;
                    self.add_one(lines, node);
                    body = None;
                }
                (_, Some(lines)) => {
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                }
                (_, None) => {}
            }
        }
        self.files.insert(real);
        found
    }

    fn add_one(&mut self, lines: &[u8], node: &Node) {
        let packed: Vec<u8> = lines.iter().copied().filter(|byte| *byte != b'\n').collect();
        let mut fingerprint = hex(&Sha256::digest(packed));
        fingerprint.truncate(FINGERPRINT);
        let known = node.roots.contains(&fingerprint);
        if !self.fingerprints.insert(fingerprint) {
            return;
        }
        for out in [Some(&mut self.all), (!known).then_some(&mut self.extra)].into_iter().flatten() {
            out.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
            out.extend_from_slice(lines);
            out.extend_from_slice(b"-----END CERTIFICATE-----\n");
        }
    }
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
        let mut node = Node::for_tests();
        let trust = Trust::of(&host, Some(&dir.path().join("ca")), &node);
        let text = |trust: &Trust, at: usize| String::from_utf8(trust.files[at].1.clone()).unwrap();
        let all = text(&trust, 0);
        assert_eq!((all.matches("extra").count(), all.matches("cafile").count()), (1, 1));
        assert!(!all.contains("secret"));
        assert!(trust.env.contains(&("NODE_EXTRA_CA_CERTS".into(), GUEST_EXTRA.into())));
        assert!(trust.notes.is_empty());
        assert!(text(&trust, 1).contains("cafile"));

        // What node has already it is not told again.
        node.roots.insert(hex(&Sha256::digest(b"cafile"))[..FINGERPRINT].to_owned());
        let trust = Trust::of(&host, Some(&dir.path().join("ca")), &node);
        assert!(text(&trust, 0).contains("cafile") && !text(&trust, 1).contains("cafile"));
        let trust = Trust::of(&host, Some(&dir.path().join("gone")), &node);
        assert!(trust.notes[0].contains("cafile"));
    }

    #[test]
    fn node_is_told_little_of_a_systems_bundle() {
        let cache = tempfile::tempdir().unwrap();
        let node = Node::find(&HostEnv::current(), cache.path()).unwrap();
        assert!(node.roots.len() > 50);
        let trust = Trust::of(&HostEnv::default(), None, &node);
        let count = |guest: &str| {
            let file = trust.files.iter().find(|(path, _)| path == Path::new(guest));
            file.map_or(0, |(_, text)| String::from_utf8_lossy(text).matches("BEGIN").count())
        };
        assert!(
            count(GUEST_EXTRA) * 2 <= count(GUEST_BUNDLE),
            "{} of {}",
            count(GUEST_EXTRA),
            count(GUEST_BUNDLE)
        );
    }
}
