//! Tarballs that every install may take: what one package has downloaded, the next one need not.
//!
//! One directory below the store, one file for each tarball, by what npm is configured for (registries and credentials) and the
//! SHA-512 of its content, in hexadecimal digits. An install
//! has the directory read-only, and in its own npm cache a link for each file, where npm looks for what has the digest that
//! the registry names (cacache's `content-v2`); npm checks that digest as it reads. In comes only what the lock file names,
//! and npxc has the digest calculated itself. Nothing else of npm's cache is kept: what a registry answers is asked each time.
//!
//! Losing all of it costs a download. So whatever fails here is no error of an install.

use std::fs::{self, DirBuilder, File, FileTimes};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, HEXLOWER};
use rustix::fs::{Mode, OFlags, openat};
use sha2::{Digest, Sha512};

use crate::runtime::{Access, Mount};

/// Where they are inside the guest.
const GUEST_TARBALLS: &str = "/opt/npxc/tarballs";
/// Where npm's cache has content by its SHA-512.
const CONTENT: &str = "_cacache/content-v2/sha512";
/// What is kept, in bytes and files; the longest unused go first. A link is made for each file before every install.
const MOST_BYTES: u64 = 1 << 30;
const MOST_FILES: usize = 4096;
/// The longest file that is kept, bytes: packages of programs for a platform have some hundred megabytes.
const MOST_LENGTH: u64 = 256 << 20;
/// How a file's name begins until it is whole.
const PART: &str = ".part";
/// When nobody finishes it any more.
const PART_LASTS: Duration = Duration::from_hours(1);

/// The tarballs that installs from one realm share.
#[derive(Debug, Clone)]
pub struct Tarballs {
    directory: PathBuf,
    realm: String,
}

impl Tarballs {
    /// In this directory, which need not be there. `realm` says what may be downloaded at all, in hexadecimal digits: whoever
    /// knows a digest gets what has it, and should get nothing that was downloaded with a token that is not theirs.
    pub(super) fn at(directory: PathBuf, realm: String) -> Self {
        Self { directory, realm }
    }

    /// The file of what has this digest.
    fn own(&self, digest: &str) -> PathBuf {
        self.directory.join(format!("{}-{digest}", self.realm))
    }

    /// Where npm's cache has what is in a file of this name; none for a file of another realm.
    fn place_of(&self, name: &str) -> Option<PathBuf> {
        place(name.strip_prefix(&self.realm)?.strip_prefix('-')?)
    }

    /// Puts links to all of them into an npm cache that is empty; what has to be mounted for them to lead anywhere.
    pub(super) fn lend(&self, cache: &Path) -> io::Result<Mount> {
        // Whoever may write in the cache may have another user id. The directories above are the owner's alone.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o755))?;
        for file in fs::read_dir(&self.directory)?.take(2 * MOST_FILES) {
            let name = file?.file_name();
            let Some(place) = name.to_str().and_then(|name| self.place_of(name)) else { continue };
            let link = cache.join(CONTENT).join(place);
            fs::create_dir_all(link.parent().unwrap_or(cache))?;
            std::os::unix::fs::symlink(Path::new(GUEST_TARBALLS).join(name), link)?;
        }
        Ok(Mount { host: self.directory.clone(), guest: GUEST_TARBALLS.into(), access: Access::ReadOnly })
    }

    /// Takes what a cache, which the guest may have filled with anything, holds of these. `integrities` as lock files have
    /// them (Subresource Integrity); the guest must have ended.
    pub(super) fn keep<'a>(
        &self,
        cache: &Path,
        integrities: impl Iterator<Item = &'a str>,
    ) -> io::Result<()> {
        // The bound is kept also where something cannot be: a full disk is when it matters.
        let taken = self.take_all(cache, integrities);
        self.forget().and(taken)
    }

    /// What fails with one file does not keep the others away; the last such failure.
    fn take_all<'a>(&self, cache: &Path, integrities: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let content = File::open(cache)?;
        let mut left = MOST_BYTES;
        let mut failed = Ok(());
        for digest in integrities.filter_map(digest) {
            let own = self.own(&digest);
            let Some(place) = place(&digest) else { continue };
            match open_inside(&content, &Path::new(CONTENT).join(place)) {
                // Also when it is known: then what was known was damaged, and npm has replaced the link to it.
                Ok(found) => match self.take(found, &digest, &own, left) {
                    Ok(read) => left -= read,
                    Err(error) => failed = Err(error),
                },
                // It is a link: it was used. Or it was downloaded under another digest, or not at all: a package of this
                // machine.
                Err(_) => failed = unless_gone(used_now(&own)).and(failed),
            }
        }
        failed
    }

    /// Copies a file that is not longer than `most`, and keeps the copy if it has the digest. How much was read.
    fn take(&self, from: File, digest: &str, own: &Path, most: u64) -> io::Result<u64> {
        let metadata = from.metadata()?;
        let length = metadata.len();
        if !metadata.is_file() || length > MOST_LENGTH.min(most) {
            return Ok(0);
        }
        let mut from = from.take(length);
        let part = self.directory.join(format!("{PART}-{}", uuid::Uuid::now_v7()));
        let copied = (|| {
            let mut to = fs::OpenOptions::new().write(true).create_new(true).open(&part)?;
            // Whatever the umask says: a container's user is another one.
            to.set_permissions(fs::Permissions::from_mode(0o444))?;
            let mut hash = Sha512::new();
            let mut chunk = vec![0; 64 << 10];
            loop {
                let length = from.read(&mut chunk)?;
                let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
                hash.update(bytes);
                to.write_all(bytes)?;
            }
            if HEXLOWER.encode(&hash.finalize()) == digest { fs::rename(&part, own) } else { Ok(()) }
        })();
        // Gone already, if it was renamed.
        let _ = fs::remove_file(&part);
        copied.map(|()| length)
    }

    /// Removes what was not used for longest, until what is left is within the bounds; and parts that nobody finishes.
    fn forget(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            // Another npxc may remove the same.
            let Ok(metadata) = file.metadata() else { continue };
            let used = metadata.modified()?;
            let age = SystemTime::now().duration_since(used).unwrap_or_default();
            if file.file_name().as_encoded_bytes().starts_with(PART.as_bytes()) {
                if age > PART_LASTS {
                    unless_gone(fs::remove_file(file.path()))?;
                }
                continue;
            }
            files.push((used, metadata.len(), file.path()));
        }
        files.sort();
        let (mut bytes, mut count) = (files.iter().map(|(_, length, _)| length).sum::<u64>(), files.len());
        for (_, length, path) in files {
            if bytes <= MOST_BYTES && count <= MOST_FILES {
                break;
            }
            unless_gone(fs::remove_file(path))?;
            (bytes, count) = (bytes - length, count - 1);
        }
        Ok(())
    }
}

fn used_now(file: &Path) -> io::Result<()> {
    File::open(file)?.set_times(FileTimes::new().set_modified(SystemTime::now()))
}

/// That a file is not there is no failure here.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Opens what is there by following no link, and waits for nobody.
fn open_inside(directory: &File, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut at = directory.try_clone()?;
    for part in path {
        at = File::from(openat(&at, part, flags, Mode::empty())?);
    }
    Ok(at)
}

/// The SHA-512 in an integrity, which may name several digests, in hexadecimal digits.
fn digest(integrity: &str) -> Option<String> {
    let base64 = integrity.split_ascii_whitespace().find_map(|one| one.strip_prefix("sha512-"))?;
    let digest = BASE64.decode(base64.split('?').next()?.as_bytes()).ok()?;
    (digest.len() == 64).then(|| HEXLOWER.encode(&digest))
}

/// Where npm's cache has the content with this digest, below [`CONTENT`].
fn place(digest: &str) -> Option<PathBuf> {
    let is_digest = digest.len() == 128 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (one, two, rest) = (digest.get(..2)?, digest.get(2..4)?, digest.get(4..)?);
    is_digest.then(|| Path::new(one).join(two).join(rest))
}

#[cfg(test)]
#[path = "tarballs_tests.rs"]
mod tests;
