//! Whether a package's file has a name under which a run reads it, and which name that would be. Nothing is opened.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{ConfigError, files};
use crate::package::{PackageName, PackageSpec};

/// How the files are called that are read.
const SCHEME: &str = "a package's file is NAME.toml, that of @scope/name @scope+name.toml";

/// Why a file in the packages' directory that names no package itself is never read.
pub(super) fn unread(path: &Path) -> Option<ConfigError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = scoped(&stem).parse::<PackageName>();
    if name.is_ok_and(|name| name.path_component() == *stem) {
        return None;
    }
    let hint = match meant(&stem) {
        Some(name) => format!("for {name} it is called {}; {SCHEME}", file_name(&name)),
        None => SCHEME.to_owned(),
    };
    let what = format!("{}: no package has this name, so the file is not read", path.display());
    Some(ConfigError::surroundings(what, hint))
}

/// A word about a file that is read for a package which nobody has, where the name of one that is `installed` is so like it.
pub(super) fn of_another(path: &Path, installed: &[PackageName]) -> Option<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_like = |name: &&PackageName| {
        let flat = name.as_str().trim_start_matches('@').replace('/', "-");
        name.path_component() != name.as_str() && (name.unscoped() == stem || flat == *stem)
    };
    let is_its = installed.iter().any(|name| name.path_component() == *stem);
    let name = installed.iter().find(is_like).filter(|_| !is_its)?;
    let (path, file) = (path.display(), file_name(name));
    Some(format!("{path} is read for {stem}, which is not installed\nfor {name} it is called {file}"))
}

/// Files beside and below those that are read: in a directory of a scope, which are a mistake, and beside `npxc.toml`, which
/// `--config` may name.
pub(super) fn strays(config: &Path) -> (Vec<ConfigError>, Vec<String>) {
    let scopes = entries(&files::packages(config)).into_iter().filter(|path| path.is_dir());
    let wrong = scopes.flat_map(|scope| {
        let of = scope.file_name().unwrap_or_default().to_string_lossy().into_owned();
        entries(&scope).into_iter().filter(|path| is_toml(path)).map(move |path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{of}/{stem}").parse::<PackageName>();
            let hint = name.map_or_else(
                |_| SCHEME.to_owned(),
                |name| format!("for {name} it is packages/{}", file_name(&name)),
            );
            let what = format!("{}: no directory below packages is looked into", path.display());
            ConfigError::surroundings(what, hint)
        })
    });
    let global = files::of_all(config);
    let beside = entries(config).into_iter().filter(|path| is_toml(path) && *path != global);
    let notes = beside.map(|path| {
        let name = path.file_stem().and_then(|stem| meant(&stem.to_string_lossy()));
        let own = name.map_or_else(|| "packages/NAME.toml".to_owned(), |name| format!("packages/{}", file_name(&name)));
        format!(
            "{} is read only where --config names it\nwhat is for all packages stands in npxc.toml, what is for one in {own}",
            path.display()
        )
    });
    (wrong.collect(), notes.collect())
}

/// The package that is meant by a file's name which is none that is read.
fn meant(stem: &str) -> Option<PackageName> {
    let mut text = scoped(stem).to_lowercase();
    if text.starts_with('@') && !text.contains('/') {
        let between = ["__", "%2f", "-", " "].into_iter().find(|between| text.contains(between))?;
        text = text.replacen(between, "/", 1);
    }
    text.parse::<PackageSpec>().ok()?.name().cloned()
}

/// A file's name as the package's.
fn scoped(stem: &str) -> String {
    let text = if stem.starts_with('@') { stem.replacen('+', "/", 1) } else { stem.to_owned() };
    // An upper case letter is a lower case one behind a mark.
    let mut parts = text.split('^');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let mut letters = part.chars();
        let letter = letters.next().map(|letter| letter.to_ascii_uppercase());
        text + &letter.into_iter().chain(letters).collect::<String>()
    })
}

fn file_name(name: &PackageName) -> String {
    format!("{}.toml", name.path_component())
}

fn is_toml(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|end| end == "toml")
}

/// What is in a directory, in order; nothing where it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).into_iter().flatten();
    let mut all: Vec<PathBuf> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    all.sort();
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_read_comes_with_the_right_one() {
        for (file, right) in [
            ("Cowsay.toml", "for cowsay it is called cowsay.toml; "),
            ("cowsay@1.6.0.toml", "for cowsay it is called cowsay.toml; "),
            ("@scope-name.toml", "for @scope/name it is called @scope+name.toml; "),
            ("@scope__name.toml", "for @scope/name it is called @scope+name.toml; "),
            ("@scope+name@2.toml", "for @scope/name it is called @scope+name.toml; "),
            ("my notes.toml", ""),
        ] {
            let error = unread(&Path::new("/x").join(file)).unwrap();
            assert_eq!(
                error.to_string(),
                format!("/x/{file}: no package has this name, so the file is not read")
            );
            assert_eq!(error.hint.unwrap(), format!("{right}{SCHEME}"));
        }
        for file in ["cowsay.toml", "@scope+name.toml", "^cowsay.toml"] {
            assert_eq!(unread(&Path::new("/x").join(file)), None, "{file}");
        }
    }

    #[test]
    fn a_file_for_a_package_that_nobody_has_may_be_meant_for_one_that_is_there() {
        let installed: Vec<PackageName> =
            ["@a/server-x", "cowsay", "b", "@c/b"].map(|name| name.parse().unwrap()).into();
        let said = |file: &str| of_another(&Path::new("/x").join(file), &installed);
        for file in ["server-x.toml", "a-server-x.toml"] {
            let said = said(file).unwrap();
            assert!(
                said.ends_with("is not installed\nfor @a/server-x it is called @a+server-x.toml"),
                "{said}"
            );
        }
        for file in ["@a+server-x.toml", "cowsay.toml", "other.toml", "b.toml"] {
            assert_eq!(said(file), None, "{file}");
        }
    }

    #[test]
    fn files_where_nobody_looks_are_told() {
        let config = tempfile::tempdir().unwrap();
        let scope = config.path().join("packages/@a");
        fs::create_dir_all(&scope).unwrap();
        assert_eq!(strays(config.path()), (Vec::new(), Vec::new()));
        for file in ["npxc.toml", "cowsay.toml", "notes.md", "packages/b.toml", "packages/@a/c.toml"] {
            fs::write(config.path().join(file), "").unwrap();
        }
        let (wrong, notes) = strays(config.path());
        let [wrong] = wrong.try_into().unwrap();
        assert!(
            wrong.to_string().ends_with("@a/c.toml: no directory below packages is looked into"),
            "{wrong}"
        );
        assert_eq!(wrong.hint.unwrap(), "for @a/c it is packages/@a+c.toml");
        let [note] = notes.try_into().unwrap();
        assert!(
            note.ends_with("in packages/cowsay.toml") && note.contains("cowsay.toml is read only"),
            "{note}"
        );
    }
}
