//! What a run's client may share with the package by naming it: the scope, and where copies lie.

use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::{Said, SessionError};
use crate::audit::Recorder;
use crate::config::Resolved;
use crate::exit::Failure;
use crate::rpc::translate::{GUEST_DIRECTORY, Mounts};
use crate::runtime::{Mount, Runtime};
use crate::workspace::scope::Scope;
use crate::workspace::shelf::{Lease, Shelf};
use crate::workspace::{Ground, Handle, Workspace};

/// Where files that calls name are put for the guest.
pub(super) fn shelf(
    resolved: &Resolved,
    runtime: &dyn Runtime,
    session: Uuid,
) -> Result<(Lease, Shelf), Failure> {
    owned_shelf(resolved, runtime.owner().map_err(SessionError::from)?, session)
}

/// One on which nothing is put, to see what would become of a path.
pub(super) fn dry_shelf(resolved: &Resolved) -> Result<(Lease, Shelf), Failure> {
    owned_shelf(resolved, None, Uuid::now_v7()).map(|(lease, shelf)| (lease, shelf.dry()))
}

fn owned_shelf(
    resolved: &Resolved,
    owner: Option<(u32, u32)>,
    session: Uuid,
) -> Result<(Lease, Shelf), Failure> {
    let parent = resolved.directories.cache.join("shared");
    Shelf::new(&parent, &session.to_string(), resolved.mount_mode, owner).map_err(|error| {
        Failure::of_directory(&format!("cannot make a directory in {}", parent.display()), &error)
    })
}

/// How the guest sees it: empty, until a call names a file.
pub(super) fn mount(shelf: &Shelf) -> Mount {
    Mount { host: shelf.visible(), guest: GUEST_DIRECTORY.into(), access: shelf.access() }
}

/// What the session's client may share by naming it; `granted` is what is mounted anyway.
pub(super) fn scope(resolved: &Resolved, granted: &[Mount], home: PathBuf) -> Scope {
    let mut own: Vec<PathBuf> =
        resolved.directories.own().into_iter().chain(&resolved.files).cloned().collect();
    // Logs of other sessions lie there, too.
    own.push(resolved.audit.path().to_owned());
    let ground = Ground { cwd: resolved.cwd.clone(), home, own };
    Scope::new(ground, granted, resolved.guest_cwd.is_some())
}

/// What the client and the guest call the user's own mounts. Where the package keeps its data has one name only: the client
/// does not know it by the host's.
pub(super) fn names(own: &[Mount]) -> Mounts {
    Mounts::new(own.iter().filter_map(|mount| Some((mount.host.to_str()?, mount.guest.to_str()?))))
}

/// Whoever decides about files; what that has to tell people goes to `say`.
pub(super) fn workspace(
    resolved: &Resolved,
    scope: Scope,
    shelf: Shelf,
    recorder: Recorder,
    say: UnboundedSender<Said>,
) -> Handle {
    // Nobody listens when the session is over.
    let voice = Box::new(move |words: &str| drop(say.send(Said { words: words.to_owned(), hint: None })));
    let attic = resolved.directories.kept();
    Handle::new(Workspace::new(scope, shelf, recorder, attic, voice))
}
