//! The store of finished installs.
//!
//! Layout, below `$XDG_DATA_HOME/npxc/store`:
//!
//! - `v1/PLATFORM/KEY/`: an entry, complete and read-only. PLATFORM is what native modules depend on, and the
//!   image in which it was installed, if it was one ([`Node::platform_key`]); KEY comes from [`Resolved::key`].
//! - `lock/PLATFORM/KEY`: held by the npxc that installs that entry, so that two install once. Its time is that of the
//!   entry's last start.
//! - `tarballs/`: what was downloaded for the entries, and may be for others ([`Tarballs`]).
//! - `staging/NAME/`: an install under way, or an entry on its way out; locked by the npxc that works on it. One
//!   that can be locked belongs to nobody and is removed by [`Store::sweep`].
//!
//! Every lock is an flock, which ends with its holder however that ends. An entry in use is locked shared on the
//! directory itself; it can be moved out of the way at any time and is deleted when the last user is gone.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, RenameFlags, flock, renameat_with};

use super::entry::{Entry, MANIFEST, Manifest, SCHEMA};
use super::error::PackageError;
use super::node::Node;
use super::request::Resolved;
use super::tarballs::Tarballs;
use super::tree;

/// Longest manifest that is read, in bytes: 20 000 packages with their integrity fit.
const MAX_MANIFEST: u64 = 8 << 20;
/// Where tarballs are shared, below the store.
const TARBALLS: &str = "tarballs";
/// How often an entry that is replaced while it is being opened is looked at again.
const OPEN_ATTEMPTS: usize = 8;

/// The store, by its directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A staging directory of this process; removed when dropped, unless it was moved into place.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    held: File,
    published: bool,
}

/// The right to install one entry.
#[derive(Debug)]
pub struct InstallLock(#[allow(dead_code, reason = "holds the flock")] File);

/// An entry as [`Store::list`] finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its directory.
    pub dir: PathBuf,
    /// The platform it was installed for.
    pub platform: String,
    /// What it holds; `None` when the manifest cannot be read.
    pub manifest: Option<Manifest>,
    /// When it was started last, if it was started since it was installed.
    pub used: Option<SystemTime>,
}

impl Listed {
    /// When it was started last, or installed if it never was.
    pub fn last_use(&self) -> Option<SystemTime> {
        let installed = || Some(UNIX_EPOCH + Duration::from_secs(self.manifest.as_ref()?.time));
        self.used.or_else(installed)
    }
}

impl Store {
    /// The store below `data`, npxc's data directory. Nothing is made yet.
    pub fn at(data: &Path) -> Self {
        Self { root: data.join("store") }
    }

    /// The tarballs that installs of this [realm](super::NpmConfig::realm) share.
    pub(super) fn tarballs(&self, realm: String) -> Tarballs {
        Tarballs::at(self.root.join(TARBALLS), realm)
    }

    /// Removes all tarballs that installs share.
    pub fn clear_tarballs(&self) -> Result<(), PackageError> {
        tree::remove(&self.root.join(TARBALLS))
    }

    /// The directory that an entry has or will have.
    pub fn path(&self, resolved: &Resolved, node: &Node) -> PathBuf {
        self.root.join("v1").join(node.platform_key()).join(resolved.key())
    }

    /// The finished entry for a request, if there is one. Reads one file; runs nothing.
    pub fn lookup(&self, resolved: &Resolved, node: &Node) -> Result<Option<Entry>, PackageError> {
        let path = self.path(resolved, node);
        Ok(open_entry(&path)?.filter(|entry| entry.manifest.schema == SCHEMA))
    }

    /// Takes the right to install an entry; `None` while another npxc has it.
    pub fn try_lock(&self, resolved: &Resolved, node: &Node) -> Result<Option<InstallLock>, PackageError> {
        let directory = self.root.join("lock").join(node.platform_key());
        make_private(&directory)?;
        let path = directory.join(resolved.key());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| PackageError::io("open the lock", &path, e))?;
        Ok(try_flock(&file, true)
            .map_err(|e| PackageError::io("lock", &path, e))?
            .then_some(InstallLock(file)))
    }

    fn lock_of(&self, platform: Option<&OsStr>, key: Option<&OsStr>) -> PathBuf {
        self.root.join("lock").join(platform.unwrap_or_default()).join(key.unwrap_or_default())
    }

    /// Notes that an entry is started now: its lock's time says so. What cannot be written is not noted.
    pub fn note_use(&self, entry: &Entry) {
        let platform = entry.dir.parent().and_then(Path::file_name);
        let lock = self.lock_of(platform, entry.dir.file_name());
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock);
        let _ = open.and_then(|lock| lock.set_modified(SystemTime::now()));
    }

    /// Whether a running npxc uses an entry that [`Self::list`] found.
    pub fn is_in_use(&self, entry: &Listed) -> bool {
        open_directory(&entry.dir).is_ok_and(|held| !try_flock(&held, true).unwrap_or(false))
    }

    /// A new, empty, private directory on the store's file system.
    pub fn stage(&self) -> Result<Staging, PackageError> {
        let parent = self.root.join("staging");
        make_private(&parent)?;
        loop {
            let path = parent.join(uuid::Uuid::now_v7().to_string());
            let fail = |e| PackageError::io("make the staging directory", &path, e);
            DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
            // Another npxc may take it for left over between these two steps; then it is gone: make another.
            let Ok(held) = open_directory(&path) else { continue };
            if try_flock(&held, true).map_err(fail)? && is_still(&held, &path) {
                return Ok(Staging { path, held, published: false });
            }
        }
    }

    /// Makes a staged directory the entry for a request. It replaces an older one, which goes when its last
    /// user is gone.
    pub fn publish(
        &self,
        mut staging: Staging,
        resolved: &Resolved,
        node: &Node,
    ) -> Result<Entry, PackageError> {
        let target = self.path(resolved, node);
        let parent = target.parent().unwrap_or(&self.root);
        make_private(parent)?;
        tree::sync(&staging.path)?;
        tree::make_read_only(&staging.path)?;
        // Moving a directory to another parent writes its "..": its owner needs write permission on it.
        set_mode(&staging.path, 0o755)?;
        let fail = |e: rustix::io::Errno| PackageError::io("move the entry into place", &target, e.into());
        match renameat_with(rustix::fs::CWD, &staging.path, rustix::fs::CWD, &target, RenameFlags::NOREPLACE)
        {
            Ok(()) => staging.published = true,
            Err(rustix::io::Errno::EXIST) => {
                // The same goes for the old one, which moves the other way. Its files stay read-only.
                set_mode(&target, 0o755)?;
                renameat_with(
                    rustix::fs::CWD,
                    &staging.path,
                    rustix::fs::CWD,
                    &target,
                    RenameFlags::EXCHANGE,
                )
                .map_err(fail)?;
                // What was replaced now has the staging name; it goes unless somebody uses it.
                staging.published = true;
                if let Ok(old) = open_directory(&staging.path)
                    && try_flock(&old, true).unwrap_or(false)
                {
                    let _ = tree::remove(&staging.path);
                }
            }
            Err(error) => return Err(fail(error)),
        }
        set_mode(&target, 0o555)?;
        sync_directory(parent)?;
        // From the exclusive to a shared lock: from now on it is an entry in use.
        flock(&staging.held, FlockOperation::LockShared)
            .map_err(|e| PackageError::io("lock", &target, e.into()))?;
        open_entry(&target)?
            .ok_or_else(|| PackageError::io("open the new entry", &target, io::ErrorKind::NotFound.into()))
    }

    /// All entries, finished or damaged, in no particular order.
    pub fn list(&self) -> Result<Vec<Listed>, PackageError> {
        let mut all = Vec::new();
        for platform in subdirectories(&self.root.join("v1"))? {
            for dir in subdirectories(&platform)? {
                let manifest = read_manifest(&dir);
                let installed =
                    manifest.as_ref().map(|manifest| UNIX_EPOCH + Duration::from_secs(manifest.time));
                let lock = self.lock_of(platform.file_name(), dir.file_name());
                let touched = fs::metadata(lock).and_then(|lock| lock.modified()).ok();
                all.push(Listed {
                    platform: platform.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    // The lock is as old as the install until the first start; that is known to the second.
                    used: touched.filter(|touched| {
                        installed.is_some_and(|installed| *touched > installed + Duration::from_secs(1))
                    }),
                    manifest,
                    dir,
                });
            }
        }
        Ok(all)
    }

    /// Removes an entry that [`Self::list`] found. One that is in use disappears from the store at once and
    /// from the disk when it is no longer used; the answer says whether that is still to come.
    pub fn remove(&self, entry: &Listed) -> Result<Removed, PackageError> {
        if entry.dir.parent().and_then(Path::parent) != Some(&self.root.join("v1")) {
            return Err(PackageError::io("remove", &entry.dir, io::ErrorKind::InvalidInput.into()));
        }
        let trash = self.root.join("staging");
        make_private(&trash)?;
        let target = trash.join(uuid::Uuid::now_v7().to_string());
        set_mode(&entry.dir, 0o700)?;
        fs::rename(&entry.dir, &target).map_err(|e| PackageError::io("remove", &entry.dir, e))?;
        remove_unused(&target)
    }

    /// How many directories [`Self::sweep`] would remove.
    pub fn abandoned(&self) -> usize {
        let left = subdirectories(&self.root.join("staging")).unwrap_or_default();
        let is_free =
            |path: &&PathBuf| open_directory(path).is_ok_and(|held| try_flock(&held, true).unwrap_or(false));
        left.iter().filter(is_free).count()
    }

    /// Removes what dead processes left in the staging directory and entries that were removed while in use.
    /// Says how many directories went. Failures are left to the next sweep.
    pub fn sweep(&self) -> usize {
        let Ok(left) = subdirectories(&self.root.join("staging")) else {
            return 0;
        };
        left.iter().filter(|path| matches!(remove_unused(path), Ok(Removed::Gone))).count()
    }
}

/// What became of a removed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// Nothing is left of it.
    Gone,
    /// Another npxc uses it; a later sweep deletes it.
    Later,
}

impl Staging {
    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by a later sweep.
            let _ = tree::remove(&self.path);
        }
    }
}

fn open_entry(path: &Path) -> Result<Option<Entry>, PackageError> {
    for _ in 0..OPEN_ATTEMPTS {
        let held = match open_directory(path) {
            Ok(held) => held,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(PackageError::io("open the entry", path, e)),
        };
        if !try_flock(&held, false).map_err(|e| PackageError::io("lock", path, e))? || !is_still(&held, path)
        {
            continue;
        }
        return Ok(read_manifest(path).map(|manifest| Entry { dir: path.to_owned(), manifest, held }));
    }
    Ok(None)
}

/// A manifest that is missing, too long or not ours counts as none: the entry is made again.
fn read_manifest(dir: &Path) -> Option<Manifest> {
    let mut text = Vec::new();
    let file = File::open(dir.join(MANIFEST)).ok()?;
    file.take(MAX_MANIFEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn remove_unused(path: &Path) -> Result<Removed, PackageError> {
    let fail = |e| PackageError::io("remove", path, e);
    let held = match open_directory(path) {
        Ok(held) => held,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Removed::Gone),
        Err(e) => return Err(fail(e)),
    };
    if !try_flock(&held, true).map_err(fail)? {
        return Ok(Removed::Later);
    }
    tree::remove(path)?;
    Ok(Removed::Gone)
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// False when somebody else holds it.
fn try_flock(file: &File, exclusive: bool) -> io::Result<bool> {
    let operation = if exclusive {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether `path` still leads to the open directory.
fn is_still(held: &File, path: &Path) -> bool {
    match (held.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}

fn subdirectories(path: &Path) -> Result<Vec<PathBuf>, PackageError> {
    let fail = |e| PackageError::io("read the directory", path, e);
    let read = match fs::read_dir(path) {
        Ok(read) => read,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut all = Vec::new();
    for entry in read {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() && entry.file_name() != OsStr::new("lost+found") {
            all.push(entry.path());
        }
    }
    Ok(all)
}

fn make_private(path: &Path) -> Result<(), PackageError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| PackageError::io("make the directory", path, e))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), PackageError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| PackageError::io("change the mode of", path, e))
}

fn sync_directory(path: &Path) -> Result<(), PackageError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| PackageError::io("sync", path, e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
