//! `npxc config`: the files of the configuration: where they are, whether they are right, and what may stand in them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;

use clap::{Parser, Subcommand};

use super::{question, say};
use crate::config::load::Asked;
use crate::config::schema::spec_fault;
use crate::config::{self, ConfigError, Directories, Fault, files, json_schema, schema};
use crate::exit::{ExitStatus, Failure};
use crate::package::{HostEnv, PackageName, PackageSpec, Store};
use crate::paths::quoted;
use crate::rpc::identify::shape::percent_encode;

mod names;

/// What stands in a new file of a package.
pub(super) const TEMPLATE: &str = include_str!("config/package.toml");

/// What stands in a new file for all packages, before the same with `defaults.` in the names of tables.
const GLOBAL_HEAD: &str = "# What npxc grants to every package. A package's own file, npxc's variables and the command line come before it.\n";

/// Shows, edits and checks the configuration files
#[derive(Debug, Parser)]
#[command(name = "npxc config")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    /// A configuration directory, or a package's file [default: ~/.config/npxc]
    #[arg(long, value_name = "PATH", global = true)]
    config: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print where the file of a package is, or, without one, that for all packages
    Path {
        #[command(flatten)]
        which: Which,
    },
    /// Open it in $VISUAL or $EDITOR, new with every key commented out if there is none, and check it afterwards
    Edit {
        #[command(flatten)]
        which: Which,
    },
    /// Check everything that these packages would be granted; without one, every file; exit status 1 if one is wrong
    Check {
        /// The packages
        #[arg(value_name = "PACKAGE-SPEC")]
        specs: Vec<OsString>,
    },
    /// Print the JSON Schema of a package's file, for an editor
    Schema {
        /// Of npxc.toml
        #[arg(long)]
        global: bool,
    },
}

/// One of the files.
#[derive(Debug, clap::Args)]
struct Which {
    /// The package
    #[arg(value_name = "PACKAGE-SPEC")]
    spec: Option<OsString>,
}

pub(super) fn execute(args: &Args) -> Result<ExitStatus, Failure> {
    let host = HostEnv::current();
    let found = || Found::of(args.config.as_deref(), &host);
    match &args.action {
        Action::Path { which } => {
            let path = found()?.file(which.spec.as_ref())?;
            say::print(&format!("{}\n", path.display()));
            Ok(ExitStatus::Success)
        }
        Action::Edit { which } => {
            let path = found()?.file(which.spec.as_ref())?;
            edit(&path, which.spec.as_ref(), args.config.as_ref(), &host)
        }
        Action::Check { specs } if specs.is_empty() => {
            let found = found()?;
            let mut all = found.all()?;
            all.extend(found.named.map(Written::Named));
            let (wrong, notes) = names::strays(&found.directory);
            let mut status = check_files(&all, &installed(&host));
            for note in &notes {
                say::advice(note);
            }
            for error in wrong {
                say::failure(&error.into());
                status = ExitStatus::Config;
            }
            Ok(status)
        }
        Action::Check { specs } => check_packages(specs, args.config.as_ref(), &host),
        Action::Schema { global } => {
            say::print(&schema_text(*global));
            // What is printed needs no directory to be written to.
            if let Ok(line) = data(&host).map_err(Failure::from).and_then(|data| schema_line(*global, &data))
            {
                say::hint(&format!("with this first line a file has editors use it: {line}"));
            }
            Ok(ExitStatus::Success)
        }
    }
}

/// A file, and how a run reads it.
#[derive(Debug)]
enum Written {
    /// For all packages.
    Global(PathBuf),
    /// For the package that it is called after.
    Package(PathBuf),
    /// For the package that is run, because `--config` names it.
    Named(PathBuf),
}

impl Written {
    fn path(&self) -> &Path {
        match self {
            Self::Global(path) | Self::Package(path) | Self::Named(path) => path,
        }
    }
}

/// Where the files are.
struct Found {
    directory: PathBuf,
    /// A file that `--config` names.
    named: Option<PathBuf>,
}

impl Found {
    fn of(asked: Option<&str>, host: &HostEnv) -> Result<Self, ConfigError> {
        let mut directories = Directories::new(|name| host.vars.get(name).cloned())?;
        let named = files::named(asked, &mut directories, host)?;
        Ok(Self { directory: directories.config, named })
    }

    /// The file of a package, or the one for all.
    fn file(&self, package: Option<&OsString>) -> Result<PathBuf, ConfigError> {
        match (package, &self.named) {
            (None, None) => Ok(files::of_all(&self.directory)),
            (_, Some(named)) => Ok(named.clone()),
            (Some(word), None) => {
                let spec = spec(word)?;
                let name = spec.name().ok_or_else(|| {
                    let fault = Fault::new("what is not in a registry has no file of its own")
                        .hint("name a file with --config FILE when it is run");
                    ConfigError::option("package spec", &spec.to_string(), fault)
                })?;
                files::read_for(&self.directory, name).map(|(file, _)| file)
            }
        }
    }

    /// Every file that is there, the one for all packages first.
    fn all(&self) -> Result<Vec<Written>, Failure> {
        let global = Some(files::of_all(&self.directory)).filter(|path| path.exists());
        let mut all = Vec::from_iter(global.map(Written::Global));
        let packages = files::packages(&self.directory);
        let read = match fs::read_dir(&packages) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            Err(error) => return Err(cannot("read", &packages, &error)),
        };
        let mut own: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
        own.retain(|path| path.extension().is_some_and(|end| end == "toml"));
        own.sort();
        all.extend(own.into_iter().map(Written::Package));
        Ok(all)
    }
}

fn spec(word: &OsString) -> Result<PackageSpec, ConfigError> {
    let text = word.to_string_lossy();
    text.parse().map_err(|error| ConfigError::option("package spec", &text, spec_fault(&error)))
}

/// Reads each file by itself; what it names on the disk need not be there.
fn check_files(all: &[Written], installed: &[PackageName]) -> ExitStatus {
    let mut status = ExitStatus::Success;
    if all.is_empty() {
        say::note("there is no configuration file");
    }
    for file in all {
        match check_file(file, installed) {
            Ok(notes) => {
                say::print(&format!("{}: ok\n", file.path().display()));
                for note in &notes {
                    say::advice(note);
                }
            }
            Err(error) => {
                say::failure(&error.into());
                status = ExitStatus::Config;
            }
        }
    }
    status
}

fn check_file(file: &Written, installed: &[PackageName]) -> Result<Vec<String>, ConfigError> {
    let path = file.path();
    let text = files::read(path)?.unwrap_or_default();
    let (layer, package) = match file {
        Written::Global(_) => return Ok(schema::global(path, &text)?.notes),
        Written::Named(_) => return Ok(schema::package(path, &text)?.0.notes),
        Written::Package(_) => {
            let (layer, package, _) = schema::package(path, &text)?;
            (layer, package)
        }
    };
    let mut notes = layer.notes;
    if package.is_none() {
        names::unread(path).map_or(Ok(()), Err)?;
        notes.extend(names::of_another(path, installed));
    }
    Ok(notes)
}

/// The packages that are installed, as far as that can be read.
fn installed(host: &HostEnv) -> Vec<PackageName> {
    let entries = data(host).ok().and_then(|data| Store::at(&data).list().ok()).unwrap_or_default();
    let requests = entries.into_iter().filter_map(|entry| Some(entry.manifest?.request)).flatten();
    requests.filter_map(|request| request.parse::<PackageSpec>().ok()?.name().cloned()).collect()
}

/// What is wrong with the files that are there, for `npxc doctor`.
pub(super) fn wrong_files(host: &HostEnv) -> Result<Vec<ConfigError>, Failure> {
    let all = Found::of(None, host)?.all()?;
    Ok(all.iter().filter_map(|file| check_file(file, &[]).err()).collect())
}

/// Everything that would be granted, the disk included.
fn check_packages(
    specs: &[OsString],
    config: Option<&String>,
    host: &HostEnv,
) -> Result<ExitStatus, Failure> {
    let mut status = ExitStatus::Success;
    for word in specs {
        let spec = spec(word)?;
        let asked = Asked { packages: vec![spec.clone()], config: config.cloned(), ..Asked::default() };
        match config::load(asked, host) {
            Ok(resolved) => {
                for warning in &resolved.warnings {
                    say::advice(warning);
                }
                say::print(&format!("{spec}: ok\n"));
                if let Ok(own) = Found::of(config.map(String::as_str), host)?.file(Some(word))
                    && !own.exists()
                {
                    say::note(&format!("it has no file of its own; that would be {}", own.display()));
                }
            }
            Err(error) => {
                say::failure(&error.into());
                status = ExitStatus::Config;
            }
        }
    }
    Ok(status)
}

fn edit(
    path: &Path,
    package: Option<&OsString>,
    config: Option<&String>,
    host: &HostEnv,
) -> Result<ExitStatus, Failure> {
    let named = host.text("VISUAL").or_else(|| host.text("EDITOR")).map(str::to_owned);
    // On a terminal it is one that people have, as git does it.
    let Some(editor) = named.or_else(|| usual_editor(host).filter(|_| question::is_possible())) else {
        return Err(Failure::new(ExitStatus::Config, "neither VISUAL nor EDITOR is set")
            .hint(format!("EDITOR=nano npxc config edit ..., or open {} yourself", path.display())));
    };
    let schema = schema_line(package.is_none(), &data(host)?)?;
    if make(path, package.is_none(), &schema)? {
        say::note(&format!("{} is new; every key stands in it, commented out", path.display()));
    }
    // As git and others do it: the variable may hold options, so a shell takes it apart.
    let command = format!("{editor} {}", quoted(&path.to_string_lossy()));
    let ended = process::Command::new("sh").args(["-c", &command]).status();
    let ended = ended.map_err(|error| cannot("start an editor for", path, &error))?;
    if !ended.success() {
        return Err(Failure::new(ExitStatus::Config, format!("the editor `{editor}` failed: {ended}")));
    }
    if let Some(word) = package {
        return check_packages(std::slice::from_ref(word), config, host);
    }
    // What `--config` names is a package's, if it is a file.
    let is_named = Found::of(config.map(String::as_str), host)?.named.is_some();
    let kind = if is_named { Written::Named } else { Written::Global };
    Ok(check_files(&[kind(path.to_owned())], &[]))
}

/// The first of the editors that a distribution puts there for whoever has not chosen one.
fn usual_editor(host: &HostEnv) -> Option<String> {
    let search: Vec<PathBuf> = std::env::split_paths(host.var("PATH")?).collect();
    let is_there = |name: &&str| search.iter().any(|directory| directory.join(name).is_file());
    ["sensible-editor", "editor", "nano", "vi"].into_iter().find(is_there).map(str::to_owned)
}

/// Makes the file if there is none, with this line in front; says whether it did.
fn make(path: &Path, global: bool, first: &str) -> Result<bool, Failure> {
    let failed = |error: &io::Error| cannot("make", path, error);
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| failed(&error))?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let text = if global { global_template() } else { TEMPLATE.to_owned() };
            file.write_all(format!("{first}\n\n{text}").as_bytes()).map_err(|error| failed(&error))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

/// The same keys below `[defaults]`, without what says which package is meant.
fn global_template() -> String {
    let mut text = GLOBAL_HEAD.to_owned();
    // The head and the keys that name the package end with the first empty line.
    let rest = TEMPLATE.split_once("\n\n").map_or("", |(_, rest)| rest);
    text.push_str("\n[defaults]\n");
    for line in rest.lines() {
        let line = line
            .strip_prefix("#[[")
            .map(|rest| format!("#[[defaults.{rest}"))
            .or_else(|| line.strip_prefix("#[").map(|rest| format!("#[defaults.{rest}")))
            .or_else(|| line.strip_prefix('[').map(|rest| format!("[defaults.{rest}")))
            .unwrap_or_else(|| line.to_owned());
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn schema_text(global: bool) -> String {
    let schema = if global { json_schema::global() } else { json_schema::package() };
    format!("{schema:#}\n")
}

/// npxc's data directory.
fn data(host: &HostEnv) -> Result<PathBuf, ConfigError> {
    Directories::new(|name| host.vars.get(name).cloned()).map(|directories| directories.data)
}

/// Puts this npxc's schema below its data directory, and gives the line that leads editors there, without a network: taplo's
/// directive, which it looks for in the comments at a file's start.
fn schema_line(global: bool, data: &Path) -> Result<String, Failure> {
    let directory = data.join("schema");
    let path = directory.join(if global { "npxc.json" } else { "package.json" });
    let text = schema_text(global);
    if fs::read(&path).ok().is_none_or(|known| known != text.as_bytes()) {
        let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).and_then(|()| {
            let mut new = tempfile::NamedTempFile::new_in(&directory)?;
            new.write_all(text.as_bytes())?;
            new.persist(&path).map_err(|error| error.error)
        });
        written.map_err(|error| cannot("write the schema", &path, &error))?;
    }
    Ok(format!("#:schema file://{}", percent_encode(&path.to_string_lossy())))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitStatus::Config, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
