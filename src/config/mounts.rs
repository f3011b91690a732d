//! Host files and directories that a package is given: parsed, placed inside the guest, checked on disk.
//!
//! Parsing is pure. [`settle`] looks at the disk: what is mounted must exist, be a file or a directory, and must
//! not let the package change npxc's own policy, store or log.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::directories::Directories;
use super::error::{ConfigError, Fault, Place};
use crate::package::HostEnv;
use crate::paths::{absolute, shell_word, tidy};
use crate::runtime::{Access, Mount};

/// Places inside the guest that are the sandbox's own, with everything below them.
const OWN: [&str; 6] = ["/proc", "/sys", "/dev", "/usr", "/opt/npxc", crate::rpc::translate::GUEST_DIRECTORY];

/// Places inside the guest that are the sandbox's own; what is below them can be mounted.
const OWN_ALONE: [&str; 15] = [
    "/",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/home",
    "/run",
    "/tmp",
    "/var",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/passwd",
];

/// An absolute path on the host, without `.`, `..` and doubled slashes. Never valid inside the guest as such.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPath(PathBuf);

impl HostPath {
    /// `text` as the user wrote it: `~` and `~/x` are below `home`, relative paths below `base`.
    ///
    /// # Errors
    /// It is empty or `~name`.
    pub fn new(text: &str, base: &Path, home: &Path) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the path is empty"));
        }
        if text.starts_with('~') && text != "~" && !text.starts_with("~/") {
            return Err(Fault::new("`~name` is not expanded; only `~/` is, to your own home directory"));
        }
        Ok(Self(absolute(text, base, home)))
    }

    /// A path that an option names, relative to the directory that npxc was started in.
    pub(super) fn named_by(option: &str, text: &str, host: &HostEnv) -> Result<Self, ConfigError> {
        Self::new(text, &host.cwd, &host.home).map_err(|fault| ConfigError::option(option, text, fault))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// An absolute path inside the guest, without `.`, `..` and doubled slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestPath(PathBuf);

impl GuestPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Refuses the places that are the sandbox's own.
    fn mountable(self) -> Result<Self, Fault> {
        let taken = OWN.iter().any(|own| self.0.starts_with(own))
            || OWN_ALONE.iter().any(|own| self.0 == Path::new(own));
        if taken {
            let what = format!("{} inside the sandbox is the sandbox's own", self.0.display());
            return Err(Fault::new(what).hint("say where it goes: --mount HOST:/another/path"));
        }
        Ok(self)
    }
}

impl FromStr for GuestPath {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(Fault::new(format!("the path inside the sandbox, `{text}`, must start with `/`")));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(Fault::new("`..` cannot stand in a path inside the sandbox"));
        }
        Self(tidy(path)).mountable()
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A mount as it was asked for; nothing is known about the disk yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// Where it was asked for.
    pub place: Place,
    /// The host's path, as written.
    pub host: String,
    /// The path inside; the same as the host's when it is not named.
    pub guest: Option<GuestPath>,
    /// Read-only unless `rw` was said.
    pub access: Access,
}

impl MountSpec {
    /// Parses `HOST[:GUEST][:ro|rw]`.
    pub fn parse(text: &str, place: Place) -> Result<Self, Fault> {
        let mut parts: Vec<&str> = text.split(':').collect();
        let access = match parts.last() {
            Some(&"ro") if parts.len() > 1 => Some(Access::ReadOnly),
            Some(&"rw") if parts.len() > 1 => Some(Access::ReadWrite),
            Some(_) | None => None,
        };
        if access.is_some() {
            parts.pop();
        }
        let (host, guest) = match parts[..] {
            [host] => (host, None),
            [host, guest] => (host, Some(guest)),
            _ => {
                return Err(Fault::new("expected HOST[:GUEST][:ro|rw]").hint(
                    "a path with a colon in it can be mounted from a configuration file ([[mounts]])",
                ));
            }
        };
        if host.is_empty() {
            return Err(Fault::new("the host's path is missing").at(0));
        }
        let guest = match guest {
            None => None,
            Some(guest) if !guest.starts_with('/') => {
                let fault = Fault::new("expected `ro`, `rw` or an absolute path inside the sandbox");
                return Err(fault.at(host.chars().count() + 1));
            }
            Some(guest) => Some(guest.parse()?),
        };
        Ok(Self { place, host: host.to_owned(), guest, access: access.unwrap_or(Access::ReadOnly) })
    }

    /// Where it goes inside the guest, for a host path that was made absolute.
    pub fn guest(&self, host: &HostPath) -> Result<GuestPath, Fault> {
        match &self.guest {
            Some(guest) => Ok(guest.clone()),
            None => GuestPath(host.0.clone()).mountable(),
        }
    }
}

/// Looks at the disk: the mounts as the runtime takes them, with links in the host's path followed. `files` are what the
/// configuration was read from, wherever that is.
pub fn settle(
    mounts: &[(MountSpec, HostPath, GuestPath)],
    directories: &Directories,
    files: &[PathBuf],
) -> Result<Vec<Mount>, ConfigError> {
    let own: Vec<PathBuf> = directories.own().into_iter().chain(files).flat_map(|own| places(own)).collect();
    mounts
        .iter()
        .map(|(spec, host, guest)| {
            let real = check(host, spec.access, &own).map_err(|fault| ConfigError::at(&spec.place, fault))?;
            Ok(Mount { host: real, guest: guest.0.clone(), access: spec.access })
        })
        .collect()
}

/// Where something is changed: where it really is, and, should it be a link, where that is.
fn places(own: &Path) -> Vec<PathBuf> {
    let itself = own.parent().and_then(|parent| Some(parent.canonicalize().ok()?.join(own.file_name()?)));
    let mut places = vec![own.canonicalize().unwrap_or_else(|_| tidy(own))];
    places.extend(itself.filter(|itself| !places.contains(itself)));
    places
}

/// `own` is what the package may not write to.
fn check(host: &HostPath, access: Access, own: &[PathBuf]) -> Result<PathBuf, Fault> {
    let shown = host.0.display();
    let real = host.0.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let word = shell_word(&host.0.to_string_lossy());
            Fault::new(format!("{shown} does not exist"))
                .hint(format!("check the path, or make it first: mkdir -p {word}"))
        }
        _ => Fault::new(format!("{shown} cannot be opened: {error}")),
    })?;
    let kind = real.metadata().map_err(|error| Fault::new(format!("{shown} cannot be opened: {error}")))?;
    if !kind.is_dir() && !kind.is_file() {
        return Err(Fault::new(format!("{shown} is neither a file nor a directory"))
            .hint("sockets, pipes and devices are ways out of the sandbox and are not mounted"));
    }
    if real == Path::new("/") {
        return Err(
            Fault::new("the whole file system is not mounted").hint("name the directories that are needed")
        );
    }
    if access == Access::ReadWrite
        && let Some(own) = own.iter().find(|own| own.starts_with(&real) || real.starts_with(own))
    {
        let which = if own.is_file() { "its own grants in" } else { "npxc's own files in" };
        let what = format!("a package that may write {shown} could change {which} {}", own.display());
        return Err(Fault::new(what).hint("mount it read-only, or a directory that does not contain them"));
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<MountSpec, Fault> {
        MountSpec::parse(text, Place::Option("--mount".into()))
    }

    fn host(text: &str) -> HostPath {
        HostPath::new(text, Path::new("/work dir"), Path::new("/home/me")).unwrap()
    }

    fn directories(root: &Path) -> Directories {
        Directories::new(|name| (name == "HOME").then(|| root.join("home").into())).unwrap()
    }

    #[test]
    fn the_three_parts() {
        let mount = parse("/data").unwrap();
        assert_eq!((mount.host.as_str(), mount.guest, mount.access), ("/data", None, Access::ReadOnly));
        let mount = parse("./x:rw").unwrap();
        assert_eq!((mount.host.as_str(), mount.guest, mount.access), ("./x", None, Access::ReadWrite));
        let mount = parse("~/x:/data//y/./z:ro").unwrap();
        assert_eq!(mount.guest.unwrap().to_string(), "/data/y/z");
        assert_eq!(parse("ro").unwrap().host, "ro");
    }

    #[test]
    fn mistakes_point_at_themselves() {
        assert_eq!(parse("/data:RW").unwrap_err().at, Some(6));
        assert_eq!(parse("/data:data").unwrap_err().at, Some(6));
        assert_eq!(parse(":/x").unwrap_err().at, Some(0));
        for bad in
            ["", "/a:/b:/c:ro", "/a:/b/../etc", "/a:/proc/1", "/a:/", "/a:/etc/resolv.conf", "/a:/opt/npxc/x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("/a:/etc/myapp").is_ok() && parse("/a:/opt/data").is_ok());
    }

    #[test]
    fn host_paths_are_made_absolute() {
        assert_eq!(host("x/../y").as_path(), Path::new("/work dir/y"));
        assert_eq!(host("~/x").as_path(), Path::new("/home/me/x"));
        assert_eq!(host("~").as_path(), Path::new("/home/me"));
        assert_eq!(host("/../a//b/.").as_path(), Path::new("/a/b"));
        assert!(HostPath::new("~root/x", Path::new("/"), Path::new("/")).is_err());
        assert!(parse("/").unwrap().guest(&host("/")).is_err(), "the same path inside is the root");
    }

    fn settled(text: &str, root: &Path) -> Result<Vec<Mount>, ConfigError> {
        let spec = parse(text).unwrap();
        let host = HostPath::new(&spec.host, root, root).unwrap();
        let guest = spec.guest(&host).unwrap_or_else(|_| GuestPath("/x".into()));
        settle(&[(spec, host, guest)], &directories(root), &[root.join("given/own.toml")])
    }

    #[test]
    fn what_is_mounted_exists_and_is_no_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("home/.config/npxc/packages")).unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        std::os::unix::fs::symlink(root.join("data"), root.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();

        let mounts = settled("link:rw", &root).unwrap();
        assert_eq!(
            mounts[0].host,
            root.join("data"),
            "links are followed, so that what is shown is what is mounted"
        );
        assert_eq!(mounts[0].guest, root.join("link"));
        assert!(settled("home:ro", &root).is_ok());
        let refused = |text: &str| settled(text, &root).unwrap_err().to_string();
        assert!(refused("missing").ends_with("missing does not exist"));
        let hint = settled("a b", &root).unwrap_err().hint.unwrap();
        assert_eq!(hint, format!("check the path, or make it first: mkdir -p '{}/a b'", root.display()));
        assert!(refused("socket").contains("neither a file nor a directory"));
        assert!(refused("/:/host").contains("the whole file system"));
        for text in ["home:rw", "home/.config:rw", "home/.config/npxc:rw", "home/.config/npxc/packages:rw"] {
            assert!(refused(text).contains("npxc's own files"), "{text}");
        }

        // A file that was named, and what it is a link to.
        std::fs::create_dir_all(root.join("given/beside")).unwrap();
        std::fs::write(root.join("data/real.toml"), "").unwrap();
        std::os::unix::fs::symlink(root.join("data/real.toml"), root.join("given/own.toml")).unwrap();
        for text in ["given:rw", "data:rw", "given/own.toml:rw", "data/real.toml:/data/own.toml:rw"] {
            assert!(refused(text).contains("could change its own grants in"), "{text}");
        }
        assert!(settled("given:ro", &root).is_ok() && settled("given/beside:rw", &root).is_ok());
    }
}
