//! What a client puts in the place of names (`${workspaceFolder}`), and the file of variables that it reads (`envFile`). Pure.

use std::path::{Path, PathBuf};

use super::places::Place;
use super::servers::Variable;
use crate::config::values::{EnvName, EnvValue};

/// A name that a client replaces by a path which is known here. What it alone knows (`${input:ID}`) is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The user's home directory.
    Home(&'static str),
    /// The directory that the file is for. A file of the user's is for all of them.
    Project(&'static str),
}

/// Names with what the client of this file puts in their places.
pub fn known(place: &Place, home: &Path) -> Vec<(&'static str, PathBuf)> {
    let names = place.client.map(|client| client.named).unwrap_or_default();
    let path = |named: &Named| match *named {
        Named::Home(name) => Some((name, home.to_owned())),
        Named::Project(name) => Some((name, project(place)?.to_owned())),
    };
    names.iter().filter_map(path).collect()
}

/// The directory that the file is for: its own (`.mcp.json`), or the one around the client's (`.vscode`).
pub fn project(place: &Place) -> Option<&Path> {
    let parent = place.path.parent().filter(|_| place.project)?;
    let hidden = place.path.file_name()?.as_encoded_bytes().starts_with(b".");
    if hidden { Some(parent) } else { parent.parent() }
}

/// A string as the client hands it over, as far as that is known.
pub fn expanded(text: &str, known: &[(&str, PathBuf)]) -> String {
    known.iter().fold(text.to_owned(), |text, (name, path)| text.replace(name, &path.to_string_lossy()))
}

/// Whether a string has a name in it that only the client knows the value of.
pub fn is_open(text: &str) -> bool {
    text.contains("${") || text.starts_with('$')
}

/// The variables of an `envFile`: lines `NAME=value`, some with `export` before them and quotes around the value. Lines within
/// quotes are a value's: none of it is taken for a name.
pub fn read(text: &str) -> Vec<Variable> {
    let mut all: Vec<Variable> = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        let quote = value.chars().next().filter(|quote| "\"'`".contains(*quote));
        let value = quote.map_or(value, |quote| {
            let inside = &value[1..];
            let end = inside.find(quote).unwrap_or_else(|| {
                let _ = lines.find(|line| line.contains(quote));
                inside.len()
            });
            &inside[..end]
        });
        if name.parse::<EnvName>().is_ok() {
            all.retain(|known| known.name != name);
            let value = Some(EnvValue(value.into()));
            all.push(Variable { name: name.to_owned(), value, handed: false });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_where_its_file_is() {
        use crate::clients::places::{Surroundings, places};
        let (home, cwd) = (Path::new("/home/me"), Path::new("/srv/project"));
        let none = |_: &str| None;
        let all = places(&Surroundings { home, config: home, cwd, mac: false, variable: &none });
        for place in all {
            assert_eq!(project(&place), place.project.then_some(cwd), "{place:?}");
        }
    }

    #[test]
    fn names_are_read_from_a_file_and_nothing_of_a_value_is() {
        let text = "# KEY=no\nTOKEN=hunter2 \r\n export A = 'b' # c\n1=2\nPEM=\"-----BEGIN\nSECRET=part\n-----END\"\nnone\nB=\nTOKEN=last\n\
                    EMPTY=\"\"\nOPEN='x\nLOST=y\n";
        let all = read(text);
        let all: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.value.clone())).collect();
        let value = |text: &str| Some(EnvValue(text.into()));
        let expected = [
            ("A", value("b")),
            ("PEM", value("-----BEGIN")),
            ("B", value("")),
            ("TOKEN", value("last")),
            ("EMPTY", value("")),
            ("OPEN", value("x")),
        ];
        assert_eq!(all, expected);
    }
}
