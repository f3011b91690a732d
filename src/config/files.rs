//! Which files are read, and what they say: the package's own and the one for all packages, below the command line.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::directories::Directories;
use super::error::{ConfigError, Fault, Place};
use super::layer::Layer;
use super::mounts::HostPath;
use super::{former, schema, variables};
use crate::package::{HostEnv, PackageName, PackageSpec, VersionSpec};

/// Largest configuration file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The file for all packages.
pub fn of_all(config: &Path) -> PathBuf {
    config.join("npxc.toml")
}

/// The file of one package.
pub fn of_package(config: &Path, name: &PackageName) -> PathBuf {
    packages(config).join(format!("{}.toml", name.path_component()))
}

/// Where the packages' files are.
pub fn packages(config: &Path) -> PathBuf {
    config.join("packages")
}

/// What `--config` or `NPXC_CONFIG` names: a directory, which takes the place of npxc's own, or the package's file.
pub fn named(
    asked: Option<&str>,
    directories: &mut Directories,
    host: &HostEnv,
) -> Result<Option<PathBuf>, ConfigError> {
    let variable = host.text(variables::CONFIG);
    let Some((option, text)) =
        asked.map(|text| ("--config", text)).or(variable.map(|text| (variables::CONFIG, text)))
    else {
        return Ok(None);
    };
    let config = HostPath::named_by(option, text, host)?.as_path().to_owned();
    if config.is_dir() {
        directories.config = config;
        return Ok(None);
    }
    if !config.exists() {
        let fault = Fault::new("there is no such file or directory")
            .hint("`npxc config path` shows where npxc looks by itself");
        return Err(ConfigError::option(option, text, fault));
    }
    Ok(Some(config))
}

/// What the files say below the command line.
pub(super) struct Layers {
    /// Highest first.
    pub(super) stack: Vec<Layer>,
    /// The packages that are meant: a file may say which version, or which package a short name stands for.
    pub(super) packages: Vec<PackageSpec>,
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
}

/// Puts the package's file, `named` or by the package's name, and the global one below `stack`.
pub(super) fn layers(
    mut stack: Vec<Layer>,
    mut packages: Vec<PackageSpec>,
    named: Option<PathBuf>,
    directories: &Directories,
) -> Result<Layers, ConfigError> {
    let mut files = Vec::new();
    let was_named = named.is_some();
    let own = match (named, packages.first().and_then(PackageSpec::name)) {
        (Some(named), _) => Some(named),
        (None, None) => None,
        (None, Some(name)) => {
            let (file, note) = read_for(&directories.config, name)?;
            stack.extend(note.map(|note| Layer { notes: vec![note], ..Layer::default() }));
            Some(file)
        }
    };
    if let Some(file) = own
        && let Some(text) = read(&file)?
    {
        let (layer, package, version) = schema::package(&file, &text)?;
        if let Some(first) = packages.first_mut() {
            *first = meant(first.clone(), package, version, was_named)
                .map_err(|fault| ConfigError::file(&file, &text, text.find("package").unwrap_or(0), fault))?;
        }
        stack.push(layer);
        files.push(file);
    }
    let file = of_all(&directories.config);
    if let Some(text) = read(&file)? {
        stack.push(schema::global(&file, &text)?);
        files.push(file);
    }
    Ok(Layers { stack, packages, files })
}

/// The file that is read for a package, should it be there, and a word about one that is not.
///
/// npxc 0.3 wrote `@a/b` and `a-b` into the same file, `a-b.toml`. It is taken for a scoped package if it says to be its, and
/// there is no other.
pub fn read_for(config: &Path, name: &PackageName) -> Result<(PathBuf, Option<String>), ConfigError> {
    let own = of_package(config, name);
    let text = name.to_string();
    let old = packages(config).join(format!("{}.toml", former::file_name(name)));
    if !text.starts_with('@') {
        return Ok((own, None));
    }
    // What cannot be read is no mistake where nobody needs it.
    let written = match read(&old) {
        Err(_) if own.exists() => None,
        written => written?,
    };
    let Some(written) = written else { return Ok((own, None)) };
    let (not_read, new) = (format!("{} is not read for {name}", old.display()), own.display());
    Ok(match (schema::package(&old, &written), own.exists()) {
        (Ok((_, Some(package), _)), false) if package.name() == Some(name) => (old, None),
        (Ok((_, Some(package), _)), true) if package.name() == Some(name) => {
            let note = format!("{not_read}, as {new} is there: what both say belongs there");
            (own, Some(note))
        }
        // Whoever reads it finds the mistake. One in another package's file is that one's.
        (Err(_), false) if written.contains(&text) => (old, None),
        (Ok((_, Some(_), _)) | Err(_), _) | (Ok((_, None, _)), true) => (own, None),
        (Ok((_, None, _)), false) => {
            let name = own.file_name().unwrap_or_default().to_string_lossy();
            let note = format!("{not_read}: if it is meant for it, rename it to {name}");
            (own, Some(note))
        }
    })
}

/// The package that is meant by `asked` when its file names `package` and `version`.
fn meant(
    asked: PackageSpec,
    package: Option<PackageSpec>,
    version: Option<VersionSpec>,
    file_was_named: bool,
) -> Result<PackageSpec, Fault> {
    let with_version = |spec: PackageSpec| match version {
        Some(version) => spec.or_version(version),
        None => spec,
    };
    let Some(package) = package else {
        return Ok(with_version(asked));
    };
    if asked.name() == package.name() && asked.name().is_some() {
        let PackageSpec::Registry { version, .. } = &package else {
            return Ok(with_version(asked));
        };
        return Ok(with_version(asked.or_version(version.clone())));
    }
    if file_was_named {
        return Err(Fault::new(format!("this file is for the package `{package}`, not for `{asked}`")));
    }
    // The file's name is a short name for another package; a version that was asked for goes with it.
    match (package, asked) {
        (PackageSpec::Registry { name, .. }, PackageSpec::Registry { version, .. })
            if version != VersionSpec::Default =>
        {
            Ok(PackageSpec::Registry { name, version })
        }
        (package, _) => Ok(with_version(package)),
    }
}

/// The text of a configuration file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let wrong = |what: String| {
        let place = Place::File { path: path.to_owned(), line: 1, column: 1 };
        Err(ConfigError::at(&place, Fault::new(what)))
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return wrong(format!("cannot be opened: {error}")),
    };
    let mut text = String::new();
    match file.take(MAX_FILE + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 > MAX_FILE => wrong("larger than 1 MiB".to_owned()),
        Ok(_) => Ok(Some(text)),
        Err(error) => wrong(format!("cannot be read: {error}")),
    }
}
