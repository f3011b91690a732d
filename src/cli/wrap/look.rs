//! Which files there are to look at, and what is in them.

use std::path::{Path, PathBuf};

use crate::audit::escape::harmless;
use crate::clients::file::{self, FileError, Original};
use crate::clients::places::{CLIENTS, Place, Surroundings, places, unknown};
use crate::clients::servers::{self, Server};
use crate::clients::variables;
use crate::config::Directories;
use crate::config::error::nearest;
use crate::exit::{ExitStatus, Failure};
use crate::package::HostEnv;

/// Which files and servers a command is about.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Choice {
    /// Only this client: claude-desktop, claude-code, cursor, vscode, windsurf, zed, codex, gemini (repeatable)
    #[arg(long, value_name = "CLIENT", conflicts_with = "files")]
    pub(super) client: Vec<String>,
    /// Only the server of this name (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) server: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Configuration files [default: those of all clients that are found]
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// A file that was read.
pub(super) struct Read {
    pub(super) place: Place,
    /// As people know it: links not followed.
    pub(super) path: PathBuf,
    pub(super) original: Original,
    pub(super) servers: Vec<Server>,
}

impl Read {
    /// What it is called in a heading, with what is really written.
    pub(super) fn title(&self) -> String {
        let client = self.place.client.map_or_else(String::new, |client| format!("{}: ", client.name));
        let real = &self.original.path;
        let leads =
            if *real == self.path { String::new() } else { format!(" (leads to {})", real.display()) };
        harmless(&format!("{client}{}{leads}", self.path.display()))
    }

    /// Whether it is in a project, but only a link there: its author would choose which file of the user's is changed.
    fn leads_out(&self) -> bool {
        let project = variables::project(&self.place);
        let real = |project: &Path| project.canonicalize().unwrap_or_else(|_| project.to_owned());
        project.is_some_and(|project| !self.original.path.starts_with(real(project)))
    }
}

impl Choice {
    /// Whether a server is meant.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.server.is_empty() || self.server.iter().any(|server| server == name)
    }

    /// Reads every file that is meant; what could not be read is a failure of its own beside them.
    ///
    /// # Errors
    /// A client that npxc does not know.
    pub(super) fn read(&self, directories: &Directories) -> Result<(Vec<Read>, Vec<Failure>), Failure> {
        let known = self.places(directories)?;
        let (mut read, mut failures): (Vec<Read>, Vec<Failure>) = (Vec::new(), Vec::new());
        for place in known {
            for path in file::expand(&place.path) {
                match look(Place { path: path.clone(), ..place.clone() }, path) {
                    // Two names of one file are one file.
                    Ok(one) if read.iter().any(|known| known.original.path == one.original.path) => {}
                    Ok(one) if one.leads_out() => {
                        let (path, real) = (one.path.display(), one.original.path.display());
                        let what =
                            format!("{path} leads out of its project, to {real}; it was left as it is");
                        let hint = format!("name that file if it is meant: {real}");
                        failures.push(Failure::new(ExitStatus::Config, what).hint(hint));
                    }
                    Ok(one) => read.push(one),
                    Err(error) if file::is_missing(&error) && self.files.is_empty() => {}
                    Err(error) => failures.push(failure(&error)),
                }
            }
        }
        let unknown = |name: &&String| {
            read.iter().all(|read| read.servers.iter().all(|server| server.name() != **name))
        };
        if let Some(name) = self.server.iter().find(unknown).filter(|_| failures.is_empty()) {
            let names = read.iter().flat_map(|read| read.servers.iter().map(Server::name));
            let near = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
            return Err(Failure::new(ExitStatus::Config, format!("--server: no server is called `{name}`"))
                .hint(near.unwrap_or_else(|| "npxc wrap --dry-run lists them".to_owned())));
        }
        // A file without servers is worth a word only if it was named.
        read.retain(|read| {
            let meant = read.servers.iter().any(|server| self.takes(server.name()));
            meant || !self.files.is_empty()
        });
        Ok((read, failures))
    }

    /// Where to look.
    fn places(&self, directories: &Directories) -> Result<Vec<Place>, Failure> {
        if let Some(client) = self.client.iter().find(|id| CLIENTS.iter().all(|known| known.id != **id)) {
            let known = CLIENTS.map(|client| client.id).join(", ");
            return Err(Failure::new(
                ExitStatus::Config,
                format!("--client: npxc knows no client `{client}`"),
            )
            .hint(format!("one of {known}; any file with servers in it can be named: npxc wrap FILE")));
        }
        let host = HostEnv::current();
        let config = directories.config.parent().unwrap_or(&directories.config).to_owned();
        let variable = |name: &str| host.var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let mac = cfg!(target_os = "macos");
        let (home, cwd) = (&directories.home, &host.cwd);
        let all = places(&Surroundings { home, config: &config, cwd, mac, variable: &variable });
        if self.files.is_empty() {
            let meant = |place: &Place| {
                let id = place.client.map_or("", |client| client.id);
                self.client.is_empty() || self.client.iter().any(|client| client == id)
            };
            return Ok(all.into_iter().filter(meant).collect());
        }
        let named = self.files.iter().map(|named| {
            let path = crate::paths::tidy(&host.cwd.join(named));
            let expanded = |place: &Place| file::expand(&place.path);
            let known = all.iter().find(|place| expanded(place).iter().any(|known| same(known, &path)));
            // By its own name, whatever `*` it has.
            let known = known.map(|place| Place { path: path.clone(), ..place.clone() });
            known.unwrap_or_else(|| unknown(path))
        });
        Ok(named.collect())
    }
}

fn same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn look(place: Place, path: PathBuf) -> Result<Read, FileError> {
    let original = file::read(&path)?;
    let servers = servers::find(&place, &original.text)
        .map_err(|fault| FileError::faulty(&path, original.text.as_bytes(), fault))?;
    Ok(Read { place, path, original, servers })
}

/// A file's error, ready to be said.
pub(super) fn failure(error: &FileError) -> Failure {
    Failure::new(ExitStatus::Config, error.to_string()).hints(error.hint().map(str::to_owned))
}
