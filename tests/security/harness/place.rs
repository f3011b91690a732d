//! Who runs npxc, and the files that it is given.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::ground::ground;
use super::super::sys;

/// The ordinary user of a test that root runs; needs no entry in any file.
const USER: u32 = 64_646;

/// User and group of [`Who::User`].
pub(super) fn user() -> (u32, u32) {
    ground().and_then(|ground| ground.owner).unwrap_or((USER, USER))
}

/// Who runs npxc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The user who runs the tests.
    Myself,
    /// Another, ordinary one; only root can be somebody else.
    User,
}

pub(crate) fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Root and an ordinary user, or whoever runs the tests; with an engine, whose it is.
pub(crate) fn everyone() -> Vec<Who> {
    if let Some(ground) = ground() {
        return vec![if ground.owner.is_some() { Who::User } else { Who::Myself }];
    }
    if root() { vec![Who::Myself, Who::User] } else { vec![Who::Myself] }
}

/// Places shared by all tests of this process.
pub(crate) struct Place {
    pub(crate) base: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) hostile: PathBuf,
}

static PLACE: OnceLock<Place> = OnceLock::new();

static NUMBER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn clean() {
    if let Some(place) = PLACE.get() {
        remove(&place.base);
    }
}

/// Removes a tree that may hold read-only directories.
fn remove(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
    }
    let _ = fs::remove_dir_all(path);
}

pub(crate) fn place() -> &'static Place {
    PLACE.get_or_init(|| {
        const PREFIX: &str = "npxc-security-";
        let temporary = std::env::temp_dir();
        for entry in fs::read_dir(&temporary).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).filter(|pid| !Path::new("/proc").join(pid).exists());
            if owner.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
                remove(&entry.path());
            }
        }
        let base = temporary.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
        // Where an ordinary user gets at it, too.
        let (program, hostile) = (base.join("npxc"), base.join("hostile"));
        publish(Path::new(env!("CARGO_BIN_EXE_npxc")), &program);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hostile"), &hostile);
        sys::at_exit(clean);
        Place { base, program, hostile }
    })
}

/// Links or copies a program.
pub(crate) fn publish(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A new directory that belongs to whoever runs npxc.
pub(crate) fn directory(who: Who, name: &str) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = place().base.join(format!("{name}-{number}"));
    fs::create_dir_all(&path).unwrap();
    give(who, &path);
    path
}

pub(crate) fn give(who: Who, path: &Path) {
    if who == Who::User {
        chown(path, Some(user().0), Some(user().1)).unwrap();
    }
}
