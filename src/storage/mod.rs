//! Where a package keeps things: `/data`, which lasts, and a layer of its own over the read-only folder with its files.
//!
//! Everything is below npxc's own directories and mode 0700. What a package wrote is the package's: nothing in it is
//! executed, read or followed here, only counted, moved and removed. Data comes from `session`; it goes to the runtime
//! as a [`Mount`] and a [`Layer`].
//!
//! - `$XDG_DATA_HOME/npxc/packages/NAME/`, with `persist`: [`kept`].
//! - `$XDG_CACHE_HOME/npxc/folders/STAMP/`: [`folders`], made again when it is missing.

mod folders;
mod kept;
mod written;

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::folders::Folders;
use self::kept::Kept;
pub use self::written::Written;
use crate::package::PackageSpec;
use crate::package::request::{Source, hex};
use crate::runtime::{Access, Layer, Mount};

/// Where the guest finds what lasts.
pub const GUEST_DATA: &str = "/data";
/// The variable that says so.
pub const VARIABLE: &str = "NPXC_DATA";

/// What a session's storage depends on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// npxc's data directory.
    pub data: &'a Path,
    /// npxc's cache.
    pub cache: &'a Path,
    /// The package's name as a path component ([`name`]).
    pub name: &'a str,
    /// The package's own folder in the store entry; `None` where the runtime cannot mount a layer over it.
    pub folder: Option<&'a Path>,
    /// Whether anything lasts.
    pub persist: bool,
    /// Whom `/data` belongs to, where that is not npxc's user.
    pub owner: Option<(u32, u32)>,
}

/// One session's storage. What it has locked is free again when it is dropped.
#[derive(Debug)]
pub struct Storage {
    folders: Option<Folders>,
    kept: Option<Kept>,
    warnings: Vec<String>,
}

impl Storage {
    /// Makes what is missing.
    pub fn of(wanted: &Wanted<'_>) -> io::Result<Self> {
        let mut warnings = Vec::new();
        // What is a link there leads into another package.
        let folder = wanted.folder.filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()));
        let folders = folder.map(|path| Folders::of(&wanted.cache.join("folders"), path)).transpose()?;
        let mut kept = None;
        if wanted.persist {
            let place = place(wanted.data, wanted.name);
            kept = Some(Kept::open(&place, folder, wanted.owner, &mut warnings)?);
        }
        if wanted.persist && folder.is_none() {
            warnings.push(
                "this runtime shows the package its own folder read-only; of what it writes, only /data lasts".into(),
            );
        }
        Ok(Self { folders, kept, warnings })
    }

    /// What lies over the package's own folder, which is at `guest` inside.
    pub fn layer(&self, guest: &Path) -> Option<Layer> {
        let kept = self.kept.as_ref().and_then(Kept::folder);
        let directories = self.folders.as_ref()?.path();
        Some(Layer { guest: guest.to_owned(), directories, kept })
    }

    /// What the guest gets as `/data`.
    pub fn data(&self) -> Option<Mount> {
        Some(data_mount(self.kept.as_ref()?.data()))
    }

    /// What the user should know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What the guest gets as `/data` of the package whose place is `place`.
pub fn data_of(place: &Path) -> Mount {
    data_mount(place.join(kept::DATA))
}

fn data_mount(host: PathBuf) -> Mount {
    Mount { host, guest: GUEST_DATA.into(), access: Access::ReadWrite }
}

/// Where a package's own is kept, below npxc's data directory; `name` is [`name`]'s.
pub fn place(data: &Path, name: &str) -> PathBuf {
    data.join("packages").join(name)
}

/// Whether `data`, npxc's data directory, is where the kernel mounts no layer from, as far as its file system says by itself:
/// an overlay (as a container's own is), or one of the network's.
#[cfg(target_os = "linux")]
pub fn holds_no_layer(data: &Path) -> bool {
    const OVERLAYFS: u32 = 0x794c_7630;
    const NFS: u32 = 0x6969;
    let there = data.ancestors().find(|path| path.exists());
    let found = there.and_then(|path| rustix::fs::statfs(path).ok());
    found.is_some_and(|found| u32::try_from(found.f_type).is_ok_and(|kind| [OVERLAYFS, NFS].contains(&kind)))
}

/// Layers are Linux's.
#[cfg(not(target_os = "linux"))]
pub fn holds_no_layer(_: &Path) -> bool {
    true
}

/// The package's name as a path component, the same for all its versions. Injective: what is no registry's package by its
/// own name starts with `=`, which cannot stand in one, and a local package is known by its path, whatever it calls
/// itself. Several packages together are none of them: one may not write what another one keeps.
pub fn name<'a>(packages: impl Iterator<Item = (&'a PackageSpec, &'a Source)>) -> String {
    let mut names: Vec<String> = packages.map(|(spec, source)| name_of(spec, source)).collect();
    if names.len() == 1 {
        return names.remove(0);
    }
    // An alias and a path are two parts.
    hashed([b"".as_slice(), b""].into_iter().chain(names.iter().map(String::as_bytes)))
}

fn name_of(spec: &PackageSpec, source: &Source) -> String {
    match spec {
        PackageSpec::Registry { name, .. } => name.path_component(),
        PackageSpec::Alias { alias, name, .. } => {
            hashed([alias.as_str().as_bytes(), name.as_str().as_bytes()].into_iter())
        }
        PackageSpec::Directory(_) | PackageSpec::Tarball(_) => {
            let path = source.local().map(|path| path.as_os_str().as_encoded_bytes());
            hashed([b"", path.unwrap_or_default()].into_iter())
        }
    }
}

fn hashed<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("={}", hex(&hash.finalize()[..16]))
}

/// What tells one state of an installed folder from the next: it is replaced as a whole, never changed.
fn stamp(folder: &Path) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(folder)?;
    let mut hash = Sha256::new();
    hash.update(folder.as_os_str().as_encoded_bytes());
    for number in [metadata.dev(), metadata.ino()] {
        hash.update(number.to_le_bytes());
    }
    for number in [metadata.mtime(), metadata.mtime_nsec()] {
        hash.update(number.to_le_bytes());
    }
    Ok(hex(&hash.finalize()[..16]))
}

/// A directory of npxc's own, and those above it.
fn private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A directory itself, not what a link leads to.
fn open_directory(path: &Path) -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn lock_file(path: PathBuf) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
