//! What a session's package may write and keep: its [`Storage`], put into the launch, and a word on what is lost.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::SessionError;
use crate::config::Resolved;
use crate::exit::Failure;
use crate::package::{Entry, GUEST_PACKAGE, HostEnv, PackageName, Progress};
use crate::runtime::{Access, Launch, Mount, Runtime};
use crate::storage::{self, GUEST_DATA, Storage, VARIABLE, Wanted, Written};

/// A session's storage, and the folder that it is about.
pub(super) struct Keeping {
    storage: Storage,
    /// On the host and inside.
    folder: Option<(PathBuf, PathBuf)>,
}

impl Keeping {
    /// Makes what is missing, and says what it has to do without.
    pub(super) fn of(
        resolved: &Resolved,
        host: &HostEnv,
        runtime: &dyn Runtime,
        entry: &Entry,
        words: &dyn Progress,
    ) -> Result<Self, Failure> {
        let folder = own_folder(entry).filter(|_| runtime.layers());
        let (mut name, mut owner) = (String::new(), None);
        if resolved.persist {
            name = name_of(resolved, host)?;
            owner = runtime.owner().map_err(SessionError::from)?;
        }
        let storage = Storage::of(&Wanted {
            data: &resolved.directories.data,
            cache: &resolved.directories.cache,
            name: &name,
            folder: folder.as_ref().map(|(folder, _)| folder.as_path()),
            persist: resolved.persist,
            owner,
        });
        let storage = storage.map_err(|error| {
            Failure::of_directory("cannot make a place for what the package writes", &error)
        })?;
        for warning in storage.warnings() {
            words.warning(warning);
        }
        Ok(Self { storage, folder })
    }

    /// `mounts`, which the user asked for, after what it keeps.
    pub(super) fn granted(&self, mounts: &[Mount]) -> Vec<Mount> {
        self.storage.data().into_iter().chain(mounts.iter().cloned()).collect()
    }

    /// Adds the layer, and the variable that names what lasts.
    pub(super) fn add_to(&self, launch: &mut Launch) {
        if let Some((folder, inside)) = &self.folder
            && let Some(layer) = self.storage.layer(inside)
        {
            let (host, guest) = (folder.clone(), inside.clone());
            launch.mounts.push(Mount { host, guest, access: Access::ReadOnly });
            launch.layer = Some(layer);
        }
        if self.storage.data().is_some() && !launch.env.iter().any(|(name, _)| name == VARIABLE) {
            launch.env.push((VARIABLE.into(), GUEST_DATA.into()));
        }
    }
}

/// Where on this machine a session keeps the package's `/data`, if it does.
pub fn lasting(resolved: &Resolved) -> Option<PathBuf> {
    let name = name_of(resolved, &HostEnv::current()).ok().filter(|_| resolved.persist)?;
    Some(storage::data_of(&storage::place(&resolved.directories.data, &name)).host)
}

/// What a session's mounts are going to be ([`Keeping::granted`]), before anything is made for it.
pub(super) fn foreseen(resolved: &Resolved, host: &HostEnv) -> Result<Vec<Mount>, Failure> {
    let mut mounts = resolved.mounts.clone();
    if resolved.persist {
        let place = storage::place(&resolved.directories.data, &name_of(resolved, host)?);
        mounts.insert(0, storage::data_of(&place));
    }
    Ok(mounts)
}

/// What the package's own is kept by.
fn name_of(resolved: &Resolved, host: &HostEnv) -> Result<String, Failure> {
    let request = resolved.request.resolve(host)?;
    Ok(storage::name(request.request.packages.iter().zip(&request.packages)))
}

/// Says what is lost of what the package wrote, if anybody would miss it.
pub(super) fn tell(written: Option<OwnedFd>, entry: &Entry, persists: bool, words: &dyn Progress) {
    let lost = written.and_then(|written| Written::of(written).ok()?.words(&entry.manifest.title()));
    if let Some(lost) = lost {
        words.warning(&lost);
        // Where that was asked for, a warning has said why it cannot be.
        words.hint(if persists {
            "/data lasts: let the package write there, or put XDG_DATA_HOME on a file system that can hold it"
        } else {
            "--persist keeps it"
        });
    }
}

/// Where the files of the package that is run are: on the host and inside.
fn own_folder(entry: &Entry) -> Option<(PathBuf, PathBuf)> {
    let name: PackageName = entry.manifest.roots.first()?.name.parse().ok()?;
    let below = Path::new("node_modules").join(name.as_str());
    Some((entry.dir.join(&below), Path::new(GUEST_PACKAGE).join(&below)))
}
