//! Which host paths may be made visible inside. A unix socket in a mounted directory crosses network namespaces
//! (an ssh agent, a container engine's socket), so a mount that holds one is refused; so are FIFOs and devices.

use std::fs::{self, FileType};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use npxc_guest::spec::Bind;

use crate::runtime::{Access, Mount, RuntimeError};

/// How many directory entries are looked at, all mounts together: about 50 ms. A project with its
/// `node_modules` stays below; beyond it a warning says that not everything was seen.
const MOST_ENTRIES: usize = 100_000;
/// Never mounted, nor anything below: they are the machine, not files.
const MACHINE: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Inside, these are what makes the sandbox one: nothing is mounted over them.
const OWN: [&str; 3] = ["/", "/etc", "/usr"];

/// Mounts that may be made.
pub(super) struct Checked {
    pub(super) binds: Vec<Bind>,
    pub(super) warnings: Vec<String>,
}

/// What is known of this machine's directories before mounts are looked at.
#[derive(Debug, Clone, Default)]
pub struct KnownDirectories {
    /// Their content npxc made or chose itself (the store, node): mounts below them are not searched for sockets, which
    /// takes time with many files.
    pub trusted: Vec<PathBuf>,
    /// They hold npxc's own state: a mount that contains one is refused.
    pub protected: Vec<PathBuf>,
    /// The sockets of running sessions are in them: nothing of them is shown, however little the package may do there.
    pub sockets: Vec<PathBuf>,
}

impl KnownDirectories {
    /// Resolves the mounts that may be made; one that may not is the error.
    pub(super) fn check(&self, mounts: &[Mount]) -> Result<Checked, RuntimeError> {
        let resolve = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect()
        };
        let [trusted, protected, sockets] =
            [&self.trusted, &self.protected, &self.sockets].map(|all| resolve(all));
        let mut left = MOST_ENTRIES;
        let mut checked = Checked { binds: Vec::new(), warnings: Vec::new() };
        for mount in mounts {
            let refuse = |why: &str| refusal(&mount.host, why, None);
            let guest = mount.guest.as_path();
            if OWN.iter().any(|own| guest == Path::new(own))
                || MACHINE.iter().any(|own| guest.starts_with(own))
            {
                return Err(refuse(&format!("{} inside is the sandbox's own", guest.display())));
            }
            let host = fs::canonicalize(&mount.host).map_err(|error| refuse(&error.to_string()))?;
            if host == Path::new("/") {
                return Err(refuse("the whole file system cannot be shared"));
            }
            if MACHINE.iter().any(|machine| host.starts_with(machine)) {
                return Err(refuse("devices and kernel interfaces cannot be shared"));
            }
            if sockets.iter().any(|sockets| host.starts_with(sockets)) {
                return Err(refuse("whoever reaches npxc's sockets in it changes what sessions may"));
            }
            if let Some(state) = protected.iter().find(|state| state.starts_with(&host)) {
                return Err(refuse(&format!("it contains npxc's own files ({})", state.display())));
            }
            let metadata = fs::symlink_metadata(&host).map_err(|error| refuse(&error.to_string()))?;
            if let Some(what) = special(metadata.file_type()) {
                return Err(refuse(&format!("it is {what}, which would lead out of the sandbox")));
            }
            if metadata.is_dir() && !trusted.iter().any(|directory| host.starts_with(directory)) {
                search(&host, &mount.host, &mut left)?;
            }
            checked.binds.push(Bind {
                identity: (metadata.dev(), metadata.ino()),
                host,
                guest: mount.guest.clone(),
                writable: mount.access == Access::ReadWrite,
                layer: None,
            });
        }
        if left == 0 {
            checked.warnings.push(format!(
                "only the first {MOST_ENTRIES} entries of what is mounted were searched for sockets; a socket among the \
                 others would be reachable from inside"
            ));
        }
        Ok(checked)
    }
}

/// Looks for sockets, FIFOs and devices; does not follow symbolic links, which lead nowhere inside.
fn search(start: &Path, named: &Path, left: &mut usize) -> Result<(), RuntimeError> {
    let mut directories = vec![start.to_owned()];
    while let Some(directory) = directories.pop() {
        // What npxc may not read, the guest may not either: it has the same user's rights, or fewer.
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let Some(rest) = left.checked_sub(1) else {
                return Ok(());
            };
            *left = rest;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                directories.push(entry.path());
            } else if let Some(what) = special(kind) {
                let path = entry.path();
                let why = format!("{} is {what}, which would lead out of the sandbox", path.display());
                let hint = "mount a directory without it, or move it elsewhere".to_owned();
                return Err(refusal(named, &why, Some(hint)));
            }
        }
    }
    Ok(())
}

fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_socket() {
        Some("a unix socket")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

fn refusal(path: &Path, why: &str, hint: Option<String>) -> RuntimeError {
    RuntimeError::Mount { path: path.to_owned(), why: why.to_owned(), hint }
}
