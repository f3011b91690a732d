//! The directory of one session: the control socket, the guest's program and the files that are mounted, and who it
//! all belongs to. Private by the directory above it, which only this user may enter; open itself, because container
//! root may be another user.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::Kind;
use super::arguments::{Bound, CONTROL, PREFIX};
use super::owner::Owner;
use crate::runtime::{RuntimeError, directory, etc};

/// Says whose directory it is, and which engine has the rest of the session: `PID START REALM KIND`.
const OWNER: &str = "owner";
/// In front of a directory that is being made; its name goes on with the session's id and what [`OWNER`] is going to
/// say. So there is no moment at which nobody knows whose it is.
const MAKING: &str = "making-";
/// The longest path of a unix socket (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// A session's directory; dropping it removes it.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes the directory for session `id` below `root`, which is made as well.
    pub(super) fn create(root: &Path, kind: Kind, id: &str, owner: Owner) -> Result<Self, RuntimeError> {
        let fail = RuntimeError::io("the session's directory");
        let make = || {
            directory::private(root)?;
            let path = root.join(format!("{PREFIX}{id}"));
            directory::socket_fits(&path.join("run").join(CONTROL), LONGEST_SOCKET)?;
            let owner = format!("{owner} {}", kind.as_str());
            let mut place = Self { path: root.join(format!("{MAKING}{id} {owner}")) };
            DirBuilder::new().mode(0o700).create(&place.path)?;
            place.put(OWNER, owner.as_bytes(), 0o600)?;
            place.directory("run")?;
            place.directory("files")?;
            fs::set_permissions(&place.path, Permissions::from_mode(0o711))?;
            // One of that name that is there already has something in it: rename(2) then fails.
            fs::rename(&place.path, &path)?;
            place.path = path;
            Ok(place)
        };
        make().map_err(fail)
    }

    fn directory(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        DirBuilder::new().create(&path)?;
        // Whatever the umask is.
        fs::set_permissions(path, Permissions::from_mode(0o711))
    }

    fn put(&self, name: &str, content: &[u8], mode: u32) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        directory::write(&path, content, mode)?;
        Ok(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the control socket is; mounted as a directory, because an engine needs something to mount before the
    /// socket's removal.
    pub(super) fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The control socket: anybody inside may connect, of whom one is accepted.
    pub(super) fn listen(&self) -> Result<UnixListener, RuntimeError> {
        directory::listen(&self.run().join(CONTROL), 0o666).map_err(RuntimeError::io("the control socket"))
    }

    /// Takes the control socket away: nobody else connects.
    pub(super) fn close(&self) {
        let _ = fs::remove_file(self.run().join(CONTROL));
    }

    /// Writes the guest's program.
    pub(super) fn program(&self, binary: &[u8]) -> Result<PathBuf, RuntimeError> {
        self.put("guest", binary, 0o755).map_err(RuntimeError::io("writing the guest's program"))
    }

    /// Writes what every container gets in `/etc`, and the launch's own files after that.
    pub(super) fn files(
        &self,
        identity: (u32, u32),
        files: &[(PathBuf, Vec<u8>)],
    ) -> Result<Vec<Bound>, RuntimeError> {
        let files = etc::complete(identity, files).into_iter().enumerate();
        let bounds = files.map(|(number, (guest, content))| {
            let host = self.put(&format!("files/{number}"), &content, 0o644)?;
            Ok(Bound { host, guest, writable: false, nested: false })
        });
        bounds.collect::<io::Result<_>>().map_err(RuntimeError::io("writing the container's files"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The directories below `root` of one engine's sessions whose owners are no more: session id and path. At most `most`.
/// Another engine's stay: they are the trace of what only that one can remove.
pub(super) fn dead(root: &Path, kind: Kind, most: usize) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten().take(most) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((id, text)) = described(&name, &entry.path()) else { continue };
        let Some((owner, engine)) = text.rsplit_once(' ') else { continue };
        if engine == kind.as_str() && owner.parse().is_ok_and(|owner: Owner| owner.is_dead()) {
            found.push((id, entry.path()));
        }
    }
    found
}

/// A directory's session, and whose it is: by its name while it is being made, by a file in it after that.
fn described(name: &str, path: &Path) -> Option<(String, String)> {
    if let Some(rest) = name.strip_prefix(MAKING) {
        let (id, owner) = rest.split_once(' ')?;
        return Some((id.to_owned(), owner.to_owned()));
    }
    let id = name.strip_prefix(PREFIX)?;
    Some((id.to_owned(), fs::read_to_string(path.join(OWNER)).ok()?))
}

/// Removes the directory of a dead session.
pub(super) fn remove(path: &Path) -> bool {
    fs::remove_dir_all(path).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_place_is_private_from_above_and_goes_when_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("sessions");
        let place = Place::create(&root, Kind::Podman, "7", Owner::this()).unwrap();
        let path = root.join("npxc-7");
        assert_eq!((mode(&root), mode(&path), mode(&path.join("run"))), (0o700, 0o711, 0o711));
        let _listener = place.listen().unwrap();
        assert_eq!(mode(&path.join("run/control")), 0o666);
        place.close();
        assert!(!path.join("run/control").exists());
        let program = place.program(b"ELF").unwrap();
        assert_eq!(mode(&program), 0o755);
        // The same session cannot be made twice.
        assert!(Place::create(&root, Kind::Podman, "7", Owner::this()).is_err());
        drop(place);
        assert!(!path.exists() && root.exists());
    }

    #[test]
    fn files_of_the_launch_win_over_its_own() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::create(root.path(), Kind::Podman, "7", Owner::this()).unwrap();
        let given = [
            (PathBuf::from("/home/user/.npmrc"), b"a=b".to_vec()),
            (PathBuf::from("/etc/hosts"), b"mine".to_vec()),
        ];
        let bounds = place.files((1000, 1000), &given).unwrap();
        let hosts: Vec<_> = bounds.iter().filter(|bound| bound.guest == Path::new("/etc/hosts")).collect();
        assert_eq!(hosts.len(), 1);
        assert_eq!(fs::read(&hosts[0].host).unwrap(), b"mine");
        assert!(bounds.iter().all(|bound| !bound.writable));
        let passwd = bounds.iter().find(|bound| bound.guest == Path::new("/etc/passwd")).unwrap();
        let passwd = fs::read_to_string(&passwd.host).unwrap();
        assert!(passwd.contains("user:x:1000:1000:user:/home/user:"), "{passwd}");
    }

    #[test]
    fn only_what_the_dead_left_is_found() {
        let root = tempfile::tempdir().unwrap();
        let living = Place::create(root.path(), Kind::Podman, "living", Owner::this()).unwrap();
        let gone = Owner { start: 1, ..Owner::this() };
        let make =
            |kind, id| std::mem::ManuallyDrop::new(Place::create(root.path(), kind, id, gone).unwrap());
        let (left, dockers) = (make(Kind::Podman, "left"), make(Kind::Docker, "dockers"));
        let bare = |owner, kind| root.path().join(format!("{MAKING}begun {owner} {kind}"));
        for path in [bare(gone, "podman"), bare(Owner::this(), "podman"), bare(gone, "docker")] {
            fs::create_dir(path).unwrap();
        }
        for name in ["npxc-nobodys", "other", MAKING, "making-x", "making-x 1", "making-x y podman"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut found = dead(root.path(), Kind::Podman, 100);
        found.sort();
        assert_eq!(
            found,
            [("begun".to_owned(), bare(gone, "podman")), ("left".to_owned(), left.path.clone())]
        );
        assert!(found.iter().all(|(_, path)| remove(path)));
        assert!(dead(root.path(), Kind::Podman, 100).is_empty() && living.path.exists());
        let found: BTreeSet<_> = dead(root.path(), Kind::Docker, 100).into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, BTreeSet::from(["begun".to_owned(), "dockers".to_owned()]));
        drop(std::mem::ManuallyDrop::into_inner(dockers));
    }
}
