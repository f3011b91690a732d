//! Directory trees that a sandbox has written: hostile in every name, link, mode and depth.
//!
//! Whoever wrote them is dead when these functions run, so nothing changes underneath. Nothing here follows a
//! link or reads a file's content.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::error::PackageError;

/// Deepest nesting below the root that is accepted: npm's deepest trees nest about 40 directories.
const MAX_DEPTH: usize = 128;
/// Most files and directories accepted: the largest known trees have some 300 000.
const MAX_FILES: usize = 1_000_000;
/// Most links that are followed when one is resolved, as in the kernel.
const MAX_LINKS: usize = 40;
/// System directories that the guest sees as the host has them, read-only: links to them are harmless and common
/// (node-gyp and Python's venv leave some).
const SYSTEM: &[&str] = &["/usr/", "/bin/", "/lib/", "/lib64/", "/sbin/"];

/// Disk space of one package with all its dependencies, bytes: several times what the largest (browsers, models) take.
const MAX_BYTES: u64 = 4 << 30;

/// What [`check`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files, links and directories.
    pub files: usize,
    /// Bytes in files, apparent size.
    pub bytes: u64,
}

/// Why a tree is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A link that leaves the tree.
    #[error("{path:?} is a link out of the package directory, to {target:?}")]
    Link {
        /// The link, below the root.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A device, FIFO or socket.
    #[error("{0:?} is a device, FIFO or socket")]
    Special(PathBuf),
    /// A program that would run as its owner or group.
    #[error("{0:?} is setuid or setgid")]
    SetId(PathBuf),
    /// More nesting than any package has.
    #[error("{0:?} is nested too deeply")]
    Depth(PathBuf),
    /// More files than any package has.
    #[error("there are more than a million files")]
    Files,
    /// More bytes than any package has.
    #[error("it takes more than {} GiB of disk", MAX_BYTES >> 30)]
    Bytes,
}

/// Looks at every file: no links out, no special files, no setuid. Directories are made accessible on the way.
pub fn check(root: &Path) -> Result<Result<Summary, Refusal>, PackageError> {
    let mut summary = Summary::default();
    let mut refusal = None;
    walk(root, |path, metadata, depth| {
        let relative = || path.strip_prefix(root).unwrap_or(path).to_owned();
        summary.files += 1;
        let kind = metadata.file_type();
        refusal = if depth > MAX_DEPTH {
            Some(Refusal::Depth(relative().iter().take(8).collect()))
        } else if summary.files > MAX_FILES {
            Some(Refusal::Files)
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(|e| PackageError::io("read the link", path, e))?;
            (!stays_inside(root, &relative(), &target)).then(|| Refusal::Link { path: relative(), target })
        } else if kind.is_file() {
            summary.bytes += metadata.size();
            if metadata.blocks() * 512 > MAX_BYTES || summary.bytes > MAX_BYTES {
                Some(Refusal::Bytes)
            } else {
                (metadata.mode() & 0o6000 != 0).then(|| Refusal::SetId(relative()))
            }
        } else if kind.is_dir() {
            None
        } else {
            debug_assert!(
                kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device()
            );
            Some(Refusal::Special(relative()))
        };
        Ok(refusal.is_none())
    })?;
    Ok(refusal.map_or(Ok(summary), Err))
}

/// Whether a tree that is being written already takes too much disk space. What vanishes meanwhile does not count.
pub fn is_too_large(root: &Path) -> bool {
    let mut bytes = 0;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                // What is on the disk: a sparse file takes nothing.
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(_) => {}
            }
        }
        if bytes > MAX_BYTES {
            return true;
        }
    }
    false
}

/// Makes a tree another user's. Nobody may be writing to it.
pub fn give(root: &Path, user: u32, group: u32) -> Result<(), PackageError> {
    let owner = (Some(rustix::fs::Uid::from_raw(user)), Some(rustix::fs::Gid::from_raw(group)));
    let change = |path: &Path| {
        rustix::fs::chownat(rustix::fs::CWD, path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| PackageError::io("change the owner of", path, error.into()))
    };
    change(root)?;
    walk(root, |path, _, _| change(path).map(|()| true))
}

/// Takes everybody's permission to write away.
pub fn make_read_only(root: &Path) -> Result<(), PackageError> {
    let mut directories = vec![root.to_owned()];
    walk(root, |path, metadata, _| {
        if metadata.is_dir() {
            directories.push(path.to_owned());
        } else if metadata.is_file() {
            set_mode(path, metadata.mode() & 0o777 & !0o222)?;
        }
        Ok(true)
    })?;
    for path in directories.iter().rev() {
        set_mode(path, 0o555)?;
    }
    Ok(())
}

/// Writes everything to the disk that is on its way there.
pub fn sync(root: &Path) -> Result<(), PackageError> {
    let fail = |e: io::Error| PackageError::io("sync", root, e);
    let dir = File::open(root).map_err(fail)?;
    #[cfg(target_os = "linux")]
    let synced = rustix::fs::syncfs(&dir).map_err(io::Error::from);
    // Where there is no such call, the directory alone: an entry that is damaged by a power cut is found damaged.
    #[cfg(not(target_os = "linux"))]
    let synced = dir.sync_all();
    synced.map_err(fail)
}

/// Removes a tree whatever its depth and modes are. Works through descriptors and keeps no path, so that neither
/// the length of a path nor the stack is a limit: what is nested is first moved up.
pub fn remove(root: &Path) -> Result<(), PackageError> {
    empty(root)
        .and_then(|()| fs::remove_dir(root))
        .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .map_err(|e| PackageError::io("remove", root, e))
}

fn empty(root: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A directory that may not be read is opened only after its mode was changed; its parent is ours.
    let open = |parent: &File, name: &std::ffi::CStr| -> io::Result<File> {
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
        Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?))
    };
    // `root` itself may have been replaced by a link, which must not be followed.
    if !fs::symlink_metadata(root)?.is_dir() {
        fs::remove_file(root)?;
        return Err(io::ErrorKind::NotFound.into());
    }
    set_mode_io(root, 0o700)?;
    let top = File::from(rustix::fs::open(root, flags, Mode::empty())?);
    let mut moved = 0_u64;
    loop {
        let names = list(&top)?;
        if names.is_empty() {
            return Ok(());
        }
        for (name, is_dir) in names {
            if !is_dir {
                rustix::fs::unlinkat(&top, name.as_c_str(), AtFlags::empty())?;
                continue;
            }
            let dir = open(&top, &name)?;
            for (inner, is_dir) in list(&dir)? {
                if is_dir {
                    // Moving a directory writes its "..", which needs permission on it.
                    rustix::fs::chmodat(&dir, inner.as_c_str(), Mode::RWXU, AtFlags::empty())?;
                    loop {
                        moved += 1;
                        let fresh = format!(".npxc-removed-{moved}");
                        match rustix::fs::renameat_with(
                            &dir,
                            inner.as_c_str(),
                            &top,
                            fresh.as_str(),
                            rustix::fs::RenameFlags::NOREPLACE,
                        ) {
                            Ok(()) => break,
                            Err(rustix::io::Errno::EXIST) => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                } else {
                    rustix::fs::unlinkat(&dir, inner.as_c_str(), AtFlags::empty())?;
                }
            }
            rustix::fs::unlinkat(&top, name.as_c_str(), AtFlags::REMOVEDIR)?;
        }
    }
}

fn list(dir: &File) -> io::Result<Vec<(std::ffi::CString, bool)>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            rustix::fs::FileType::Unknown => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
            }
            kind => kind == rustix::fs::FileType::Directory,
        };
        names.push((name.to_owned(), is_dir));
    }
    Ok(names)
}

/// Calls `visit` with path, metadata (of a link itself) and depth of everything below `root`, until it says false.
/// Nothing below [`MAX_DEPTH`] is entered.
fn walk(
    root: &Path,
    mut visit: impl FnMut(&Path, &Metadata, usize) -> Result<bool, PackageError>,
) -> Result<(), PackageError> {
    let mut pending = vec![(root.to_owned(), 1_usize)];
    while let Some((directory, depth)) = pending.pop() {
        let fail = |e| PackageError::io("read the directory", &directory, e);
        let metadata = fs::symlink_metadata(&directory).map_err(fail)?;
        if metadata.mode() & 0o7700 != 0o700 {
            set_mode(&directory, metadata.mode() & 0o777 | 0o700)?;
        }
        for entry in fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(|e| PackageError::io("look at", &path, e))?;
            if !visit(&path, &metadata, depth)? {
                return Ok(());
            }
            if metadata.is_dir() && depth <= MAX_DEPTH {
                pending.push((path, depth + 1));
            }
        }
    }
    Ok(())
}

/// Whether a link at `link` (below `root`) to `target` leads to something below `root`, wherever the links on
/// the way lead, also when what it names does not exist.
fn stays_inside(root: &Path, link: &Path, target: &Path) -> bool {
    is_system(target) || resolve_inside(root, link.parent().unwrap_or(Path::new("")), target).is_some()
}

fn is_system(target: &Path) -> bool {
    SYSTEM.iter().any(|start| target.starts_with(start))
        && !target.components().any(|part| part == Component::ParentDir)
}

/// Resolves `path`, relative to the directory `from` below `root`, without ever leaving `root`. Gives the place
/// below `root`, or `None` when a step would leave it.
pub fn resolve_inside(root: &Path, from: &Path, path: &Path) -> Option<PathBuf> {
    let mut place = from.to_owned();
    let mut todo: Vec<std::ffi::OsString> = Vec::new();
    let push = |todo: &mut Vec<std::ffi::OsString>, path: &Path| -> bool {
        if path.is_absolute() {
            return false;
        }
        todo.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
        true
    };
    if !push(&mut todo, path) {
        return None;
    }
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                if !place.pop() {
                    return None;
                }
            }
            Some(Component::Normal(name)) => {
                let next = place.join(name);
                match fs::read_link(root.join(&next)) {
                    Ok(target) => {
                        links += 1;
                        if links > MAX_LINKS || !push(&mut todo, &target) {
                            return None;
                        }
                    }
                    Err(_) => place = next,
                }
            }
            Some(Component::CurDir) | None => {}
            Some(Component::RootDir | Component::Prefix(_)) => return None,
        }
    }
    Some(place)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), PackageError> {
    set_mode_io(path, mode).map_err(|e| PackageError::io("change the mode of", path, e))
}

fn set_mode_io(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_ordinary_tree_passes_and_becomes_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("t");
        fs::create_dir_all(root.join("node_modules/.bin")).unwrap();
        fs::create_dir_all(root.join("node_modules/p")).unwrap();
        fs::write(root.join("node_modules/p/cli.js"), "12345").unwrap();
        symlink("../p/cli.js", root.join("node_modules/.bin/p")).unwrap();
        symlink("/usr/bin/python3", root.join("node_modules/p/python3")).unwrap();
        symlink("gone", root.join("node_modules/p/dangling")).unwrap();
        let summary = check(&root).unwrap().unwrap();
        assert_eq!((summary.files, summary.bytes), (7, 5));
        make_read_only(&root).unwrap();
        let mode = |p: &str| fs::metadata(root.join(p)).unwrap().mode() & 0o222;
        assert_eq!((mode(""), mode("node_modules/p"), mode("node_modules/p/cli.js")), (0, 0, 0));
        remove(&root).unwrap();
        assert!(!root.exists());
        remove(&root).unwrap();
    }

    #[test]
    fn links_out_are_refused() {
        for (link, target) in [
            ("a", "/etc/passwd"),
            ("a", ".."),
            ("a", "../../x"),
            ("d/a", "../../t/x"),
            ("a", "/usr/../etc"),
            ("a", "/usrx/y"),
            // The lexical reading stays inside, the real one does not: `up` leads to the root itself.
            ("d/a", "up/../x"),
            ("a", "loop/x"),
            ("a", "/opt/npxc/package/x"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("t");
            fs::create_dir_all(root.join("d")).unwrap();
            symlink("..", root.join("d/up")).unwrap();
            symlink("loop", root.join("loop")).unwrap_or_default();
            if target != "loop/x" {
                fs::remove_file(root.join("loop")).unwrap();
            }
            symlink(target, root.join(link)).unwrap();
            assert!(matches!(check(&root).unwrap(), Err(Refusal::Link { .. })), "{target}");
        }
    }

    #[test]
    fn special_files_and_setuid_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(check(dir.path()).unwrap(), Err(Refusal::Special("fifo".into())));
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert_eq!(check(dir.path()).unwrap(), Err(Refusal::Special("s".into())));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("su"), "").unwrap();
        set_mode(&dir.path().join("su"), 0o4755).unwrap();
        assert_eq!(check(dir.path()).unwrap(), Err(Refusal::SetId("su".into())));
    }

    #[test]
    fn a_link_is_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "").unwrap();
        set_mode(&outside, 0o755).unwrap();
        let link = dir.path().join("link");
        symlink(&outside, &link).unwrap();
        remove(&link).unwrap();
        assert!(fs::symlink_metadata(&link).is_err() && outside.join("f").exists());
        assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn locked_and_bottomless_directories_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("t");
        fs::create_dir_all(root.join("locked/inner")).unwrap();
        fs::write(root.join("locked/inner/f"), "").unwrap();
        set_mode(&root.join("locked/inner"), 0).unwrap();
        set_mode(&root.join("locked"), 0).unwrap();
        // Deeper than any path can name.
        let mut here = File::open(&root).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, "deep", Mode::RWXU).unwrap();
            here = File::from(
                rustix::fs::openat(&here, "deep", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap(),
            );
        }
        assert!(matches!(check(&root).unwrap(), Err(Refusal::Depth(_))));
        remove(&root).unwrap();
        assert!(!root.exists());
    }
}
