//! Signatures over the last line of a log: Ed25519 (RFC 8032). The chain shows what was changed; a signature, that nobody
//! wrote all of it anew who does not have the key.
//!
//! What is signed is [`CONTEXT`] and the log's `seal`, which stands for every line before it. A key is `ed25519:` and the
//! public key in Base64.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// Before what is signed, so that a signature says nothing about anything else.
const CONTEXT: &str = "npxc audit log 1\n";
/// Before a public key.
const KIND: &str = "ed25519:";

/// Who signs.
pub struct Key(Ed25519KeyPair);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.public()).finish()
    }
}

impl Key {
    /// The key in a file (PKCS #8, RFC 5958), which nobody else may read; made when it is missing.
    pub fn at(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::new(path),
            found => Self::of(&found?),
        }
    }

    /// The key in a file, if there is one.
    pub fn existing(path: &Path) -> Option<Self> {
        Self::of(&fs::read(path).ok()?).ok()
    }

    fn of(bytes: &[u8]) -> io::Result<Self> {
        let key = Ed25519KeyPair::from_pkcs8(bytes);
        key.map(Self).map_err(|error| io::Error::other(format!("it is no key: {error}")))
    }

    /// Of two that make it at once, one does.
    fn new(path: &Path) -> io::Result<Self> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| io::Error::other("there are no random numbers"))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(made.as_ref())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => Self::of(made.as_ref()),
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Self::of(&fs::read(path)?),
            Err(lost) => Err(lost.error),
        }
    }

    /// The public key.
    pub fn public(&self) -> String {
        format!("{KIND}{}", BASE64.encode(self.0.public_key().as_ref()))
    }

    /// A signature of a log with this seal.
    pub(super) fn sign(&self, seal: &str) -> String {
        BASE64.encode(self.0.sign(format!("{CONTEXT}{seal}").as_bytes()).as_ref())
    }
}

/// Whether it is this key's signature of a log with this seal.
pub(super) fn holds(public: &str, seal: &str, signature: &str) -> bool {
    let decode = |text: &str| BASE64.decode(text.as_bytes()).ok();
    let parts = public.strip_prefix(KIND).and_then(decode).zip(decode(signature));
    parts.is_some_and(|(public, signature)| {
        let key = UnparsedPublicKey::new(&ED25519, public);
        key.verify(format!("{CONTEXT}{seal}").as_bytes(), &signature).is_ok()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_nobody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("npxc/audit.key");
        assert!(Key::existing(&path).is_none());
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Key::at(&path).unwrap().public())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "words").unwrap();
        assert!(Key::at(&path).unwrap_err().to_string().starts_with("it is no key"));
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_seal() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| Key::at(&directory.path().join(name)).unwrap());
        let signature = one.sign("a");
        assert!(holds(&one.public(), "a", &signature));
        assert!(!holds(&one.public(), "b", &signature));
        assert!(!holds(&other.public(), "a", &signature));
        for wrong in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA"] {
            assert!(!holds(wrong, "a", &signature) && !holds(&one.public(), "a", wrong), "{wrong}");
        }
    }
}
