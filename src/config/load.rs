//! Reads the files, puts the layers together and looks at what they grant: the shell around [`super::resolve`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::directories::Directories;
use super::error::{ConfigError, Fault, Place};
use super::files::{self, Layers};
use super::former;
use super::layer::{Layer, Logs};
use super::mounts::{self, GuestPath, HostPath, MountSpec};
use super::proxy::{self, Chosen};
use super::resolve::{Resolved, RuntimeOptions, add_host, combine, runtime};
use super::variables;
use crate::audit;
use crate::package::{HostEnv, PackageSpec, Request};
use crate::paths::shell_word;
use crate::runtime::{Access, Mount};
use crate::storage::GUEST_DATA;

/// Longest name of a local package in its logs' names, which hold a time and a session's id as well.
const MAX_LABEL: usize = 64;

/// What the command line says beside its [`Layer`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// The packages to install; the first one's bin is run.
    pub packages: Vec<PackageSpec>,
    /// The bin, where it was named.
    pub bin: Option<String>,
    /// The package's own arguments.
    pub args: Vec<OsString>,
    /// What the options grant.
    pub layer: Layer,
    /// `--config`.
    pub config: Option<String>,
    /// `--cwd`.
    pub cwd: Option<String>,
    /// `--no-isolate`.
    pub no_isolate: bool,
    /// `--audit-log`.
    pub audit_log: Option<String>,
}

/// Everything one run is granted.
pub fn load(asked: Asked, host: &HostEnv) -> Result<Resolved, ConfigError> {
    let mut directories = Directories::new(|name| host.vars.get(name).cloned())?;
    let variables = variables::read(host)?;
    let asked_cwd = asked.cwd.map(|text| ("--cwd", text)).or(variables.cwd.map(|text| ("NPXC_CWD", text)));
    let cwd = working_directory(asked_cwd.as_ref(), host)?;
    let named = files::named(asked.config.as_deref(), &mut directories, host)?;
    let above = vec![asked.layer, variables.layer];
    let Layers { mut stack, packages, files } = files::layers(above, asked.packages, named, &directories)?;
    if asked.no_isolate {
        // Below all others: a mount that somebody asked for by its name wins.
        stack.push(Layer { mounts: vec![whole(&cwd, host)?], ..Layer::default() });
    }
    let combined = combine(&stack, host, &cwd)?;
    let mut warnings = combined.warnings;
    let mounts = mounts::settle(&combined.mounts, &directories, &files)?;
    if combined.persist {
        spares_data(&combined.mounts)?;
        let name = packages.first().and_then(PackageSpec::name);
        warnings.extend(name.and_then(|name| former::kept(&directories.data, name)));
    }
    let is_cwd = |mount: &&Mount| real(&mount.host) == real(cwd.as_path());
    if asked.no_isolate
        && combined.mount_mode == Access::ReadWrite
        && mounts.iter().find(is_cwd).is_none_or(|mount| mount.access == Access::ReadOnly)
    {
        let fault = Fault::new("it shows the directory read-only; with --write (mount_mode = \"rw\") nothing could be written")
            .hint("--mount .:rw in its place lets the package write everything in it; --write alone, the files that calls name");
        return Err(ConfigError::option("--no-isolate", &cwd.as_path().display().to_string(), fault));
    }
    if asked.no_isolate {
        warnings.push(format!(
            "--no-isolate: the package can read everything in {}, not only the files that are named",
            cwd.as_path().display()
        ));
    }
    let guest_cwd = inside(&cwd, &mounts);
    if asked_cwd.is_some() && guest_cwd.is_none() {
        let shown = cwd.as_path().display();
        warnings.push(if holds_home(&cwd, host) {
            format!(
                "the package cannot see {shown}, and none of its files is shared: it holds your home directory; name \
                 the one that you work in, with --cwd DIR or --mount DIR"
            )
        } else {
            let word = shell_word(&shown.to_string());
            format!(
                "of {shown} the package sees the files that calls name, and it starts in its own home; --mount {word} \
                 shows it all of the directory"
            )
        });
    }
    let asked_log = asked.audit_log.map(|text| ("--audit-log", text));
    let audit = match asked_log.or(variables.audit_log.map(|text| ("NPXC_AUDIT_LOG", text))) {
        None => per_session(directories.audit(), packages.first(), host),
        Some((option, text)) => audit_log(option, &text, packages.first(), &mounts, host)?,
    };
    Ok(Resolved {
        request: Request { packages, bin: asked.bin },
        args: asked.args,
        network: combined.network,
        install: combined.install,
        env: combined.env,
        mounts,
        mount_mode: combined.mount_mode,
        persist: combined.persist,
        no_isolate: asked.no_isolate,
        arguments: combined.arguments,
        publish: combined.publish,
        explain: combined.explain,
        limits: combined.limits,
        runtime: combined.runtime,
        cwd: cwd.as_path().to_owned(),
        guest_cwd,
        audit,
        logs: stack.iter().map(|layer| layer.logs).find(|logs| *logs != Logs::default()).unwrap_or_default(),
        directories,
        files,
        warnings,
        layers: stack,
    })
}

/// npxc's own directories and what the global file says about the runtime: for commands that are about no package.
pub fn ground(host: &HostEnv) -> Result<(Directories, RuntimeOptions), ConfigError> {
    let (directories, stack) = of_all(host)?;
    let options = runtime(&stack)?;
    Ok((directories, options))
}

/// The proxy that the global file chose for everything, in place of the environment's and npm's.
pub fn chosen_proxy(host: &HostEnv) -> Result<Option<Chosen>, ConfigError> {
    let (_, stack) = of_all(host)?;
    let given = add_host(&stack).into_iter().map(|entry| entry.name).collect();
    Ok(proxy::chosen(&stack, host, given))
}

/// What is said about every package.
fn of_all(host: &HostEnv) -> Result<(Directories, Vec<Layer>), ConfigError> {
    let mut directories = Directories::new(|name| host.vars.get(name).cloned())?;
    // A file is a package's: it is a directory, or says nothing here.
    files::named(None, &mut directories, host)?;
    let above = vec![Layer::default(), variables::read(host)?.layer];
    let Layers { stack, .. } = files::layers(above, Vec::new(), None, &directories)?;
    Ok((directories, stack))
}

/// The directory that relative paths of mounts start from.
fn working_directory(asked: Option<&(&str, String)>, host: &HostEnv) -> Result<HostPath, ConfigError> {
    let (option, text) = asked.map_or(("--cwd", "."), |(option, text)| (*option, text.as_str()));
    let cwd = HostPath::named_by(option, text, host)?;
    if !cwd.as_path().is_dir() {
        return Err(ConfigError::option(
            option,
            text,
            Fault::new("there is no such directory").hint("check the path, or make it first"),
        ));
    }
    Ok(cwd)
}

/// The working directory as a whole, read-only and at its own path.
fn whole(cwd: &HostPath, host: &HostEnv) -> Result<MountSpec, ConfigError> {
    const OPTION: &str = "--no-isolate";
    let shown = cwd.as_path().display().to_string();
    // What holds the home directory holds its keys and tokens.
    if holds_home(cwd, host) {
        let fault = Fault::new("this would show the package your whole home directory")
            .hint("start npxc in the directory that you work in, or name it with --cwd");
        return Err(ConfigError::option(OPTION, &shown, fault));
    }
    let place = Place::Option(OPTION.to_owned());
    Ok(MountSpec { place, host: shown, guest: None, access: Access::ReadOnly })
}

/// Whether it is the home directory, or around it.
fn holds_home(cwd: &HostPath, host: &HostEnv) -> bool {
    real(&host.home).starts_with(real(cwd.as_path()))
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Nothing else may be mounted where `persist` has something.
fn spares_data(mounts: &[(MountSpec, HostPath, GuestPath)]) -> Result<(), ConfigError> {
    let taken = mounts.iter().find(|(_, _, guest)| guest.as_path() == Path::new(GUEST_DATA));
    taken.map_or(Ok(()), |(spec, host, _)| {
        let what = format!(
            "{} is to go to {GUEST_DATA} inside, where `persist` has its own",
            host.as_path().display()
        );
        let hint = "mount it at another path inside, or leave `persist` out";
        Err(ConfigError::at(&spec.place, Fault::new(what).hint(hint)))
    })
}

/// The working directory as the guest sees it, when a mount has it; the last one counts, which lies on top.
fn inside(cwd: &HostPath, mounts: &[Mount]) -> Option<PathBuf> {
    let real = cwd.as_path().canonicalize().unwrap_or_else(|_| cwd.as_path().to_owned());
    mounts.iter().rev().find_map(|mount| {
        real.strip_prefix(&mount.host).ok().map(|below| {
            // Joining nothing would leave a slash at the end.
            if below == Path::new("") { mount.guest.clone() } else { mount.guest.join(below) }
        })
    })
}

/// What `--audit-log`, or its variable, names; never where the package could change it.
fn audit_log(
    option: &str,
    text: &str,
    package: Option<&PackageSpec>,
    mounts: &[Mount],
    host: &HostEnv,
) -> Result<audit::Target, ConfigError> {
    let log = HostPath::named_by(option, text, host)?.as_path().to_owned();
    let parent = log.parent().and_then(|parent| parent.canonicalize().ok()).unwrap_or_default();
    let real = if log.is_dir() { log.canonicalize().unwrap_or_default() } else { parent };
    let writable =
        mounts.iter().find(|mount| mount.access == Access::ReadWrite && real.starts_with(&mount.host));
    if let Some(mount) = writable {
        let what = format!("the package may write {}, and could change its own log", mount.host.display());
        return Err(ConfigError::option(option, text, Fault::new(what)));
    }
    Ok(if log.is_dir() { per_session(log, package, host) } else { audit::Target::File(log) })
}

/// A log of its own for each session in `directory`, by the package's name.
fn per_session(directory: PathBuf, package: Option<&PackageSpec>, host: &HostEnv) -> audit::Target {
    let package = match package {
        Some(PackageSpec::Directory(path) | PackageSpec::Tarball(path)) => {
            label(&path.absolute(&host.cwd, &host.home))
        }
        Some(spec) => {
            spec.name().map_or_else(|| "local".to_owned(), crate::package::PackageName::path_component)
        }
        None => "none".to_owned(),
    };
    audit::Target::Directory { directory, package }
}

/// A local package's part of its logs' names: its base name, as far as every file system takes it.
fn label(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let label: String = name.chars().map(plain).take(MAX_LABEL).collect();
    if label.trim_matches(['.', '_']).is_empty() { "local".to_owned() } else { label }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
