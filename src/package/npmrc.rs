//! npm's settings from every place where npm looks for them, the strongest winning.
//!
//! npm is not asked: `npm config` takes 300 ms and keeps tokens to itself. The files and variables are read as
//! npm reads them, except for the project's `.npmrc` (see [`super::registry`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::PackageError;
use super::host::HostEnv;
use super::ini::{self, MAX_FILE};
use super::node::Node;

/// Merged settings. Keys as in files: `registry`, `@scope:registry`, `//host/:_authToken`.
#[derive(Default)]
pub(super) struct Settings {
    values: BTreeMap<String, Setting>,
    /// The files that were found, weakest first.
    pub(super) files: Vec<PathBuf>,
    /// The project's file, when it exists and was left out.
    pub(super) ignored_project: Option<PathBuf>,
}

struct Setting {
    text: String,
    origin: String,
}

impl Settings {
    pub(super) fn read(host: &HostEnv, node: &Node, project: bool) -> Result<Self, PackageError> {
        let mut settings = Self::default();
        let environment = environment(host);
        let builtin = read_file(&node.npm_dir().join("npmrc"), host)?;
        let of = |layer: &Layer, key: &str| layer.as_ref().and_then(|(_, values)| values.get(key).cloned());
        let path = |text: String| absolute(&text, host);

        let user_path = environment
            .get("userconfig")
            .cloned()
            .or_else(|| of(&builtin, "userconfig"))
            .map_or_else(|| host.home.join(".npmrc"), path);
        let user = read_file(&user_path, host)?;

        let project_path = project_file(host).filter(|file| *file != user_path && file.is_file());
        let project_layer = match &project_path {
            Some(file) if project => read_file(file, host)?,
            Some(file) => {
                settings.ignored_project = Some(file.clone());
                None
            }
            None => None,
        };

        let prefix = environment
            .get("prefix")
            .cloned()
            .or_else(|| of(&user, "prefix"))
            .or_else(|| of(&builtin, "prefix"))
            .or_else(|| host.text("PREFIX").map(str::to_owned))
            .map(path)
            .or_else(|| Some(node.exec.parent()?.parent()?.to_owned()))
            .unwrap_or_else(|| PathBuf::from("/usr"));
        let global_path = environment
            .get("globalconfig")
            .cloned()
            .or_else(|| of(&user, "globalconfig"))
            .or_else(|| of(&builtin, "globalconfig"))
            .map_or_else(|| prefix.join("etc/npmrc"), path);
        let global = read_file(&global_path, host)?;

        for (file, values) in [builtin, global, user, project_layer].into_iter().flatten() {
            let origin = file.display().to_string();
            settings.files.push(file);
            settings.add(values, &origin);
        }
        settings.add(environment, "npm_config_* in the environment");
        Ok(settings)
    }

    fn add(&mut self, values: BTreeMap<String, String>, origin: &str) {
        for (key, text) in values {
            let origin = origin.to_owned();
            self.values.insert(key, Setting { text, origin });
        }
    }

    /// A setting that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.values
            .get(key)
            .map(|setting| setting.text.as_str())
            .filter(|text| !text.is_empty() && *text != "null")
    }

    /// Where a setting comes from, for messages.
    pub(super) fn origin(&self, key: &str) -> &str {
        self.values.get(key).map_or("npm's default", |setting| &setting.origin)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, setting)| (key.as_str(), setting.text.as_str()))
    }
}

type Layer = Option<(PathBuf, BTreeMap<String, String>)>;

/// A file that is not there counts as empty, as with npm.
fn read_file(path: &Path, host: &HostEnv) -> Result<Layer, PackageError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(PackageError::io("read npm's configuration", path, e)),
    }
    let text = String::from_utf8_lossy(&text);
    let expand = |text: &str| {
        ini::expand(text, |name| {
            host.vars.get(name.as_ref() as &std::ffi::OsStr)?.to_str().map(str::to_owned)
        })
    };
    let values = ini::parse(text.trim_start_matches('\u{feff}'))
        .into_iter()
        .map(|(key, value)| (expand(&key), expand(&value.text())))
        .collect();
    Ok(Some((path.to_owned(), values)))
}

/// `npm_config_*` in any case; `_` means `-`, except in keys that name a registry.
fn environment(host: &HostEnv) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, value) in &host.vars {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        let Some(prefix) = name.get(..11) else { continue };
        if value.is_empty() || !prefix.eq_ignore_ascii_case("npm_config_") {
            continue;
        }
        let key = &name[11..];
        let key = if key.starts_with("//") {
            key.to_owned()
        } else {
            let mut chars = key.chars();
            let first: String = chars.next().into_iter().collect();
            (first + &chars.as_str().replace('_', "-")).to_ascii_lowercase()
        };
        let value = ini::expand(value, |name| host.text(name).map(str::to_owned));
        values.insert(key, value);
    }
    values
}

/// The `.npmrc` of the project that the working directory is in.
fn project_file(host: &HostEnv) -> Option<PathBuf> {
    host.cwd
        .ancestors()
        .find(|dir| dir.join("package.json").is_file() || dir.join("node_modules").is_dir())
        .or(Some(host.cwd.as_path()))
        .map(|dir| dir.join(".npmrc"))
}

pub(super) fn absolute(text: &str, host: &HostEnv) -> PathBuf {
    match text.strip_prefix("~/") {
        Some(rest) => host.home.join(rest),
        None => host.cwd.join(text),
    }
}
